"""What this process may give to a container: read from /proc, for the pure functions of `spec.runtimespec`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import cache

from boxwright.spec.runtimespec import LimitInvalid, bounding_set, device
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMITS = {  # /proc/self/limits' words -> ulimit names
    "Max cpu time": "cpu",
    "Max file size": "fsize",
    "Max data size": "data",
    "Max stack size": "stack",
    "Max core file size": "core",
    "Max resident set": "rss",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max address space": "as",
    "Max file locks": "locks",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
    "Max realtime timeout": "rttime",
}
_CGROUP2_MAGIC = b"cgroup2"


@dataclass(frozen=True, slots=True)
class Host:
    """`bounding`: capabilities in this process's bounding set; `hard_limits`: by ulimit name, -1 = unlimited."""

    bounding: frozenset[str]
    hard_limits: dict[str, int]
    cgroup_v2: bool
    kernel: tuple[int, int]
    machine: str


@cache
def host() -> Host:
    """Read once."""
    from boxwright.spec.text import version

    mask = 0
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapBnd:"):
                mask = int(line.split()[1], 16)
    name = os.uname()
    return Host(
        bounding=bounding_set(mask),
        hard_limits=dict(_hard_limits()),
        cgroup_v2=_cgroup_v2(),
        kernel=version(name.release),
        machine=name.machine,
    )


def _hard_limits() -> Iterator[tuple[str, int]]:
    with open("/proc/self/limits") as limits:
        for line in limits:
            name = _LIMITS.get(line[:26].strip())
            if name:
                hard = line[26:].split()[1]
                yield name, -1 if hard == "unlimited" else int(hard)


def _cgroup_v2() -> bool:
    with open("/proc/self/mounts", "rb") as mounts:
        return any(line.split()[1:3] == [b"/sys/fs/cgroup", _CGROUP2_MAGIC] for line in mounts)


def has_controller(name: str) -> bool:
    """Whether cgroups of the hierarchy that containers are put into have a controller, by its name in version 1."""
    if not _cgroup_v2():
        return os.path.isdir(f"/sys/fs/cgroup/{name}")
    try:
        with open("/sys/fs/cgroup/cgroup.controllers") as file:
            return {"blkio": "io"}.get(name, name) in file.read().split()
    except OSError:
        return False


def cgroup_mode() -> str:
    """``v2``, ``v1``, or ``hybrid``: version 1's controllers beside a hierarchy of version 2 that has none of them."""
    if _cgroup_v2():
        return "v2"
    return "hybrid" if os.path.ismount("/sys/fs/cgroup/unified") else "v1"


def has_old_memory() -> bool:
    """Whether the memory controller is version 1's, which alone has a swappiness and lets a cgroup wait for memory."""
    return not _cgroup_v2() and has_controller("memory")


def weighs_io() -> bool:
    """Whether the kernel shares the disk's time between containers by weight."""
    return _weighs(("weight", "bfq.weight"))


def weighs_devices() -> bool:
    """Whether it has weights for single devices."""
    return _weighs(("weight_device", "bfq.weight_device"))


def _weighs(files: tuple[str, ...]) -> bool:
    if _cgroup_v2():
        return has_controller("blkio")
    return any(os.path.exists(f"/sys/fs/cgroup/blkio/blkio.{name}") for name in files)


def limits_realtime() -> bool:
    """Whether cgroups limit the time of real-time processes."""
    return os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_period_us")


def check_cpusets(cpus: str, mems: str) -> None:
    """Refuse processors and memory nodes that this host does not have; '' asks for none. Raises LimitInvalid."""
    for wanted, kind, devices, what in (
        (cpus, "cpus", "cpu", "CPUs"),
        (mems, "mems", "node", "memory nodes"),
    ):
        if not wanted:
            continue
        have = _usable(kind, devices)
        try:
            available = _numbers(wanted) <= _numbers(have)
        except ValueError as error:
            raise LimitInvalid(
                f"Invalid value {wanted} for cpuset {kind}", hint=f"--cpuset-{kind} wants such as 0-3 or 0,1"
            ) from error
        if not available:
            raise LimitInvalid(
                f"Requested {what} are not available - requested {wanted}, available: {have}",
                hint=f"--cpuset-{kind} wants some of these",
            )


def _usable(kind: str, devices: str) -> str:
    for path in (
        f"/sys/fs/cgroup/cpuset.{kind}.effective",
        f"/sys/fs/cgroup/cpuset/cpuset.effective_{kind}",
        f"/sys/devices/system/{devices}/online",
    ):
        try:
            with open(path) as file:
                return file.read().strip()
        except OSError:
            continue
    return "0"


def _numbers(text: str) -> set[int]:
    """Such as ``0-3,5``. Raises ValueError."""
    found: set[int] = set()
    if not text.isascii():
        raise ValueError(text)
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()) or int(high or low) - int(low) > 1 << 16:
            raise ValueError(text)
        found |= set(range(int(low), int(high or low) + 1))
    return found


def devices(directory: str = "/dev") -> list[dict[str, Any]]:
    """Every device node of the host, for ``--privileged``; terminals and what the runtime makes itself are left out."""
    found = []
    for parent, directories, files in os.walk(directory):
        directories[:] = [
            d
            for d in directories
            if f"{parent}/{d}"
            not in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/.lxc", "/dev/.lxd-mounts")
        ]
        for name in files:
            path = f"{parent}/{name}"
            if path in ("/dev/console", "/dev/ptmx"):
                continue
            try:
                info = os.lstat(path)
            except OSError:
                continue
            kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
            if kind:
                found.append(
                    device(
                        path=path,
                        kind=kind,
                        major=os.major(info.st_rdev),
                        minor=os.minor(info.st_rdev),
                        mode=stat.S_IMODE(info.st_mode),
                        uid=info.st_uid,
                        gid=info.st_gid,
                    )
                )
    return sorted(found, key=lambda entry: str(entry["path"]))


def remove_cgroup(path: str) -> None:
    """Remove an ended container's cgroup from every hierarchy, where its runtime could not."""
    try:
        tops = [entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir(follow_symlinks=False)]
    except OSError:  # there are none here
        return
    for top in ("/sys/fs/cgroup", *tops):
        for folder, _, _ in os.walk(f"{top}/{path.strip('/')}", topdown=False):
            try:
                os.rmdir(folder)
            except OSError:  # gone meanwhile, or still ending
                continue
