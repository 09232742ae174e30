"""The supervisor's event loop (descriptors, child processes, timers) and its connections."""

from __future__ import annotations

import os
import select
import time

from boxwright.container import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from _socket import socket
    from collections.abc import Callable
else:
    import _signal

_SIGCHLD = 17
_IGNORED = (1, 2, 3, 13, 15)  # HUP INT QUIT PIPE TERM: ends with its container, not before
_LONGEST = 86400.0  # seconds of one wait: epoll counts milliseconds in 32 bits
_CHUNK = 64 << 10
QUEUE_FULL = 1 << 20  # bytes that one slow client may lag behind before the container has to wait
_QUEUE_LOW = 256 << 10


class Loop:
    """Callbacks by descriptor, by child, by time. Single-threaded."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._children: dict[int, Callable[[int], None]] = {}
        self.running = True
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = (read, write)
        _signal.signal(_SIGCHLD, lambda number, frame: None)
        _signal.set_wakeup_fd(write)
        for number in _IGNORED:
            _signal.signal(number, _signal.SIG_IGN)
        self.watch(read, select.EPOLLIN, self._woken)

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler(events)` when the descriptor is ready; replaces an earlier watch."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def child(self, pid: int, handler: Callable[[int], None]) -> None:
        """Call `handler(wait status)` once the child has ended."""
        self._children[pid] = handler

    def after(self, seconds: float, handler: Callable[[], None]) -> int:
        """Call once after a time; returns a number for `cancel`."""
        self._count += 1
        self._timers.append((time.monotonic() + seconds, self._count, handler))
        self._timers.sort(key=lambda timer: timer[0])
        return self._count

    def cancel(self, number: int) -> None:
        """Forget a timer; unknown ones are fine."""
        self._timers = [timer for timer in self._timers if timer[1] != number]

    def run(self) -> None:
        """Until `running` is false."""
        self._reap()
        while self.running:
            wait = min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST) if self._timers else -1
            for fd, events in self._epoll.poll(wait):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            while self.running and self._timers and self._timers[0][0] <= time.monotonic():
                self._timers.pop(0)[2]()

    def _woken(self, events: int) -> None:
        try:
            os.read(self._wake[0], 4096)
        except BlockingIOError:
            pass
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            handler = self._children.pop(pid, None)
            if handler is not None:
                handler(status)


class Client:
    """One connection. `wants` has the bits of its HELLO."""

    def __init__(
        self,
        loop: Loop,
        connection: socket,
        on_frame: Callable[[Client, int, bytes], None],
        on_close: Callable[[Client], None],
        on_drain: Callable[[], None],
    ) -> None:
        self.wants = 0
        self.owner = False
        self._loop, self._socket = loop, connection
        self._on_frame, self._on_close, self._on_drain = on_frame, on_close, on_drain
        self._decoder = frames.Decoder()
        self._queue: list[bytes] = []
        self._queued = 0
        self._closing = False
        self._reading = True
        self.closed = False
        self.lagging = False  # it should catch up before it gets more
        connection.setblocking(False)
        loop.watch(connection.fileno(), select.EPOLLIN, self._ready)

    def send(self, data: bytes) -> None:
        """Send now or later, in order."""
        if self.closed:
            return
        if not self._queue:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            data = data[sent:]
            if not data:
                return
        self._queue.append(data)
        self._queued += len(data)
        self.lagging = self.lagging or self._queued > QUEUE_FULL
        self._watch()

    def finish(self) -> None:
        """Close once everything is sent."""
        self._closing = True
        if not self._queue:
            self.close()

    def pause_reading(self, paused: bool) -> None:
        """Stop or go on taking its input."""
        if self._reading == paused and not self.closed:
            self._reading = not paused
            self._watch()

    def flush(self, seconds: float) -> None:
        """Block until everything is sent, or the time is over: for the last words."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        if self.closed:
            return
        poller.register(self._socket.fileno(), select.POLLOUT)
        while self._queue and not self.closed and (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                self._write()

    def close(self) -> None:
        """Close now."""
        if not self.closed:
            self.closed = True
            self._queue, self._queued, self.lagging = [], 0, False
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._on_close(self)

    def _watch(self) -> None:
        events = (select.EPOLLIN if self._reading else 0) | (select.EPOLLOUT if self._queue else 0)
        self._loop.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._write()
        if self.closed or not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, body in self._decoder.feed(data):
                if not self._gone():
                    self._on_frame(self, kind, body)
        except (ValueError, EOFError, TypeError):  # not one of ours
            self.close()

    def _gone(self) -> bool:
        return self.closed

    def _write(self) -> None:
        try:
            while self._queue:
                sent = self._socket.send(self._queue[0])
                self._queued -= sent
                if sent < len(self._queue[0]):
                    self._queue[0] = self._queue[0][sent:]
                    break
                self._queue.pop(0)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._closing and not self._queue:
            self.close()
            return
        self._watch()
        if self.lagging and self._queued < _QUEUE_LOW:
            self.lagging = False
            self._on_drain()
