"""Small files of a container on a disk that may be full, and who a process is, for a light process."""

from __future__ import annotations

import os
import time

from boxwright.files import whole

_FULL = (28, 122)  # ENOSPC, EDQUOT


def write_file(path: str, data: bytes, *, sync: bool = False) -> None:
    """Replace a small text file in one step, durably with `sync`. On a full disk it is overwritten in place instead,
    with blanks up to its old length. Raises OSError when not even that can be done."""
    try:
        whole.replace(path, data, mode=0o600, sync=sync)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise error from None
        _overwrite(path, data.ljust(size), sync=sync)


def _overwrite(path: str, data: bytes, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(_FULL[0], "No space left on device", path)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def identity_of(pid: int) -> str:
    """Names a process as no other is ever named (boot id, pid, start time), as `content.lease.process_identity` does.
    Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
        return f"{boot.read().strip()}:{pid}:{stat.read().rpartition(b')')[2].split()[19].decode()}"


def age_of(identity: str) -> float:
    """Seconds since a process of this boot began, whatever became of the host's clock meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(identity.split(":")[2]) / os.sysconf("SC_CLK_TCK")


def entitle(title: str) -> None:
    """What `ps` shows of this process: its name, and a command line in the place of the one it was started with, as
    far as there is room. A kernel or a /proc that does not let us leaves it as it was."""
    from boxwright.files import syscalls

    try:
        syscalls.libc("prctl", 15, title.split(" (")[0].encode()[:15], 0, 0, 0)  # PR_SET_NAME
        with open("/proc/self/stat", "rb") as stat:
            first, end = map(int, stat.read().rpartition(b")")[2].split()[45:47])
        if end > first:
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(first)
                memory.write(title.encode()[: end - first - 1].ljust(end - first, b"\0"))
    except (OSError, ValueError, OverflowError):
        pass


def report(directory: str, error: BaseException) -> str:
    """A bug of ours, to be said: leave word in the container's directory, too; the next command cleans up."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if directory:
        try:
            write_file(f"{directory}/supervisor.err", text.encode())
        except OSError:
            pass
    return text
