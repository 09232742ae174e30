"""The client's end of a supervisor: starting one, talking to one, relaying a terminal or pipes through one.

Light to import: `run` launches its supervisor before it loads the engine, so that the two start side by side."""

from __future__ import annotations

import os
import select
import sys
import time
from _socket import (  # `socket` itself takes 5 ms more
    AF_UNIX,
    MSG_DONTWAIT,
    SOCK_CLOEXEC,
    SOCK_STREAM,
    socket,
    socketpair,
)
from _thread import start_new_thread

from boxwright.container import frames
from boxwright.errors import Unavailable
from boxwright.runtime.process import Process, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from boxwright.container.records import Container

_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from boxwright.files.modules import hasten; hasten(); "
    "from boxwright.container.supervisor.main import main; main()"
)
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_CHUNK = 64 << 10


class SupervisorLost(Unavailable):
    """The supervisor died, or did not answer."""


def interpreter(code: str, *arguments: str) -> list[str]:
    """How to run our own code in a new process without looking at site-packages or the environment."""
    return [sys.executable, "-I", "-S", "-c", code, _SOURCES, *arguments]


class Session:
    """A connection. Not for several threads at once."""

    def __init__(self, connection: socket, process: Process | None = None) -> None:
        self._socket = connection
        self._decoder = frames.Decoder()
        self._ready: list[tuple[int, bytes]] = []
        self._process = process

    @classmethod
    def launch(cls) -> Session:
        """Start a supervisor that waits for its job. Done early, it starts while the caller still prepares."""
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        try:
            process = spawn(interpreter(_CODE), fds={3: theirs.fileno()}, new_session=True)
        finally:
            theirs.close()
        return cls(ours, process)

    @classmethod
    def attach(cls, container: Container, wants: int) -> Session:
        """Connect to a running container's supervisor. Raises WrongState when there is none."""
        connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            directory = os.open(container.directory, os.O_PATH | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{directory}/attach.sock")
            finally:
                os.close(directory)
            session = cls(connection)
            session.send(frames.HELLO, wants)
        except (FileNotFoundError, ConnectionRefusedError, BrokenPipeError) as error:
            from boxwright.container.records import WrongState

            connection.close()
            raise WrongState(f"container {container.id} is not running") from error
        return session

    @property
    def supervisor_pid(self) -> int:
        """Of a supervisor that was launched here."""
        return self._process.pid if self._process is not None else 0

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def send(self, kind: int, value: Any = None) -> None:
        """A frame with a value. Raises SupervisorLost."""
        self._send(frames.message(kind, value))

    def send_input(self, data: bytes) -> None:
        """Standard input for the container; nothing happens when it has ended."""
        try:
            self._socket.sendall(frames.frame(frames.STDIN, data))
        except OSError:
            pass

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise SupervisorLost("the container's supervisor has ended") from error

    def receive(self) -> list[tuple[int, bytes]]:
        """Whole frames of one read; empty at the end of the connection."""
        while True:
            try:
                data = self._socket.recv(_CHUNK)
            except TimeoutError:
                raise
            except OSError:
                data = b""
            if not data:
                return []
            found = list(self._decoder.feed(data))
            if found:
                return found

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Frames until the connection ends, the ones that `expect` passed over first."""
        while True:
            while self._ready:
                yield self._ready.pop(0)
            self._ready = self.receive()
            if not self._ready:
                return

    def pending(self) -> list[tuple[int, bytes]]:
        """What `expect` passed over; to be asked before the socket is polled."""
        found, self._ready = self._ready, []
        return found

    def expect(self, *kinds: int, silence: float | None = None) -> tuple[int, Any]:
        """The next frame of one of these kinds; others stay for `frames`. Raises SupervisorLost, and TimeoutError
        after so many seconds of silence."""
        self._socket.settimeout(silence)
        passed: list[tuple[int, bytes]] = []
        for kind, body in self.frames():
            if kind in kinds:
                self._ready = passed + self._ready
                return kind, frames.value(body)
            passed.append((kind, body))
        self._ready = passed
        raise SupervisorLost("the container's supervisor has ended without a word")

    def converse(self, data: bytes | None, output: dict[int, list[bytes]]) -> int:
        """Send input while output is collected; the exit code. Raises SupervisorLost."""
        queue = (
            b""
            if data is None
            else frames.frame(frames.STDIN, b"")
            + b"".join(
                frames.frame(frames.STDIN, data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)
            )
            + frames.message(frames.STDIN_END, None)
        )
        view = memoryview(queue)
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN | (select.POLLOUT if view else 0))
        ready = self.pending()
        while True:
            for kind, body in ready:
                if kind in output:
                    output[kind].append(body)
                elif kind == frames.EXITED:
                    return int(frames.value(body)["code"])
            ready = []
            for _, events in poller.poll():
                if events & select.POLLOUT:
                    view = view[self._socket.send(view[:_CHUNK], MSG_DONTWAIT) :]
                    if not view:
                        poller.modify(self.fileno(), select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP):
                    ready = self.receive()
                    if not ready:
                        raise SupervisorLost("the container's supervisor has ended without a word")

    def drain(self) -> None:
        """Wait until the other end closes."""
        for _ in self.frames():
            pass

    def close(self) -> None:
        """Close; a supervisor without a job ends."""
        self._socket.close()
        if self._process is not None and self._process.poll() is None:
            # A process that lives on (a server) has to take note of its children's ends; a command leaves that to init.
            start_new_thread(self._process.wait, ())

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SessionStreams:
    """Local descriptors to relay to: -1 for none."""

    def __init__(self, stdin: int = -1, stdout: int = 1, stderr: int = 2) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr


def relay(
    session: Session,
    streams: SessionStreams,
    *,
    filter_input: Callable[[bytes], tuple[bytes, bool]] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Copy until the container exits (its EXITED value) or `filter_input` says that the user detaches (None).

    Raises SupervisorLost when the supervisor dies, BrokenPipeError when our output has no reader any more."""
    poller = select.poll()
    poller.register(session.fileno(), select.POLLIN)
    if streams.stdin >= 0:
        poller.register(streams.stdin, select.POLLIN)
    ready = session.pending()
    while True:
        for at, (kind, body) in enumerate(ready):
            if kind in (frames.STDOUT, frames.STDERR):
                target = streams.stdout if kind == frames.STDOUT else streams.stderr
                if target >= 0:
                    _write(target, body)
            elif kind == frames.EXITED:
                session._ready = ready[at + 1 :]
                value: dict[str, Any] = frames.value(body)
                return value
        ready = []
        for fd, _ in poller.poll():
            if fd == session.fileno():
                ready = session.receive()
                if not ready:
                    raise SupervisorLost("the container's supervisor has ended without a word")
            elif not _input(session=session, fd=fd, filter_input=filter_input, poller=poller):
                return None
        if stop():
            return None


def _input(
    session: Session, fd: int, filter_input: Callable[[bytes], tuple[bytes, bool]] | None, poller: select.poll
) -> bool:
    data = os.read(fd, _CHUNK)
    if not data:
        poller.unregister(fd)
        session.send(frames.STDIN_END)
        return True
    detached = False
    if filter_input is not None:
        data, detached = filter_input(data)
    if data:
        session.send_input(data)
    return not detached


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()


def wait_gone(pid: int, seconds: float = 10.0) -> bool:
    """Wait for a process, which need not be a child, to end."""
    if pid <= 0:
        return True
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if time.monotonic() >= deadline:
                return False
        return True
    finally:
        os.close(fd)
