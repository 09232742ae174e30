"""The OCI runtime as the supervisor calls it: argument lists from the job, started and waited for."""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
from _struct import calcsize, unpack

from boxwright.runtime.spawn import SUPERVISORS, start, start_hiding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.job import Job


_PATIENCE = 120.0  # seconds for one verb of a runtime, which take milliseconds
_SIGKILL = 9


class StartFailed(Exception):
    """The runtime did not start the container; carries its log."""

    def __init__(self, log: bytes) -> None:
        super().__init__(log)
        self.log = log

    def reason(self) -> str:
        """What the log says."""
        from boxwright.runtime.oci import last_error

        return last_error(self.log) or self.log.decode("utf-8", "replace") or "the runtime gave no reason"


class Runner:
    """Calls for one container."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._deleting = 0  # the pid of what `begin_delete` started

    def start(self, stdio: tuple[int, int, int]) -> tuple[int, int]:
        """Create and start in one call; returns the pid and, with a terminal, its master descriptor (else -1).

        Raises StartFailed."""
        pid_file = f"{self._job.directory}/pid"
        options = ["--bundle", self._job.directory, "--pid-file", pid_file]
        console = None
        # A socket's path has room for 107 bytes: it is named through our own descriptor of its directory.
        if self._job.tty:
            directory = os.open(self._job.directory, os.O_PATH | os.O_CLOEXEC)
            name = f"/proc/{os.getpid()}/fd/{directory}/console.sock"
            _unlink(name)
            console = socket(AF_UNIX, SOCK_STREAM)
            console.bind(name)
            console.listen(1)
            options += ["--console-socket", name]
        try:
            code, log = self.call("run", "--detach", *options, stdio=stdio)
            if code != 0:
                raise StartFailed(log or _unsaid(code))
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
        """Run a verb to its end: exit code, negative for a signal, and the runtime's log. A runtime that was
        uninstalled, or that hangs and is killed, counts as failed."""
        log = os.memfd_create("log")
        try:
            pid = self.spawn(verb, *options, stdio=stdio, log=log)
        except OSError as error:
            os.close(log)
            return 127, f"cannot run {self._job.runtime[0]}: {error.strerror}".encode()
        try:
            code, hung = _ended(pid)
            said = os.pread(log, os.fstat(log).st_size, 0)
            if hung:
                return (
                    code,
                    f"the runtime did not answer within {_PATIENCE:g} seconds, and was killed".encode(),
                )
            return code, said
        finally:
            os.close(log)

    def begin_delete(self) -> None:
        """Have the runtime forget the container, and kill what is left of it, while the supervisor does other things;
        `delete` waits for its end. Until then the supervisor waits for children by process ID only: a wait for any
        child would take the runtime's status away."""
        try:
            self._deleting = self.spawn("delete", "--force")
        except OSError:  # `delete` tries again
            self._deleting = 0

    def delete(self) -> None:
        """Have the runtime forget the container. Idempotent."""
        if not self._deleting:
            self.begin_delete()
        pid, self._deleting = self._deleting, 0
        if pid:
            _ended(pid)

    def spawn(
        self,
        verb: str,
        *options: str,
        stdio: tuple[int, int, int] | None = None,
        log: int = -1,
        last: tuple[str, ...] = (),
    ) -> int:
        """Start a verb in a session of its own; returns its pid. `last` follows the container's id. Raises OSError."""
        logging = ["--log", f"/proc/{os.getpid()}/fd/{log}", "--log-format", "json"] if log >= 0 else []
        argv = [*self._job.runtime, *logging, verb, *options, self._job.id, *last]
        fds = dict(enumerate(stdio or ()))
        if self._job.hidden:
            return start_hiding(self._job.hidden, argv, fds=fds)
        return start(argv[0], argv, fds=fds, new_session=True, signals=SUPERVISORS)


def _ended(pid: int) -> tuple[int, bool]:
    """Wait for a verb's end: its exit code, and whether it hung. What hangs is killed, with what it started."""
    ended = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        hung = not poller.poll(_PATIENCE * 1000)
    finally:
        os.close(ended)
    if hung:
        os.killpg(pid, _SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), hung


def _unsaid(code: int) -> bytes:
    """What stands for the complaint of a runtime that ended without one."""
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    return f"the runtime did not terminate successfully: {how}".encode()


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
