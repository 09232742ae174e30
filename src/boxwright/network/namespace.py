"""A container's network namespace and its connections, made and taken down by its supervisor.

The namespace has no name on disk: the supervisor holds it open, the runtime finds it under /proc/<supervisor>/fd,
and the kernel removes it with everything in it when both are gone. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import errno
import os

from boxwright.files import syscalls
from boxwright.network import bridge, firewall
from boxwright.network.janitor import leave
from boxwright.network.netlink import Netlink
from boxwright.network.values import Unfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.network.plan import Endpoint, NameServer, NetworkPlan

_CLONE_NEWNET = 0x40000000
_GONE = (6, 19, 22)  # ENXIO, ENODEV; EINVAL when a new interface names a master that is no more


class NetworkNamespace:
    """The network of one container. `number` is the descriptor under which the namespace stays open."""

    def __init__(self, plan: NetworkPlan, number: int) -> None:
        self._plan = plan
        self._number = number
        self._published = False
        self._server = plan.name_server
        self._named = [endpoint.id for endpoint in plan.endpoints if endpoint.names]

    def up(self) -> None:
        """Namespace, loopback, one interface for each endpoint, published ports. Raises OSError."""
        try:
            self._up()
        except Unfit as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def _up(self) -> None:
        plan = self._plan
        inside = self._namespace(plan.endpoints)
        outside = Netlink()
        try:
            inside.up(1)  # lo is always the first
            for endpoint in plan.endpoints:
                self._plug(outside, inside, endpoint)
                if plan.forwarded and endpoint.driver == "bridge":
                    outside.hairpin(endpoint.veth)
        finally:
            inside.close()
            outside.close()
        if plan.forwarded:
            firewall.publish(plan.forwarded, plan.id)
            self._published = True
        if plan.name_server is not None:
            from boxwright.network.dns import register

            register(plan.name_server, plan.id, plan.endpoints)

    def _plug(self, outside: Netlink, inside: Netlink, endpoint: Endpoint) -> None:
        for again in (True, False):
            try:
                return connect(
                    outside=outside,
                    inside=inside,
                    namespace=self._number,
                    endpoint=endpoint,
                    lock=self._plan.lock,
                )
            except OSError as error:
                # The bridge was idle, and was taken down between our two looks.
                if not again or error.errno not in _GONE or endpoint.driver != "bridge":
                    raise

    def _namespace(self, endpoints: Sequence[Endpoint]) -> Netlink:
        """Make it, keep it open under our number, and return a socket in it."""
        # thread-self: a build makes networks in threads, and a namespace is a thread's own.
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.libc("unshare", _CLONE_NEWNET)
            try:
                namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                _settings(endpoints)
                inside = Netlink()
            finally:
                syscalls.libc("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)
        os.dup2(namespace, self._number, inheritable=False)
        os.close(namespace)
        return inside

    def hold(self, pid: int, networks: Sequence[str]) -> None:
        """Instead of `up`: the network of a process is this plan's, built by a supervisor that was killed. Names are
        registered on these `networks` (ids). Raises OSError."""
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(namespace, self._number, inheritable=False)
        os.close(namespace)
        self._published = bool(self._plan.forwarded)
        self._named = list(networks)

    def also_named(self, server: NameServer, network: str) -> None:
        """Names on a network (its id) that the container got later are to be forgotten with the others."""
        self._server = server
        self._named.append(network)

    def down(self) -> None:
        """Idempotent; the interfaces go with the namespace."""
        if self._published:
            firewall.unpublish(self._plan.forwarded, self._plan.id)
            self._published = False
        if self._server is not None:
            from boxwright.network.dns import unregister

            unregister(self._server.directory, self._plan.id, self._named)
        try:
            os.close(self._number)
        except OSError:
            return
        for endpoint in self._plan.endpoints:
            if endpoint.driver == "bridge":
                leave(endpoint.plumbing(), self._plan.lock)


def connect(outside: Netlink, inside: Netlink, namespace: int, endpoint: Endpoint, lock: str) -> None:
    """One interface: `inside` is a socket of the namespace that the descriptor `namespace` names, `lock` the path of
    the lock of the root's networks. Raises OSError, Unfit."""
    if endpoint.driver == "bridge":
        outside.add_veth(
            endpoint.veth,
            endpoint.interface,
            master=bridge.ensure(outside, endpoint.plumbing(), lock),
            peer_namespace=namespace,
            peer_mac=endpoint.mac,
            mtu=endpoint.mtu,
        )
    else:
        from boxwright.network import parents

        parents.add_child(outside, endpoint, namespace=namespace, lock=lock)
    _settle(inside, namespace, endpoint)


def _settle(inside: Netlink, namespace: int, endpoint: Endpoint) -> None:
    index = inside.index(endpoint.interface)
    six = endpoint.address6 or any(":" in address for address in endpoint.link_local)
    settings = [(f"ipv6/conf/{endpoint.interface}/{name}", value) for name, value in bridge.SIX if six]
    within(namespace, [*settings, *endpoint.sysctls])
    for address, prefix in endpoint.addresses:
        inside.add_address(index, address, prefix)
    for address in endpoint.link_local:
        inside.add_address(index, address, 64 if ":" in address else 16)
    inside.up(index)
    if endpoint.default:
        inside.add_default_route(index, endpoint.gateway)
    if endpoint.default6:
        inside.add_default_route(index, endpoint.gateway6)


def within(namespace: int, settings: Sequence[tuple[str, str]]) -> None:
    """Set kernel settings (path below /proc/sys/net, value) of a namespace. Raises OSError."""
    if not settings:
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.libc("setns", namespace, _CLONE_NEWNET)
        try:
            for name, value in settings:
                with open(f"/proc/sys/net/{name}", "w") as setting:
                    setting.write(value)
        finally:
            syscalls.libc("setns", own, _CLONE_NEWNET)
    finally:
        os.close(own)


def _settings(endpoints: Sequence[Endpoint]) -> None:
    # No IPv6 but on lo and where a network has it, as in Docker: nothing answers the router solicitations of others.
    if endpoints:
        bridge.set_kernel("ipv6/conf/default/disable_ipv6", "1")
