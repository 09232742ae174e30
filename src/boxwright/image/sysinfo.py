"""What `info` and `version` say, under Docker's own field names (engine API, SystemInfo and SystemVersion)."""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Sequence
from pathlib import Path

from boxwright.errors import BoxwrightError
from boxwright.image.catalog import ImageCatalog
from boxwright.runtime import host as kernel
from boxwright.spec.platform import host
from boxwright.spec.times import rfc3339
from boxwright.spec.values import dataclass
from boxwright.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.settings import Settings

API_VERSION, MIN_API_VERSION = "1.51", "1.24"


_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer")
# What Docker warns of, and the field that says whether it is there.
_LACKING = (
    ("memory limit", "MemoryLimit"),
    ("pids limit", "PidsLimit"),
    ("cpu cfs quota", "CpuCfsQuota"),
    ("cpu cfs period", "CpuCfsPeriod"),
    ("cpu shares", "CPUShares"),
    ("cpuset", "CPUSet"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The OCI runtime that was found by trying, '' when none works; `why` this one, or none."""

    name: str = ""
    program: str = ""
    version: str = ""
    why: str = ""
    hidden: str = ""  # a mount that it must not see


def _limited(controllers: Sequence[str]) -> dict[str, bool]:
    return {
        "MemoryLimit": "memory" in controllers,
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
    }


def version(runtimes: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The engine's part of `version`; `runtimes` are (name, version) of what runs containers."""
    here = host()
    common = {
        "ApiVersion": API_VERSION,
        "Arch": here.architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": os.uname().release,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": here.os,
    }
    components = [{"Name": "Engine", "Version": __version__, "Details": common}]
    components += [{"Name": name, "Version": said, "Details": {"GitCommit": ""}} for name, said in runtimes]
    return {
        "Platform": {"Name": "Boxwright"},
        "Components": components,
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "PythonVersion": machine.python_version(),
        "Os": here.os,
        "Arch": here.architecture,
        "KernelVersion": os.uname().release,
        "BuildTime": "",
    }


def info(
    settings: Settings,
    catalog: ImageCatalog,
    *,
    driver: tuple[str, str],
    runtime: Tried,
    states: Sequence[str],
) -> dict[str, Any]:
    """`driver` is (name, why it), `states` the state of each container. Beside Docker's fields there are
    `RuntimeStatus` and `CgroupStatus`, lists of pairs as `DriverStatus` is."""
    memory, swap = _memory()
    warnings = (
        [] if runtime.name else ["No OCI runtime was found: containers and RUN steps cannot be started"]
    )
    mode = kernel.cgroup_mode()
    controllers = [name for name in _CONTROLLERS if kernel.has_controller(name)]
    limited = _limited(controllers)
    warnings += [f"No {what} support" for what, key in _LACKING if not limited[key]]
    try:
        images = len({row.image_id for row in catalog.rows()})
    except BoxwrightError as error:
        images, warnings = 0, [*warnings, str(error)]
    return {
        "ID": _machine_id(),
        "Containers": len(states),
        "ContainersRunning": sum(s == "running" for s in states),
        "ContainersPaused": sum(s == "paused" for s in states),
        "ContainersStopped": sum(s not in ("running", "paused") for s in states),
        "Images": images,
        "Driver": driver[0],
        "DriverStatus": [["Why", driver[1]], ["Backing Filesystem", _file_system(settings.root)]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": None,
            "Log": ["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"],
        },
        **limited,
        "SwapLimit": swap and limited["MemoryLimit"],
        "OomKillDisable": kernel.has_old_memory(),
        "IPv4Forwarding": _on("/proc/sys/net/ipv4/ip_forward"),
        "Debug": False,
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "SystemTime": rfc3339(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs" if os.geteuid() == 0 else "none",
        "CgroupVersion": "2" if mode == "v2" else "1",
        "CgroupStatus": [["Mode", mode], ["Controllers", " ".join(controllers) or "none"]],
        "KernelVersion": os.uname().release,
        "OperatingSystem": _release("PRETTY_NAME") or "Linux",
        "OSVersion": _release("VERSION_ID"),
        "OSType": host().os,
        "Architecture": os.uname().machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
            "IndexConfigs": {},
            "Mirrors": [],
        },
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": memory,
        "GenericResources": None,
        "DockerRootDir": str(settings.root),
        "HttpProxy": _proxy(settings, "http_proxy"),
        "HttpsProxy": _proxy(settings, "https_proxy"),
        "NoProxy": _proxy(settings, "no_proxy"),
        "Name": os.uname().nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {runtime.name: {"path": runtime.program}} if runtime.name else {},
        "DefaultRuntime": runtime.name,
        "RuntimeStatus": [
            ["Version", runtime.version],
            ["Why", runtime.why],
            *([["Does not see", runtime.hidden]] if runtime.hidden else []),
        ],
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "tini",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": runtime.version},
        "InitCommit": {"ID": ""},
        "SecurityOptions": _security(),
        "Warnings": warnings or None,
    }


def _memory() -> tuple[int, bool]:
    """Bytes of memory, and whether there is swap."""
    found: dict[str, int] = {}
    with open("/proc/meminfo") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * 1024
    return found.get("MemTotal", 0), found.get("SwapTotal", 0) > 0


def _on(path: str) -> bool:
    try:
        return Path(path).read_text().strip() == "1"
    except OSError:
        return False


def _release(key: str) -> str:
    try:
        return machine.freedesktop_os_release().get(key, "")
    except OSError:
        return ""


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def _security() -> list[str]:
    rootless = ["name=rootless"] if os.geteuid() != 0 else []
    return ["name=seccomp,profile=default", *rootless]


def _proxy(settings: Settings, name: str) -> str:
    return settings.proxies.get(name) or settings.proxies.get(name.upper()) or ""


def _file_system(root: Path) -> str:
    """The type of the file system that holds the root, by the longest mount point above it."""
    best, kind = "", ""
    there = str(root.resolve())
    with open("/proc/self/mounts") as lines:
        for line in lines:
            _, point, found, *_ = line.split(" ")
            point = point.replace("\\040", " ")
            if (there == point or there.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, found
    return kind
