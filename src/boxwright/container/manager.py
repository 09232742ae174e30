"""Containers: creating, finding, starting, signalling, removing.

Life cycle:  create -> (start -> exit)* -> remove        every state but created is its supervisor's to write

Crash safety: the database row comes last and goes first, so whenever there is one its tree is whole; files without a
row are garbage, which prune takes. A start that died half-way is undone by the next one. A container whose supervisor
is gone while its state says it runs gets a new one from the command that looks at it next (`container.life`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from boxwright.container import frames
from boxwright.container.catalog import ContainerCatalog
from boxwright.container.config import ContainerConfig
from boxwright.container.names import checked, random_name
from boxwright.container.records import (
    Container,
    NameTaken,
    NoSuchContainer,
    WrongState,
    cgroup_of,
    directory_of,
    runtime_of,
    tell,
)
from boxwright.container.session import Session, SupervisorLost, wait_gone
from boxwright.errors import BoxwrightError, Conflict, Unavailable
from boxwright.files.places import Places
from boxwright.runtime.process import require_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.volumes import Volumes
    from boxwright.content.lease import Lease
    from boxwright.image.catalog import ImageRow
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.image.services import Services
    from boxwright.network.networks import Networks

_SIGKILL = 9
_STOP_GRACE = 30.0  # seconds for the end after it


class DoesNotEnd(Unavailable):
    """A container was killed, and the kernel does not let go of it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"container {name} was killed, but has not ended within {_STOP_GRACE:g} seconds",
            hint="a process of it hangs in the kernel, or is a zombie that its parent does not reap: `ps "
            "-ef` shows both",
        )


class RunningContainer(Conflict):
    """The container runs and was not to be removed by force."""


class Containers:
    """Orders for containers, which are found in the `catalog`. All methods may be called from any thread and
    process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.catalog = ContainerCatalog(services)
        self._starting: dict[str, Lease] = {}

    @property
    def networks(self) -> Networks:
        """Networks of this root."""
        return self.catalog.networks

    @property
    def volumes(self) -> Volumes:
        """Volumes of this root."""
        return self.catalog.volumes

    def get(self, text: str) -> Container:
        """By name, id, or the beginning of an id. Raises NoSuchContainer."""
        return self.catalog.get(text)

    def list(self, *, all: bool = False) -> Sequence[Container]:
        """Newest first; running ones only, unless `all`."""
        return self.catalog.list(all=all)

    def inspect(self, text: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON. Raises NoSuchContainer."""
        from boxwright.container.describe import inspect

        container = self.get(text)
        sizes = (self.catalog.size(container), self.catalog.root_size(container)) if size else None
        return inspect(container, driver=self._services.driver, sizes=sizes)

    def top(self, text: str, arguments: str = "") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows of the host's ``ps`` for the container's processes. Raises WrongState."""
        from boxwright.container.stats import processes

        container = self.get(text)
        if not container.state.running:
            raise WrongState(f"container {container.id} is not running")
        found = processes(container, runtime_of(self._services, container.state).ps(container.id), arguments)
        tell(self._services, container, "top")
        return found

    # --- creating ------------------------------------------------------------------------------

    def create(self, config: ContainerConfig) -> Container:
        """A container that does not run yet. Raises NoSuchImage, NameTaken, ContainerConfigInvalid and what else
        options can be."""
        from boxwright.container.creation import Creation
        from boxwright.content.lease import Lease

        name = checked(config.name) if config.name else ""
        if name:
            self._check_name(name)  # an early answer; the row, which is written last, decides
        creation = Creation(self._services, self.catalog, config)
        identity = os.urandom(32).hex()
        row = creation.row(identity)
        container = self._container(identity, name, row)
        # The row is the last: whenever it is there, its tree is whole. Until then a lease holds what it is made of, and
        # until the container was started, or this process has ended, prune leaves it alone: `run` must not lose it.
        lease = Lease(self._services.db, "start a container")
        lease.hold("container", identity)
        lease.hold("workspace", identity)
        lease.hold("layer", *container.layers, *_of_mounts(container, "layers"))
        try:
            creation.prepare(container)
            for attempt in range(100):
                try:
                    container.name = name or random_name(attempt)
                    self._insert(container)
                    break
                except NameTaken:
                    if name:
                        raise
            container.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except BaseException:
            self.catalog.discard(container, volumes=True)
            lease.release()
            raise
        self._starting[identity] = lease
        tell(self._services, container, "create")
        return container

    def _container(self, identity: str, name: str, row: Mapping[str, Any]) -> Container:
        return Container(
            id=identity,
            name=name,
            target=row["image"],
            layers=tuple(row["layers"].split()),
            created=row["created"],
            record=row["record"],
            directory=directory_of(self._services.root, identity),
        )

    def _check_name(self, name: str, prefix: str = "") -> None:
        with self._services.db.read() as sql:
            taken = sql.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
        if taken:
            raise NameTaken(
                f'{prefix}Conflict. The container name "/{name}" is already in use by container "{taken[0]}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def _insert(self, container: Container) -> None:
        from boxwright.image.catalog import NoSuchImage

        with self._services.db.write() as sql:
            self._check_name(container.name)
            # From this row on the collector keeps the image and its layers; until now it may have taken them.
            if container.target and not self._services.catalog.has(container.target):
                raise NoSuchImage(f"No such image: {container.record['image']}")
            for target in _of_mounts(container, "target_digest"):
                if not self._services.catalog.has(target):
                    raise NoSuchImage(f"No such image: {target}")
            values = (
                container.id,
                container.name,
                container.target,
                " ".join(container.layers),
                container.created,
                json.dumps(container.record),
            )
            sql.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?)", values)

    # --- running -------------------------------------------------------------------------------

    def start(
        self,
        container: Container,
        *,
        session: Session | None = None,
        wants: int = 0,
        size: tuple[int, int] | None = None,
        restarts: int = 0,
    ) -> Session:
        """Start, and return the connection on which the supervisor tells what `wants` asks for. Raises what stopped it.

        `session` is a supervisor that was launched before (`Session.launch`); `restarts` says how many times the
        policy has started it."""
        require_root("running containers")
        life = self.catalog.life()
        if wants & (frames.WANT_STDIN | frames.WANT_STDOUT | frames.WANT_STDERR):
            tell(self._services, container, "attach")
        session = session or Session.launch()
        try:
            if container.record["networks"]:
                self.catalog.mend_networks()
            with self.catalog.locked(container):
                if container.refresh().unattended:
                    life.settle(container, revive=False)
                state = container.state
                if state.status == "paused":
                    raise WrongState("cannot start a paused container, try unpause instead")
                if state.active and state.supervised:
                    return session
                if state.supervised and not wait_gone(state.supervisor_pid):
                    raise SupervisorLost(f"container {container.id} is still being stopped")
                life.start(container, session, wants=wants, size=size, restarts=restarts)
        except BaseException:
            session.close()
            raise
        container.refresh()
        self._started(container.id)
        return session

    def let_be(self, container: Container) -> None:
        """A server's: what it created is no longer about to be started, and prune may take it."""
        self._started(container.id)

    def _started(self, identity: str) -> None:
        lease = self._starting.pop(identity, None)
        if lease is not None:
            lease.release()

    def wait(self, container: Container, *, next_exit: bool = False, killed: bool = False) -> int:
        """Until it does not run; its exit code. A container that is to be restarted runs on, unless `next_exit`. One
        that was `killed` has to end soon. Raises DoesNotEnd."""
        while container.refresh().active or next_exit:
            try:
                with Session.attach(
                    container, frames.WANT_NEXT_EXIT if next_exit else frames.WANT_LAST_EXIT
                ) as session:
                    _, value = session.expect(frames.EXITED, silence=_STOP_GRACE if killed else None)
                    return int(value["code"])
            except TimeoutError as error:
                raise DoesNotEnd(container.name) from error
            except (WrongState, SupervisorLost):
                before = container.refresh().supervisor
                self.catalog.settled(container)
                if container.refresh().supervisor == before:
                    break
        return container.state.exit_code

    def order(self, container: Container, kind: int, value: Any = None) -> None:
        """Tell the supervisor, and wait until it is done. Raises WrongState when it cannot be."""
        with Session.attach(container, 0) as session:
            self._order(session, container, kind, value=value)

    def _order(self, session: Session, container: Container, kind: int, *, value: Any) -> None:
        session.send(kind, value)
        _, answer = session.expect(frames.DONE)
        if answer:
            raise WrongState(f"container {container.id}: {answer}")

    def stop(self, container: Container, *, signal: str = "", seconds: float | None = None) -> None:
        """Stop by a signal, and by SIGKILL after a time (negative = never). No error when it does not run."""
        from boxwright.container.launch import stop_plan

        number, wait = stop_plan(container, signal, seconds)
        self._end(container, number, wait)

    def _end(self, container: Container, number: int, wait: float, *, told: bool = True) -> None:
        """Until it does not run; `told` makes it a stop for `events`. A supervisor that is killed meanwhile has a
        successor, which is told the same."""
        while container.refresh().active:
            supervisor = container.state.supervisor
            try:
                with Session.attach(container, frames.WANT_LAST_EXIT) as session:
                    session.send(frames.STOP, (number, wait, told))
                    session.expect(frames.EXITED, silence=wait + _STOP_GRACE if wait >= 0 else None)
                    break
            except TimeoutError as error:
                raise DoesNotEnd(container.name) from error
            except (WrongState, SupervisorLost) as error:
                self.catalog.settled(container, revive=False)
                same = container.refresh().active and container.state.supervisor == supervisor
                if same and not wait_gone(container.state.supervisor_pid, _STOP_GRACE):
                    raise SupervisorLost(f"container {container.id} does not stop") from error
        container.refresh()

    def kill(self, container: Container, signal: str = "KILL") -> None:
        """Send a signal to its process. Raises WrongState when it does not run."""
        from boxwright.container.options import parse_signal

        number = parse_signal(signal)
        if not container.refresh().running:
            raise WrongState(
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        if number != _SIGKILL:
            self.order(container, frames.SIGNAL, number)
            return
        # Told of the next exit, since another command may start it again at once.
        with Session.attach(container, frames.WANT_NEXT_EXIT) as session:
            self._order(session, container, frames.SIGNAL, value=number)
            try:
                session.expect(frames.EXITED, silence=_STOP_GRACE)
            except TimeoutError as error:
                raise DoesNotEnd(container.name) from error
            except SupervisorLost:
                self.wait(container, killed=True)
        container.refresh()

    def restart(self, container: Container, *, signal: str = "", seconds: float | None = None) -> None:
        """Stop and start; start when it does not run."""
        from boxwright.container.launch import stop_plan

        if container.refresh().active:
            self.order(container, frames.RESTART, stop_plan(container, signal, seconds))
        else:
            self.start(container).close()
        container.refresh()

    def pause(self, container: Container) -> None:
        """Freeze. Raises WrongState."""
        status = container.refresh().status
        if status != "running":
            raise WrongState(
                f"Container {container.id} is already paused"
                if status == "paused"
                else f"Container {container.id} is not running"
            )
        self.order(container, frames.PAUSE)

    def unpause(self, container: Container) -> None:
        """Thaw. Raises WrongState."""
        if container.refresh().status != "paused":
            raise WrongState(f"Container {container.id} is not paused")
        self.order(container, frames.RESUME)

    def up(self) -> tuple[Sequence[str], Mapping[str, BoxwrightError]]:
        """As Docker's daemon does when it starts: adopt what runs without a supervisor, and start what a boot or kills
        ended and what the restart policies want (`life.due`). Names that were started, and why others could not
        be."""
        from boxwright.container.life import due

        started = []
        failed = {}
        # What joins another's namespaces comes after all others.
        rows = self.catalog.rows("ORDER BY created")
        for container in sorted(rows, key=lambda c: "container:" in "".join(_joined(c.config))):
            try:
                self.catalog.settled(container, revive=False)
                before = container.state
                if container.config.auto_remove or not due(container):
                    continue
                self.start(container, restarts=before.restart_count).close()
                started.append(container.name)
            except NoSuchContainer:  # --rm, or another process removed it meanwhile
                continue
            except BoxwrightError as error:
                failed[container.name] = error
        return started, failed

    def end_all(self) -> None:
        """Before the root is removed: remove every container, also running ones, and take the networks down. Works on
        any store. Raises DoesNotEnd, SupervisorLost."""
        try:
            for container in self.catalog.list(all=True, revive=False):
                self.remove(container, force=True)
            for network in self.networks.list():
                self.networks.take_down(network)
        except (BoxwrightError, ValueError, LookupError, TypeError):
            # The rows cannot be read, or say nonsense: a newer store, a damaged one, a file that is no database.
            self._kill_found()

    def _kill_found(self) -> None:
        """Kill whatever runs, found by the files of the supervisors alone. Bridges go by themselves once they are
        idle."""
        top = Places(self._services.root).containers
        for name in os.listdir(top) if top.is_dir() else ():
            record = {"config": ContainerConfig(image="").to_json()}
            container = Container(
                id=name, name=name, target="", layers=(), created=0, record=record, directory=top / name
            )
            if container.state.active:
                self._kill(container)
            self._gone(container)

    def commit(
        self,
        container: Container,
        name: str = "",
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> ImageRow:
        """A container's tree as a new image. Raises ChangeInvalid, ReferenceInvalid, DiskFull."""
        from boxwright.container.commit import CommitOptions, commit
        from boxwright.spec.times import rfc3339

        epoch = self._services.settings.epoch
        wish = CommitOptions(
            name=name,
            author=author,
            message=message,
            changes=changes,
            created=rfc3339(epoch) if epoch is not None else "",
        )
        return commit(
            services=self._services,
            catalog=self.catalog,
            container=container,
            wish=wish,
            paused=self.paused(container, pause),
        )

    @contextmanager
    def paused(self, container: Container, wanted: bool = True) -> Iterator[None]:
        """Pause it for a while, if it runs and that is wanted. Raises WrongState, SupervisorLost."""
        if not wanted or container.refresh().status != "running":
            yield
            return
        self.pause(container)
        try:
            yield
        finally:
            self.unpause(container)

    # --- changing ------------------------------------------------------------------------------

    def rename(self, container: Container, name: str) -> None:
        """Raises NameInvalid, NameTaken."""
        if not name:
            raise NameTaken("Neither old nor new names may be empty")
        from boxwright.container.job import RestartChange
        from boxwright.network.plan import plain as as_plain

        plain = checked(name)
        if plain == container.name:
            raise NameTaken("Renaming a container with the same name as its current name")
        with self._services.db.write() as sql:
            self._check_name(plain, "Error when allocating new name: ")
            sql.execute("UPDATE containers SET name = ? WHERE id = ?", (plain, container.id))
        tell(self._services, container, "rename", name=plain, oldName=f"/{container.name}")
        if container.refresh().active:
            try:
                self.order(container, frames.UPDATE, as_plain(RestartChange(name=plain)))
            except (WrongState, SupervisorLost):  # it has just ended
                pass

    def update(self, container: Container, change: Callable[[ContainerConfig], ContainerConfig]) -> None:
        """Change limits and restart policy, also of a running container. Raises LimitInvalid, RuntimeFailed."""
        from boxwright.container.hostside import block_io, check_limits, lift_quota
        from boxwright.container.job import Restart, RestartChange
        from boxwright.container.spec import resources_of, with_block_io
        from boxwright.network.plan import plain

        before = container.config
        after = change(before)
        if after.auto_remove and after.restart.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        resources = with_block_io(resources_of(after.limits), block_io(after.limits))
        if after.limits != before.limits:
            check_limits(after.limits)
        with self.catalog.locked(container):
            if container.refresh().running:
                if after.limits != before.limits:
                    runtime_of(self._services, container.state).update(container.id, resources)
                    if after.limits.cpu_quota < 0:
                        lift_quota(cgroup_of(container))
                policy = Restart(name=after.restart.name, maximum=after.restart.maximum)
                self.order(container, frames.UPDATE, plain(RestartChange(restart=policy)))
            self.catalog.save_record(container, {**container.record, "config": after.to_json()})
        tell(self._services, container, "update")

    # --- removing ------------------------------------------------------------------------------

    def remove(self, container: Container, *, force: bool = False, volumes: bool = False) -> None:
        """Raises RunningContainer, unless `force`. `volumes` takes its anonymous volumes along."""
        state = container.refresh()
        if state.active and not force:
            what = {
                "paused": "paused and must be unpaused first",
                "restarting": "restarting: stop the container before removing or force remove",
            }
            raise RunningContainer(
                f'cannot remove container "{container.name}": container is '
                f"{what.get(state.status, 'running: stop the container before removing or force remove')}"
            )
        if state.active:
            self._kill(container)
        self._gone(container)
        self._started(container.id)
        if not container.config.auto_remove or self.catalog.exists(container):
            self.catalog.discard(container, volumes=volumes)

    def _kill(self, container: Container) -> None:
        self._end(container, 9, 0.0, told=False)

    def _gone(self, container: Container) -> None:
        """Wait for its supervisor's end. Raises SupervisorLost."""
        supervised = container.refresh().supervised
        if not wait_gone(container.state.supervisor_pid if supervised else 0, _STOP_GRACE):
            raise SupervisorLost(f"container {container.id} does not stop")

    def discard(self, container: Container) -> None:
        """Remove a --rm container that has ended, with its anonymous volumes; its supervisor may still be at work
        elsewhere. Idempotent."""
        self.catalog.discard(container, volumes=True)

    def reap(self, identity: str) -> None:
        """Remove a --rm container whose supervisor ends without an attached client; what cannot be done is left to
        the next command."""
        try:
            container = self.get(identity)
            if not container.state.active and wait_gone(container.state.supervisor_pid, _STOP_GRACE):
                self.discard(container)
        except BoxwrightError:
            return

    def prune(self, filters: Filters | None = None) -> Pruned:
        """Remove containers that do not run and that no process is about to start. Filters: until, label, label!.
        Raises FilterInvalid."""
        from boxwright.content.lease import in_use
        from boxwright.image.filters import prunable
        from boxwright.image.maintain import Pruned

        wanted = prunable(filters or {})
        removed, freed = [], 0
        self.catalog.sweep()
        containers = self.list(all=True)
        starting = in_use(self._services.db, "container")
        for container in containers:
            if (
                container.state.active
                or container.id in starting
                or not wanted(container.created, container.labels)
            ):
                continue
            try:
                size = self.catalog.size(container)
                self.remove(container)
            except (Conflict, NoSuchContainer):  # another process started or removed it meanwhile
                continue
            removed.append(container.id)
            freed += size
        self._services.tell("container", "prune", identity="", attributes={"reclaimed": str(freed)})
        return Pruned.of(removed, freed)


def _joined(config: ContainerConfig) -> tuple[str, ...]:
    return config.network, config.pid, config.ipc


def _of_mounts(container: Container, key: str) -> list[str]:
    """What the mounts of images say."""
    found = [point.get(key) or () for point in container.record["mounts"]]
    return [text for value in found for text in ([value] if isinstance(value, str) else value)]
