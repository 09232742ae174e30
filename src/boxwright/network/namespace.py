"""A container's network namespace and its connections, made and taken down by its supervisor.

What to do comes as a plain dict, prepared by `container.launch`:

    {"id": the container's, "endpoints": [what `network.networks.Networks.endpoint` made, with "names"],
     "ports": [(protocol, host ip, host port, container ip, container port, bridge)], "lock": path, "dns": {...} or None}

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
from boxwright.network.values import Plumbing, Unfit, forwards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLONE_NEWNET = 0x40000000
_GONE = (6, 19, 22)  # ENXIO, ENODEV; EINVAL when a new interface names a master that is no more


class NetworkNamespace:
    """The network of one container. `number` is the descriptor under which the namespace stays open."""

    def __init__(self, plan: dict[str, Any], number: int) -> None:
        self._plan = plan
        self._number = number
        self._published = False

    def up(self) -> None:
        """Namespace, loopback, one interface for each endpoint, published ports. Raises OSError."""
        try:
            self._up()
        except Unfit as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def _up(self) -> None:
        plan = self._plan
        inside = self._namespace(plan["endpoints"])
        outside = Netlink()
        try:
            inside.up(1)  # lo is always the first
            for endpoint in plan["endpoints"]:
                self._plug(outside, inside, endpoint)
                if plan["ports"]:
                    outside.hairpin(endpoint["veth"])
        finally:
            inside.close()
            outside.close()
        if plan["ports"]:
            firewall.publish(forwards(plan["ports"]), plan["id"])
            self._published = True
        if plan.get("dns"):
            from boxwright.network.dns import register

            register(plan["dns"])

    def _plug(self, outside: Netlink, inside: Netlink, endpoint: dict[str, Any]) -> None:
        network, lock = Plumbing.of(endpoint), self._plan["lock"]
        try:
            connect(outside, inside, self._number, endpoint, bridge.ensure(outside, network, lock))
        except OSError as error:
            if error.errno not in _GONE:
                raise
            # The bridge was idle, and was taken down between our two looks.
            connect(outside, inside, self._number, endpoint, bridge.ensure(outside, network, lock))

    def _namespace(self, endpoints: list[dict[str, Any]]) -> Netlink:
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

    def also_named(self, dns: dict[str, Any]) -> None:
        """Names that the container got later, to be forgotten with the others."""
        entries = (self._plan.get("dns") or {}).get("entries", [])
        self._plan["dns"] = {**dns, "entries": [*entries, *dns["entries"]]}

    def down(self) -> None:
        """Idempotent; the interfaces go with the namespace."""
        if self._published:
            firewall.unpublish(forwards(self._plan["ports"]), self._plan["id"])
            self._published = False
        if self._plan.get("dns"):
            from boxwright.network.dns import unregister

            unregister(self._plan["dns"])
        try:
            os.close(self._number)
        except OSError:
            return
        for endpoint in self._plan["endpoints"]:
            leave(Plumbing.of(endpoint), self._plan["lock"])


def connect(outside: Netlink, inside: Netlink, namespace: int, endpoint: dict[str, Any], master: int) -> None:
    """One interface: `inside` is a socket of the namespace that the descriptor `namespace` names, `master` the index of
    the bridge. Raises OSError."""
    outside.add_veth(
        endpoint["veth"],
        endpoint["interface"],
        master=master,
        peer_namespace=namespace,
        peer_mac=endpoint["mac"],
        mtu=endpoint["mtu"],
    )
    index = inside.index(endpoint["interface"])
    inside.add_address(index, endpoint["address"], endpoint["prefix"])
    inside.up(index)
    if endpoint["default"]:
        inside.add_default_route(index, endpoint["gateway"])


def _settings(endpoints: list[dict[str, Any]]) -> None:
    # No IPv6 but on lo, as in Docker: nothing answers the router solicitations of an IPv4 network.
    if endpoints:
        bridge.set_kernel("ipv6/conf/default/disable_ipv6", "1")
