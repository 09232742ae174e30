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

# Types of objects that have a filter of their own name; some are of things that are not here, and let nothing pass.
NAMED = ("config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume")
FILTERS = (*NAMED, "event", "image", "label", "scope", "type")
_OPEN = ("health_status", "exec_create", "exec_start")  # actions that are followed by more words
_LONGEST = 64 << 10  # bytes of an event
_LONGEST_TEXT = 512  # characters of each text in one that would be longer


def event(kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> bytes:
    """A line of the journal, of now. An image may bring labels, and a command words, of any length: a line that would
    be too long has them cut, and the last of them left out, so that one event does not drive out all others."""
    line = _line(kind, action, identity, attributes=attributes)
    if len(line) > _LONGEST:
        cut = {_cut(key): _cut(text) for key, text in attributes.items()}
        kept = {key: cut.pop(key) for key in ("image", "name", "execID", "exitCode") if key in cut}
        room = _LONGEST // (4 * 6 * _LONGEST_TEXT)  # as JSON writes what is no ASCII
        fewer = dict([*kept.items(), *sorted(cut.items())[:room]])
        line = _line(kind, _cut(action), identity, attributes=fewer)
    return line


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _line(kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> bytes:
    now = time.time_ns()
    value: dict[str, Any] = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identity, "Attributes": dict(sorted(attributes.items()))},
        "scope": "local",
        "time": now // 10**9,
        "timeNano": now,
    }
    if kind in ("container", "image"):  # fields of before there were actors; the empty ones are left out
        old = {"status": action, "id": identity}
        if kind == "container":
            old["from"] = attributes.get("image", "")
        value = {**{name: text for name, text in old.items() if text}, **value}
    return to_json(value).encode("utf-8", "surrogatepass")


def matches(value: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether an event passes: all keys, of each any value, but of labels all (moby daemon/events/filter.go)."""
    return all(
        (all if key == "label" else any)(_one(value, key, wanted) for wanted in many)
        for key, many in filters.items()
    )


def _one(value: Mapping[str, Any], key: str, wanted: str) -> bool:
    attributes, identity = value["Actor"]["Attributes"], value["Actor"]["ID"]
    if key == "type":
        return bool(value["Type"] == wanted)
    if key == "event":
        return bool(value["Action"] == wanted or (wanted in _OPEN and value["Action"].startswith(wanted)))
    if key == "scope":
        return wanted == "local"
    if key == "label":
        name, equals, text = wanted.partition("=")
        return name in attributes and (not equals or attributes[name] == text)
    if key == "image":  # of other events than an image's: of the image it was made from
        names = (identity, attributes.get("name" if value["Type"] == "image" else "image", ""))
        return any(wanted in (name, _without_tag(name)) for name in names)
    # Docker compares the name, and the beginning of an ID or a name, whatever kind of object the event is of.
    return key in NAMED and any(name.startswith(wanted) for name in (identity, attributes.get("name", "")))


def _without_tag(name: str) -> str:
    """`repository:tag` and `repository@digest` without what follows."""
    name = name.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
