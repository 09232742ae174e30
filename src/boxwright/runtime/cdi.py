"""Devices by CDI names (``vendor.com/class=name``): the host's specifications, and what they change of a container.

The Container Device Interface, version 1.0: files that an administrator or a driver's installer wrote. They say which
nodes, mounts, variables and hooks a device needs; the runtime makes and runs those. A file that others than root (or
than this process's user) can write is not read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from boxwright.errors import Denied, Invalid, NotFound, Unsupported
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORIES = ("/etc/cdi", "/run/cdi")  # of two files that have a device the later directory's counts
CLASS = "org.mobyproject.buildkit.device.class"
AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"

_LARGEST = 4 << 20
# What PyYAML's constructors raise beside its own errors, when a value is not of the tag that is written before it.
_MISREAD = (ValueError, LookupError, AttributeError, TypeError, RecursionError)
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?\Z")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?\Z")
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_TYPES = {"c": stat.S_ISCHR, "u": stat.S_ISCHR, "b": stat.S_ISBLK, "p": stat.S_ISFIFO}


class SpecInvalid(Invalid):
    """A CDI specification cannot be used."""


class SpecUnsafe(Denied):
    """A CDI specification can be written by others."""


class DeviceMissing(NotFound):
    """There is no such CDI device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiDevice:
    """A device: its full name, and its edits (as the specification writes them) behind those of its file."""

    name: str
    annotations: Mapping[str, str]
    edits: tuple[Mapping[str, Any], ...]

    @property
    def kind(self) -> str:
        """``vendor.com/class``."""
        return self.name.partition("=")[0]


@dataclass(frozen=True, slots=True)
class CdiDevices:
    """What a host has, by full name, sorted."""

    devices: Mapping[str, CdiDevice] = field(default_factory=dict)

    def find(self, wanted: str) -> tuple[CdiDevice, ...]:
        """``kind=name``, the first of ``kind``, all of ``kind=*``, or all whose class (an annotation) is called so.
        Raises DeviceMissing."""
        kind, equals, name = wanted.partition("=")
        of_kind = [device for device in self.devices.values() if device.kind == kind]
        if equals and name != "*":
            found = [self.devices[wanted]] if wanted in self.devices else []
        else:
            found = of_kind if equals else of_kind[:1]
        found = found or [d for d in self.devices.values() if d.annotations.get(CLASS) == wanted]
        if not found:
            known = ", ".join(self.devices) or "none"
            raise DeviceMissing(f'required device "{wanted}" is not registered', hint=f"known are {known}")
        return tuple(found)


def is_name(text: str) -> bool:
    """Whether it is ``vendor.com/class=name``."""
    kind, equals, name = text.partition("=")
    return bool(equals and _KIND.match(kind) and _NAME.match(name))


def load(directories: Sequence[str | Path] = DIRECTORIES) -> CdiDevices:
    """The devices of the specifications in these directories. Raises SpecInvalid, SpecUnsafe."""
    found: dict[str, CdiDevice] = {}
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SpecInvalid(f"cannot read {directory}: {(error.strerror or '').lower()}") from error
        for name in names:
            if name.endswith((".json", ".yaml", ".yml")):
                path = Path(directory) / name
                found.update((device.name, device) for device in _devices(path, _parsed(path)))
    return CdiDevices(dict(sorted(found.items())))


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022:
                raise SpecUnsafe(f"{path} can be written by others than root", hint=f"chmod go-w {path}")
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise SpecInvalid(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    if len(data) > _LARGEST:
        raise SpecInvalid(f"{path} is too large")
    try:
        if path.suffix == ".json":
            import json

            return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecInvalid(f"{path} cannot be read: {error}") from error
    yaml = _yaml(path)
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, *_MISREAD) as error:
        raise SpecInvalid(f"{path} cannot be read: {error}") from error


def _yaml(path: Path) -> Any:
    from importlib import import_module

    try:
        return import_module("yaml")
    except ImportError as error:
        raise Unsupported(
            f"{path} is YAML, and PyYAML is not installed", hint="pip install PyYAML, or write it as JSON"
        ) from error


def _devices(path: Path, body: Any) -> Iterable[CdiDevice]:
    if not isinstance(body, dict) or not str(body.get("cdiVersion", "")).startswith(("0.", "1.")):
        raise SpecInvalid(f"{path} is no CDI specification of a version that is known")
    kind = body.get("kind")
    if not isinstance(kind, str) or not _KIND.match(kind):
        raise SpecInvalid(f"{path} has the invalid kind {kind!r}")
    shared = _edits(path, body.get("containerEdits"))
    for device in _list(path, body, "devices"):
        name = device.get("name") if isinstance(device, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            raise SpecInvalid(f"{path} has a device of the invalid name {name!r}")
        annotations = {**_texts(path, body), **_texts(path, device)}
        own = _edits(path, device.get("containerEdits"))
        yield CdiDevice(name=f"{kind}={name}", annotations=annotations, edits=(shared, own))


def _texts(path: Path, body: Mapping[str, Any]) -> dict[str, str]:
    found = body.get("annotations") or {}
    if not isinstance(found, dict):
        raise SpecInvalid(f"{path}: annotations are no object")
    return {str(key): str(value) for key, value in found.items()}


def _list(path: Path, body: Mapping[str, Any], key: str) -> list[Any]:
    found = body.get(key) or []
    if not isinstance(found, list):
        raise SpecInvalid(f"{path}: {key} is no list")
    return found


def _edits(path: Path, edits: Any) -> Mapping[str, Any]:
    """Edits whose shape is right."""
    if edits is None:
        return {}
    if not isinstance(edits, dict):
        raise SpecInvalid(f"{path}: containerEdits is no object")
    for key, shape in _SHAPES.items():
        for item in _list(path, edits, key):
            if not isinstance(item, dict) or not all(isinstance(item.get(n), str) for n in shape[0]):
                raise SpecInvalid(f"{path}: an item of {key} lacks {' or '.join(shape[0])}")
            for name, fits in shape[1].items():
                if item.get(name) is not None and not fits(item[name]):
                    raise SpecInvalid(f"{path}: {name} of an item of {key} cannot be {item[name]!r}")
    for hook in _list(path, edits, "hooks"):
        if hook["hookName"] not in _HOOKS:
            raise SpecInvalid(f"{path}: there is no hook {hook['hookName']!r}")
    for entry in _list(path, edits, "env"):
        if not isinstance(entry, str) or not entry.partition("=")[0] or "\0" in entry:
            raise SpecInvalid(f"{path}: {entry!r} is no variable")
    for key in ("additionalGids", "additionalGIDs"):
        for group in _list(path, edits, key):
            if not _is_number(group):
                raise SpecInvalid(f"{path}: {group!r} is no group")
    if unknown := set(edits) - {"env", "deviceNodes", "mounts", "hooks", "additionalGids", "additionalGIDs"}:
        raise SpecInvalid(f"{path}: {min(unknown)} of containerEdits is not supported")
    return edits


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_path(value: Any) -> bool:
    return _is_text(value) and value.startswith("/")


def _is_source(value: Any) -> bool:
    """Of a mount: a path, or a word that stands for a file system without one."""
    return _is_text(value) and bool(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


# Of each list of containerEdits: what its items must have, and what their fields may be.
_SHAPES: Mapping[str, tuple[tuple[str, ...], Mapping[str, Callable[[Any], bool]]]] = {
    "deviceNodes": (
        ("path",),
        {
            "path": _is_path,
            "hostPath": _is_path,
            "type": lambda value: value in ("", *_TYPES),
            "permissions": lambda value: isinstance(value, str) and set(value) <= set("rwm"),
            **dict.fromkeys(("major", "minor", "fileMode", "uid", "gid"), _is_number),
        },
    ),
    "mounts": (
        ("hostPath", "containerPath"),
        {"hostPath": _is_source, "containerPath": _is_path, "type": _is_text, "options": _are_texts},
    ),
    "hooks": (
        ("hookName", "path"),
        {"path": _is_path, "args": _are_texts, "env": _are_texts, "timeout": _is_number},
    ),
}


def apply(spec: dict[str, Any], devices: Iterable[CdiDevice]) -> None:
    """Give a container of this OCI config the devices. What a file says of all its devices is done once. Raises
    SpecInvalid."""
    done: list[Mapping[str, Any]] = []
    for device in devices:
        for edits in device.edits:
            if edits and not any(edits is other for other in done):
                done.append(edits)
                _apply(spec, edits, device.name)
    # One that lies below another's place comes after it.
    spec["mounts"] = sorted(spec["mounts"], key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _apply(spec: dict[str, Any], edits: Mapping[str, Any], name: str) -> None:
    process, linux = spec["process"], spec["linux"]
    for entry in edits.get("env") or ():
        key = entry.partition("=")[0] + "="
        process["env"] = [*(e for e in process.get("env", ()) if not e.startswith(key)), entry]
    for node in edits.get("deviceNodes") or ():
        made = _node(node, name, process.get("user", {}))
        others = [d for d in linux.get("devices", ()) if d["path"] != made["path"]]
        linux["devices"] = [*others, made]
        if made["type"] in ("c", "u", "b"):
            linux["resources"].setdefault("devices", []).append(
                {
                    "allow": True,
                    "type": "b" if made["type"] == "b" else "c",
                    "major": made["major"],
                    "minor": made["minor"],
                    "access": node.get("permissions") or "rwm",
                }
            )
    for mount in edits.get("mounts") or ():
        spec["mounts"] = [
            *(m for m in spec["mounts"] if m["destination"] != mount["containerPath"]),
            {
                "destination": mount["containerPath"],
                "source": mount["hostPath"],
                "type": mount.get("type") or "bind",
                "options": list(mount.get("options") or ("rbind", "nosuid", "nodev", "ro")),
            },
        ]
    for hook in edits.get("hooks") or ():
        entry = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(entry)
    if groups := edits.get("additionalGids") or edits.get("additionalGIDs"):
        user = process.setdefault("user", {})
        wanted = [group for group in groups if group]
        user["additionalGids"] = sorted({*user.get("additionalGids", ()), *wanted})


def _node(node: Mapping[str, Any], name: str, user: Mapping[str, Any]) -> dict[str, Any]:
    """A node as the OCI config has it; what the specification leaves out is looked up on the host."""
    host = str(node.get("hostPath") or node["path"])
    kind, major, minor = str(node.get("type") or ""), node.get("major"), node.get("minor")
    mode = node.get("fileMode")
    if not kind or (kind != "p" and (major is None or minor is None)):
        try:
            info = os.stat(host)
        except OSError as error:
            raise SpecInvalid(f"device {name}: {host}: {(error.strerror or '').lower()}") from error
        kind = kind or next((k for k in "cbp" if _TYPES[k](info.st_mode)), "")
        if not kind or not _TYPES.get(kind, stat.S_ISREG)(info.st_mode):
            raise SpecInvalid(f"device {name}: {host} is no device")
        major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        mode = stat.S_IMODE(info.st_mode) if mode is None else mode
    out = {"path": node["path"], "type": kind, "uid": node.get("uid"), "gid": node.get("gid")}
    if kind != "p":
        out |= {"major": major, "minor": minor}
    for key in ("uid", "gid"):
        out[key] = user.get(key, 0) if out[key] is None else out[key]
    return {**out, **({"fileMode": mode} if mode is not None else {})}
