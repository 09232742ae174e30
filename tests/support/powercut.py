"""A disk that remembers every write and flush, and what it would have been had the power gone at any moment.

    Recorder   a FUSE file, which a loop device has below it: each request is logged before it is answered
    Cuts       images from such a log: all that was flushed, and any part of what was not

A device mapper that logs writes, NBD and ublk are in no container; /dev/fuse and loop devices mostly are.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from boxwright.files import syscalls
from support import unmount_below

_RECORD = struct.Struct("<BQI")  # kind, offset, bytes that follow
_WRITE, _FLUSH = 0, 1
_SECTOR = 512

# --- the server, a process of its own ---------------------------------------------------------------

_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QII6Q10I")
_INIT = struct.Struct("<4I2H2I2H2I6I")
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE_OP = 2, 3, 4, 14, 15, 16
_STATFS, _RELEASE, _FSYNC, _FLUSH_OP, _INIT_OP, _INTERRUPT, _BATCH_FORGET = 17, 18, 20, 25, 26, 36, 42
_LARGEST = 1 << 20
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22


def serve(image: str, log: str, place: str) -> None:
    """Mount the file `image` over the file `place` until that is unmounted."""
    size = os.stat(image).st_size
    disk, out = os.open(image, os.O_RDWR), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=100000,user_id=0,group_id=0,max_read={_LARGEST}"
    syscalls.libc("mount", b"recorder", os.fsencode(place), b"fuse", 6, options.encode())
    print("mounted", flush=True)
    attributes = _ATTRIBUTES.pack(
        *(3600, 0, 0), *(1, size, size // 512, 0, 0, 0), *(0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)
    )
    while True:
        try:
            request = os.read(fuse, _LARGEST + 4096)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            if error.errno == errno.ENODEV:  # unmounted
                return
            raise
        _, kind, unique, *_ = _IN.unpack_from(request)
        body = memoryview(request)[_IN.size :]
        if kind in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            continue
        answer, code = b"", 0
        if kind == _INIT_OP:
            flags = struct.unpack_from("<I", body, 12)[0] & (_BIG_WRITES | _MAX_PAGES)
            answer = _INIT.pack(*(7, 31, 1 << 17, flags), *(16, 12), _LARGEST, 1, 256, 0, *(0,) * 8)
        elif kind in (_GETATTR, _SETATTR):
            answer = attributes
        elif kind == _OPEN:
            answer = bytes(16)
        elif kind == _READ:
            _, offset, count = struct.unpack_from("<QQI", body)
            answer = os.pread(disk, count, offset)
        elif kind == _WRITE_OP:
            _, offset, count = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + count]
            os.write(out, _RECORD.pack(_WRITE, offset, count) + data)
            os.pwrite(disk, data, offset)
            answer = struct.pack("<II", count, 0)
        elif kind == _FSYNC:
            os.write(out, _RECORD.pack(_FLUSH, 0, 0))
        elif kind == _STATFS:
            answer = bytes(80)
        elif kind not in (_RELEASE, _FLUSH_OP):
            code = -errno.ENOSYS
        os.write(fuse, _OUT.pack(_OUT.size + len(answer), code, unique) + answer)


# --- a recorded file system -------------------------------------------------------------------------


class Recorder:
    """An ext4 at `path`, as long as the block of `recorder` lasts."""

    def __init__(self, path: Path, base: Path, log: Path) -> None:
        self.path, self.base, self.log = path, base, log

    def position(self) -> int:
        """How much is logged: what was acknowledged until now must be in every image that is cut here or later."""
        return self.log.stat().st_size


def _run(*argv: object) -> str:
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout.strip()


def usable() -> str:
    """Why disks cannot be recorded here; '' when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "needs /dev/fuse and loop devices"
    if shutil.which("mkfs.ext4") is None:
        return "needs mkfs.ext4"
    return ""


@contextmanager
def recorder(directory: Path, *, size: int, block: int) -> Iterator[Recorder]:
    """A fresh file system of `size` bytes, whose journal does not commit by itself."""
    base, image, log = directory / "base", directory / "image", directory / "log"
    place, path = directory / "disk", directory / "mount"
    with open(base, "wb") as file:
        file.truncate(size)
    options = ("-b", block, "-J", "size=8", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "0")
    _run("mkfs.ext4", "-q", "-F", *options, base)
    _run("cp", "--sparse=always", base, image)
    place.touch()
    log.touch()
    path.mkdir()
    code = "import sys; from support.powercut import serve; serve(*sys.argv[1:])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    server = subprocess.Popen(
        [sys.executable, "-c", code, image, log, place], stdout=subprocess.PIPE, env=environ
    )
    device = ""
    try:
        assert server.stdout is not None and server.stdout.readline() == b"mounted\n"
        device = _run("losetup", "--show", "-f", place)
        _run("mount", "-o", "commit=600", device, path)
        try:
            yield Recorder(path, base, log)
        finally:
            unmount(path)
    finally:
        if device:
            subprocess.run(["losetup", "-d", device], check=False)
        subprocess.run(["umount", "-l", place], check=False)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGKILL)
            server.wait()
        assert server.stdout is not None
        server.stdout.close()


def unmount(path: Path) -> None:
    """With everything that is mounted below."""
    unmount_below(path)
    for _ in range(100):
        if subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    _run("umount", "-l", path)


# --- cuts -------------------------------------------------------------------------------------------


class Write(NamedTuple):
    """Where its record ends in the log, and what it wrote."""

    end: int
    offset: int
    data: bytes


class Cuts:
    """Images of one log, at positions that do not go back."""

    def __init__(self, recorded: Recorder, directory: Path) -> None:
        self._log = open(recorded.log, "rb")
        self._size = recorded.log.stat().st_size
        self._durable = directory / "durable"
        _run("cp", "--sparse=always", recorded.base, self._durable)
        self._pending: list[Write] = []

    def cut(self, position: int, image: Path, chance: random.Random) -> str:
        """Write the image that a cut left; returns which of the writes that no flush covered are in it."""
        self._advance(position)
        share = chance.choice([0.0, 0.5, 0.9, 1.0])
        _run("cp", "--sparse=always", self._durable, image)
        kept = [write for write in self._pending if chance.random() < share]
        with open(image, "r+b", buffering=0) as file:
            for write in kept:
                torn = chance.random() < 0.05
                length = _SECTOR * chance.randint(0, len(write.data) // _SECTOR) if torn else len(write.data)
                file.seek(write.offset)
                file.write(write.data[:length])
        return f"{len(kept)} of {len(self._pending)} unflushed writes"

    def _advance(self, position: int) -> None:
        with open(self._durable, "r+b", buffering=0) as durable:
            while self._log.tell() < min(position, self._size):
                kind, offset, count = _RECORD.unpack(self._log.read(_RECORD.size))
                data = self._log.read(count)
                if kind == _WRITE:
                    self._pending.append(Write(self._log.tell(), offset, data))
                    continue
                for write in self._pending:
                    durable.seek(write.offset)
                    durable.write(write.data)
                self._pending.clear()

    def close(self) -> None:
        self._log.close()
