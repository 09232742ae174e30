"""Just enough netlink to build a bridge network: links, addresses, routes (rtnetlink(7)), and whether rules are there.

Written out because pyroute2 takes 240 ms to import and the `ip` program 3 ms a call; setting a container's network
up takes eight messages, a tenth of a millisecond each but for what the kernel itself needs. Imported by the
supervisor: C modules only.
"""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, inet_pton, socket
from _struct import pack, unpack_from

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 20, 21, 22, 24, 25, 26
_REQUEST, _ACK, _DUMP, _CREATE, _EXCLUSIVE, _REPLACE = 0x1, 0x4, 0x300, 0x400, 0x200, 0x100
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
_IFLA_LINK, _IFLA_IFALIAS = 5, 20
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_MODE = 4, 5, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_FLAGS, _IFA_PROTO = 1, 2, 3, 4, 8, 11
_NO_DAD = 2  # IFA_F_NODAD: whether an IPv6 address is another's, too, is our own knowledge
_OURS = 0xB0  # IFA_PROTO of an IPv6 address that a label would be given to, could it have one
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN, _BOOT, _UNICAST, _PROHIBIT = 254, 3, 1, 8  # of routes: table, protocol, types
_UNIVERSE, _LINK, _NOWHERE = 0, 253, 255  # scopes
_UP, _LOOPBACK = 1, 8
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NETLINK_NETFILTER = 12
INET, IPV4, IPV6 = 1, 2, 10  # families of tables of rules: NFPROTO_INET is both
_NFTA_RULE_TABLE, _NFTA_RULE_CHAIN = 1, 2
_GET_RULES = (10 << 8) | 7  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return pack("HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def _name(text: str) -> bytes:
    return attribute(_IFLA_IFNAME, text.encode() + b"\0")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return pack("BxHiII", 0, 0, index, flags, change)


def _route(
    family: int,
    *,
    prefix: int = 0,
    table: int = _MAIN,
    protocol: int = 0,
    scope: int = _UNIVERSE,
    kind: int = 0,
) -> bytes:
    """A struct rtmsg of rtnetlink(7); `prefix` is of the destination."""
    return bytes((family, prefix, 0, 0, table, protocol, scope, kind)) + pack("I", 0)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


class Link:
    """One interface: `kind` is bridge, veth, … ('' for hardware), `mac` its address as text, `master` its bridge's
    index or 0, `alias` a remark."""

    __slots__ = ("alias", "index", "kind", "loopback", "mac", "master", "name", "up")

    def __init__(self, reply: bytes) -> None:
        values = dict(_attributes(reply, 16))
        info = dict(_attributes(values.get(_IFLA_LINKINFO, b""), 0))
        index, flags = unpack_from("BxHiI", reply)[2:]
        self.index, self.up, self.loopback = int(index), bool(flags & _UP), bool(flags & _LOOPBACK)
        self.alias = os.fsdecode(values.get(_IFLA_IFALIAS, b"").rstrip(b"\0"))
        self.name = os.fsdecode(values[_IFLA_IFNAME].rstrip(b"\0"))
        self.kind = info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
        self.mac = values.get(_IFLA_ADDRESS, b"").hex(":") if values.get(_IFLA_ADDRESS) else ""
        self.master = int(unpack_from("I", values[_IFLA_MASTER])[0]) if _IFLA_MASTER in values else 0


class _Socket:
    """A socket in the network namespace that was current when it was made. Calls raise OSError."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _request(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        self._sequence += 1
        self._socket.send(
            pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0) + body
        )
        replies: list[bytes] = []
        while True:
            data = self._socket.recv(1 << 17)
            at = 0
            while at < len(data):
                length, reply, _, sequence, _ = unpack_from("IHHII", data, at)
                if sequence == self._sequence:
                    if reply == _NLMSG_ERROR:
                        code = -unpack_from("i", data, at + 16)[0]
                        if code:
                            raise OSError(code, os.strerror(code))
                        return replies
                    if reply == _NLMSG_DONE:
                        return replies
                    replies.append(data[at + 16 : at + length])
                at += (length + 3) & ~3


class Rules(_Socket):
    """The kernel's tables of rules of one family, looked at."""

    def __init__(self, family: int) -> None:
        super().__init__(_NETLINK_NETFILTER)
        self._family = family

    def chain(self, table: str, chain: str) -> list[bytes]:
        """A chain's rules as the kernel writes them; texts such as comments are in them as they are."""
        body = pack("BBH", self._family, 0, 0) + attribute(_NFTA_RULE_TABLE, table.encode() + b"\0")
        body += attribute(_NFTA_RULE_CHAIN, chain.encode() + b"\0")
        return self._request(_GET_RULES, _DUMP, body)


class Netlink(_Socket):
    """Links, addresses and routes."""

    def add_bridge(self, name: str, *, mtu: int = 0, mac: str = "") -> None:
        """A bridge; FileExistsError when there is one."""
        info = attribute(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, b"bridge"))
        extra = attribute(_IFLA_MTU, pack("I", mtu)) if mtu else b""
        extra += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""
        self._request(RTM_NEWLINK, _CREATE | _EXCLUSIVE, _link() + _name(name) + extra + info)

    def add_veth(
        self, name: str, peer: str, *, master: int, peer_namespace: int, peer_mac: str, mtu: int = 0
    ) -> None:
        """A pair: `name` here, up, as a port of the bridge `master`; `peer` inside the namespace of a descriptor."""
        size = attribute(_IFLA_MTU, pack("I", mtu)) if mtu else b""
        inside = _link() + _name(peer) + size + attribute(_IFLA_NET_NS_FD, pack("I", peer_namespace))
        inside += attribute(_IFLA_ADDRESS, bytes.fromhex(peer_mac.replace(":", "")))
        info = attribute(_IFLA_INFO_KIND, b"veth") + attribute(_IFLA_INFO_DATA, attribute(_VETH_PEER, inside))
        body = (
            _link(flags=_UP, change=_UP)
            + _name(name)
            + size
            + attribute(_IFLA_MASTER, pack("I", master))
            + attribute(_IFLA_LINKINFO, info)
        )
        self._request(RTM_NEWLINK, _CREATE | _EXCLUSIVE, body)

    def add_child(
        self,
        name: str,
        *,
        kind: str,
        parent: int,
        settings: bytes,
        namespace: int = -1,
        mac: str = "",
        alias: str = "",
    ) -> None:
        """A link that shares `parent`'s (0 = none): macvlan, ipvlan, vlan or dummy, with the `settings` of its kind, in
        the namespace of a descriptor, or here."""
        body = _link() + _name(name)
        body += attribute(_IFLA_LINK, pack("I", parent)) if parent else b""
        body += attribute(_IFLA_NET_NS_FD, pack("I", namespace)) if namespace >= 0 else b""
        body += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""
        info = attribute(_IFLA_INFO_KIND, kind.encode())
        info += attribute(_IFLA_INFO_DATA, settings) if settings else b""
        self._request(RTM_NEWLINK, _CREATE | _EXCLUSIVE, body + attribute(_IFLA_LINKINFO, info))
        if alias:
            self._request(
                RTM_NEWLINK, 0, _link() + _name(name) + attribute(_IFLA_IFALIAS, alias.encode() + b"\0")
            )

    def hairpin(self, name: str) -> None:
        """Let a port of a bridge have back what it sent: a container that asks for its own published port."""
        info = attribute(_IFLA_INFO_SLAVE_KIND, b"bridge")
        info += attribute(_IFLA_INFO_SLAVE_DATA, attribute(_IFLA_BRPORT_MODE, b"\1"))
        self._request(RTM_NEWLINK, 0, _link() + _name(name) + attribute(_IFLA_LINKINFO, info))

    def up(self, index: int) -> None:
        """Set a link up."""
        self._request(RTM_NEWLINK, 0, _link(index, _UP, _UP))

    def delete(self, index: int) -> None:
        """Remove a link (the other end of a pair with it)."""
        self._request(RTM_DELLINK, 0, _link(index))

    def link(self, name: str) -> Link | None:
        """None when there is none of this name."""
        try:
            reply = self._request(RTM_GETLINK, 0, _link() + _name(name))
        except OSError as error:
            if error.errno in (19, 2):  # ENODEV, ENOENT
                return None
            raise
        return Link(reply[0]) if reply else None

    def index(self, name: str) -> int:
        """A link's index; 0 when there is none."""
        found = self.link(name)
        return found.index if found else 0

    def links(self) -> list[Link]:
        """All of them."""
        return [Link(reply) for reply in self._request(RTM_GETLINK, _DUMP, _link())]

    def add_address(self, index: int, address: str, prefix: int, *, label: str = "") -> None:
        """An address on a link, with a label perhaps; FileExistsError when it is there."""
        packed = _packed(address)
        family = AF_INET if len(packed) == 4 else AF_INET6
        body = (
            pack("BBBBI", family, prefix, 0, 0, index)
            + attribute(_IFA_LOCAL, packed)
            + attribute(_IFA_ADDRESS, packed)
        )
        if family == AF_INET:
            host = (1 << (32 - prefix)) - 1
            body += attribute(_IFA_BROADCAST, (int.from_bytes(packed, "big") | host).to_bytes(4, "big"))
        else:
            body += attribute(_IFA_FLAGS, pack("I", _NO_DAD))
        if label:
            body += _label(family, label)
        self._request(RTM_NEWADDR, _CREATE | _EXCLUSIVE, body)

    def delete_address(self, index: int, address: str, prefix: int, *, label: str) -> bool:
        """Take an address away, if it was added with this label; whether it was."""
        packed = _packed(address)
        family = AF_INET if len(packed) == 4 else AF_INET6
        body = pack("BBBBI", family, prefix, 0, 0, index) + attribute(_IFA_LOCAL, packed)
        try:
            if family == AF_INET6 and not self._labelled(index, packed):
                return False
            self._request(RTM_DELADDR, 0, body + (_label(family, label) if family == AF_INET else b""))
        except OSError as error:
            if error.errno == 99:  # EADDRNOTAVAIL
                return False
            raise
        return True

    def _labelled(self, index: int, packed: bytes) -> bool:
        for reply in self._request(RTM_GETADDR, _DUMP, pack("BBBBI", AF_INET6, 0, 0, 0, 0)):
            found = dict(_attributes(reply, 8))
            if unpack_from("I", reply, 4)[0] == index and found.get(_IFA_ADDRESS) == packed:
                return found.get(_IFA_PROTO) == bytes([_OURS])
        return False

    def add_default_route(self, index: int, gateway: str) -> None:
        """Everything else goes through `gateway` (0.0.0.0 or ::, out of the link itself), instead of another way."""
        packed = _packed(gateway)
        family = AF_INET if len(packed) == 4 else AF_INET6
        way = attribute(_RTA_GATEWAY, packed) if any(packed) else b""
        body = _route(family, protocol=_BOOT, scope=_UNIVERSE if way else _LINK, kind=_UNICAST)
        self._request(RTM_NEWROUTE, _CREATE | _REPLACE, body + way + attribute(_RTA_OIF, pack("I", index)))

    def delete_default_route(self, *, six: bool = False) -> None:
        """Nothing else goes anywhere; none is no error."""
        body = _route(AF_INET6 if six else AF_INET, scope=_NOWHERE)
        try:
            self._request(RTM_DELROUTE, 0, body)
        except OSError as error:
            if error.errno not in (2, 3):  # ENOENT (no table), ESRCH
                raise

    def prohibit(self, address: str, prefix: int) -> None:
        """Nothing is sent to these IPv4 addresses."""
        body = _route(AF_INET, prefix=prefix, protocol=_BOOT, kind=_PROHIBIT)
        self._request(RTM_NEWROUTE, _CREATE, body + attribute(_RTA_DST, _packed(address)))

    def destinations(self, *, six: bool = False) -> list[tuple[bytes, int]]:
        """Networks of the main table, as packed address and prefix length: what a new network must not overlap."""
        found = []
        family = AF_INET6 if six else AF_INET
        for reply in self._request(RTM_GETROUTE, _DUMP, _route(family, table=0)):
            length, table = reply[1], reply[4]
            values = dict(_attributes(reply, 12))
            if table == _MAIN and length and _RTA_DST in values:
                found.append((values[_RTA_DST], int(length)))
        return found


def _label(family: int, label: str) -> bytes:
    """IPv6 addresses have none, but a number that says who made them."""
    return (
        attribute(_IFA_LABEL, label.encode() + b"\0")
        if family == AF_INET
        else attribute(_IFA_PROTO, bytes([_OURS]))
    )


def _attributes(data: bytes, at: int) -> list[tuple[int, bytes]]:
    found = []
    while at + 4 <= len(data):
        length, kind = unpack_from("HH", data, at)
        if length < 4:
            break
        found.append((kind & 0x3FFF, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return found
