"""Rules that were removed from the host's firewall, and tables that were added, as the kernel tells of them: it sends
each change of nftables to a group of netlink (nfnetlink(7), NFNLGRP_NFTABLES).

A filter on the socket (socket(7), SO_ATTACH_FILTER) lets these through alone, so that the supervisor sleeps through
all other changes. A host with the older (legacy) iptables sends nothing. Imported by the supervisor: C
modules only.
"""

from __future__ import annotations

import sys
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET, socket
from _struct import pack
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NETLINK_NETFILTER, _SO_ATTACH_FILTER = 12, 26
_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES = 270, 1, 7
_NEWTABLE, _DELRULE = 0, 8  # NFT_MSG_NEWTABLE, NFT_MSG_DELRULE
_MESSAGES = 8  # of one datagram that the filter looks at; a longer one is let through
_ENOUGH = 1 << 17
# Where nlmsghdr has the two low bytes of its length, and the low one of its type.
_LOW, _HIGH, _TYPE = (0, 1, 4) if sys.byteorder == "little" else (3, 2, 5)


class Removals:
    """The socket, of the network namespace that is current when it is made. Raises OSError where the kernel has no
    nftables."""

    def __init__(self) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, _NETLINK_NETFILTER)
        try:
            code = array("B", program())
            self._socket.setsockopt(
                SOL_SOCKET, _SO_ATTACH_FILTER, pack("HP", len(code) // 8, code.buffer_info()[0])
            )
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Ready to be read when rules were removed or tables added."""
        return self._socket.fileno()

    def named(self, tags: Sequence[bytes]) -> bool:
        """Read what was told; whether a removed rule or a new table may have one of these in it."""
        found = False
        while True:
            try:
                data = self._socket.recv(_ENOUGH)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: more was removed than there was room to tell
                found = True
                continue
            found = found or any(tag in data for tag in tags)

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()


def program() -> bytes:
    """The filter, for the kernel's classic BPF machine: it accepts a packet when one of its first messages is such a
    one, or when it has more messages than are looked at. X is where a message begins; a load behind the packet's
    end rejects it."""

    def instruction(code: int, value: int = 0, then: int = 0) -> bytes:
        return pack("HBBI", code, then, 0, value)

    steps = [instruction(0x01)]  # X = 0
    end = 1 + 13 * _MESSAGES
    for _ in range(_MESSAGES):
        steps.append(instruction(0x50, _TYPE))  # A = the type's byte
        for kind in (_NEWTABLE, _DELRULE):
            steps.append(instruction(0x15, kind, end - len(steps) - 1))  # go to the end when it is one
        steps += [
            instruction(0x50, _HIGH),
            instruction(0x64, 8),  # A <<= 8
            instruction(0x0C),  # A += X
            instruction(0x02),  # M[0] = A
            instruction(0x50, _LOW),
            instruction(0x61),  # X = M[0]
            instruction(0x0C),
            instruction(0x04, 3),  # to a multiple of four …
            instruction(0x54, 0xFFFFFFFC),
            instruction(0x07),  # X = A
        ]
    return b"".join([*steps, instruction(0x06, 0xFFFFFFFF)])  # the whole datagram
