"""What `create` and `run` take: everything that a container is created with, as frozen values that go to JSON and
back. The names are Docker's flags; what a flag's text means is decided in `container.options`."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.errors import Invalid
from boxwright.spec.values import EMPTY, dataclass, field, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    MountKind = Literal["bind", "volume", "tmpfs", "image"]


class ContainerConfigInvalid(Invalid):
    """Options that contradict each other, or a value that cannot be."""


class HostDeviceMissing(ContainerConfigInvalid):
    """There is no such device on the host."""

    exit_code = 127  # as docker/cli has it for every "no such file or directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec:
    """One ``-v``, ``--mount`` or ``--tmpfs``. `source` is a host path, a volume's name, an image, or '' (anonymous,
    tmpfs)."""

    kind: MountKind
    target: str
    source: str = ""
    readonly: bool = False
    propagation: str = ""  # '' = rprivate
    recursive: bool = True
    create: bool = False  # make a missing host directory, as -v does
    nocopy: bool = False  # do not fill a new volume from the image
    subpath: str = ""  # of a volume or an image
    driver: str = ""
    driver_opts: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()  # of a tmpfs, or z and Z (SELinux)
    flag: bool = False  # came from -v: `inspect` shows it under Binds


@dataclass(frozen=True, slots=True)
class PortBinding:
    """One published port. `host_port` 0 asks for a free one."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A network that the container joins at start."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4: str = ""
    mac: str = ""
    links: tuple[str, ...] = ()  # CONTAINER:ALIAS
    ipv6: str = ""
    link_local: tuple[str, ...] = ()  # more addresses of the interface
    priority: int = 0  # the highest has the default route
    driver_opts: Mapping[str, str] = field(default=EMPTY, hash=False)


@dataclass(frozen=True, slots=True)
class Ulimit:
    """Soft and hard; -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A host device, or directory of devices, given to the container."""

    host: str
    container: str
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """Devices by what they are called or can do, as Docker's API has it (``--gpus``, CDI names): `count` of them
    (-1 = all) or those with these `ids`, which have all capabilities of one of the lists."""

    driver: str = ""
    count: int = 0
    ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, str] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """``no``, ``on-failure`` (at most `maximum` times; 0 = without end), ``always``, ``unless-stopped``."""

    name: str = "no"
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRate:
    """A block device of the host, and its weight, bytes or operations per second."""

    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits; 0 and '' mean none. Memory in bytes, `nano_cpus` in 10^-9 CPUs, `cpu_rt_…` in microseconds."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int = -1
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    blkio_weight: int = 0
    blkio_weight_device: tuple[DeviceRate, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()
    oom_kill_disable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """A container to be. Empty values leave the choice to the image, then to Docker's defaults."""

    image: str
    rootfs: str = ""  # a directory of the host instead of the image, which may be '' then
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None  # None = the image's; () = none
    name: str = ""
    env: tuple[str, ...] = ()  # NAME=value; a bare NAME takes the image's value away
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    annotations: Mapping[str, str] = field(default=EMPTY, hash=False)
    workdir: str = ""
    user: str = ""
    umask: int | None = None  # None = the runtime's
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    stdin: bool = False  # keep standard input open
    attach: tuple[str, ...] = ()  # stdin, stdout, stderr
    auto_remove: bool = False
    mounts: tuple[MountSpec, ...] = ()
    volumes_from: tuple[str, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()
    network: str = "bridge"  # none, host, bridge, container:NAME, or a network
    endpoints: tuple[EndpointConfig, ...] = ()  # first: options of `network`; others: further networks
    links: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()  # NAME:ADDRESS
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    init: bool = False
    security_opt: tuple[str, ...] = ()
    devices: tuple[DeviceSpec, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    device_rules: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroupns: str = ""
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default=EMPTY, hash=False)
    limits: Limits = Limits()
    oom_score_adj: int = 0
    group_add: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout: int | None = None  # seconds
    restart: RestartPolicy = RestartPolicy()
    health: Mapping[str, Any] | None = field(default=None, hash=False)  # Docker's Healthcheck object, ns
    platform: str = ""
    pull: str = "missing"  # always, missing, never
    log_driver: str = ""
    log_opts: Mapping[str, str] = field(default=EMPTY, hash=False)
    runtime: str = ""
    trust_host_ca: str = ""  # auto, always, never; '' = the setting
    masked_paths: tuple[str, ...] | None = None  # None = Docker's
    readonly_paths: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default=EMPTY, hash=False)  # of HostConfig: kept and echoed, no effect

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the default."""
        return _plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ContainerConfig:
        """What `to_json` wrote. Raises ContainerConfigInvalid on a record of another shape."""
        try:
            return cls(
                **{
                    k: _NESTED[k](v) if k in _NESTED and v is not None else _tuples(v)
                    for k, v in value.items()
                }
            )
        except (TypeError, AttributeError, KeyError) as error:
            raise ContainerConfigInvalid(f"the container's record is not readable: {error}") from error


def _plain(value: Any) -> dict[str, Any]:
    found = ((f, getattr(value, f.name)) for f in fields(value))
    return {f.name: _item(item) for f, item in found if item != f.default}


def _item(item: Any) -> Any:
    if type(item) in _VALUES:
        return _plain(item)
    if isinstance(item, tuple):
        return [_item(i) for i in item]
    return dict(item) if isinstance(item, Mapping) else item


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _each(kind: Any) -> Any:
    return lambda items: tuple(kind(**{k: _tuples(v) for k, v in item.items()}) for item in items)


_VALUES = (
    MountSpec,
    PortBinding,
    EndpointConfig,
    Ulimit,
    DeviceSpec,
    DeviceRequest,
    DeviceRate,
    RestartPolicy,
    Limits,
)
_NESTED = {
    "mounts": _each(MountSpec),
    "ports": _each(PortBinding),
    "endpoints": _each(EndpointConfig),
    "ulimits": _each(Ulimit),
    "devices": _each(DeviceSpec),
    "device_requests": _each(DeviceRequest),
    "limits": lambda value: Limits(
        **{k: _each(DeviceRate)(v) if isinstance(v, list) else v for k, v in value.items()}
    ),
    "restart": lambda value: RestartPolicy(**value),
}
