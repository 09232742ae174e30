"""Targets and groups: what a definition says of each, how two of one name are merged, and how they are printed."""

from __future__ import annotations

from boxwright.bake.entries import AGENTS, ATTESTS, CACHES, OUTPUTS, SECRETS, Kind
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.types import BOOL, STRING, HclValue, Type, boolean, convert, list_of, map_of, text
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# The settings of a target in the order in which they are printed: how each is read, and what a later definition does to
# it. `text`, `flag`: replaced. `words`: replaced; `words+`: added. `pairs`, `pairs?` (values may be null): added by
# key.
SETTINGS: dict[str, str | tuple[Kind, str]] = {
    "description": "text",
    "inherits": "words+",
    "annotations": "words+",
    "attest": (ATTESTS, "+"),
    "context": "text",
    "contexts": "pairs",
    "dockerfile": "text",
    "dockerfile-inline": "text",
    "args": "pairs?",
    "labels": "pairs?",
    "tags": "words",
    "cache-from": (CACHES, "+"),
    "cache-to": (CACHES, ""),
    "target": "text",
    "secret": (SECRETS, "+"),
    "ssh": (AGENTS, "+"),
    "platforms": "words",
    "output": (OUTPUTS, ""),
    "pull": "flag",
    "no-cache": "flag",
    "network": "text",
    "no-cache-filter": "words+",
    "shm-size": "text",
    "ulimits": "words+",
    "call": "text",
    "entitlements": "words+",
    "extra-hosts": "pairs?",
}
_ESCAPED = ("annotations", "dockerfile-inline", "labels", "args", "extra-hosts")


@dataclass(slots=True)
class Group:
    """Targets, and groups of them, under one name."""

    name: str
    targets: list[str]
    description: str = ""
    said: bool = True  # False: a compose file has services, and none of them is built

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"description": self.description} if self.description else {}
        return shown | {"targets": self.targets if self.targets or self.said else None}


@dataclass(slots=True)
class BakeTarget:
    """`settings` has what was said, by the names of the language; what is absent was not said. `linked` marks a target
    that is built only because another uses it. `inside` are its contexts (by name, '' the build context) that are
    folders of the repository in which the definition lies."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    linked: bool = False
    inside: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        return self.settings.get(name)

    def merge(self, other: BakeTarget) -> None:
        """Let another definition of the target speak."""
        for name, value in other.settings.items():
            how = SETTINGS[name]
            if value is None:
                continue
            if isinstance(how, tuple):
                kind, more = how
                old = self.settings.get(name)
                self.settings[name] = kind.merged(old, value) if more else value
            elif how == "words+":
                self.settings[name] = [*(self.settings.get(name) or ()), *value]
            elif how.startswith("pairs"):
                said = {k: v for k, v in value.items() if v is not None}
                if said:
                    self.settings[name] = {**(self.settings.get(name) or {}), **said}
            elif name != "description" or value:
                self.settings[name] = value

    def normalize(self) -> None:
        """Each element once, nothing empty; a network of the host's is an entitlement."""
        for name, how in SETTINGS.items():
            value = self.settings.get(name)
            if value is None:
                continue
            if isinstance(how, tuple):
                self.settings[name] = how[0].normal(value)
            elif how.startswith("words") and name != "inherits":
                self.settings[name] = unique(word for word in value if word)
        if self.get("network") == "host":
            allowed = [*(self.get("entitlements") or ()), "network.host"]
            self.settings["entitlements"] = unique(word for word in allowed if word)
        contexts = self.get("contexts")
        if contexts is not None:
            self.settings["contexts"] = {k: v for k, v in contexts.items() if v != ""}

    def to_json(self) -> dict[str, Any]:
        """As it is printed: what could be read again as a template is escaped."""
        shown: dict[str, Any] = {}
        for name, how in SETTINGS.items():
            value = self.settings.get(name)
            if value is None or value in ([], {}) or (name == "description" and not value):
                continue
            if isinstance(how, tuple):
                shown[name] = [entry.to_json() for entry in value]
            elif how.startswith("pairs"):
                shown[name] = {k: _escaped(v) if name in _ESCAPED else v for k, v in sorted(value.items())}
            elif name in _ESCAPED:
                shown[name] = [_escaped(v) for v in value] if isinstance(value, list) else _escaped(value)
            else:
                shown[name] = value
        return shown


def unique(words: Iterable[str]) -> list[str]:
    """Each word once, where it was first."""
    return list(dict.fromkeys(words))


def _escaped(value: str | None) -> str | None:
    return value if value is None else value.replace("${", "$${").replace("%{", "%%{")


# --- settings as values of expressions ------------------------------------------------------------


def type_of(name: str) -> Type:
    """The type of a setting."""
    how = SETTINGS[name]
    if isinstance(how, tuple):
        return list_of(how[0].element)
    if how.startswith("words"):
        return list_of(STRING)
    if how.startswith("pairs"):
        return map_of(STRING)
    return BOOL if how == "flag" else STRING


def read(name: str, value: HclValue) -> Any:
    """A setting from its expression's value; None when that is null. Raises DefinitionInvalid."""
    how = SETTINGS[name]
    if isinstance(how, tuple):
        return how[0].of_value(value)
    found = convert(value, type_of(name))
    if found.null:
        return None
    if how.startswith("words"):
        if any(item.null for item in found.data):
            raise DefinitionInvalid("null value is not allowed")
        return [item.data for item in found.data]
    if how.startswith("pairs"):
        if how == "pairs" and any(item.null for item in found.data.values()):
            raise DefinitionInvalid("null value is not allowed")
        return {key: item.data for key, item in sorted(found.data.items())}
    return found.data


def show(name: str, setting: Any) -> HclValue:
    """A setting as a value, for the expressions of other targets."""
    kind, how = type_of(name), SETTINGS[name]
    if setting is None:
        return text("") if name == "description" else HclValue(kind, None)
    if isinstance(how, tuple):
        return HclValue(kind, tuple(how[0].show(entry) for entry in setting))
    if how.startswith("words"):
        return HclValue(kind, tuple(text(word) for word in setting))
    if how.startswith("pairs"):
        return HclValue(kind, {k: HclValue(STRING, v) for k, v in setting.items()})
    return boolean(setting) if how == "flag" else text(setting)
