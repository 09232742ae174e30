"""`RUN --mount=…` and `RUN --device=…`: comma separated fields (Dockerfile reference, "RUN --mount")."""

from __future__ import annotations

import re
from collections.abc import Callable

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.instructions import Device, RunMount
from boxwright.build.dockerfile.text import did_you_mean
from boxwright.spec.text import go_quote
from boxwright.spec.units import SizeInvalid, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_KEYS = (
    "type from source target readonly id sharing required size mode uid gid src dst destination ro rw readwrite env"
).split()
_BOOL = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def csv_fields(text: str) -> list[str]:
    """One CSV record with Go's rules: a field in double quotes may hold commas, `""` is a quote.

    Raises DockerfileError.
    """
    fields: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            end = 1
            while True:
                end = rest.find('"', end)
                if end < 0:
                    raise DockerfileError(
                        'failed to parse csv mounts: parse error: extraneous or missing " in quoted-field'
                    )
                if rest[end + 1 : end + 2] != '"':
                    break
                end += 2
            fields.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :]
            if rest and not rest.startswith(","):
                raise DockerfileError(
                    'failed to parse csv mounts: parse error: extraneous or missing " in quoted-field'
                )
            if not rest:
                return fields
            rest = rest[1:]
        else:
            field, comma, rest = rest.partition(",")
            if '"' in field:
                raise DockerfileError('failed to parse csv mounts: parse error: bare " in non-quoted-field')
            fields.append(field)
            if not comma:
                return fields


def mount_of(raw: str, expander: Callable[[str], str] | None = None) -> RunMount:
    """A mount from the text of its flag.

    Without an expander values that hold a `$` are left out: they are read when the instruction is
    expanded, and then everything is checked. Raises DockerfileError.
    """
    values: dict[str, Any] = {"type": "bind"}
    later = False
    for field in csv_fields(raw):
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals and key == "from" and "$" in value[:-1]:
            raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")
        if equals and expander is not None:
            value = expander(value)
        elif "$" in value:
            later = True
            continue
        _set(values=values, key=key, value=value if equals else None, field=field)
    if not later:
        _check(values)
    readonly = values.pop("readonly", None)
    if readonly is None:
        readonly = values["type"] not in ("cache", "tmpfs")
    return RunMount(raw=raw, readonly=readonly, **values)


def _set(values: dict[str, Any], key: str, value: str | None, field: str) -> None:
    kind = values["type"]
    if value is None:
        if key not in ("readonly", "ro", "readwrite", "rw", "required"):
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        value = "true"
    if key == "type":
        if value.lower() not in _TYPES:
            raise DockerfileError(did_you_mean(f"unsupported mount type {go_quote(value)}", value, _TYPES))
        values["type"] = value.lower()
    elif key == "from":
        values["from_"] = value
    elif key in ("source", "src"):
        values["source"] = value
    elif key in ("target", "dst", "destination"):
        values["target"] = value
    elif key in ("readonly", "ro"):
        values["readonly"] = _truth(key, value)
    elif key in ("readwrite", "rw"):
        values["readonly"] = not _truth(key, value)
    elif key in ("required", "size"):
        if kind not in (("secret", "ssh") if key == "required" else ("tmpfs",)):
            raise DockerfileError(f"unexpected key '{key}' for mount type '{kind}'")
        values[key] = _truth(key, value) if key == "required" else _bytes(key, value)
    elif key == "sharing":
        if value.lower() not in _SHARING:
            raise DockerfileError(
                did_you_mean(f"unsupported sharing value {go_quote(value)}", value, _SHARING)
            )
        values["sharing"] = value.lower()
    elif key in ("mode", "uid", "gid"):
        values[key] = _number(key, value, 8 if key == "mode" else 10)
    elif key in ("id", "env"):
        values[key] = value
    else:
        raise DockerfileError(did_you_mean(f"unexpected key '{key}' in '{field}'", key, _KEYS))


def _check(values: dict[str, Any]) -> None:
    kind = values["type"]
    if kind not in ("secret", "ssh", "cache"):
        for key in ("mode", "uid", "gid"):
            if key in values:
                raise DockerfileError(f"{key} not allowed for {go_quote(kind)} type mounts")
    if kind == "secret":
        if values.get("from_"):
            raise DockerfileError("secret mount should not have a from")
        if "sharing" in values:
            raise DockerfileError("secret mount should not define sharing")
        if not any(values.get(key) for key in ("source", "target", "id")):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if values.get("source") and values.get("id"):
            raise DockerfileError("both source and id can't be set")
    if "sharing" in values and kind != "cache":
        raise DockerfileError(f"invalid cache sharing set for {kind} mount")


def _truth(key: str, value: str) -> bool:
    if value not in _BOOL:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return _BOOL[value]


def _number(key: str, value: str, base: int) -> int:
    if not re.fullmatch("[0-7]{1,20}" if base == 8 else "[0-9]{1,20}", value) or int(value, base) >= 2**32:
        raise DockerfileError(f"invalid value {value} for {key}")
    return int(value, base)


def _bytes(key: str, value: str) -> int:
    try:
        return parse_size(value)
    except SizeInvalid:
        raise DockerfileError(f"invalid value for {key}: {value}") from None


def parse_device(raw: str) -> Device:
    """A CDI device from the text of its flag. Raises DockerfileError."""
    name, required = "", False
    for field in csv_fields(raw):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _truth(key, value) if equals else True
        elif key == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not equals:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        else:
            raise DockerfileError(
                did_you_mean(f"unexpected key '{key}' in '{field}'", key, ("name", "required"))
            )
    return Device(name, required)
