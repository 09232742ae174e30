"""Host ports: which are free, and which one to take when any will do."""

from __future__ import annotations

import socket

from boxwright.errors import Conflict

_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class PortTaken(Conflict):
    """Another program, or container, has the port."""


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
        held.bind((address or "0.0.0.0", port))
    except OSError:
        held.close()
        raise
    return held
