"""RUN, as a value: a process over the parent's tree, what it is given and what it may use."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.graph import BaseOp, Reads
from boxwright.spec.values import dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecMount:
    """A ``--mount`` of RUN. `target` is absolute; `input` is the vertex input that a bind or cache mount shows,
    None for none."""

    type: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str
    source: str = "/"
    input: int | None = None
    readonly: bool = True
    id: str = ""
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str | None = None
    required: bool = False
    file: bool = True  # of a secret: whether it is a file too, beside `env`
    by_content: bool = False  # of a bind: what is at `source` counts, and not what else its input has

    @property
    def owned(self) -> bool:
        """Whether an owner or a mode is said of a cache, be it the usual one."""
        return self.mode is not None or bool(self.uid or self.gid)

    def definition(self) -> dict[str, object]:
        """Its part of the key: not the content of caches and secrets."""
        out: dict[str, object] = {"type": self.type, "target": self.target, "readonly": self.readonly}
        if self.type == "bind":
            out |= {"source": self.source, "input": self.input}
        elif self.type == "tmpfs":
            out |= {"size": self.size}
        else:
            out |= {"id": self.id, "mode": self.mode, "uid": self.uid, "gid": self.gid}
        if self.type == "secret":
            out |= {"env": self.env}
        if self.type in ("secret", "ssh"):
            out |= {"required": self.required}
        if self.type == "cache" and self.input is not None:
            out |= {"source": self.source, "input": self.input}
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What the processes of a step may use; 0 and '' mean no limit. Memory in bytes, `nano_cpus` in 10^-9 CPUs, the
    rest as the kernel has them; `cgroup_parent` is the cgroup in which the step gets its own."""

    memory: int = 0
    memory_swap: int = 0  # with memory; -1 is unlimited
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""

    def definition(self) -> dict[str, object]:
        """Those that are set."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}

    def resources(self) -> dict[str, object]:
        """As the OCI config has them. Raises LimitInvalid for what contradicts itself."""
        from boxwright.spec.runtimespec import Resources

        return Resources(
            memory=self.memory,
            memory_swap=self.memory_swap,
            nano_cpus=self.nano_cpus,
            cpu_shares=self.cpu_shares,
            cpu_period=self.cpu_period,
            cpu_quota=self.cpu_quota,
            cpuset_cpus=self.cpuset_cpus,
            cpuset_mems=self.cpuset_mems,
        ).json()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOp(BaseOp):
    """Runs `argv` in `cwd` as `user` with exactly this environment (and the sandbox's additions)."""

    kind: ClassVar[str] = "exec/2"  # of kind 1 are records that did not know their limits, hosts and caches

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    hostname: str = "buildkitsandbox"
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"
    mounts: tuple[ExecMount, ...] = ()
    platform: str = ""
    script: tuple[str, str] | None = None  # path and text of a heredoc script with #!
    hosts: tuple[tuple[str, str], ...] = ()  # of --add-host: name, address
    ulimits: tuple[str, ...] = ()
    shm_size: int = 0  # bytes; 0 is the default
    limits: StepLimits = StepLimits()
    devices: tuple[tuple[str, bool], ...] = ()  # of --device: CDI names, and whether they are required
    cache_namespace: str = ""  # BUILDKIT_CACHE_MOUNT_NS: caches of another one are others
    epoch: int | None = None

    @property
    def reads(self) -> Reads:
        return "input" if self.selects else "none"

    @property
    def selects(self) -> tuple[int, ...]:
        return tuple(sorted({m.input for m in self.mounts if m.by_content and m.input is not None}))

    def definition(self) -> Mapping[str, object]:
        return {
            "argv": list(self.argv),
            "env": dict(self.env),
            "build_args": dict(self.build_args),
            "cwd": self.cwd,
            "user": self.user,
            "hostname": self.hostname,
            "network": self.network,
            "security": self.security,
            "mounts": [m.definition() for m in self.mounts],
            "platform": self.platform,
            "script": list(self.script or ()),
            "hosts": [f"{name}:{address}" for name, address in self.hosts],
            "ulimits": list(self.ulimits),
            "shm_size": self.shm_size,
            "limits": self.limits.definition(),
            **({"devices": [list(device) for device in self.devices]} if self.devices else {}),
            "cache_namespace": self.cache_namespace,
            "epoch": self.epoch,
        }
