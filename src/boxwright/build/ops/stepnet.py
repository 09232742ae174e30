"""The network of a RUN step: none, the host's, or a namespace of its own behind the default bridge.

Where a bridge cannot be made (no privilege, no iptables), the step shares the host's network, and says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from boxwright.build.ops.step import Step, StepNetwork
from boxwright.build.ops.stepwire import Wire, inside
from boxwright.errors import BoxwrightError, Unsupported
from boxwright.files.places import Places
from boxwright.network import files
from boxwright.spec import runtimespec as rs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_LOCAL = re.compile(r"\|-- ([0-9.]+)\n +/32 host LOCAL")  # an address of this machine in /proc/net/fib_trie
_LINK_LOCAL = ("169.254.0.0", 16)  # where clouds give away the credentials of their machines


class NetworkRefused(Unsupported):
    """A step cannot have the network that it should have."""


def connect(step: Step, stack: ExitStack) -> StepNetwork:
    """Make the network, with /etc/hosts and /etc/resolv.conf for it; `stack` takes it down. Raises NetworkRefused."""
    if step.op.network == "none":
        return StepNetwork(namespaces={}, mounts=_files(step, local=False))
    if step.op.network == "default":
        try:
            return _bridge(step, stack)
        except (OSError, BoxwrightError) as error:
            if step.users is not None or step.ctx.sandbox.untrusted:
                raise NetworkRefused(
                    f"no network of its own for this step: {error}",
                    hint="an untrusted step is not given the host's; RUN --network=none needs none",
                ) from error
            step.ctx.log(2, f"no network of its own for this step ({error}); it uses the host's\n".encode())
    return StepNetwork(namespaces={"network": None}, mounts=_files(step, local=True))


def _bridge(step: Step, stack: ExitStack) -> StepNetwork:
    op, shared, untrusted = step.op, step.ctx.shared, step.ctx.sandbox.untrusted
    # What may change its network, or may not reach what the host is by now, has one of its own.
    wires = None if op.security == "insecure" or op.devices or untrusted else shared.wires
    wire = wires.take() if wires is not None else None
    if wire is None:
        wire = _wired(step)

    def over(kind: type[BaseException] | None, *_: object) -> None:
        if wires is not None and kind is None:
            wires.give(wire)
        else:
            wire.end()

    stack.push(over)
    if untrusted:
        _keep_from_host(wire.path)
    mounts = _files(step, local=False, address=wire.address, gateway=wire.gateway)
    return StepNetwork(namespaces={"network": wire.path}, mounts=mounts)


def _wired(step: Step) -> Wire:
    """A new network behind the default bridge."""
    from boxwright.network.namespace import NetworkNamespace
    from boxwright.network.networks import Networks
    from boxwright.network.plan import NetworkPlan, with_ways_out

    services = step.ctx.services
    networks = Networks(services.root, services.db)
    network = networks.default()
    _forget_dead(step)
    address = networks.allocate(network, step.key)
    with ExitStack() as made:
        made.callback(networks.release, step.key)
        endpoints = with_ways_out([networks.endpoint(network, step.key, addresses=(address, ""))])
        plan = NetworkPlan(id=step.key, lock=str(Places(services.root).network_lock), endpoints=endpoints)
        number = os.open(
            "/dev/null", os.O_RDONLY | os.O_CLOEXEC
        )  # a number that is ours; the namespace takes its place
        namespace = NetworkNamespace(plan, number)
        made.callback(namespace.down)
        namespace.up()
        made.pop_all()
    return Wire(
        number=number,
        address=address,
        gateway=network.gateway,
        namespace=namespace,
        release=partial(networks.release, step.key),
    )


def system(
    step: Step, namespaces: Mapping[str, str | None], stack: ExitStack
) -> tuple[Mapping[str, Any], ...]:
    """/sys for a step in a user namespace, which may not mount it: it shows a network that belongs to the host."""
    if "network" not in namespaces:
        return ()  # the runtime makes one that belongs to the step
    from boxwright.snapshot import mount as mounting
    from boxwright.snapshot.snapshotter import Mount
    from boxwright.snapshot.workspace import helper_mount

    target = helper_mount(step.rootfs.parent)
    with inside(namespaces["network"]):
        mounting.attach([Mount("sysfs", "sysfs", ("ro", "nosuid", "nodev", "noexec"))], target)
    stack.callback(mounting.detach, target)
    options = ("bind", "rprivate", "nosuid", "noexec", "nodev")
    return (rs.bind(str(target), "/sys", readonly=True, options=options),)


def _keep_from_host(network: str) -> None:
    """Nothing in the namespace reaches the machine's metadata service, or the machine by any of its addresses. The step
    cannot take this back: it may not change the namespace."""
    from boxwright.network.netlink import Netlink

    with open("/proc/net/fib_trie") as table:
        own = {address for address in _LOCAL.findall(table.read()) if not address.startswith("127.")}
    with inside(network):
        netlink = Netlink()
        try:
            for address, prefix in (_LINK_LOCAL, *((address, 32) for address in sorted(own))):
                netlink.prohibit(address, prefix)
        finally:
            netlink.close()


def _forget_dead(step: Step) -> None:
    """Give back the addresses of steps that were killed: no process holds their workspaces."""
    from boxwright.network.addresses import release_dead

    release_dead(step.ctx.services.db, "step-")


def _files(
    step: Step, *, local: bool, address: str = "127.0.0.1", gateway: str = ""
) -> tuple[Mapping[str, Any], ...]:
    """/etc/hosts, in which the step finds its own name at `address`, and /etc/resolv.conf; `local` is the host's
    network."""
    extra = [f"{name}:{there}" for name, there in step.op.hosts]
    try:
        resolver = Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        resolver = ""
    texts = {
        "hosts": files.hosts(extra, [(address, [step.op.hostname])], gateway=gateway),
        "resolv.conf": files.resolv(resolver, local=local),
    }
    mounts = []
    for name, text in texts.items():
        file = step.files / name
        file.write_text(text)
        file.chmod(0o644)
        step.give(file)
        mounts.append(rs.bind(str(file), f"/etc/{name}", readonly=True))
    return tuple(mounts)
