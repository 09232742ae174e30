"""Several compose files as one: how what a later file says changes what an earlier one said (compose-spec,
13-merge.md)."""

from __future__ import annotations

from boxwright.bake.compose.yaml import Replace, Reset, scalar
from boxwright.bake.errors import DefinitionInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Lists of `key=value` that are mappings too, in a service and in its build section.
_MAPPINGS = ("args", "labels", "additional_contexts", "environment", "annotations", "sysctls")
_HOSTS = "extra_hosts"


def merged(old: Any, new: Any, path: tuple[str, ...] = ()) -> Any:
    """What two files say of one thing. Raises DefinitionInvalid."""
    if isinstance(new, Replace):
        return cleaned(new.value)
    if new is None:
        return old
    last = path[-1] if path else ""
    if last == "build" and len(path) == 3:
        return _mappings(build(old), build(new), path)
    if last in _MAPPINGS:
        return cleaned({**pairs(old, last), **pairs(new, last)})
    if last == _HOSTS:
        return cleaned({**hosts(old), **hosts(new)})
    if last in ("command", "entrypoint"):
        return new
    if isinstance(old, dict):
        if not isinstance(new, dict):
            raise DefinitionInvalid(f"cannot override {'.'.join(path)}")
        return _mappings(old, new, path)
    if isinstance(old, list):
        if not isinstance(new, list):
            raise DefinitionInvalid(f"cannot override {'.'.join(path)}")
        both = [*old, *cleaned(new)]
        return _once(both) if last == "tags" else both
    return cleaned(new)


def _mappings(old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    found = dict(old)
    for key, value in new.items():
        if isinstance(value, Reset):
            found.pop(key, None)
        elif key in found:
            found[key] = merged(found[key], value, (*path, key))
        else:
            found[key] = cleaned(value)
    return found


def cleaned(value: Any) -> Any:
    """A value without the marks that say how it is merged."""
    if isinstance(value, Replace):
        return cleaned(value.value)
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items() if not isinstance(item, Reset)}
    if isinstance(value, list):
        return [cleaned(item) for item in value if not isinstance(item, Reset)]
    return value


def _once(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(scalar(value) for value in values))


def build(value: Any) -> dict[str, Any]:
    """A build section; one word is its context. Raises DefinitionInvalid."""
    if isinstance(value, str):
        return {"context": value}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DefinitionInvalid("build must be a string or a mapping")
    return value


def pairs(value: Any, what: str) -> dict[str, str | None]:
    """``key=value`` words or a mapping, as a mapping. Raises DefinitionInvalid."""
    if value is None:
        return {}
    if isinstance(value, list):
        found: dict[str, str | None] = {}
        for word in cleaned(value):
            key, equals, rest = scalar(word).partition("=")
            found[key] = rest if equals else None
        return found
    if not isinstance(value, dict):
        raise DefinitionInvalid(f"{what} must be a mapping or a list")
    for key, item in value.items():
        if isinstance(item, (dict, list)):
            raise DefinitionInvalid(f"{what}.{key} must be a string, number, boolean or null")
    return {key: None if item is None else _word(item) for key, item in value.items()}


def _word(item: Any) -> Any:
    """A scalar as text; a mark stays until it is merged."""
    return item if isinstance(item, (Replace, Reset)) else scalar(item)


def hosts(value: Any) -> dict[str, str]:
    """``name:address`` words or a mapping; several addresses with commas. Raises DefinitionInvalid."""
    if isinstance(value, list):
        found: dict[str, str] = {}
        for word in cleaned(value):
            name, separator, address = scalar(word).partition("=" if "=" in scalar(word) else ":")
            if not separator:
                raise DefinitionInvalid(f"bad host name {scalar(word)!r}")
            address = address.removeprefix("[").removesuffix("]")
            found[name] = f"{found[name]},{address}" if name in found else address
        return found
    if not isinstance(value, dict):
        raise DefinitionInvalid("extra_hosts must be a mapping or a list")
    return {
        key: ",".join(scalar(one) for one in item) if isinstance(item, list) else _word(item)
        for key, item in value.items()
    }
