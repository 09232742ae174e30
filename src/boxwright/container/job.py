"""What a supervisor is told: the job that begins everything (frame JOB), and changes of it (frame UPDATE).

Both ends read this file. Values cross the socket as `network.plan.plain` tuples, since both ends are the same
installation. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

from boxwright.network.plan import Endpoint, NameServer, NetworkPlan, made, optional
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingPlan:
    """A log server: `driver` is journald, syslog, gelf or fluentd, `scheme` how it is reached at `host` (a path for
    unix; '' = the local one) and `port`. `facts` are what the driver tells of the container, `extra` its labels and
    variables that were asked for, `options` the driver's own. A `buffer` of 0 bytes lets the container wait. A server
    that is lost is tried again after `first_wait` seconds, then after longer ones up to `last_wait`, `attempts` times
    (0 = until the container ends); it has `patience` seconds to take what is sent, and is connected anew after
    `renewal` seconds (0 = never). No more than `entries` wait (0 = any number)."""

    driver: str
    scheme: str
    host: str
    port: int
    tag: str
    facts: Mapping[str, str]
    extra: Mapping[str, str]
    options: Mapping[str, str]
    buffer: int = 0
    first_wait: float = 0.25
    last_wait: float = 15.0
    attempts: int = 0
    patience: float = 10.0
    renewal: float = 0.0
    entries: int = 0

    @classmethod
    def of(cls, said: Sequence[Any]) -> ShippingPlan:
        """From `plain`."""
        return made(cls, said)

    @property
    def datagrams(self) -> bool:
        """Whether a message may be lost on its way, so that it is sent once."""
        return self.scheme in ("udp", "unixgram")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """Where output is logged ('' = nowhere). A `max_size` of 0 bytes never rotates; `max_files` counts the current one,
    and `compress` the others but the newest. `attributes` are in each entry; `shipping` is a server's."""

    path: str
    max_size: int = 0
    max_files: int = 1
    compress: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    shipping: ShippingPlan | None = None

    @classmethod
    def of(cls, said: Sequence[Any]) -> LogPlan:
        """From `plain`."""
        return made(cls, said, shipping=optional(ShippingPlan.of))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The restart policy: no, always, unless-stopped or on-failure, which has a maximum (0 = none)."""

    name: str
    maximum: int = 0

    @classmethod
    def of(cls, said: Sequence[Any]) -> Restart:
        """From `plain`."""
        return made(cls, said)

    @property
    def always(self) -> bool:
        """Whether the exit code is of no interest."""
        return self.name in ("always", "unless-stopped")

    def wanted(self, code: int, restarts: int) -> bool:
        """Whether a container that ended with `code` after so many restarts is started again."""
        if self.name in ("no", ""):
            return False
        return self.always or (code != 0 and (self.maximum == 0 or restarts < self.maximum))


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPlan:
    """A health check. Times are seconds; a `start_interval` of 0 is the interval. `process` is the test, as the OCI
    config's `process`."""

    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int
    process: Mapping[str, Any]

    @classmethod
    def of(cls, said: Sequence[Any]) -> HealthPlan:
        """From `plain`."""
        return made(cls, said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One container to run, whose bundle is ready. `directory` is the bundle, and has state and sockets; `rootfs` is
    mounted and is to be unmounted.

    `runtime` is the OCI runtime's argv up to the verb's place, `hidden` a mount that it must not see or ''; `filter` is
    the runtime's state directory and where its compiled seccomp filter is to be kept, or None. `size` is the
    terminal's rows and columns (0, 0: unknown). `state` is the JSON of `records.State` to go on from, `wants` what the
    job's sender is to be sent (`frames`). `reaper` with `reaper_environ` is the program that removes an `auto_remove`
    container whose sender has gone; `oom_files` are where the kernel counts what it killed. `name` is the container's,
    which the host's list of processes shows. `journal` is the directory of events ('' = none are told), `attributes`
    what each event of the container carries, `volumes` their names, where they are, and whether they are writable.
    `mounts` are further host mounts of its own, to be taken down in this order; `shares` are those that it has together
    with others: their locks, and where they are; `alone` is the name, id and
    driver of a network that joins it to no other: none or host."""

    id: str
    directory: str
    rootfs: str
    runtime: tuple[str, ...]
    hidden: str
    filter: tuple[str, str] | None
    tty: bool
    open_stdin: bool
    stdin_once: bool
    size: tuple[int, int]
    log: LogPlan
    restart: Restart
    health: HealthPlan | None
    network: NetworkPlan | None
    auto_remove: bool
    reaper: tuple[str, ...]
    reaper_environ: Mapping[str, str]
    state: dict[str, Any]
    wants: int
    oom_files: tuple[str, ...]
    name: str = ""
    journal: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    volumes: tuple[tuple[str, str, bool], ...] = ()
    mounts: tuple[str, ...] = ()
    shares: tuple[tuple[str, str], ...] = ()
    alone: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(cls, said: Sequence[Any]) -> Job:
        """From `plain`."""
        return made(
            cls,
            said,
            log=LogPlan.of,
            restart=Restart.of,
            health=optional(HealthPlan.of),
            network=optional(NetworkPlan.of),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartChange:
    """What has changed while the container runs; None is as before. `networks` are the joined ones as the state shows
    them; `named` is the id of a network where names were registered, with its server; `joined` is an endpoint
    that is new. `name` is the container's new one, or ''."""

    restart: Restart | None = None
    networks: Mapping[str, Any] | None = None
    named: str = ""
    name_server: NameServer | None = None
    joined: Endpoint | None = None
    name: str = ""

    @classmethod
    def of(cls, said: Sequence[Any]) -> RestartChange:
        """From `plain`."""
        return made(
            cls,
            said,
            restart=optional(Restart.of),
            name_server=optional(NameServer.of),
            joined=optional(Endpoint.of),
        )
