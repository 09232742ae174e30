"""The container's standard streams: pipes or a terminal, to the log and to the attached clients."""

from __future__ import annotations

import fcntl
import os
import select
from _struct import pack

from boxwright.container import frames
from boxwright.container.supervisor.logfile import LogFile
from boxwright.container.supervisor.loop import Client, Loop
from boxwright.runtime.lastwords import docker_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CHUNK = 64 << 10
_TIOCSWINSZ = 0x5414
_INPUT_FULL = 256 << 10


class Streams:
    """Made anew at each start of the container's process."""

    def __init__(
        self,
        loop: Loop,
        log: LogFile,
        clients: Iterable[Client],
        *,
        tty: bool,
        stdin: bool,
        found: Mapping[int, int] | None = None,
    ) -> None:
        """`found` are pipes (our descriptor -> stream) that a process writes to already, in the place of new ones."""
        self._loop, self._log, self._clients = loop, log, clients
        self._tty = tty
        self._input = -1
        self._outputs: dict[int, int] = {}  # our descriptor -> stream
        self._pending: list[bytes] = []
        self._begun: set[int] = set()  # streams that something was said on
        self._ending = False
        self._throttled = False
        self.theirs: tuple[int, int, int]
        if found is not None:
            self.theirs, self._outputs, self._begun = (-1, -1, -1), dict(found), {1, 2}
            return
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if tty:
            self.theirs = (null, null, null)
            return
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self._outputs = {out_read: 1, err_read: 2}
        in_read = null
        if stdin:
            in_read, self._input = os.pipe2(os.O_CLOEXEC)
            os.close(null)
        self.theirs = (in_read, _both_ways(out_write), _both_ways(err_write))

    @property
    def pipes(self) -> list[int]:
        """The inodes of the pipes of streams 1 and 2; none with a terminal."""
        return [] if self._tty else [os.fstat(fd).st_ino for fd in self._outputs]

    def begin(self) -> None:
        """The process has its ends: close ours of them, and read."""
        for fd in set(self.theirs) - {-1}:
            os.close(fd)
        self.theirs = (-1, -1, -1)
        for fd in self._outputs:
            os.set_blocking(fd, False)
        if self._input >= 0:
            os.set_blocking(self._input, False)
        self.resume()

    def terminal(self, fd: int, size: tuple[int, int]) -> None:
        """The master side of the terminal that the runtime made."""
        self._outputs = {fd: 1}
        self._input = fd
        if any(size):
            self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        if self._tty and self._input >= 0:
            try:
                fcntl.ioctl(self._input, _TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))
            except OSError:
                pass

    def resume(self) -> None:
        """Read what the container writes."""
        self._throttled = False
        for fd in self._outputs:
            self._watch(fd)

    def _watch(self, fd: int) -> None:
        events = 0 if self._throttled else select.EPOLLIN
        if fd == self._input and self._pending:
            events |= select.EPOLLOUT
        if not events:  # a watched descriptor would go on to tell of its other end's closing
            self._loop.forget(fd)
            return
        self._loop.watch(fd, events, lambda events, fd=fd: self._ready(fd, events))  # type: ignore[misc]

    def _ready(self, fd: int, events: int) -> None:
        if events & select.EPOLLOUT:
            self._write()
        if (
            fd in self._outputs
            and not self._throttled
            and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
        ):
            self._read(fd)

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no process has the terminal open any more
            data = b""
        stream = self._outputs[fd]
        if not data:
            self._loop.forget(fd)
            del self._outputs[fd]
            if fd == self._input:
                self._input = -1
            os.close(fd)
            return False
        if stream not in self._begun:
            self._begun.add(stream)
            data = docker_line(data)
        self._log.write(stream, data)
        if self._log.lagging:
            self._throttle()
        want = frames.WANT_STDOUT if stream == 1 else frames.WANT_STDERR
        body = frames.frame(stream, data)
        for client in list(self._clients):
            if client.wants & want:
                client.send(body)
                if client.lagging:
                    self._throttle()
        return True

    def _throttle(self) -> None:
        if not self._throttled:
            self._throttled = True
            for output in self._outputs:
                self._watch(output)

    def drain(self) -> None:
        """The process is gone: take what is left in the pipes."""
        for fd in list(self._outputs):
            os.set_blocking(fd, False)
            while fd in self._outputs and self._read(fd):
                pass

    def feed(self, data: bytes) -> bool:
        """Input for the container; false when the sender should wait."""
        if self._input < 0 or self._ending:
            return True
        self._pending.append(data)
        self._write()
        return sum(map(len, self._pending)) < _INPUT_FULL

    def end_input(self) -> None:
        """No more input: the container sees the end, after what it was sent."""
        if not self._tty:
            self._ending = True
            self._write()

    def _write(self) -> None:
        try:
            while self._pending and self._input >= 0:
                count = os.write(self._input, self._pending[0])
                self._pending[0] = self._pending[0][count:]
                if not self._pending[0]:
                    self._pending.pop(0)
        except BlockingIOError:
            pass
        except OSError:  # the process reads it no more
            self._pending = []
            self._ending = not self._tty
        if self._input < 0:
            return
        if self._ending and not self._pending:
            self._loop.forget(self._input)
            os.close(self._input)
            self._input = -1
        elif self._tty:
            self._watch(self._input)
        elif self._pending:
            self._loop.watch(self._input, select.EPOLLOUT, lambda events: self._write())
        else:
            self._loop.forget(self._input)
        if not self._pending:
            for client in list(self._clients):
                client.pause_reading(False)

    def close(self) -> None:
        """Everything, also after a failed start."""
        for fd in {*self._outputs, self._input, *self.theirs} - {-1}:
            self._loop.forget(fd)
            os.close(fd)
        self._outputs, self._input, self.theirs = {}, -1, (-1, -1, -1)


def _both_ways(fd: int) -> int:
    """The same pipe, for reading too. So a container never writes to a pipe without a reader: when its supervisor is
    killed it is not sent SIGPIPE, what it writes stays in the pipe (64 KiB, then it waits), and the next supervisor
    finds it there."""
    try:
        both = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return fd
    os.close(fd)
    return both
