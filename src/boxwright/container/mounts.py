"""``-v``, ``--mount`` and ``--volumes-from`` as text (docker/cli opts/mount.go, moby volume/mounts/linux_parser.go).
Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from boxwright.container.config import ContainerConfigInvalid, MountSpec
from boxwright.errors import Invalid
from boxwright.spec.text import is_name
from boxwright.spec.units import parse_size
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    _Pairs = tuple[tuple[str, str], ...]

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_RECURSION = ("enabled", "disabled", "writable", "readonly")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
_TRUE = frozenset(("1", "true", "True", "TRUE", "t", "T"))
_FALSE = frozenset(("0", "false", "False", "FALSE", "f", "F"))


class MountInvalid(Invalid):
    """A mount option cannot be understood, or asks for what cannot be."""


def parse_volume(text: str, cwd: str) -> MountSpec:
    """``SOURCE:TARGET[:OPTIONS]``, ``TARGET``; a source with ``/``, or beginning with ``.`` or ``~``, is a host path
    (relative to `cwd`), any other a volume's name. Raises MountInvalid."""
    if not text:
        raise MountInvalid("invalid empty volume spec")
    parts = text.split(":")
    if len(parts) > 3 or not parts[0] or (len(parts) > 1 and not parts[1]):
        raise MountInvalid(
            f"invalid spec: {text}: empty section between colons"
            if "" in parts[:2]
            else f"invalid volume specification: '{text}'"
        )
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    options = parts[2].split(",") if len(parts) == 3 else []
    if source.startswith("."):
        source = posixpath.normpath(posixpath.join(cwd, source))
    kind = "bind" if source.startswith("/") else "volume"
    if kind == "volume":
        _check_name(source)
    readonly, propagation, nocopy, kept = False, "", False, []
    modes: set[str] = set()
    for option in options:
        if option in ("ro", "rw", "readonly"):
            readonly = option != "rw"
            modes.add("rw")
        elif option in _PROPAGATION and kind == "bind":
            propagation = option
            modes.add("propagation")
        elif option == "nocopy" and kind == "volume":
            nocopy = True
        elif option in ("z", "Z", *_CONSISTENCY):
            kept.append(option)
        else:
            raise MountInvalid(f"invalid volume specification: '{text}': invalid mode: {parts[2]}")
    if (
        len([o for o in options if o in ("ro", "rw")]) > 1
        or len([o for o in options if o in _PROPAGATION]) > 1
        or {"z", "Z"} <= set(options)
    ):
        raise MountInvalid(f"invalid volume specification: '{text}': invalid mode: {parts[2]}")
    return MountSpec(
        kind="bind" if kind == "bind" else "volume",
        target=check_target(target, text),
        source=source,
        readonly=readonly,
        propagation=propagation,
        create=True,
        nocopy=nocopy,
        options=tuple(kept),
        flag=True,
    )


def check_target(target: str, text: str) -> str:
    """The cleaned path inside the container. Raises MountInvalid."""
    if not target.startswith("/"):
        raise MountInvalid(
            f"invalid volume specification: '{text}': invalid mount path: '{target}' mount path must be absolute"
        )
    clean = "/" + posixpath.normpath(target).lstrip("/")
    if clean == "/":
        raise MountInvalid(
            f"invalid volume specification: '{text}': invalid specification: destination can't be '/'"
        )
    return clean


def parse_mount(text: str, cwd: str) -> MountSpec:
    """``type=bind,source=/a,target=/b,readonly``. Raises MountInvalid."""
    values: dict[str, str] = {}
    opts: list[tuple[str, str]] = []
    labels: list[tuple[str, str]] = []
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}.get(
            key.lower(), key.lower()
        )
        if key in ("readonly", "volume-nocopy", "bind-nonrecursive", "bind-create-src"):
            values[key] = _flag(key, value if equals else "true")
        elif not equals:
            raise MountInvalid(f"invalid field '{field}' must be a key=value pair")
        elif key in ("volume-opt", "volume-label"):
            name, _, content = value.partition("=")
            (opts if key == "volume-opt" else labels).append((name, content))
        elif key in _KEYS:
            values[key] = value
        else:
            raise MountInvalid(f"unexpected key '{key}' in '{field}'")
    return _mount(values=values, opts=tuple(opts), labels=tuple(labels), text=text, cwd=cwd)


_KEYS = frozenset(
    "type source target bind-propagation consistency volume-driver volume-subpath tmpfs-size tmpfs-mode "
    "bind-recursive image-subpath".split()
)


def _mount(values: dict[str, str], opts: _Pairs, labels: _Pairs, text: str, cwd: str) -> MountSpec:
    kind = values.get("type", "volume")
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise MountInvalid(
            f'invalid mount config for type "{kind}": mount type unknown',
            hint="known are bind, volume, tmpfs and image",
        )
    if not values.get("target"):
        raise MountInvalid("target is required")
    source = values.get("source", "")
    for prefix in ("bind", "volume", "tmpfs", "image"):
        if prefix != kind and (
            any(k.startswith(prefix + "-") for k in values) or (prefix == "volume" and (opts or labels))
        ):
            raise MountInvalid(f"cannot mix '{prefix}-*' options with mount type '{kind}'")
    named = _MountFields(
        values, source, target=check_target(values["target"], text), readonly=values.get("readonly") == "1"
    )
    if kind == "bind":
        return _bind(named, cwd)
    if kind == "tmpfs":
        return _tmpfs(named)
    if kind == "image":
        return _image(named)
    return _volume(named, opts, labels)


@dataclass(frozen=True, slots=True)
class _MountFields:
    """What ``--mount`` says of a mount of any type, and its other values."""

    values: dict[str, str]
    source: str
    target: str
    readonly: bool


def _bind(mount: _MountFields, cwd: str) -> MountSpec:
    values, source, readonly = mount.values, mount.source, mount.readonly
    if not source:
        raise MountInvalid('invalid mount config for type "bind": field Source must not be empty')
    propagation = values.get("bind-propagation", "")
    if propagation and propagation not in _PROPAGATION:
        raise MountInvalid(f"invalid propagation value: {propagation}")
    recursion = values.get("bind-recursive", "enabled")
    if recursion not in _RECURSION:
        raise MountInvalid(
            f"invalid value for bind-recursive: {recursion} (must be "
            '"enabled", "disabled", "writable", or "readonly")'
        )
    if recursion in ("writable", "readonly") and not readonly:
        raise MountInvalid(
            f"option 'bind-recursive={recursion}' requires 'readonly' to be specified in conjunction"
        )
    if recursion == "readonly" and propagation != "rprivate":
        raise MountInvalid(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )
    if not source.startswith(("/", ".")):
        raise MountInvalid(
            f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute",
            hint=f"./{source} is below the current directory",
        )
    return MountSpec(
        kind="bind",
        target=mount.target,
        source=posixpath.normpath(posixpath.join(cwd, source)),
        readonly=readonly,
        propagation=propagation,
        recursive=values.get("bind-nonrecursive") != "1" and recursion != "disabled",
        options=("rro",) if recursion == "readonly" else (),
        create=values.get("bind-create-src") == "1",
    )


def _tmpfs(mount: _MountFields) -> MountSpec:
    if mount.source:
        raise MountInvalid('invalid mount config for type "tmpfs": field Source must not be specified')
    size, mode = mount.values.get("tmpfs-size"), mount.values.get("tmpfs-mode")
    options = [] if size is None else [f"size={parse_size(size)}"]
    if mode is not None:
        if not re.match(r"[0-7]{1,4}\Z", mode):
            raise MountInvalid(f"invalid value for tmpfs-mode: {mode}")
        options.append(f"mode={mode}")
    return MountSpec(kind="tmpfs", target=mount.target, readonly=mount.readonly, options=tuple(options))


def _image(mount: _MountFields) -> MountSpec:
    if not mount.source:
        raise MountInvalid('invalid mount config for type "image": field Source must not be empty')
    return MountSpec(
        kind="image",
        target=mount.target,
        source=mount.source,
        readonly=True,
        subpath=_subpath(mount.values.get("image-subpath", ""), "image"),
    )


def _volume(mount: _MountFields, opts: _Pairs, labels: _Pairs) -> MountSpec:
    values, source = mount.values, mount.source
    _check_name(source)
    return MountSpec(
        kind="volume",
        target=mount.target,
        source=source,
        readonly=mount.readonly,
        nocopy=values.get("volume-nocopy") == "1",
        subpath=_subpath(values.get("volume-subpath", ""), "volume", anonymous=not source),
        driver=values.get("volume-driver", ""),
        driver_opts=opts,
        labels=labels,
    )


def _subpath(text: str, kind: str, *, anonymous: bool = False) -> str:
    """A path that stays below where it begins. Raises MountInvalid."""
    clean = posixpath.normpath(text) if text else ""
    if clean.startswith("/") or clean.split("/")[0] == ".." or "\0" in clean:
        raise MountInvalid(
            f'invalid mount config for type "{kind}": subpath must be a relative path within the volume'
        )
    if text and anonymous:
        raise MountInvalid(
            f'invalid mount config for type "{kind}": must not set Subpath when using anonymous volumes'
        )
    return text


def _flag(key: str, value: str) -> str:
    if value in _TRUE:
        return "1"
    if value in _FALSE:
        return "0"
    raise MountInvalid(f"invalid value for {key}: {value}")


def _fields(text: str) -> list[str]:
    """One line of CSV: a field in double quotes may hold commas, a doubled quote in it is one."""
    import csv

    try:
        row = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise MountInvalid(f"invalid mount {text!r}: {error}") from error
    return [field.strip() for field in row]


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """``CONTAINER[:ro|rw]`` -> name and whether read-only. Raises MountInvalid."""
    name, _, mode = text.partition(":")
    if not name or mode not in ("", "ro", "rw", "z", "Z"):
        raise MountInvalid(
            f"invalid mode: {mode}" if name else f"invalid volumes-from specification: '{text}'"
        )
    return name, mode == "ro"


def _check_name(name: str) -> None:
    if name and (wrong := wrong_name(name)):
        raise MountInvalid(f"create {name}: {wrong}", hint="a host path is absolute, or begins with ./")


def wrong_name(name: str) -> str:
    """Why a volume cannot be called so, in Docker's words; '' when it can."""
    if is_name(name):
        return ""
    if len(name) == 1:
        return "volume name is too short, names should be at least two alphanumeric characters"
    return (
        f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
        "allowed. If you intended to pass a host directory, use absolute path"
    )


def chosen_mounts(wanted: Iterable[MountSpec]) -> list[MountSpec]:
    """One for each target, as Docker chooses: what ``--tmpfs`` mounts is on top of what ``--mount`` has there, the last
    ``--tmpfs`` counts, and ``-v TARGET`` gives way to anything. Raises ContainerConfigInvalid when one is too many."""
    chosen: dict[str, MountSpec] = {}
    for mount in wanted:
        target = posixpath.normpath(mount.target)
        other = chosen.get(target)
        if other is None or _gives_way(other, mount):
            chosen[target] = mount
        elif not _gives_way(mount, other):
            raise ContainerConfigInvalid(f"Duplicate mount point: {mount.target}")
    return list(chosen.values())


def _gives_way(one: MountSpec, other: MountSpec) -> bool:
    if one.flag and one.kind == "volume" and not one.source:
        return True
    return other.flag and other.kind == "tmpfs" and (one.kind == "tmpfs" or not one.flag)
