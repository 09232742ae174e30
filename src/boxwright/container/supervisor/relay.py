"""Published ports on the host's IPv6 addresses for containers that have IPv4 only, and at ::1 for all: no rule
translates between the families, and the kernel forwards nothing from ::1. A client that connects to `localhost`, which
is ::1 first, is relayed by the supervisor (by docker-proxy in Docker)."""

from __future__ import annotations

import os
import select
from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SHUT_WR,
    SO_ERROR,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from boxwright.container.supervisor.runner import accept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from boxwright.container.supervisor.loop import Loop
    from boxwright.network.plan import Port

_CHUNK = 64 << 10
_PAUSE = 1.0  # seconds without new connections when there are no descriptors left
_IDLE, _MOST = 60.0, 512  # of UDP's senders: how long and how many are remembered
_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC


class Relays:
    """Every port of one container that is published at an IPv6 address.

    Listens from the beginning; `close` ends what is open too. Raises OSError, with the address as its file name."""

    def __init__(self, loop: Loop, ports: Iterable[Port]) -> None:
        self._open: list[_Streams | _Datagrams] = []
        try:
            for port in ports:
                kind = _Datagrams if port.protocol == "udp" else _Streams
                self._open.append(kind(loop, (port.host_ip, port.host_port), (port.address, port.port)))
        except OSError as error:
            self.close()
            raise OSError(error.errno, error.strerror, f"[{port.host_ip}]:{port.host_port}") from error

    def close(self) -> None:
        """Idempotent."""
        for relay in self._open:
            relay.close()
        self._open = []


def _family(target: tuple[str, int]) -> int:
    return AF_INET6 if ":" in target[0] else AF_INET


def _bound(kind: int, where: tuple[str, int]) -> socket:
    found = socket(AF_INET6, kind | _FLAGS)
    try:
        found.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        if kind == SOCK_STREAM:
            found.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        found.bind(where)
        if kind == SOCK_STREAM:
            found.listen(128)
    except OSError:
        found.close()
        raise
    return found


class _Streams:
    """TCP: one listener and its connections."""

    def __init__(self, loop: Loop, where: tuple[str, int], target: tuple[str, int]) -> None:
        self._loop, self._target = loop, target
        self._links: set[_Link] = set()
        self._listener = _bound(SOCK_STREAM, where)
        self._timer = 0
        self._listen()

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, events: int) -> None:
        try:
            fd = accept(self._listener)
        except BlockingIOError:
            return
        except OSError:  # no descriptors left, or the caller has gone
            self._loop.forget(self._listener.fileno())
            self._timer = self._loop.after(_PAUSE, self._listen)
            return
        os.set_inheritable(fd, False)
        outside = socket(fileno=fd)
        outside.setblocking(False)
        try:
            inside = socket(_family(self._target), SOCK_STREAM | _FLAGS)
        except OSError:
            outside.close()
            return
        self._links.add(
            _Link(
                loop=self._loop,
                outside=outside,
                inside=inside,
                target=self._target,
                closed=self._links.discard,
            )
        )

    def close(self) -> None:
        self._loop.cancel(self._timer)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for link in list(self._links):
            link.close()


class _Link:
    """Two connected sockets; what comes in at one goes out at the other, as fast as that one takes it."""

    def __init__(
        self, loop: Loop, outside: socket, inside: socket, target: tuple[str, int], closed: Any
    ) -> None:
        self._loop, self._closed = loop, closed
        self._ends = (outside, inside)
        self._waiting = [b"", b""]  # for each end: what it has not taken yet
        self._ended = [False, False]  # whether it sends no more
        self._connecting = True
        try:
            inside.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._update()

    def _update(self) -> None:
        for at, end in enumerate(self._ends):
            events = 0
            if self._waiting[at] or (at == 1 and self._connecting):
                events |= select.EPOLLOUT
            if not self._ended[at] and not self._waiting[1 - at] and not self._connecting:
                events |= select.EPOLLIN
            if events:
                self._loop.watch(
                    end.fileno(),
                    events,
                    lambda events, at=at: self._ready(at, events),  # type: ignore[misc]
                )
            else:
                self._loop.forget(end.fileno())

    def _ready(self, at: int, events: int) -> None:
        try:
            if at == 1 and self._connecting:
                failed = self._ends[1].getsockopt(SOL_SOCKET, SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed))
                self._connecting = False
            if self._waiting[at]:
                self._send(at, self._waiting[at])
            elif events & ~select.EPOLLOUT and not self._ended[at] and not self._waiting[1 - at]:
                self._receive(at)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if all(self._ended) and not any(self._waiting):
            self.close()
        else:
            self._update()

    def _receive(self, at: int) -> None:
        data = self._ends[at].recv(_CHUNK)
        if data:
            self._send(1 - at, data)
        else:
            self._ended[at] = True
            self._ends[1 - at].shutdown(SHUT_WR)

    def _send(self, at: int, data: bytes) -> None:
        try:
            sent = self._ends[at].send(data)
        except BlockingIOError:
            sent = 0
        self._waiting[at] = data[sent:]

    def close(self) -> None:
        for end in self._ends:
            if end.fileno() >= 0:
                self._loop.forget(end.fileno())
                end.close()
        self._closed(self)


class _Datagrams:
    """UDP: a socket of its own towards the container for each sender, so that answers find back."""

    def __init__(self, loop: Loop, where: tuple[str, int], target: tuple[str, int]) -> None:
        self._loop, self._target = loop, target
        self._listener = _bound(SOCK_DGRAM, where)
        self._senders: dict[
            Any, list[Any]
        ] = {}  # address -> [socket, whether it was heard of since the last look]
        self._timer = loop.after(_IDLE, self._look)
        loop.watch(self._listener.fileno(), select.EPOLLIN, self._receive)

    def _receive(self, events: int) -> None:
        try:
            data, sender = self._listener.recvfrom(_CHUNK)
            known = self._senders.get(sender) or self._meet(sender)
            known[1] = True
            known[0].send(data)
        except OSError:  # datagrams may be lost
            pass

    def _meet(self, sender: Any) -> list[Any]:
        if len(self._senders) >= _MOST:
            self._drop(next(iter(self._senders)))
        inside = socket(_family(self._target), SOCK_DGRAM | _FLAGS)
        inside.connect(self._target)
        self._loop.watch(inside.fileno(), select.EPOLLIN, lambda events: self._answer(inside, sender))
        known = self._senders[sender] = [inside, True]
        return known

    def _answer(self, inside: socket, sender: Any) -> None:
        try:
            self._listener.sendto(inside.recv(_CHUNK), sender)
        except OSError:
            pass

    def _look(self) -> None:
        for sender, known in list(self._senders.items()):
            if known[1]:
                known[1] = False
            else:
                self._drop(sender)
        self._timer = self._loop.after(_IDLE, self._look)

    def _drop(self, sender: Any) -> None:
        inside = self._senders.pop(sender)[0]
        self._loop.forget(inside.fileno())
        inside.close()

    def close(self) -> None:
        self._loop.cancel(self._timer)
        for sender in list(self._senders):
            self._drop(sender)
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
