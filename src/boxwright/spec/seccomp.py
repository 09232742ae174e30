"""Seccomp profiles: Docker's file form compiled down to what the OCI runtime takes.

Docker's form says of each rule for which capabilities, architectures and kernels it holds (`includes`, `excludes`);
a runtime wants only the rules that hold. The default profile ships beside this module, with its licence in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {  # GOARCH -> libseccomp
    "386": "SCMP_ARCH_X86",
    "amd64": "SCMP_ARCH_X86_64",
    "arm": "SCMP_ARCH_ARM",
    "arm64": "SCMP_ARCH_AARCH64",
    "loong64": "SCMP_ARCH_LOONGARCH64",
    "mips": "SCMP_ARCH_MIPS",
    "mips64": "SCMP_ARCH_MIPS64",
    "mips64le": "SCMP_ARCH_MIPSEL64",
    "mipsle": "SCMP_ARCH_MIPSEL",
    "ppc64": "SCMP_ARCH_PPC64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390x": "SCMP_ARCH_S390X",
}
_COPIED = ("names", "action", "errnoRet", "args")


class ProfileInvalid(Invalid):
    """The seccomp profile is malformed."""


@cache
def compiled_default(
    capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]
) -> Mapping[str, Any]:
    """`compile_profile` of the default profile, which many steps share: not to be changed."""
    return compile_profile(
        default_profile(), capabilities=capabilities, architecture=architecture, kernel=kernel
    )


def default_profile() -> dict[str, Any]:
    """Docker's default profile, in Docker's form."""
    value: dict[str, Any] = json.loads(Path(__file__).with_name("seccomp-default.json").read_bytes())
    return value


def parse_profile(text: str | bytes) -> dict[str, Any]:
    """Read a profile that a user named with ``--security-opt seccomp=FILE``. Raises ProfileInvalid."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ProfileInvalid(f"opening seccomp profile failed: it is not JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("syscalls", []), list):
        raise ProfileInvalid("the seccomp profile must be a JSON object with a list 'syscalls'")
    if value.get("architectures") and value.get("archMap"):
        raise ProfileInvalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either "
            "'architectures' or 'archMap'"
        )
    return value


def compile_profile(
    profile: Mapping[str, Any], *, capabilities: Iterable[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """The OCI form (`linux.seccomp`) for a container with these capabilities (``CAP_…``) on an architecture as Go
    calls it and a kernel (major, minor). Raises ProfileInvalid."""
    caps = frozenset(capabilities)
    out: dict[str, Any] = {"defaultAction": profile.get("defaultAction", "SCMP_ACT_ERRNO")}
    if profile.get("defaultErrnoRet") is not None:
        out["defaultErrnoRet"] = profile["defaultErrnoRet"]
    architectures = list(profile.get("architectures") or ())
    native = _ARCHITECTURES.get(architecture)
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            architectures += [native, *(entry.get("subArchitectures") or ())]
    if architectures:
        out["architectures"] = architectures
    if profile.get("flags"):
        out["flags"] = list(profile["flags"])
    out["syscalls"] = [
        _rule(rule)
        for rule in profile.get("syscalls") or ()
        if _holds(rule=rule, caps=caps, architecture=architecture, kernel=kernel)
    ]
    return out


def _holds(rule: Mapping[str, Any], caps: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if architecture in (excludes.get("arches") or ()) or caps & set(excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and kernel >= _kernel(excludes["minKernel"]):
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if includes.get("minKernel") and kernel < _kernel(includes["minKernel"]):
        return False
    return set(includes.get("caps") or ()) <= caps


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or ([rule["name"]] if rule.get("name") else None)
    if not names or "action" not in rule:
        raise ProfileInvalid("a rule of the seccomp profile lacks 'names' or 'action'")
    out = {key: rule[key] for key in _COPIED if rule.get(key) not in (None, [], "")}
    return {**out, "names": list(names)}


def _kernel(text: object) -> tuple[int, int]:
    try:
        major, minor = str(text).split(".")[:2]
        return int(major), int(minor)
    except ValueError as error:
        raise ProfileInvalid(f"minKernel is {text!r} in the seccomp profile; it must be like 4.8") from error
