"""``ps --filter``: which containers are meant (moby daemon/list.go)."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from boxwright.container.manager import Containers
    from boxwright.container.records import Container
    from boxwright.image.store import ImageStore

# What `ps` can be asked for
FILTERS = (
    "id",
    "name",
    "label",
    "exited",
    "status",
    "ancestor",
    "before",
    "since",
    "volume",
    "network",
    "publish",
    "expose",
    "health",
    "is-task",
)
_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTH = ("starting", "healthy", "unhealthy", "none")


def matcher(
    containers: Containers, images: ImageStore, filters: Mapping[str, list[str]]
) -> Callable[[Container], bool]:
    """One predicate of all filters. Raises FilterInvalid, NoSuchContainer for before and since."""
    from boxwright.image.filters import FilterInvalid, flag, labels_match

    for status in filters.get("status", ()):
        if status not in _STATES:
            raise FilterInvalid(f"invalid filter 'status={status}'", hint="known are " + ", ".join(_STATES))
    for code in filters.get("exited", ()):
        if not code.lstrip("-").isdecimal():
            raise FilterInvalid(f"invalid filter 'exited={code}'", hint="give an exit code")
    for health in filters.get("health", ()):
        if health not in _HEALTH:
            raise FilterInvalid(f"invalid filter 'health={health}'", hint="known are " + ", ".join(_HEALTH))
    for key in ("publish", "expose"):
        for port in filters.get(key, ()):
            if not re.fullmatch(r"\d+(-\d+)?(/(tcp|udp|sctp))?", port):
                raise FilterInvalid(
                    f"invalid filter '{key}={port}'",
                    hint="give a port, a range such as 8000-8010, or either with /tcp or /udp",
                )
    if "is-task" in filters:
        flag(filters, "is-task")
    before = [containers.get(name).created for name in filters.get("before", ())]
    since = [containers.get(name).created for name in filters.get("since", ())]
    ancestors = _ancestors(images, filters.get("ancestor", ()))
    exact = dict(filters)

    def matches(container: Container) -> bool:
        state = container.state
        tests: dict[str, Callable[[str], bool]] = {
            "id": lambda v: container.id.startswith(v),
            "name": lambda v: _name(v, container.name),
            "status": lambda v: state.status == v,
            "exited": lambda v: state.status == "exited" and state.exit_code == int(v),
            "volume": lambda v: _volume(v, container),
            "network": lambda v: _network(containers, v, container),
            "health": lambda v: (state.health["Status"] if state.health else "none") == v,
            "publish": lambda v: _port(v, {f"{p.host_port}/{p.protocol}" for p in state.ports}),
            "expose": lambda v: _port(v, set(container.merged.get("ExposedPorts") or ())),
            "is-task": lambda v: v.lower() in ("f", "false", "0"),
        }
        if not all(any(test(v) for v in exact[key]) for key, test in tests.items() if key in exact):
            return False
        if not labels_match(container.labels, exact):
            return False
        if "ancestor" in exact and not ancestors & {
            container.target,
            *container.layers[-1:],
            container.record["image_id"],
        }:
            return False
        return all(container.created < moment for moment in before) and all(
            container.created > moment for moment in since
        )

    return matches


def _name(pattern: str, name: str) -> bool:
    try:
        return bool(re.search(pattern, name) or re.search(pattern, "/" + name))
    except re.error:
        return pattern in name


def _volume(wanted: str, container: Container) -> bool:
    return any(wanted in (m["name"], m["target"], m["source"]) for m in container.record["mounts"])


def _network(containers: Containers, wanted: str, container: Container) -> bool:
    names = set(container.record["networks"]) or {container.config.network}
    return wanted in names or any(
        containers.networks.get(n).id.startswith(wanted) for n in names if ":" not in n
    )


def _port(wanted: str, have: set[str]) -> bool:
    from boxwright.container.ports import port_range

    ports, _, protocol = wanted.partition("/")
    low, high = port_range(ports, "port")
    return any(f"{n}/{protocol or 'tcp'}" in have for n in range(low, high + 1))


def _ancestors(images: ImageStore, names: list[str] | tuple[str, ...]) -> set[str]:
    """Images, and what was made from them."""
    from boxwright.errors import BoxwrightError

    found: set[str] = set()
    for name in names:
        try:
            row = images.resolve(name)
        except BoxwrightError:
            continue
        found |= {row.target, row.image_id}
    return found
