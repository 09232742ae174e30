"""The network of a RUN step: none, the host's, or a namespace of its own behind the default bridge.

Where a bridge cannot be made (no privilege, no iptables), the step shares the host's network, and says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxwright.errors import BoxwrightError
from boxwright.network import files
from boxwright.spec import runtimespec as rs

if TYPE_CHECKING:
    from boxwright.build.ops.sandbox import Step
    from boxwright.network.networks import Networks


def connect(step: Step) -> dict[str, str | None]:
    """Make the network; what `runtimespec.base_spec` wants to know of it. Adds /etc/hosts and /etc/resolv.conf to the
    step's mounts."""
    if step.op.network == "none":
        _files(step, [], local=False)
        return {}
    if step.op.network == "default":
        try:
            return _bridge(step)
        except (OSError, BoxwrightError) as error:
            step.ctx.log(2, f"no network of its own for this step ({error}); it uses the host's\n".encode())
    _files(step, [], local=True)
    return {"network": None}


def _bridge(step: Step) -> dict[str, str | None]:
    from boxwright.network.networks import Networks
    from boxwright.network.wire import Wire

    rooms = step.ctx.rooms
    networks = Networks(rooms.root, rooms.db)
    network = networks.default()
    _forget_dead(step)
    address = networks.allocate(network, step.key)
    step.stack.callback(_release, networks, step.key)
    endpoint = networks.endpoint(network, step.key, address=address, default=True)
    plan: dict[str, Any] = {
        "endpoints": [endpoint],
        "ports": [],
        "id": step.key,
        "lock": str(rooms.root / "network.lock"),
        "dns": None,
    }
    number = os.open(
        "/dev/null", os.O_RDONLY | os.O_CLOEXEC
    )  # a number that is ours; the namespace takes its place
    wire = Wire(plan, number)
    step.stack.callback(wire.down)
    wire.up()
    _files(step, [(address, [step.op.hostname])], local=False, gateway=network.gateway)
    return {"network": f"/proc/{os.getpid()}/fd/{number}"}


def _release(networks: Networks, key: str) -> None:
    networks.release(key)


def _forget_dead(step: Step) -> None:
    """Give back the addresses of steps that were killed: their workspaces are held by nobody."""
    with step.ctx.rooms.db.write(durable=False) as sql:
        sql.execute(
            "DELETE FROM addresses WHERE container LIKE 'step-%' AND container NOT IN (SELECT ref FROM lease_refs WHERE kind = 'workspace')"
        )


def _files(step: Step, addresses: list[tuple[str, list[str]]], *, local: bool, gateway: str = "") -> None:
    extra = [f"{name}:{address}" for name, address in step.op.hosts]
    if local:
        addresses = [("127.0.0.1", [step.op.hostname])]
    try:
        resolver = Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        resolver = ""
    texts = {
        "hosts": files.hosts(extra, addresses, gateway=gateway),
        "resolv.conf": files.resolv(resolver, local=local),
    }
    for name, text in texts.items():
        file = step.files / name
        file.write_text(text)
        file.chmod(0o644)
        step.mounts.append(rs.bind(str(file), f"/etc/{name}", readonly=True))
