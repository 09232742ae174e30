"""Containers as a list shows them (Docker's container.Summary)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.records import Container
    from boxwright.engine import Engine


def row(engine: Engine, container: Container) -> dict[str, Any]:
    """One line of `ps`, without sizes."""
    from boxwright.container import describe

    state = container.state
    networks = describe.networks(container)
    config = container.config
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.record["image"],
        "ImageID": container.record["image_id"],
        "Command": describe.command_text(container),
        "Created": int(container.created),
        "Ports": _ports(container),
        "Labels": dict(container.labels),
        "State": state.status,
        "Status": describe.status_text(state),
        "HostConfig": {
            "NetworkMode": config.network,
            **({"Annotations": dict(config.annotations)} if config.annotations else {}),
        },
        "NetworkSettings": {"Networks": networks},
        "Mounts": describe.mounts_json(container),
    }


def _ports(container: Container) -> list[dict[str, Any]]:
    state = container.state
    if not state.active:
        return []
    out: list[dict[str, Any]] = [
        {
            "IP": port.host_ip or "0.0.0.0",
            "PrivatePort": port.port,
            "PublicPort": port.host_port,
            "Type": port.protocol,
        }
        for port in state.ports
    ]
    bound = {(port.port, port.protocol) for port in state.ports}
    for text in container.merged.get("ExposedPorts") or ():
        number, _, protocol = text.partition("/")
        if number.isdecimal() and (int(number), protocol or "tcp") not in bound:
            out.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    return out
