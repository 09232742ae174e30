"""The network of a process that runs: joined to more networks, and taken from some, by a command.

Its namespace is entered for a moment, to open a socket there; the calling thread is back before anything is done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from boxwright.files import syscalls
from boxwright.network.namespace import connect
from boxwright.network.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from boxwright.network.plan import Endpoint

_CLONE_NEWNET = 0x40000000


class LiveNetwork:
    """A context; all raises OSError."""

    def __init__(self, pid: int) -> None:
        self._namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._inside = self._enter()
            try:
                self._outside = Netlink()
            except OSError:
                self._inside.close()
                raise
        except OSError:
            os.close(self._namespace)
            raise

    def _enter(self) -> Netlink:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.libc("setns", self._namespace, _CLONE_NEWNET)
            try:
                return Netlink()
            finally:
                syscalls.libc("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)

    def join(self, endpoint: Endpoint, lock: str) -> None:
        """One more interface; `lock` is the path of the lock of the root's networks. Raises Unfit, too."""
        connect(
            outside=self._outside,
            inside=self._inside,
            namespace=self._namespace,
            endpoint=endpoint,
            lock=lock,
        )

    def leave(self, interface: str) -> None:
        """An interface less; none is no error."""
        index = self._inside.index(interface)
        if index:
            self._inside.delete(index)

    def lead(self, shown: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the ways out: of the endpoints `shown` (`Endpoint.shown`, by network) the one of the highest priority has
        the default route of its family, but none of an internal network."""
        lead(self._inside, shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._outside.close()
        self._inside.close()
        os.close(self._namespace)


def lead(inside: Netlink, shown: Mapping[str, Mapping[str, Any]]) -> None:
    """`LiveNetwork.lead`, by a socket of the namespace."""
    for six, address, gateway in ((False, "address", "gateway"), (True, "address6", "gateway6")):
        leading = [e for e in shown.values() if not e.get("internal") and e.get(address)]
        best = max(leading, key=lambda e: e.get("priority", 0), default=None)
        index = inside.index(best["interface"]) if best is not None else 0
        if best is not None and index:
            inside.add_default_route(index, best[gateway])
        else:
            inside.delete_default_route(six=six)
