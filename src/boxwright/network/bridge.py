"""The host's side of a network: its bridge and its rules, made when they are needed and taken down.

A bridge that was there before, which a network may name, is used and stays; our gateway's address on it has a label,
so that it can go. What is no bridge is refused. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import errno
import os

from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.network import firewall, zones
from boxwright.network.netlink import Link, Netlink
from boxwright.network.values import Plumbing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.network.plan import Port

_LABEL = "boxwright"
_FORWARD, _FORWARD6 = "ipv4/ip_forward", "ipv6/conf/all/forwarding"
# Of an interface that has IPv6 from us: on, usable at once (addresses are ours to give), and asking no router.
SIX = (("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0"))


class NoBridge(OSError):
    """The interface of this name is something else."""


def ensure(netlink: Netlink, network: Plumbing, lock: str) -> int:
    """The bridge's index; it and its rules are made when they are missing. `lock` is the path of the lock of the
    root's networks. Raises OSError, NoBridge."""
    link = netlink.link(network.bridge)
    if link is not None and link.up and check_kind(link) and firewall.are_open([network]):
        if _is_ours(link, network):
            zones.trust(link.name)
        return link.index
    return _settle(netlink, network, lock)


def _settle(netlink: Netlink, network: Plumbing, lock: str) -> int:
    with Lock.at(locks.NETWORK, lock):
        link = netlink.link(network.bridge)
        if link is not None:
            return _open(netlink, network, link)
        netlink.add_bridge(network.bridge, mtu=network.mtu, mac=network.mac)
        link = netlink.link(network.bridge)
        if link is None:
            raise OSError(errno.ENODEV, f"the bridge {network.bridge} vanished")
        try:
            if not network.gateway6:  # what cannot speak IPv6 passes nothing on
                set_kernel(f"ipv6/conf/{network.bridge}/disable_ipv6", "1")
            return _open(netlink, network, link)
        except OSError:  # such as on a host without iptables
            try:
                _take_down(netlink, network)
            except OSError:  # the rules cannot be removed, either
                pass
            raise


def _open(netlink: Netlink, network: Plumbing, link: Link) -> int:
    check_kind(link)
    if network.gateway6:
        for name, value in SIX:
            set_kernel(f"ipv6/conf/{network.bridge}/{name}", value)
    for gateway, prefix in network.gateways:
        try:
            netlink.add_address(link.index, gateway, prefix, label=_LABEL)
        except FileExistsError:
            pass
    for six in (False, True):
        if (network.gateway6 if six else network.gateway) and not _forwards(six=six):
            # As in Docker: that the host forwards for us is no reason to forward for others.
            firewall.close_forwarding(six=six)
            _start_forwarding(six=six)
    set_kernel(f"ipv4/conf/{network.bridge}/route_localnet", "1")  # for ports published at 127.0.0.1
    # Last, the two by which another process knows that all of it is there, whenever this one ends.
    if _is_ours(link, network):  # one of the user's is in a zone of the user's choice
        zones.trust(link.name)
    firewall.open_network(network)
    netlink.up(link.index)
    return link.index


def _forwards(*, six: bool) -> bool:
    """Whether the host passes packets on; True where the kernel does not say."""
    return _kernel(_FORWARD6 if six else _FORWARD) not in ("0",)


def _start_forwarding(*, six: bool) -> None:
    if not six:
        set_kernel(_FORWARD, "1")
        return
    # A host that forwards does not ask routers for its own way out, unless it is told to.
    try:
        names = os.listdir("/proc/sys/net/ipv6/conf")
    except OSError:
        names = []
    asking = [
        f"ipv6/conf/{name}/accept_ra" for name in names if _kernel(f"ipv6/conf/{name}/accept_ra") == "1"
    ]
    for setting in asking:
        set_kernel(setting, "2")
    set_kernel(_FORWARD6, "1")


def _kernel(name: str) -> str:
    """'' where the kernel does not say."""
    try:
        with open(f"/proc/sys/net/{name}") as setting:
            return setting.read().strip()
    except OSError:
        return ""


def mend(networks: Sequence[Plumbing], lock: str, *, thoroughly: bool = False) -> bool:
    """Make again the rules of networks whose bridge is there, when another program has removed any, or `thoroughly`;
    whether they were made. Raises OSError, also where firewalld does not answer."""
    netlink = Netlink()
    try:
        there = {link.name: link for link in netlink.links()} if networks else {}
        made = [network for network in networks if network.bridge in there]
        ours = [network.bridge for network in made if _is_ours(there[network.bridge], network)]
        if not made or (not thoroughly and firewall.are_open(made) and not zones.without_zone(ours)):
            return False
        for network in made:
            _settle(netlink, network, lock)
        if zones.without_zone(ours):
            raise OSError(errno.EAGAIN, "firewalld does not answer")
        return True
    finally:
        netlink.close()


def publish_again(ports: Sequence[Port], container: str, lock: str, *, thoroughly: bool = False) -> bool:
    """Make the rules of published ports again, when another program has removed any, or `thoroughly`; whether they were
    made. Raises OSError, Unfit."""
    if not thoroughly and firewall.are_published(ports, container):
        return False
    with Lock.at(locks.NETWORK, lock):  # another process that makes them waits, and finds them
        if thoroughly or not firewall.are_published(ports, container):
            firewall.publish_again(ports, container)
    return True


def check_kind(link: Link) -> bool:
    """True, or NoBridge."""
    if link.kind != "bridge":
        raise NoBridge(errno.EEXIST, f"the interface {link.name} is there already, and is no bridge")
    return True


def take_down(network: Plumbing, lock: str) -> None:
    """Remove what we made: the bridge, or our address on a bridge that was there before, and the rules, which may have
    outlived the bridge. Idempotent. Raises OSError."""
    netlink = Netlink()
    try:
        with Lock.at(locks.NETWORK, lock):
            _take_down(netlink, network)
    finally:
        netlink.close()


def _take_down(netlink: Netlink, network: Plumbing) -> None:
    link = netlink.link(network.bridge)
    if link is not None and _is_ours(link, network):
        netlink.delete(link.index)
        zones.forget(link.name)
    elif link is not None:
        for gateway, prefix in network.gateways:
            gone = netlink.delete_address(link.index, gateway, prefix, label=_LABEL)
            if gone and gateway == network.gateway:
                # The kernel's default: without our rules, the bridge's other members would reach the host's loopback.
                set_kernel(f"ipv4/conf/{network.bridge}/route_localnet", "0")
    firewall.close_network(network)


def _is_ours(link: Link, network: Plumbing) -> bool:
    return link.kind == "bridge" and link.mac == network.mac


def remove_idle(network: Plumbing, lock: str) -> bool:
    """Take our bridge down unless it has ports; whether nothing is left to do. Raises OSError."""
    abandoned = not os.path.exists(lock)  # the root was removed: nothing will use the network again
    netlink = Netlink()
    try:
        with Lock.at(locks.NETWORK, os.devnull if abandoned else lock):
            links = netlink.links()
            link = next((found for found in links if found.name == network.bridge), None)
            if link is not None and not abandoned and not _is_ours(link, network):
                return True
            if link is not None and any(other.master == link.index for other in links):
                return False
            _take_down(netlink, network)
            return True
    finally:
        netlink.close()


def set_kernel(name: str, value: str) -> None:
    """A setting of the kernel's network; where it cannot be written, containers do with less."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, value.encode())
    except OSError:
        pass
    finally:
        os.close(fd)
