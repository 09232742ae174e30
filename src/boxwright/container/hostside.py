"""What a start reads from and does on the host: devices, programs, profiles, filling volumes, missing mount points."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from boxwright.container.config import ContainerConfig, ContainerConfigInvalid, HostDeviceMissing, Limits
from boxwright.errors import Unsupported
from boxwright.rootfs.mountpoints import missing
from boxwright.rootfs.root import Root
from boxwright.runtime.host import Host
from boxwright.spec.runtimespec import device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DNS_PLACES = (
    "/usr/lib/podman/aardvark-dns",
    "/usr/libexec/podman/aardvark-dns",
    "/usr/local/libexec/podman/aardvark-dns",
    "/usr/local/lib/podman/aardvark-dns",
)
# Keys of ``proxies`` in Docker's config.json, and the variables that they become.
_PROXIES = (
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("allProxy", "ALL_PROXY"),
)
_INIT_NAMES = ("docker-init", "tini-static", "tini", "catatonit")


class ProgramAbsent(Unsupported):
    """A program that the container needs is not installed."""


def read_text(path: str) -> str:
    """A file of the host; '' when it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def dns_program() -> str:
    """Raises ProgramAbsent."""
    for path in _DNS_PLACES:
        if os.access(path, os.X_OK):
            return path
    raise ProgramAbsent(
        "names on user networks need aardvark-dns, which is not installed",
        hint="install the package aardvark-dns",
    )


def init_program() -> str:
    """A small init that reaps zombies and forwards signals (``--init``). Raises ProgramAbsent."""
    for name in _INIT_NAMES:
        for place in (
            "/usr/bin",
            "/usr/libexec/docker",
            "/usr/libexec/podman",
            "/usr/local/bin",
            "/usr/sbin",
        ):
            if os.access(f"{place}/{name}", os.X_OK):
                return f"{place}/{name}"
    raise ProgramAbsent(
        "--init needs docker-init, tini or catatonit, and none is installed", hint="install the package tini"
    )


def devices(config: ContainerConfig) -> list[dict[str, Any]]:
    """Nodes for ``--device`` (a directory stands for all devices in it), or all of the host's for ``--privileged``.

    Raises ContainerConfigInvalid."""
    found: list[dict[str, Any]] = []
    if config.privileged:
        from boxwright.runtime.host import devices as everything

        found = everything()
    for wanted in config.devices:
        try:
            paths = (
                [wanted.host]
                if not os.path.isdir(wanted.host)
                else [os.path.join(d, f) for d, _, names in os.walk(wanted.host) for f in names]
            )
            nodes = [(path, os.stat(path)) for path in paths]
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise (HostDeviceMissing if missing else ContainerConfigInvalid)(
                f'error gathering device information while adding custom device "{wanted.host}": '
                f"{(error.strerror or '').lower()}"
            ) from error
        before = len(found)
        for path, info in nodes:
            kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
            if kind:
                inside = wanted.container + path.removeprefix(wanted.host)
                mode = stat.S_IMODE(info.st_mode)
                found.append(
                    device(
                        path=inside,
                        kind=kind,
                        major=os.major(info.st_rdev),
                        minor=os.minor(info.st_rdev),
                        mode=mode,
                        uid=info.st_uid,
                        gid=info.st_gid,
                    )
                )
        if len(found) == before:
            raise ContainerConfigInvalid(
                f'error gathering device information while adding custom device "{wanted.host}": not a device node'
            )
    return list({d["path"]: d for d in found}.values())


def block_io(limits: Limits) -> Mapping[str, Any]:
    """What `container.blockio` says of single devices. Raises HostDeviceMissing."""
    if not (
        limits.blkio_weight_device
        or limits.device_read_bps
        or limits.device_write_bps
        or limits.device_read_iops
        or limits.device_write_iops
    ):
        return {}
    from boxwright.container import blockio

    return blockio.resources(limits)


def check_limits(limits: Limits) -> None:
    """Limits that this host cannot keep: `possible` takes out what can be done without. Raises ContainerConfigInvalid,
    LimitInvalid."""
    if limits == Limits():
        return
    from boxwright.container.possible import possible
    from boxwright.runtime.host import check_cpusets, limits_realtime

    for sentence in possible(limits)[1]:
        raise ContainerConfigInvalid(
            sentence.partition(". ")[0], hint="leave the limit out, or mount the controller"
        )
    if (limits.cpu_rt_period or limits.cpu_rt_runtime) and not limits_realtime():
        raise ContainerConfigInvalid(
            "Your kernel does not support CPU real-time scheduler",
            hint="--cpu-rt-period and --cpu-rt-runtime need cgroup v1 and a kernel with RT_GROUP_SCHED",
        )
    if limits.nano_cpus:
        many = len(os.sched_getaffinity(0))
        if not 10**7 <= limits.nano_cpus <= many * 10**9:
            raise ContainerConfigInvalid(
                f"range of CPUs is from 0.01 to {many}.00, as there are only {many} CPUs available"
            )
    check_cpusets(limits.cpuset_cpus, limits.cpuset_mems)


def lift_quota(cgroup: str) -> None:
    """Let a running container, whose cgroup's path is given, have all the time of its CPUs. Runtimes have no common
    word for it. Raises OSError."""
    from boxwright.runtime.host import host

    two = host().cgroup_v2
    path = f"/sys/fs/cgroup{cgroup}/cpu.max" if two else f"/sys/fs/cgroup/cpu{cgroup}/cpu.cfs_quota_us"
    with open(path, "w") as file:
        file.write("max" if two else "-1")


def seccomp(choice: str, capabilities: Iterable[str], host: Host) -> Mapping[str, Any]:
    """`linux.seccomp` for 'builtin' or the text of a profile. Raises ProfileInvalid."""
    from boxwright.spec.platform import host as platform
    from boxwright.spec.seccomp import compile_profile, default_profile, parse_profile

    profile = default_profile() if choice == "builtin" else parse_profile(choice)
    return compile_profile(
        profile, capabilities=capabilities, architecture=platform().architecture, kernel=host.kernel
    )


_MARKS = ("/.dockerenv", "/etc/mtab")


def unmarked(root: Root) -> list[str]:
    """What `mark` will make."""
    return missing(root, [root.resolve(path, follow_last=False) for path in _MARKS])


def mark(root: Root) -> None:
    """Put into the tree what Docker puts into every one that lacks it: a file by which programs know that they are in a
    container, and the link where they look for what is mounted."""
    for path in _MARKS:
        try:
            with root.parent(path) as (fd, name):
                if path == "/.dockerenv":
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    os.close(os.open(name, flags, 0o755, dir_fd=fd))
                else:
                    os.symlink("/proc/mounts", name, dir_fd=fd)
        except OSError:  # it is there, or the directory is not
            continue


def links(root: Root, targets: Iterable[str]) -> list[str]:
    """Those targets that are symbolic links."""
    found = []
    for target in targets:
        try:
            if stat.S_ISLNK(root.lstat(target).st_mode):
                found.append(root.resolve(target, follow_last=False))
        except OSError:
            continue
    return found


def replace_links(root: Root, targets: Iterable[str]) -> None:
    """Empty files in the place of links: a container's own files are at their names, as in Docker, wherever the image's
    links lead."""
    for target in targets:
        with root.parent(target) as (fd, name):
            os.unlink(name, dir_fd=fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=fd))


def fill_volume(root: Root, path: str, volume: Path) -> None:
    """Copy what the image has at a path into an empty volume, with owners, modes, times and attributes."""
    if any(volume.iterdir()):
        return
    try:
        source = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    from boxwright.container.treecopy import TreeCopy

    target = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        copy = TreeCopy()
        copy.contents(source, target)
        copy.root(source, target)
    finally:
        os.close(source)
        os.close(target)


def client_proxies(path: Path, present: Iterable[str]) -> list[str]:
    """``proxies.default`` of Docker's config.json as variables that the user did not set; [] without any.

    Raises ContainerConfigInvalid."""
    try:
        raw = path.read_bytes()
    except OSError:
        return []
    if b'"proxies"' not in raw:
        return []
    try:
        chosen = (json.loads(raw).get("proxies") or {}).get("default") or {}
        named = [(variable, chosen.get(key) or "") for key, variable in _PROXIES]
    except (ValueError, AttributeError, RecursionError) as error:
        raise ContainerConfigInvalid(f"{path} is not a valid configuration file: {error}") from error
    names = {entry.partition("=")[0] for entry in present}
    out = []
    for variable, value in named:
        if not isinstance(value, str):
            raise ContainerConfigInvalid(
                f"{path} is not a valid configuration file: the proxy {value!r} is no text"
            )
        for name in (variable, variable.lower()):
            if value and name not in names:
                out.append(f"{name}={value}")
    return out
