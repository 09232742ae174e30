"""What is known of a container: the record that does not change (a row of table `containers`) and the state that does
(ROOT/containers/<id>/state.json, written by its supervisor)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from boxwright.container.config import ContainerConfig
from boxwright.container.supervisor.light import write_file
from boxwright.content.lease import process_alive
from boxwright.errors import Conflict, NotFound
from boxwright.files.places import Places
from boxwright.network.plan import Port, plain
from boxwright.spec.text import to_json
from boxwright.spec.times import stamp
from boxwright.spec.values import EMPTY, dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.hosttree import HostTree
    from boxwright.image.services import Services
    from boxwright.runtime.oci import Runtime
    from boxwright.snapshot.snapshotter import Snapshotter

ZERO_TIME = "0001-01-01T00:00:00Z"


class NoSuchContainer(NotFound):
    """No container has this name or id."""


class NameTaken(Conflict):
    """Another container has the name."""


class WrongState(Conflict):
    """The container runs, or does not run, and the request needs the opposite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`status`: created, running, paused, restarting, exited, removing or dead. Times are RFC 3339, '' for never."""

    status: str = "created"
    pid: int = 0
    supervisor: str = ""  # identity of the process (`content.lease`)
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = ""
    finished_at: str = ""
    restart_count: int = 0
    process: str = ""  # identity of the container's process
    pipes: tuple[int, ...] = ()  # inodes of what it writes its output and its errors to
    stopped: bool = False  # by hand: `unless-stopped` remembers it
    unfinished: bool = False  # a supervisor began something, and has not taken all of it away yet
    health: Mapping[str, Any] | None = field(default=None, hash=False)
    networks: Mapping[str, Any] = field(default=EMPTY, hash=False)  # endpoints of the last start, by network
    ports: tuple[Port, ...] = ()
    placeholders: tuple[str, ...] = ()  # mount points that the tree did not have: no part of diff and commit
    trusted: bool = False  # the host's CA bundle is inside
    # The OCI runtime of the last start: name, program, its state's directory, the mount it must not see.
    runtime: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether its process lives, frozen or not."""
        return self.status in ("running", "paused")

    @property
    def active(self) -> bool:
        """Whether a supervisor has it in hand: running, or about to be again."""
        return self.running or self.status == "restarting"

    @property
    def supervised(self) -> bool:
        """Whether the supervisor that wrote the state still lives."""
        return bool(self.supervisor) and process_alive(self.supervisor)

    @property
    def unattended(self) -> bool:
        """Whether a supervisor, or a boot, left something to do: the process runs on, or what it had is still there."""
        return (self.active or self.unfinished) and not self.supervised

    @property
    def alive(self) -> bool:
        """Whether the process that the state names still runs."""
        return self.running and bool(self.process) and process_alive(self.process)

    @property
    def supervisor_pid(self) -> int:
        """0 when there never was one."""
        return int(self.supervisor.split(":")[1]) if self.supervisor else 0

    def to_json(self) -> dict[str, Any]:
        """As the supervisor keeps it."""
        out: dict[str, Any] = {
            "Status": self.status,
            "Pid": self.pid,
            "Supervisor": self.supervisor,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "OOMKilled": self.oom_killed,
            "StartedAt": self.started_at,
            "FinishedAt": self.finished_at,
            "RestartCount": self.restart_count,
            "Process": self.process,
            "Pipes": list(self.pipes),
            "Stopped": self.stopped,
            "Unfinished": self.unfinished,
            "Networks": dict(self.networks),
            "Ports": [list(plain(p)) for p in self.ports],
            "Placeholders": list(self.placeholders),
            "Trusted": self.trusted,
            "Runtime": list(self.runtime),
        }
        if self.health is not None:
            out["Health"] = dict(self.health)
        return out


_NEVER = State()  # was one started


def load_state(directory: Path | str) -> State:
    """The state of the container in a directory; `created` when none was written."""
    try:
        with open(f"{directory}/state.json", "rb", buffering=0) as file:
            value = json.loads(file.read())
    except FileNotFoundError:
        return _NEVER
    except ValueError:  # a power cut: nothing of a run is known
        return State(status="exited", exit_code=255, error="the state was lost")
    return State(
        status=value["Status"],
        pid=value["Pid"],
        supervisor=value["Supervisor"],
        exit_code=value["ExitCode"],
        error=value["Error"],
        oom_killed=value["OOMKilled"],
        started_at=value["StartedAt"],
        finished_at=value["FinishedAt"],
        restart_count=value["RestartCount"],
        process=value.get("Process") or "",
        pipes=tuple(value.get("Pipes") or ()),
        stopped=bool(value.get("Stopped")),
        unfinished=bool(value.get("Unfinished")),
        health=value.get("Health"),
        networks=value.get("Networks") or {},
        ports=tuple(map(Port.of, value.get("Ports") or ())),
        placeholders=tuple(value.get("Placeholders") or ()),
        trusted=bool(value.get("Trusted")),
        runtime=tuple(value.get("Runtime") or ()),
    )


def save_state(directory: Path, state: State) -> None:
    """Only while no supervisor lives, and under the container's lock."""
    write_file(str(directory / "state.json"), to_json(state.to_json()).encode("utf-8", "surrogatepass"))


def ended(state: State) -> State:
    """What becomes of a state whose supervisor is gone, once all that it had is taken away. How a process ended that
    no process could hear of is not known: that is 255, as in Docker."""
    if not state.active:
        return replace(state, unfinished=False)
    health = {**state.health, "Status": "unhealthy"} if state.health else None
    waited = state.status == "restarting"  # the exit code of the last run is known
    return replace(
        state,
        status="exited",
        pid=0,
        exit_code=state.exit_code if waited else 255,
        error=state.error if waited else _why(state.supervisor),
        finished_at=state.finished_at if waited else stamp(),
        health=health,
        unfinished=False,
    )


def _why(supervisor: str) -> str:
    with open("/proc/sys/kernel/random/boot_id") as boot:
        same = supervisor.partition(":")[0] == boot.read().strip()
    cause = "its supervisor was killed before it ended" if same else "the host was started anew while it ran"
    return f"its exit code is unknown: {cause}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A resolved mount: `source` is a path of the host ('' for a tmpfs), `name` that of a volume."""

    kind: str
    target: str
    source: str = ""
    name: str = ""
    writable: bool = True
    propagation: str = ""
    recursive: bool = True
    options: tuple[str, ...] = ()
    driver: str = ""
    mode: str = ""  # as typed after -v's second colon
    subpath: str = ""
    layers: tuple[str, ...] = ()  # of an image, whose reference `name` is
    target_digest: str = ""  # of an image

    def to_json(self) -> dict[str, Any]:
        """As the record keeps it."""
        out: dict[str, Any] = {
            "kind": self.kind,
            "target": self.target,
            "source": self.source,
            "name": self.name,
            "writable": self.writable,
        }
        out |= {"propagation": self.propagation, "recursive": self.recursive, "options": list(self.options)}
        out |= {"driver": self.driver, "mode": self.mode, "subpath": self.subpath}
        if self.kind == "image":
            out |= {"layers": list(self.layers), "target_digest": self.target_digest}
        return out

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MountPoint:
        """What `to_json` wrote."""
        return cls(
            **{**value, "options": tuple(value["options"]), "layers": tuple(value.get("layers") or ())}
        )


class Container:
    """One container as it was when it was looked up. `record` has ``config``, ``merged`` (Docker's Config), ``image``,
    ``image_id``, ``platform``, ``mounts``, ``hostname``, ``networks``; `target` is the image's digest, `created` unix
    seconds."""

    def __init__(
        self,
        id: str,
        name: str,
        target: str,
        layers: tuple[str, ...],
        created: float,
        record: Mapping[str, Any],
        directory: Path | str,
    ) -> None:
        self.id, self.name, self.target, self.layers = id, name, target, layers
        self.created, self.record, self._directory = created, record, directory

    @cached_property
    def directory(self) -> Path:
        """Of its state, its log and what its supervisor is told."""
        return Path(self._directory)  # of a list of many containers hardly one is asked for

    @cached_property
    def config(self) -> ContainerConfig:
        """What it was created with."""
        return ContainerConfig.from_json(self.record["config"])

    @cached_property
    def state(self) -> State:
        """As of the first look; `refresh` looks again."""
        return load_state(self._directory)

    def refresh(self) -> State:
        """The state now."""
        self.__dict__["state"] = state = load_state(self._directory)
        return state

    @property
    def short_id(self) -> str:
        """12 digits."""
        return self.id[:12]

    @property
    def merged(self) -> Mapping[str, Any]:
        """The image's config overlaid with the container's, under Docker's keys."""
        value: Mapping[str, Any] = self.record["merged"]
        return value

    @property
    def labels(self) -> Mapping[str, str]:
        return self.merged.get("Labels") or {}

    @property
    def command(self) -> list[str]:
        """Entrypoint and command: what runs."""
        return [*(self.merged.get("Entrypoint") or ()), *(self.merged.get("Cmd") or ())]

    @property
    def rootfs(self) -> Path:
        """Where its tree is mounted while it runs."""
        return self.directory / "rootfs"

    @property
    def log_path(self) -> Path:
        return self.directory / f"{self.id}-json.log"

    @property
    def job_path(self) -> Path:
        """What its last supervisor was told, for the next one."""
        return self.directory / "job.json"


def cgroup_of(container: Container) -> str:
    """The path of its cgroup, in every hierarchy."""
    from boxwright.spec.runtimespec import cgroup_below

    return cgroup_below(container.config.cgroup_parent, container.id)


def event_attributes(container: Container) -> dict[str, str]:
    """What every event of a container carries: its labels, image and name."""
    labels = (container.record.get("merged") or {}).get("Labels") or {}
    return {**labels, "image": str(container.record.get("image", "")), "name": container.name}


def tell(services: Services, container: Container, action: str, **more: str) -> None:
    """Something happened to the container, for `events`."""
    services.tell(
        "container", action, identity=container.id, attributes={**event_attributes(container), **more}
    )


def tree_of(services: Services, container: Container) -> Snapshotter | HostTree:
    """The driver that has the container's tree under its id; what a power cut took of it is made again from the row.
    Raises NoSuchContainer when it was removed meanwhile."""
    from boxwright.spec.digest import DiffID

    with services.db.read() as sql:
        if not sql.execute("SELECT 1 FROM containers WHERE id = ?", (container.id,)).fetchone():
            raise NoSuchContainer(f"No such container: {container.name}")
    if container.config.rootfs:
        from boxwright.container.hosttree import HostTree

        return HostTree(container.config.rootfs)
    snapshots = services.snapshots
    snapshots.restore(container.id, [DiffID.parse(d) for d in container.layers])
    return snapshots


def runtime_of(services: Services, state: State) -> Runtime:
    """The runtime that a running container was started with: the host's choice may have changed since."""
    if not state.runtime:
        return services.runtime
    from boxwright.runtime.oci import Runtime

    name, program, root, hidden = state.runtime
    return Runtime(name=name, program=program, version="", root=Path(root), hidden=hidden)


def directory_of(root: Path, identity: str) -> Path:
    """ROOT/containers/<id>."""
    return Places(root).container(identity)
