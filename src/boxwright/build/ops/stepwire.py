"""Networks that RUN steps of one build use one after the other: to make one takes longer than a short step.

A step finds the network as if it were new. A network is handed to another step only when no process of the first is
left (its PID namespace has ended), when that could not change the network (it was not privileged), and when no socket
is left in it, be it one that waits for late packets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from boxwright.files import syscalls
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.network.namespace import NetworkNamespace

_CLONE_NEWNET = 0x40000000
_SOCKETS = ("sockstat", "sockstat6")  # the lists themselves take milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A network namespace with its way to the bridge. `number` is the descriptor that holds it open, `release` gives
    its address back."""

    number: int
    address: str
    gateway: str
    namespace: NetworkNamespace
    release: Callable[[], None]

    @property
    def path(self) -> str:
        """Where the runtime finds it."""
        return f"/proc/{os.getpid()}/fd/{self.number}"

    def end(self) -> None:
        """Take it down."""
        try:
            self.namespace.down()
        finally:
            self.release()

    def is_quiet(self) -> bool:
        """Whether no socket of the network protocols is left in it."""
        with inside(self.path):
            return not any(map(_sockets, _SOCKETS))


class Wires:
    """Those of a build that no step uses now. Safe to use from several threads."""

    def __init__(self) -> None:
        self._free: list[Wire] = []
        self._lock = threading.Lock()

    def take(self) -> Wire | None:
        """One for a step's own use, if there is any."""
        with self._lock:
            return self._free.pop() if self._free else None

    def give(self, wire: Wire) -> None:
        """Let the next step have it, if nothing is left in it."""
        quiet = False
        try:
            quiet = wire.is_quiet()
        finally:
            if not quiet:
                wire.end()
        if quiet:
            with self._lock:
                self._free.append(wire)

    def close(self) -> None:
        """Take all down."""
        while (wire := self.take()) is not None:
            wire.end()


def _sockets(table: str) -> int:
    """How many a summary counts, those that wait for late packets too. What it says of the whole host is left out."""
    try:
        with open(f"/proc/thread-self/net/{table}") as lines:
            words = [line.split() for line in lines]
    except FileNotFoundError:
        return 0  # the kernel does not have the protocol
    return sum(
        int(value) for line in words for name, value in zip(line[1::2], line[2::2]) if name in ("inuse", "tw")
    )


@contextmanager
def inside(network: str | None) -> Iterator[None]:
    """Run the block, in this thread, in a network namespace; None is this process's own."""
    if network is None:
        yield
        return
    with open("/proc/thread-self/ns/net", "rb", 0) as own, open(network, "rb", 0) as other:
        syscalls.libc("setns", other.fileno(), _CLONE_NEWNET)
        try:
            yield
        finally:
            syscalls.libc("setns", own.fileno(), _CLONE_NEWNET)
