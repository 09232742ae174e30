"""Docker's defaults for a container, as data, and the OCI runtime config made of them (runtime-spec config.md).

Pure: what the host may give away (its bounding set, its hard limits, its cgroup version) is an argument. The values
are those dockerd writes (moby oci/defaults.go, oci/caps).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "1.0.2"
_MOST = 2**63 - 1  # of a number of the OCI config
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHM_SIZE = 64 << 20

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (  # in the kernel's order: the position is the bit in /proc/PID/status
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE "
        "SYS_PACCT SYS_ADMIN "
        "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
        "SETFCAP MAC_OVERRIDE "
        "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)
DEFAULT_CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE "
        "SYS_CHROOT KILL AUDIT_WRITE"
    ).split()
)
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
NAMESPACES = ("mount", "network", "uts", "pid", "ipc")


def mount(destination: str, kind: str, source: str, *, options: Sequence[str] = ()) -> dict[str, Any]:
    """One entry of `mounts`."""
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def bind(
    source: str, destination: str, *, readonly: bool = False, options: Sequence[str] = ("rbind", "rprivate")
) -> dict[str, Any]:
    """A bind mount of a host path."""
    return mount(destination, "bind", source, options=[*options, *(["ro"] if readonly else [])])


MOUNTS: tuple[dict[str, Any], ...] = (
    mount("/proc", "proc", "proc", options=["nosuid", "noexec", "nodev"]),
    mount("/dev", "tmpfs", "tmpfs", options=["nosuid", "strictatime", "mode=755", "size=65536k"]),
    mount(
        "/dev/pts",
        "devpts",
        "devpts",
        options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    mount("/sys", "sysfs", "sysfs", options=["nosuid", "noexec", "nodev", "ro"]),
    mount("/sys/fs/cgroup", "cgroup", "cgroup", options=["ro", "nosuid", "noexec", "nodev"]),
    mount("/dev/mqueue", "mqueue", "mqueue", options=["nosuid", "noexec", "nodev"]),
    mount("/dev/shm", "tmpfs", "shm", options=["nosuid", "noexec", "nodev", "mode=1777", f"size={SHM_SIZE}"]),
)


def device_rule(
    allow: bool, kind: str = "", major: int | None = None, minor: int | None = None, access: str = "rwm"
) -> dict[str, Any]:
    """One entry of `resources.devices`; without a number it means all."""
    rule: dict[str, Any] = {"allow": allow}
    if kind:
        rule["type"] = kind
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return {**rule, "access": access}


DEVICE_RULES: tuple[dict[str, Any], ...] = (
    device_rule(False),
    *(
        device_rule(allow=True, kind="c", major=major, minor=minor)
        for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    ),
    device_rule(allow=False, kind="c", major=10, minor=229),
)


class CapabilityInvalid(Invalid):
    """No such capability."""


class LimitInvalid(Invalid):
    """A resource limit is out of range or unknown."""


class ProcessInvalid(Invalid):
    """No process can be started with this text: a NUL ends it, or a variable has no name."""


def _capability(name: str, what: str) -> str:
    full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
    if full == "CAP_ALL":
        return "ALL"
    if full not in CAPABILITIES:
        raise CapabilityInvalid(
            f"invalid CapabilityOption: unknown capability to {what}: {name!r}",
            hint="see capabilities(7); the name goes without CAP_ or with it",
        )
    return full


def capabilities(
    *,
    add: Iterable[str] = (),
    drop: Iterable[str] = (),
    privileged: bool = False,
    bounding: Collection[str] | None = None,
) -> tuple[str, ...]:
    """The capabilities of a container as ``--cap-add``, ``--cap-drop`` and ``--privileged`` choose them, of those that
    `bounding` (this process's bounding set; None = all) can give. Raises CapabilityInvalid."""
    added = [_capability(name, "add") for name in add]
    dropped = [_capability(name, "drop") for name in drop]
    if privileged:
        chosen: Iterable[str] = CAPABILITIES
    elif "ALL" in added:
        chosen = (c for c in CAPABILITIES if c not in dropped)
    elif "ALL" in dropped:
        chosen = (c for c in added)
    else:
        chosen = (*(c for c in DEFAULT_CAPABILITIES if c not in dropped), *added)
    unique = dict.fromkeys(chosen)
    return tuple(c for c in unique if bounding is None or c in bounding)


def bounding_set(mask: int) -> frozenset[str]:
    """The names in a mask such as CapBnd of /proc/self/status."""
    return frozenset(name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


_LIMITS = frozenset(
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)
_UNLIMITED = (1 << 64) - 1


def parse_limits(texts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """``TYPE=SOFT[:HARD]`` as `rlimits` takes them. Raises LimitInvalid."""
    out: dict[str, tuple[int, int]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        soft, _, hard = values.partition(":")
        try:
            out[name] = int(soft), int(hard or soft)
        except ValueError as error:
            raise LimitInvalid(
                f"invalid ulimit argument: {text}", hint="write TYPE=SOFT[:HARD], such as nofile=1024:2048"
            ) from error
    return out


def rlimits(
    wanted: Mapping[str, tuple[int, int]], hard: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """`process.rlimits` from {"nofile": (soft, hard)}; -1 means unlimited. What exceeds this process's own hard
    limits (`hard`; missing = unlimited) is lowered to them. Raises LimitInvalid."""
    out = []
    for name, (soft, most) in sorted(wanted.items()):
        if name not in _LIMITS:
            raise LimitInvalid(f"invalid ulimit type: {name}", hint="known are " + ", ".join(sorted(_LIMITS)))
        soft_value, hard_value = (_UNLIMITED if value < 0 else value for value in (soft, most))
        if soft_value > hard_value:
            raise LimitInvalid(
                f"ulimit soft limit must be less than or equal to hard limit: {name} {soft} > {most}"
            )
        ceiling = (hard or {}).get(name, -1)
        if ceiling >= 0:
            soft_value, hard_value = min(soft_value, ceiling), min(hard_value, ceiling)
        out.append({"type": f"RLIMIT_{name.upper()}", "soft": soft_value, "hard": hard_value})
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process to be, in a container that starts and in one that runs. A user other than root gets the
    capabilities only as its bounding set, as in Docker; with `ambient` it holds them, and so does what it starts.
    `size` is (rows, columns) of the terminal."""

    argv: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    extra_gids: Sequence[int] = ()
    terminal: bool = False
    size: tuple[int, int] | None = None
    capabilities: Sequence[str] = DEFAULT_CAPABILITIES
    ambient: bool = False
    limits: Sequence[Mapping[str, Any]] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor: str = ""
    selinux: str = ""
    umask: int | None = None

    def json(self) -> dict[str, Any]:
        """The OCI `process` object. Raises ProcessInvalid."""
        for what, texts in (
            ("argument", self.argv),
            ("environment variable", self.env),
            ("working directory", (self.cwd,)),
        ):
            for text in texts:
                if "\0" in text:
                    raise ProcessInvalid(f"invalid {what} {text!r}: it contains a NUL byte")
        for text in self.env:
            if not text.partition("=")[0]:
                raise ProcessInvalid(f"invalid environment variable {text!r}: its name is empty")
        if not self.cwd.startswith("/") and self.cwd:
            raise ProcessInvalid(
                f"the working directory {self.cwd!r} is invalid, it needs to be an absolute path"
            )
        caps = list(self.capabilities)
        held = {"bounding": caps}
        if self.ambient:
            held |= dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), caps)
        elif not self.uid:
            held |= dict.fromkeys(("effective", "permitted"), caps)
        user: dict[str, Any] = {"uid": self.uid, "gid": self.gid}
        if self.extra_gids:
            user["additionalGids"] = list(self.extra_gids)
        if self.umask is not None:
            user["umask"] = self.umask
        out: dict[str, Any] = {
            "user": user,
            "args": list(self.argv),
            "env": list(self.env),
            "cwd": self.cwd or "/",
            "capabilities": held,
        }
        if self.terminal:
            out["terminal"] = True
            if self.size is not None:
                out["consoleSize"] = {"height": self.size[0], "width": self.size[1]}
        if self.limits:
            out["rlimits"] = [dict(limit) for limit in self.limits]
        if self.no_new_privileges:
            out["noNewPrivileges"] = True
        if self.oom_score_adj is not None:
            out["oomScoreAdj"] = self.oom_score_adj
        if self.apparmor:
            out["apparmorProfile"] = self.apparmor
        if self.selinux:
            out["selinuxLabel"] = self.selinux
        return out


def cgroup_below(parent: str, name: str) -> str:
    """The path of a cgroup below the top of each hierarchy, as ``--cgroup-parent`` says, which no ``..`` leads out of:
    a runtime makes the directories that it is given."""
    parts: list[str] = []
    for part in parent.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return f"/{'/'.join(parts) or 'boxwright'}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """A container whose tree is at `root`.

    `namespaces` changes the default of new ones: {"network": None} shares the host's, {"network": PATH} joins one.
    `mounts` come after the defaults and replace those of the same destination. `privileged` drops masks, the filter
    and the device rules, and makes /sys and cgroups writable; capabilities are `process`'s own business, and
    `devices` should then list the host's. `cgroup_v2` gives a private cgroup namespace, as Docker does there.
    """

    root: str
    process: Mapping[str, Any]
    readonly: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: Sequence[Mapping[str, Any]] = ()
    namespaces: Mapping[str, str | None] | None = None
    cgroup_v2: bool = False
    cgroups_path: str = ""
    resources: Mapping[str, Any] | None = None
    devices: Sequence[Mapping[str, Any]] = ()
    device_rules: Sequence[Mapping[str, Any]] = ()
    seccomp: Mapping[str, Any] | None = None
    sysctls: Mapping[str, str] | None = None
    shm_size: int = SHM_SIZE
    privileged: bool = False
    writable_cgroups: bool | None = None  # None = as privileged
    annotations: Mapping[str, str] | None = None
    masked: Sequence[str] | None = None
    readonly_paths: Sequence[str] | None = None

    def json(self) -> dict[str, Any]:
        """The OCI config."""
        spaces: dict[str, str | None] = dict.fromkeys(NAMESPACES, "")
        if self.cgroup_v2 and not self.privileged:
            spaces["cgroup"] = ""
        spaces.update(self.namespaces or {})
        linux: dict[str, Any] = {
            "namespaces": [
                {"type": kind, **({"path": path} if path else {})}
                for kind, path in spaces.items()
                if path is not None
            ],
            "resources": {
                **_copied(self.resources or {}),
                "devices": [
                    dict(rule)
                    for rule in (
                        (device_rule(True),) if self.privileged else (*DEVICE_RULES, *self.device_rules)
                    )
                ],
            },
            "sysctl": _sysctls(self.sysctls, spaces),
        }
        if self.cgroups_path:
            linux["cgroupsPath"] = self.cgroups_path
        if self.devices:
            linux["devices"] = [dict(device) for device in self.devices]
        hidden = () if self.privileged else MASKED_PATHS
        fixed = () if self.privileged else READONLY_PATHS
        linux["maskedPaths"] = list(hidden if self.masked is None else self.masked)
        linux["readonlyPaths"] = list(fixed if self.readonly_paths is None else self.readonly_paths)
        if self.seccomp is not None and not self.privileged:
            linux["seccomp"] = dict(self.seccomp)
        out: dict[str, Any] = {
            "ociVersion": VERSION,
            "process": dict(self.process),
            "root": {"path": self.root, **({"readonly": True} if self.readonly else {})},
            "mounts": _mounts(
                wanted=self.mounts,
                spaces=spaces,
                shm_size=self.shm_size,
                writable={
                    "sysfs": self.privileged,
                    "cgroup": self.privileged if self.writable_cgroups is None else self.writable_cgroups,
                },
            ),
            "linux": linux,
        }
        if self.hostname and spaces.get("uts") is not None:
            out["hostname"] = self.hostname
        if self.domainname and spaces.get("uts") is not None:
            out["domainname"] = self.domainname
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        return out


def _copied(value: Any) -> Any:
    """A deep copy of JSON-like data; the module `copy` takes longer to import than all of this."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def _sysctls(wanted: Mapping[str, str] | None, spaces: Mapping[str, str | None]) -> dict[str, str]:
    own_network = spaces.get("network") is not None and spaces.get("user") is None
    return {**(SYSCTLS if own_network else {}), **(wanted or {})}


def _mounts(
    wanted: Sequence[Mapping[str, Any]],
    spaces: Mapping[str, str | None],
    shm_size: int,
    writable: Mapping[str, bool],
) -> list[dict[str, Any]]:
    replaced = {str(m["destination"]).rstrip("/") or "/" for m in wanted}
    out = []
    for default in _copied(MOUNTS):
        where = default["destination"]
        if where in replaced or ("/dev" in replaced and where.startswith("/dev/")):
            continue
        if where == "/dev/shm":
            default["options"][-1] = f"size={shm_size}"
        if spaces.get("ipc") is None and where == "/dev/shm":
            default = bind(where, where, options=("rbind",))
        if spaces.get("pid") is None and where == "/proc":
            default = (
                bind("/proc", "/proc", options=("rbind", "nosuid", "noexec", "nodev"))
                if spaces.get("user") is not None
                else default
            )
        if writable.get(default["type"]):
            default["options"] = [option for option in default["options"] if option != "ro"]
        out.append(default)
    return out + [dict(m) for m in wanted]


def device(
    path: str, kind: str, major: int, minor: int, *, mode: int = 0o666, uid: int = 0, gid: int = 0
) -> dict[str, Any]:
    """One entry of `linux.devices`: a node that the runtime makes."""
    return {
        "path": path,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": mode,
        "uid": uid,
        "gid": gid,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Docker's limits; 0 means not limited, bytes for memory, 10^-9 CPUs for `nano_cpus`. As in Docker, swap is as
    large as memory unless it is said, and -1 means unlimited."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    swappiness: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int = 0
    nano_cpus: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    pids_limit: int = 0
    blkio_weight: int = 0

    def json(self) -> dict[str, Any]:
        """`linux.resources`. Raises LimitInvalid."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int) and not -_MOST - 1 <= value <= _MOST:
                raise LimitInvalid(f"invalid {one.name.replace('_', '-')} {value}: it is beyond 64 bits")
        if 0 < self.memory < 6 << 20:
            raise LimitInvalid("Minimum memory limit allowed is 6MB")
        if 0 < self.memory_reservation < 6 << 20:
            raise LimitInvalid("Minimum memory reservation allowed is 6MB")
        if self.memory > 0 and 0 < self.memory_swap < self.memory:
            raise LimitInvalid("Minimum memoryswap limit should be larger than memory limit, see usage")
        if self.memory == 0 and self.memory_swap > 0:
            raise LimitInvalid(
                "You should always set the Memory limit when using Memoryswap limit, see usage"
            )
        if self.swappiness is not None and not -1 <= self.swappiness <= 100:
            raise LimitInvalid(f"invalid value: {self.swappiness}. Valid memory swappiness range is 0-100")
        if self.blkio_weight and not 10 <= self.blkio_weight <= 1000:
            raise LimitInvalid(f"Range of blkio weight is from 10 to 1000, not {self.blkio_weight}")
        if self.memory_reservation and self.memory and self.memory < self.memory_reservation:
            raise LimitInvalid(
                "Minimum memory limit can not be less than memory reservation limit, see usage"
            )
        self._check_cpu()
        if self.cpu_rt_period and self.cpu_rt_runtime > self.cpu_rt_period:
            raise LimitInvalid("cpu real-time runtime cannot be higher than cpu real-time period")
        period, quota = self.cpu_period, max(self.cpu_quota, 0)  # -1, no quota, is the kernel's default
        if self.nano_cpus:
            period, quota = 100_000, self.nano_cpus * 100_000 // 1_000_000_000
        mem: dict[str, Any] = {
            "limit": self.memory,
            "swap": self.memory_swap or (2 * self.memory if self.memory > 0 else 0),
            "reservation": self.memory_reservation,
        }
        cpu: dict[str, Any] = {
            "shares": self.cpu_shares,
            "period": period,
            "quota": quota,
            "cpus": self.cpuset_cpus,
            "mems": self.cpuset_mems,
            "realtimePeriod": self.cpu_rt_period,
            "realtimeRuntime": self.cpu_rt_runtime,
        }
        parts: dict[str, dict[str, Any]] = {
            "memory": {key: value for key, value in mem.items() if value},
            "cpu": {key: value for key, value in cpu.items() if value},
            "pids": {"limit": self.pids_limit} if self.pids_limit > 0 else {},
            "blockIO": {"weight": self.blkio_weight} if self.blkio_weight else {},
        }
        if self.swappiness is not None and self.swappiness >= 0:
            parts["memory"]["swappiness"] = self.swappiness
        if self.oom_kill_disable:
            parts["memory"]["disableOOMKiller"] = True
        return {key: value for key, value in parts.items() if value}

    def _check_cpu(self) -> None:
        """What the kernel refuses, in words that name the option. Raises LimitInvalid."""
        for other, value in (("CPU Period", self.cpu_period), ("CPU Quota", self.cpu_quota)):
            if self.nano_cpus and value:
                raise LimitInvalid(f"Conflicting options: Nano CPUs and {other} cannot both be set")
        if self.cpu_shares < 0:
            raise LimitInvalid(f"invalid CPU shares ({self.cpu_shares}): value must be a positive integer")
        if self.cpu_shares == 1:
            raise LimitInvalid("the minimum allowed cpu-shares is 2")
        if self.cpu_shares > 262_144:
            raise LimitInvalid("the maximum allowed cpu-shares is 262144")
        if self.cpu_period and not 1_000 <= self.cpu_period <= 1_000_000:
            raise LimitInvalid(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
                hint="--cpu-period is in microseconds",
            )
        if 0 < self.cpu_quota < 1_000:
            raise LimitInvalid(
                "CPU cfs quota can not be less than 1ms (i.e. 1000)", hint="--cpu-quota is in microseconds"
            )
        if 0 < self.nano_cpus < 10_000_000:
            raise LimitInvalid(f"--cpus {self.nano_cpus / 1e9:g} is less than 0.01, the least that there is")


def of_other_users(spec: Mapping[str, Any], users: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """The config of a container in a user namespace of its own, for a runtime that is root on the host: `users` says
    which users and groups of the host stand for the container's. The sources of its mounts are mapped already. A user
    namespace cannot mount cgroups, which belong to the host's users: those mounts are left out."""
    out: dict[str, Any] = _copied(spec)
    linux = out["linux"]
    linux["uidMappings"] = [dict(entry) for entry in users]
    linux["gidMappings"] = [dict(entry) for entry in users]
    out["mounts"] = [entry for entry in out["mounts"] if entry["type"] != "cgroup"]
    return out
