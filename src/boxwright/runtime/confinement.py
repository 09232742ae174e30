"""AppArmor and SELinux: what the host's kernel has of them, the default profile, and what ``--security-opt`` asks for.

The default profile is what Docker's confines (moby profiles/apparmor): no mounts, no writes to the host's knobs below
/proc and /sys, signals and traces only among processes of the same profile. It is loaded once, where AppArmor is on and
its parser is installed.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from boxwright.errors import BoxwrightError, Denied, Unsupported
from boxwright.runtime.process import run
from boxwright.spec.hashes import sha256
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_PROFILE = "boxwright-default"
# Directories that the host's own programs need as they are.
_NEVER_RELABELLED = frozenset(
    "/ /bin /boot /dev /etc /home /lib /lib64 /proc /root /run /sbin /sys /tmp /usr /var /var/lib /var/log".split()
)
_PARTS = ("user", "role", "type", "level")
# Directories of /sys that stay as they are: cgroups are mounted read-only there.
_DENIED = (
    "deny @{PROC}/* w",
    "deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w",
    "deny @{PROC}/sys/[^k]** w",
    "deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w",
    "deny @{PROC}/sysrq-trigger rwklx",
    "deny @{PROC}/kcore rwklx",
    "deny mount",
    "deny /sys/[^f]*/** wklx",
    "deny /sys/f[^s]*/** wklx",
    "deny /sys/fs/[^c]*/** wklx",
    "deny /sys/fs/c[^g]*/** wklx",
    "deny /sys/fs/cg[^r]*/** wklx",
    "deny /sys/firmware/** rwklx",
    "deny /sys/devices/virtual/powercap/** rwklx",
    "deny /sys/kernel/security/** rwklx",
)


class ProfileMissing(Unsupported):
    """The AppArmor profile that was asked for is not loaded, or the default one cannot be."""


class RelabelRefused(Denied):
    """A tree of the host cannot be given a container's SELinux label."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """For the OCI config: an AppArmor profile, SELinux labels of the process and of its files; '' = none."""

    apparmor: str = ""
    process_label: str = ""
    mount_label: str = ""


def profile_text(name: str = DEFAULT_PROFILE) -> str:
    """The default profile in AppArmor's language."""
    rules = (
        "network",
        "capability",
        "file",
        "umount",
        *(f"signal (receive) peer={peer}" for peer in ("unconfined", "runc", "crun")),
        f"signal (send,receive) peer={name}",
        *_DENIED,
        f"ptrace (trace,read,tracedby,readby) peer={name}",
    )
    body = "".join(f"  {rule},\n" for rule in rules)
    return (
        f"#include <tunables/global>\n\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n"
        f"  #include <abstractions/base>\n{body}}}\n"
    )


def apparmor_is_on(top: str = "/") -> bool:
    """Whether the kernel confines by AppArmor and lets profiles be loaded."""
    return _read(f"{top}sys/module/apparmor/parameters/enabled").startswith("Y") and os.path.isdir(
        f"{top}sys/kernel/security/apparmor"
    )


def selinux_is_on(top: str = "/") -> bool:
    """Whether the kernel labels by SELinux."""
    return os.path.exists(f"{top}sys/fs/selinux/enforce")


def without_effect(options: Iterable[str], top: str = "/") -> list[str]:
    """Sentences about what ``--security-opt`` asks for and this host cannot do."""
    said = []
    for option in options:
        key, _, value = option.partition("=")
        if key == "apparmor" and value not in ("", "unconfined") and not apparmor_is_on(top):
            said.append(f"AppArmor is not enabled on this host: --security-opt {option} has no effect")
        if key == "label" and value != "disable" and not selinux_is_on(top):
            said.append(f"SELinux is not enabled on this host: --security-opt {option} has no effect")
    return said


def confine(
    options: Sequence[str], identity: str, *, privileged: bool = False, top: str = "/"
) -> Confinement:
    """What the container `identity` is confined by. Raises ProfileMissing."""
    return Confinement(
        _apparmor(options, privileged, top),
        *_labels(options=options, identity=identity, privileged=privileged, top=top),
    )


def _apparmor(options: Sequence[str], privileged: bool, top: str) -> str:
    if not apparmor_is_on(top):
        return ""
    wanted = "unconfined" if privileged else ""
    for option in options:
        key, _, value = option.partition("=")
        wanted = value if key == "apparmor" else wanted
    if wanted == "unconfined":
        return wanted
    loaded = {
        line.rpartition(" (")[0] for line in _read(f"{top}sys/kernel/security/apparmor/profiles").splitlines()
    }
    if wanted and wanted not in loaded:
        raise ProfileMissing(
            f"the AppArmor profile {wanted!r} is not loaded", hint="apparmor_parser loads one from a file"
        )
    if not wanted and DEFAULT_PROFILE not in loaded:
        _load()
    return wanted or DEFAULT_PROFILE


def _load() -> None:
    try:
        run(["apparmor_parser", "--replace", "--skip-cache"], input=profile_text().encode(), timeout=60)
    except BoxwrightError as error:
        raise ProfileMissing(
            f"AppArmor is on, and the profile {DEFAULT_PROFILE} cannot be loaded: {error}",
            hint="install the package apparmor, or say --security-opt apparmor=unconfined",
        ) from error


def _labels(options: Sequence[str], identity: str, privileged: bool, top: str) -> tuple[str, str]:
    """Only where it is asked for, as in Docker without its daemon's --selinux-enabled."""
    asked = [value for key, _, value in (option.partition("=") for option in options) if key == "label"]
    if not asked or "disable" in asked or privileged or not selinux_is_on(top):
        return "", ""
    lines = _read(f"{top}etc/selinux/targeted/contexts/lxc_contexts").splitlines()
    contexts = {
        key.strip(): value.strip().strip('"') for key, _, value in (line.partition("=") for line in lines)
    }
    process = contexts.get("process", "system_u:system_r:container_t:s0").split(":", 3)
    file = contexts.get("file", "system_u:object_r:container_file_t:s0").split(":", 3)
    number = int(sha256(identity.encode()).hexdigest()[:8], 16)
    low, high = sorted((number % 1023, (number // 1023) % 1023))
    process[3] = f"s0:c{low},c{high + 1}"  # two categories of its own keep containers apart
    for value in asked:
        part, _, text = value.partition(":")
        if part in _PARTS:
            process[_PARTS.index(part)] = text
        elif part == "filetype":
            file[2] = text
    file[3] = process[3]
    return ":".join(process), ":".join(file)


def relabel(path: str, label: str, *, shared: bool) -> None:
    """Give a tree of the host the SELinux label that a container's processes may use (``:z``, ``:Z``): that of this
    container alone, or with `shared` one without its categories. As a mount does, it goes where `path` leads; no link
    below that is followed. Raises RelabelRefused."""
    path = os.path.realpath(path)
    if path in map(os.path.realpath, _NEVER_RELABELLED):
        raise RelabelRefused(
            f"SELinux relabeling of {path} is not allowed",
            hint="mount a directory below it, or leave z and Z out",
        )
    user, role, kind, level = label.split(":", 3)
    value = os.fsencode(":".join((user, role, kind, level.split(":")[0] if shared else level))) + b"\0"
    _set_label(path, value)
    for _, directories, files, fd in os.fwalk(path, follow_symlinks=False):
        for name in (*directories, *files):
            _set_label(f"/proc/self/fd/{fd}/{name}", value)


def _set_label(path: str, value: bytes) -> None:
    try:
        os.setxattr(path, "security.selinux", value, follow_symlinks=False)
    except FileNotFoundError:  # it was removed meanwhile
        pass
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # as on NFS: the mount has one label for all
            raise RelabelRefused(
                f"cannot label {path} for SELinux: {(error.strerror or '').lower()}"
            ) from error


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
