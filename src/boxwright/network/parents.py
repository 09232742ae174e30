"""Interfaces of the host that macvlan and ipvlan networks share with it (the kernel's documentation, ipvlan.rst).

A parent ``eth0.10`` that is not there is made of eth0 (VLAN 10), and a network without a parent gets a dummy of its
own. Both carry a remark with the network's id, by which alone we know them again: another interface is never removed.
Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import errno
from _struct import pack

from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.network.netlink import Link, Netlink, attribute
from boxwright.network.values import Unfit, identity, interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.network.plan import Endpoint

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
_MODE, _FLAGS, _VLAN_ID = 1, 2, 1  # IFLA_MACVLAN_MODE or IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, IFLA_VLAN_ID
_REMARK = "boxwright-net:"


class NoParent(OSError):
    """The host has no interface that could be a network's parent."""


def add_child(netlink: Netlink, endpoint: Endpoint, namespace: int, lock: str) -> None:
    """A container's interface, in the namespace of a descriptor; its parent is made when it is missing. Raises
    NoParent, OSError, Unfit."""
    with Lock.at(locks.NETWORK, lock):
        parent = _ensure(netlink, endpoint.parent, endpoint.id)
        netlink.add_child(
            endpoint.interface,
            kind=endpoint.driver,
            parent=parent.index,
            settings=settings(endpoint.driver, endpoint.mode),
            namespace=namespace,
            mac=endpoint.mac if endpoint.driver == "macvlan" else "",
        )


def settings(driver: str, mode: str) -> bytes:
    """What the kernel is told of a new link; `mode` is macvlan's, or ``mode,flag`` of ipvlan."""
    if driver == "macvlan":
        return attribute(_MODE, pack("I", MACVLAN_MODES[mode]))
    name, _, flag = mode.partition(",")
    return attribute(_MODE, pack("H", IPVLAN_MODES[name])) + attribute(
        _FLAGS, pack("H", IPVLAN_FLAGS[flag or "bridge"])
    )


def _ensure(netlink: Netlink, name: str, network: str) -> Link:
    name = interface(name)
    link = netlink.link(name)
    if link is None:
        remark = _REMARK + identity(network)
        if name == made_up(network):
            netlink.add_child(name, kind="dummy", parent=0, settings=b"", alias=remark)
        else:
            base, number = sub_interface(name)
            under = netlink.link(base)
            if under is None:
                raise NoParent(
                    errno.ENODEV, f"invalid subinterface vlan name {name}: there is no interface {base}"
                )
            of = attribute(_VLAN_ID, pack("H", number))
            netlink.add_child(name, kind="vlan", parent=under.index, settings=of, alias=remark)
        link = netlink.link(name)
        if link is None:
            raise NoParent(errno.ENODEV, f"the interface {name} vanished")
        netlink.up(link.index)
    if link.loopback:
        raise NoParent(errno.EINVAL, f"loopback interface {name} cannot be a parent")
    return link


def remove(name: str, network: str, lock: str) -> None:
    """Take a parent away if it was made for this network; idempotent. Raises OSError, Unfit."""
    netlink = Netlink()
    try:
        with Lock.at(locks.NETWORK, lock):
            link = netlink.link(interface(name))
            if link is not None and link.alias == _REMARK + identity(network):
                netlink.delete(link.index)
    finally:
        netlink.close()


def made_up(network: str) -> str:
    """The parent of a network (by its id) that names none."""
    return f"dm-{identity(network)}"


def sub_interface(name: str) -> tuple[str, int]:
    """``eth0.10`` as the interface and the number of the VLAN. Raises Unfit."""
    base, dot, number = name.rpartition(".")
    if (
        not dot
        or not number.isdecimal()
        or not number.isascii()
        or len(number) > 4
        or not 1 <= int(number) <= 4094
    ):
        raise Unfit(
            f"there is no interface {name}",
            hint="a name such as eth0.10 is made of eth0, for the VLANs 1 to 4094",
        )
    return interface(base), int(number)
