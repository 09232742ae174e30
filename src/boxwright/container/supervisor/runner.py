"""The OCI runtime as the supervisor calls it: argument lists from the job, started and waited for."""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
from _struct import calcsize, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal

_DEFAULT = (
    1,
    2,
    3,
    13,
    15,
    25,
)  # signals that we ignore or the interpreter does: HUP INT QUIT PIPE TERM XFSZ
_CLONE_NEWNS = 0x20000
_MNT_DETACH, _MS_PRIVATE = 2, 1 << 18
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class StartFailed(Exception):
    """The runtime did not start the container; carries its log."""

    def __init__(self, log: bytes) -> None:
        super().__init__(log)
        self.log = log


class Runner:
    """Calls for one container. `job` has `runtime` (argv up to the verb's place), `hidden` (a mount that the runtime
    must not see, or ''), `id`, `bundle`, `dir`, `tty`."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._argv: list[str] = list(job["runtime"])
        self._hidden: str = job["hidden"]
        self._id: str = job["id"]
        self._bundle: str = job["bundle"]
        self._directory: str = job["dir"]
        self._tty: bool = job["tty"]

    def start(self, stdio: tuple[int, int, int]) -> tuple[int, int]:
        """Create and start in one call; returns the pid and, with a terminal, its master descriptor (else -1).

        Raises StartFailed."""
        pid_file = f"{self._directory}/pid"
        options = ["--bundle", self._bundle, "--pid-file", pid_file]
        console = None
        # A socket's path has room for 107 bytes: it is named through our own descriptor of its directory.
        if self._tty:
            directory = os.open(self._directory, os.O_PATH | os.O_CLOEXEC)
            name = f"/proc/{os.getpid()}/fd/{directory}/console.sock"
            _unlink(name)
            console = socket(AF_UNIX, SOCK_STREAM)
            console.bind(name)
            console.listen(1)
            options += ["--console-socket", name]
        try:
            code, log = self.call("run", "--detach", *options, stdio=stdio)
            if code != 0:
                raise StartFailed(log)
            master = _receive(console) if console is not None else -1
        finally:
            if console is not None:
                console.close()
                _unlink(name)
                os.close(directory)
        try:
            with open(pid_file) as file:
                pid = int(file.read())
            os.unlink(pid_file)
        except (OSError, ValueError) as error:
            raise StartFailed(log or b"the runtime started nothing") from error
        return pid, master

    def call(self, verb: str, *options: str, stdio: tuple[int, int, int] | None = None) -> tuple[int, bytes]:
        """Run a verb to its end: exit code and the runtime's log. A runtime that was uninstalled counts as failed."""
        log = os.memfd_create("log")
        try:
            pid = self.spawn(verb, *options, stdio=stdio, log=log)
        except OSError as error:
            os.close(log)
            return 127, f"cannot run {self._argv[0]}: {error.strerror}".encode()
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return code, os.pread(log, os.fstat(log).st_size, 0)
        finally:
            os.close(log)

    def spawn(
        self,
        verb: str,
        *options: str,
        stdio: tuple[int, int, int] | None = None,
        log: int = -1,
        last: tuple[str, ...] = (),
    ) -> int:
        """Start a verb; returns its pid. `last` follows the container's id. Raises OSError."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            fds = list(stdio or (null, null, null))
            logging = ["--log", f"/proc/{os.getpid()}/fd/{log}", "--log-format", "json"] if log >= 0 else []
            argv = [*self._argv, *logging, verb, *options, self._id, *last]
            if self._hidden:
                return _spawn_hiding(self._hidden, argv, fds)
            return os.posix_spawn(
                argv[0],
                argv,
                _ENVIRONMENT,
                setsigdef=_DEFAULT,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)],
            )
        finally:
            os.close(null)


def _spawn_hiding(path: str, argv: list[str], fds: list[int]) -> int:
    """Start a program in a mount namespace where nothing is mounted at `path`; returns its pid."""
    from boxwright.files import syscalls

    pid = os.fork()  # we have one thread; starting `unshare` and a shell instead takes 5 ms
    if pid:
        return pid
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        for signal in _DEFAULT:
            _signal.signal(signal, _signal.SIG_DFL)
        syscalls.libc("unshare", _CLONE_NEWNS)
        syscalls.libc("mount", b"none", os.path.dirname(path).encode(), b"none", _MS_PRIVATE, 0)
        syscalls.libc("umount2", path.encode(), _MNT_DETACH)
        os.execve(argv[0], argv, _ENVIRONMENT)
    except OSError as error:
        os.write(2, f"cannot run {argv[0]} without a sight of {path}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def accept(listener: socket) -> int:
    """The descriptor of the next connection. Raises OSError."""
    # The C type keeps this below the `accept` that Python's own socket class adds.
    return int(listener._accept()[0])  # type: ignore[attr-defined]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _receive(listener: socket) -> int:
    """The descriptor that the runtime sends over the console socket."""
    listener.settimeout(10)
    try:
        connection = socket(fileno=accept(listener))
        _, ancillary, _, _ = connection.recvmsg(4096, 64, MSG_CMSG_CLOEXEC)
        connection.close()
    except OSError as error:
        raise StartFailed(f"the runtime sent no terminal: {error}".encode()) from error
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            return int(unpack("i", data[: calcsize("i")])[0])
    raise StartFailed(b"the runtime sent no terminal")
