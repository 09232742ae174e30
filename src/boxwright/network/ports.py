"""Host ports: which are free, and which one to take when any will do."""

from __future__ import annotations

import errno
import os
import socket

from boxwright.errors import Conflict, Unsupported

_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class PortTaken(Conflict):
    """Another program, or container, has the port."""


class NoRelay(Unsupported):
    """Nothing hands the protocol on from IPv6 to a container."""


def is_free(protocol: str, address: str, port: int) -> bool:
    """Whether a program could listen there now."""
    try:
        reserve(protocol, address, port).close()
    except OSError:
        return False
    return True


def reserve(protocol: str, address: str, port: int) -> socket.socket:
    """A socket that holds the port (0 = any free one) while rules are made. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    held = socket.socket(family, _TYPES.get(protocol, socket.SOCK_STREAM))
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if (
                protocol != "udp"
            ):  # connections that ended a moment ago, through a relay, keep the port from no other
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address or "0.0.0.0", port))
    except OSError:
        held.close()
        raise
    return held


def publishable(
    protocol: str, address: str, port: int, *, six: bool = False
) -> tuple[int, list[str], socket.socket | None]:
    """The host port (0 = any free one), the addresses to publish it at, and a socket that holds it meanwhile. No
    address is all of the host's: '' for IPv4, and '::' where there is IPv6. `six` says that the container has IPv6.
    Raises PortTaken, NoRelay."""
    if ":" in address and protocol == "sctp" and (not six or address == "::1"):
        raise NoRelay(
            "sctp ports are handed on from no IPv6 address" + (" of the host alone" if six else ""),
            hint="give the container a network with --ipv6" if not six else "",
        )
    for last in (*[False] * 15, True):
        try:
            held = reserve(protocol, address, port)
        except OSError as error:
            raise _taken(address or "0.0.0.0", port, error) from error
        number = int(held.getsockname()[1])
        if ":" in address:  # its listener is the supervisor's
            held.close()
            return number, [address], None
        if address or (protocol == "sctp" and not six) or not os.path.exists("/proc/net/if_inet6"):
            return number, [address], held
        try:
            reserve(protocol, "::", number).close()
            return number, ["", "::"], held
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # IPv6 is switched off
                return number, [""], held
            held.close()
            if port or last:
                raise _taken("::", number, error) from error
    raise AssertionError("unreachable")


def _taken(address: str, port: int, error: OSError) -> PortTaken:
    shown = f"[{address}]" if ":" in address else address
    return PortTaken(f"failed to bind host port for {shown}:{port}: {(error.strerror or str(error)).lower()}")
