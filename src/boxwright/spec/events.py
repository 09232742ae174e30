"""What happens, as Docker's `/events` tells it (api/types/events): one JSON object an event.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import time

from boxwright.spec.text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

NAMED = ("container", "image", "network", "volume")  # types that have a filter of their own name
FILTERS = (*NAMED, "event", "label", "scope", "type")


def event(kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> bytes:
    """A line of the journal, of now."""
    now = time.time_ns()
    value: dict[str, Any] = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identity, "Attributes": dict(sorted(attributes.items()))},
        "scope": "local",
        "time": now // 10**9,
        "timeNano": now,
    }
    if kind == "container":
        value = {"status": action, "id": identity, "from": attributes.get("image", ""), **value}
    elif kind == "image":
        value = {"status": action, "id": identity, **value}
    return to_json(value).encode("utf-8", "surrogatepass")


def matches(value: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether an event passes: all keys, of each any value (moby daemon/events/filter.go)."""
    return all(any(_one(value, key, wanted) for wanted in many) for key, many in filters.items())


def _one(value: Mapping[str, Any], key: str, wanted: str) -> bool:
    attributes = value["Actor"]["Attributes"]
    if key == "type":
        return bool(value["Type"] == wanted)
    if key == "event":  # `exec_create` is also `exec_create: sh`
        return bool(value["Action"] == wanted or value["Action"].partition(":")[0] == wanted)
    if key == "scope":
        return wanted == "local"
    if key == "label":
        name, equals, text = wanted.partition("=")
        return name in attributes and (not equals or attributes[name] == text)
    if key in NAMED:
        named = (value["Actor"]["ID"], attributes.get("name", ""))
        if key == "image":  # of a container's events, its image
            many = [*named, attributes.get("image", "")] if value["Type"] == "container" else [*named]
            return any(n == wanted or n.partition(":")[0] == wanted for n in many)
        return value["Type"] == key and (
            wanted in named or (len(wanted) >= 1 and named[0].startswith(wanted))
        )
    return False
