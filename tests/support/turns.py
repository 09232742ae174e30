"""A supervisor's loop that a test turns by hand, and a client that keeps what it is sent."""

from __future__ import annotations

import select
from collections.abc import Callable

from boxwright.container import frames


class Turns:
    """Nothing is called but by `turn`, `due` and `end`: no signal of the test's process is touched."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[int, Callable[[int], None]]] = {}
        self.timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self.children: dict[int, Callable[[int], None]] = {}
        self.running = True
        self._count = 0

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self.watched[fd] = (events, handler)

    def forget(self, fd: int) -> None:
        self.watched.pop(fd, None)

    def child(self, pid: int, handler: Callable[[int], None]) -> None:
        self.children[pid] = handler

    def after(self, seconds: float, handler: Callable[[], None]) -> int:
        self._count += 1
        self.timers[self._count] = (seconds, handler)
        return self._count

    def cancel(self, number: int) -> None:
        self.timers.pop(number, None)

    def turn(self, seconds: float = 0.0) -> bool:
        """Call the handlers of what is ready; whether there was any."""
        poller = select.poll()
        for fd, (events, _) in self.watched.items():
            poller.register(fd, events)  # poll's bits are epoll's
        ready = poller.poll(seconds * 1000)
        for fd, events in ready:
            if fd in self.watched:
                self.watched[fd][1](events)
        return bool(ready)

    def settle(self) -> None:
        """Until nothing is ready any more."""
        while self.turn():
            pass

    def due(self) -> float:
        """Call the one timer that is set; after how many seconds it would have been called."""
        ((number, (seconds, handler)),) = self.timers.items()
        del self.timers[number]
        handler()
        return seconds

    def end(self, pid: int, status: int) -> None:
        """A child has ended with this wait status."""
        self.children.pop(pid)(status)


class Listener:
    """A client of the supervisor's: `lags` after so many frames."""

    def __init__(self, wants: int, lags: int = 0) -> None:
        self.wants, self._lags = wants, lags
        self.sent: list[tuple[int, bytes]] = []
        self.lagging = False
        self.paused = False
        self.closed = False
        self.owner = False

    def send(self, data: bytes) -> None:
        self.sent += frames.Decoder().feed(data)
        self.lagging = 0 < self._lags <= len(self.sent)

    def pause_reading(self, paused: bool) -> None:
        self.paused = paused

    def said(self, stream: int) -> bytes:
        """All output of one stream."""
        return b"".join(body for kind, body in self.sent if kind == stream)
