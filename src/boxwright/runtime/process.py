"""Other programs, run without `subprocess` (importing it costs 24 ms): `runtime.spawn` with pipes, ends and errors."""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from contextlib import contextmanager
from functools import partial

from boxwright.errors import BoxwrightError, Unavailable, Unsupported
from boxwright.runtime.spawn import ENVIRONMENT, exit_code, locate, start, start_apart
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PIPE = -1
DEVNULL = -3
_CHUNK = 65536
_SIGKILL = 9
_PR_SET_CHILD_SUBREAPER = 36


class ProgramMissing(Unsupported):
    """A program that is needed is not installed."""


class ProgramFailed(BoxwrightError):
    """A program ended with an error; `completed` has its output."""

    def __init__(self, message: str, completed: Completed, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.completed = completed


class ProgramTimeout(Unavailable):
    """A program did not end in time and was killed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended. `code` is its exit code, or 128 + the signal that killed it."""

    code: int
    stdout: bytes
    stderr: bytes


_FILES = "too few files may be open: raise the limit with `ulimit -n`"
_HINTS = {
    errno.EAGAIN: "no more processes may be started here: see `ulimit -u` and pids.max of this cgroup",
    errno.EMFILE: _FILES,
    errno.EINVAL: _FILES,  # F_DUPFD's
    errno.ENOMEM: "memory ran out",
}


def find_program(name: str) -> str:
    """Where a program is, in the usual places; a name with a slash stands for itself. Raises ProgramMissing."""
    if found := locate(name):
        return found
    if "/" in name:
        raise ProgramMissing(f"{name} is not an executable file")
    raise ProgramMissing(f"{name} is not installed", hint=f"install the package that has {name}")


class Process:
    """A running child. Its descriptors are ours to close; `close` does, and `wait` reaps it once."""

    __slots__ = ("_code", "argv", "pid", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, argv: Sequence[str], stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.argv = list(argv)
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr  # our ends of PIPEs, else -1
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code when it has ended."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # a SIGCHLD handler reaped it: the code is lost
                self._code = 255
                return self._code
            if pid:
                self._code = exit_code(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises ProgramTimeout after `timeout` seconds; the process goes on."""
        if self.poll() is None:
            if timeout is None:
                try:
                    self._code = exit_code(os.waitpid(self.pid, 0)[1])
                except ChildProcessError:
                    self._code = 255
            elif not self._ended_within(timeout):
                raise ProgramTimeout(f"{self.argv[0]} did not end within {timeout:g} seconds")
        code = self.poll()
        assert code is not None
        return code

    def _ended_within(self, timeout: float) -> bool:
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            deadline = time.monotonic() + timeout
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            return self.poll() is not None
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            return bool(poller.poll(timeout * 1000))
        finally:
            os.close(fd)

    def kill(self, signal: int = _SIGKILL) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self.poll() is None:
            try:
                os.kill(self.pid, signal)
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """Close our ends of its pipes."""
        for name in ("stdin", "stdout", "stderr"):
            fd: int = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)


class RootNeeded(Unsupported):
    """This user may not mount trees and make namespaces."""


def require_root(what: str) -> None:
    """Raises RootNeeded unless this process may do `what`."""
    if os.geteuid() != 0:
        program = own_program()
        raise RootNeeded(
            f"{what} needs root",
            hint=f"type sudo {program} …; root has a store of its own, which gets an image of yours by\n"
            f"  {program} save IMAGE | sudo {program} load\n"
            "Images can be pulled, built without RUN, and pushed by any user.",
        )


def own_program() -> str:
    """How this program is started by a user whose PATH is another, such as root's under sudo: a quoted command."""
    from shlex import quote

    started = sys.argv[0] if sys.argv else ""
    if os.path.basename(started) == "boxwright" and os.access(started, os.X_OK):
        return quote(os.path.abspath(started))
    return f"{quote(sys.executable)} -m boxwright"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """The first three descriptors of a program: descriptors of ours, PIPE or DEVNULL."""

    stdin: int = DEVNULL
    stdout: int = DEVNULL
    stderr: int = DEVNULL


NO_STDIO = Stdio()


def spawn(
    argv: Sequence[str],
    *,
    stdio: Stdio = NO_STDIO,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    fds: Mapping[int, int] | None = None,
    new_session: bool = False,
    hidden: str = "",
) -> Process:
    """Start a program. `fds` gives it descriptors beyond the first three as {number in the child: our descriptor}.
    `env` None = just PATH and LC_ALL=C. `hidden`: a mount that it does not see.

    Raises ProgramMissing, Unsupported when the system refuses to start it.
    """
    program = find_program(argv[0])
    ours, theirs, opened = [-1, -1, -1], dict(fds or {}), []
    try:
        for number, wanted in enumerate((stdio.stdin, stdio.stdout, stdio.stderr)):
            if wanted == PIPE:
                read, write = os.pipe()
                ours[number], theirs[number] = (write, read) if number == 0 else (read, write)
                opened.append(theirs[number])
            elif wanted != DEVNULL:
                theirs[number] = wanted
        words = argv
        if cwd is not None:
            # Python's posix_spawn cannot change the directory; the shell can, and then becomes the program.
            words = ["sh", "-c", 'cd -- "$0" && exec "$@"', os.fspath(cwd), program, *argv[1:]]
            program = "/bin/sh"
        begin = partial(start_apart, hidden) if hidden else start
        pid = begin(
            program, words, fds=theirs, env=ENVIRONMENT if env is None else env, new_session=new_session
        )
    except OSError as error:
        for fd in ours:
            if fd >= 0:
                os.close(fd)
        raise Unsupported(
            f"cannot run {program}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")
        ) from error
    finally:
        for fd in opened:
            os.close(fd)
    return Process(pid, argv, *ours)


def run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    check: bool = True,
    timeout: float | None = None,
    fds: Mapping[int, int] | None = None,
) -> Completed:
    """Run a program to its end and collect what it says.

    Raises ProgramMissing, ProgramTimeout (it is killed), and ProgramFailed when `check` and the code is not 0.
    """
    process = spawn(
        argv,
        stdio=Stdio(stdin=DEVNULL if input is None else PIPE, stdout=PIPE, stderr=PIPE),
        env=env,
        cwd=cwd,
        fds=fds,
    )
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        out, err = _converse(process, input or b"", deadline)
        code = process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.close()
    completed = Completed(code, out, err)
    if check and code != 0:
        said = err.decode(errors="replace").strip() or out.decode(errors="replace").strip()
        raise ProgramFailed(
            f"{os.path.basename(argv[0])} failed with exit code {code}"
            + (f": {said[-2000:]}" if said else ""),
            completed,
        )
    return completed


def _converse(process: Process, data: bytes, deadline: float | None) -> tuple[bytes, bytes]:
    received: dict[int, list[bytes]] = {process.stdout: [], process.stderr: []}
    poller = select.poll()
    for fd in received:
        poller.register(fd, select.POLLIN)
    waiting = set(received)
    view = memoryview(data)
    if process.stdin >= 0:
        os.set_blocking(process.stdin, False)
        poller.register(process.stdin, select.POLLOUT)
    while waiting:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise ProgramTimeout(f"{process.argv[0]} did not end in time")
        for fd, _ in poller.poll(None if left is None else left * 1000):
            if fd == process.stdin:
                view = view[_feed(fd, view) :]
                if not view:
                    poller.unregister(fd)
                    os.close(fd)
                    process.stdin = -1
                continue
            chunk = os.read(fd, _CHUNK)
            if chunk:
                received[fd].append(chunk)
            else:
                poller.unregister(fd)
                waiting.discard(fd)
    return b"".join(received[process.stdout]), b"".join(received[process.stderr])


def _feed(fd: int, view: memoryview) -> int:
    try:
        return os.write(fd, view[:_CHUNK]) if view else 0
    except BrokenPipeError:  # it does not want the rest
        return len(view)
    except BlockingIOError:
        return 0


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process, which can then wait for them."""
    from boxwright.files import syscalls

    syscalls.libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """For a subreaper that is about to end: take note of descendants that ended. A zombie of a container's PID
    namespace would keep the container from ending for as long as the process that inherits it does not reap."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


@contextmanager
def pidfd(pid: int) -> Iterator[int]:
    """A descriptor that polls readable when the process ends. Raises ProcessLookupError."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)
