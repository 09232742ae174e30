"""Containers: creating, finding, starting, ordering about, removing.

Life cycle:  create -> (start -> exit)* -> remove        every state but created is its supervisor's to write

Crash safety: the database row comes first and goes last; a start that died half-way is undone by the next one. A
container whose supervisor is gone while its state says it runs is cleaned up by whoever looks at it next (`_settled`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from boxwright.container import frames
from boxwright.container.config import ContainerConfig
from boxwright.container.names import checked, random_name
from boxwright.container.records import Container, NameTaken, NoSuchContainer, WrongState, directory_of, ended, save_state
from boxwright.container.session import Session, SupervisorLost, wait_gone
from boxwright.errors import BoxwrightError, Conflict

if TYPE_CHECKING:
    from boxwright.container.rooms import Rooms
    from boxwright.container.networks import Network, Networks
    from boxwright.container.volumes import Volume, Volumes

_STOP_GRACE = 30.0  # seconds for the end after SIGKILL


class RunningContainer(Conflict):
    """The container runs and was not to be removed by force."""


class Containers:
    """All methods may be called from any thread and process."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @cached_property
    def networks(self) -> Networks:
        """Networks of this root."""
        from boxwright.container.networks import Networks

        return Networks(self._rooms.root, self._rooms.db)

    @cached_property
    def volumes(self) -> Volumes:
        """Volumes of this root."""
        from boxwright.container.volumes import Volumes

        return Volumes(self._rooms.root, self._rooms.db)

    # --- finding -------------------------------------------------------------------------------

    def _rows(self, where: str = "", *values: object) -> list[Container]:
        with self._rooms.db.read() as sql:
            rows = sql.execute(f"SELECT id, name, image, layers, created, record FROM containers {where}", values).fetchall()
        return [Container(i, n, target, tuple(layers.split()), created, json.loads(record), directory_of(self._rooms.root, i)) for i, n, target, layers, created, record in rows]

    def get(self, text: str) -> Container:
        """By name, id, or the beginning of an id. Raises NoSuchContainer, and says so when several ids begin so."""
        plain = text.removeprefix("/")
        found = self._rows("WHERE name = ? OR id = ?", plain, plain)
        if len(found) > 1:
            found = [c for c in found if c.id == plain]
        if not found and plain and all(c in "0123456789abcdef" for c in plain):
            found = self._rows("WHERE substr(id, 1, ?) = ?", len(plain), plain)
            if len(found) > 1:
                raise NoSuchContainer(f"multiple IDs found with provided prefix: {plain}")
        if not found:
            raise NoSuchContainer(f"No such container: {text}")
        return self._settled(found[0])

    def list(self, *, all: bool = False) -> Sequence[Container]:
        """Newest first; running ones only, unless `all`."""
        found = [self._settled(c) for c in self._rows("ORDER BY created DESC")]
        return [c for c in found if all or c.state.active]

    def _settled(self, container: Container) -> Container:
        """Clean up after a supervisor that died without a word."""
        state = container.state
        if state.active and not state.supervised:
            with self._locked(container):
                if container.refresh().active and not container.state.supervised:
                    self._bury(container)
        return container

    def _bury(self, container: Container) -> None:
        from boxwright.container.network import dns, firewall
        from boxwright.snapshot import mount as mounting

        state = container.state
        self._rooms.runtime.delete(container.id, force=True)
        mounting.detach(container.rootfs)
        try:
            if state.ports:
                firewall.forget(container.id)
            if any(e["names"] for e in state.networks.values()):
                from boxwright.container.launch import dns_directory

                entries = [{"network": name} for name in state.networks]
                dns.unregister({"directory": str(dns_directory(self._rooms)), "program": "", "id": container.id, "entries": entries})
        except OSError:  # rules that cannot be removed now do no harm to anybody but this address
            pass
        save_state(container.directory, ended(state))
        container.refresh()
        if container.config.auto_remove:
            self._discard(container, volumes=True)

    @contextmanager
    def _locked(self, container: Container) -> Iterator[None]:
        """One change of a container's state at a time, over all processes."""
        container.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(container.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    # --- creating ------------------------------------------------------------------------------

    def create(self, config: ContainerConfig) -> Container:
        """A container that does not run yet. Raises NoSuchImage, NameTaken, ConfigInvalid and what else options can be."""
        from boxwright.container.creation import Creation

        name = checked(config.name) if config.name else ""
        creation = Creation(self._rooms, self, config)
        identity = os.urandom(32).hex()
        row = creation.row(identity)
        for attempt in range(100):
            try:
                chosen = name or random_name(attempt)
                self._insert(identity, chosen, row)
                break
            except NameTaken:
                if name:
                    raise
        container = self._rows("WHERE id = ?", identity)[0]
        try:
            container.directory.mkdir(mode=0o700, parents=True)
            creation.prepare(container)
        except BaseException:
            self._discard(container, volumes=True)
            raise
        return container

    def _insert(self, identity: str, name: str, row: Mapping[str, Any]) -> None:
        from boxwright.image.catalog import NoSuchImage

        with self._rooms.db.write() as sql:
            taken = sql.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
            if taken:
                raise NameTaken(
                    f'Conflict. The container name "/{name}" is already in use by container "{taken[0]}". '
                    "You have to remove (or rename) that container to be able to reuse that name."
                )
            # From this row on the collector keeps the image's layers; it must not have been faster.
            if not sql.execute("SELECT 1 FROM images WHERE target = ?", (row["image"],)).fetchone():
                raise NoSuchImage(f"No such image: {row['record']['image']}")
            values = (identity, name, row["image"], row["layers"], row["created"], json.dumps(row["record"]))
            sql.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?)", values)

    def save_record(self, container: Container, record: Mapping[str, Any]) -> None:
        """Replace what does not change by itself."""
        with self._rooms.db.write() as sql:
            sql.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps(record), container.id))

    # --- running -------------------------------------------------------------------------------

    def start(self, container: Container, *, session: Session | None = None, wants: int = 0, size: tuple[int, int] | None = None) -> Session:
        """Start, and return the connection on which the supervisor tells what `wants` asks for. Raises what stopped it.

        `session` is a supervisor that was launched before (`Session.launch`)."""
        from boxwright.container.launch import Launcher

        session = session or Session.launch()
        try:
            with self._locked(container):
                state = container.refresh()
                if state.status == "paused":
                    raise WrongState("cannot start a paused container, try unpause instead")
                if state.active and state.supervised:
                    return session
                if state.supervised and not wait_gone(state.supervisor_pid):
                    raise SupervisorLost(f"container {container.id} is still being stopped")
                if not state.supervised and state.active:
                    self._bury(container)
                Launcher(self._rooms, self.networks, container, self._find).start(session, wants=wants, size=size)
        except BaseException:
            session.close()
            raise
        container.refresh()
        return session

    def _find(self, text: str | None) -> Any:
        return self._rows() if text is None else self.get(text)

    def wait(self, container: Container, *, next_exit: bool = False) -> int:
        """Until it does not run; its exit code. A container that is to be restarted runs on, unless `next_exit`."""
        if not container.refresh().active and not next_exit:
            return container.state.exit_code
        try:
            with Session.attach(container, frames.WANT_NEXT_EXIT if next_exit else frames.WANT_LAST_EXIT) as session:
                _, value = session.expect(frames.EXITED)
                return int(value["code"])
        except (WrongState, SupervisorLost):
            return self._settled(container).refresh().exit_code

    def order(self, container: Container, kind: int, value: Any = None) -> None:
        """Tell the supervisor, and wait until it is done. Raises WrongState when it cannot be."""
        with Session.attach(container, 0) as session:
            session.send(kind, value)
            _, answer = session.expect(frames.DONE)
        if answer:
            raise WrongState(f"container {container.id}: {answer}")

    def stop(self, container: Container, *, signal: str = "", seconds: float | None = None) -> None:
        """Stop by a signal, and by SIGKILL after a time (negative = never). No error when it does not run."""
        from boxwright.container.launch import stop_plan

        number, wait = stop_plan(container, signal, seconds)
        if not container.refresh().active:
            return
        try:
            with Session.attach(container, frames.WANT_LAST_EXIT) as session:
                session.send(frames.STOP, (number, wait))
                session.expect(frames.EXITED)
        except (WrongState, SupervisorLost):
            self._settled(container)
        container.refresh()

    def kill(self, container: Container, signal: str = "KILL") -> None:
        """Send a signal to its process. Raises WrongState when it does not run."""
        from boxwright.container.options import parse_signal

        number = parse_signal(signal)
        if not container.refresh().running:
            raise WrongState(f"cannot kill container: {container.id}: container {container.id} is not running")
        self.order(container, frames.SIGNAL, number)
        if number == 9:
            self.wait(container)

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
            raise WrongState(f"Container {container.id} is already paused" if status == "paused" else f"Container {container.id} is not running")
        self.order(container, frames.PAUSE)

    def unpause(self, container: Container) -> None:
        """Thaw. Raises WrongState."""
        if container.refresh().status != "paused":
            raise WrongState(f"Container {container.id} is not paused")
        self.order(container, frames.RESUME)

    # --- changing ------------------------------------------------------------------------------

    def rename(self, container: Container, name: str) -> None:
        """Raises NameInvalid, NameTaken."""
        if not name:
            raise NameTaken("Neither old nor new names may be empty")
        plain = checked(name)
        if plain == container.name:
            raise NameTaken("Renaming a container with the same name as its current name")
        with self._rooms.db.write() as sql:
            taken = sql.execute("SELECT id FROM containers WHERE name = ?", (plain,)).fetchone()
            if taken:
                raise NameTaken(
                    f'Error when allocating new name: Conflict. The container name "/{plain}" is already in use by container "{taken[0]}". '
                    "You have to remove (or rename) that container to be able to reuse that name."
                )
            sql.execute("UPDATE containers SET name = ? WHERE id = ?", (plain, container.id))

    def update(self, container: Container, change: Callable[[ContainerConfig], ContainerConfig]) -> None:
        """Change limits and restart policy, also of a running container. Raises LimitInvalid, RuntimeFailed."""
        from boxwright.container.spec import resources_of

        before = container.config
        after = change(before)
        if after.auto_remove and after.restart.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        resources = resources_of(after.limits)
        with self._locked(container):
            if container.refresh().running:
                if after.limits != before.limits:
                    self._rooms.runtime.update(container.id, resources)
                self.order(container, frames.UPDATE, {"restart": [after.restart.name, after.restart.maximum]})
            self.save_record(container, {**container.record, "config": after.to_json()})

    # --- removing ------------------------------------------------------------------------------

    def remove(self, container: Container, *, force: bool = False, volumes: bool = False) -> None:
        """Raises RunningContainer, unless `force`. `volumes` takes its anonymous volumes along."""
        state = container.refresh()
        if state.active and not force:
            what = {"paused": "paused and must be unpaused first", "restarting": "restarting: stop the container before removing or force remove"}
            raise RunningContainer(f'cannot remove container "{container.name}": container is {what.get(state.status, "running: stop the container before removing or force remove")}')
        if state.active:
            try:
                self.order(container, frames.STOP, (9, 0.0))
                self.wait(container)
            except (WrongState, SupervisorLost):
                self._settled(container)
        if not wait_gone(container.refresh().supervisor_pid if container.state.supervised else 0, _STOP_GRACE):
            raise SupervisorLost(f"container {container.id} does not stop")
        if not container.config.auto_remove or self._exists(container):
            self._discard(container, volumes=volumes)

    def _exists(self, container: Container) -> bool:
        return bool(self._rows("WHERE id = ?", container.id))

    def discard(self, container: Container) -> None:
        """Remove a --rm container that has ended, with its anonymous volumes; its supervisor may still be at work
        elsewhere. Idempotent."""
        self._discard(container, volumes=True)

    def reap(self, identity: str) -> None:
        """Remove a --rm container whose supervisor ends with nobody attached; what cannot be done is left to the next
        command."""
        try:
            container = self.get(identity)
            if not container.state.active and wait_gone(container.state.supervisor_pid, _STOP_GRACE):
                self.discard(container)
        except BoxwrightError:
            return

    def _discard(self, container: Container, *, volumes: bool) -> None:
        from boxwright.rootfs.root import remove_tree
        from boxwright.snapshot import mount as mounting

        if container.rootfs.exists():
            while mounting.is_mounted(container.rootfs) and mounting.detach(container.rootfs):
                pass
        self._rooms.snapshots.discard(container.id)
        with self._rooms.db.write() as sql:
            sql.execute("DELETE FROM addresses WHERE container = ?", (container.id,))
            sql.execute("DELETE FROM containers WHERE id = ?", (container.id,))
        try:
            fd = os.open(container.directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                remove_tree(fd, container.id)
            finally:
                os.close(fd)
        except FileNotFoundError:
            pass
        if volumes:
            self._drop_volumes(container)

    def _drop_volumes(self, container: Container) -> None:
        names = container.record.get("anonymous") or ()
        if names:
            used = self.volume_users()
            for name in names:
                if not used.get(name):
                    try:
                        self.volumes.remove(name)
                    except BoxwrightError:  # somebody removed it, or took it, meanwhile
                        continue

    def volume_users(self) -> dict[str, Sequence[str]]:
        """Volume -> ids of the containers that have it."""
        found: dict[str, Any] = {}
        for container in self._rows():
            for point in container.record["mounts"]:
                if point["name"]:
                    found.setdefault(point["name"], []).append(container.id)
        return found

    def prune_volumes(self, wanted: Callable[[Volume], bool]) -> tuple[Sequence[str], int]:
        """Remove volumes that no container has; names and freed bytes."""
        removed, freed = [], 0
        users = self.volume_users()
        for volume in self.volumes.list():
            if wanted(volume) and not users.get(volume.name):
                freed += self.volumes.usage(volume)
                self.volumes.remove(volume.name)
                removed.append(volume.name)
        return removed, freed

    def remove_network(self, text: str) -> None:
        """Raises NoSuchNetwork, BuiltIn, NetworkInUse."""
        from boxwright.container.networks import NetworkInUse

        network = self.networks.get(text)
        users = [c.name for c in self.list() if network.name in c.state.networks]
        if users:
            raise NetworkInUse(f"error while removing network: network {network.name} id {network.id} has active endpoints", hint=f"used by {', '.join(users)}")
        self.networks.remove(text)

    def prune_networks(self, wanted: Callable[[Network], bool]) -> Sequence[str]:
        """Remove user networks that no container is to join; their names."""
        from boxwright.container.networks import BUILT_IN

        used = {name for c in self.list(all=True) for name in c.record["networks"]}
        found = [n for n in self.networks.list() if n.name not in BUILT_IN and n.name not in used and wanted(n)]
        for network in found:
            self.networks.remove(network.name)
        return [n.name for n in found]

    def top(self, text: str, arguments: str = "") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows of the host's ``ps`` for the container's processes. Raises WrongState."""
        from boxwright.container.stats import processes

        container = self.get(text)
        if not container.state.running:
            raise WrongState(f"container {container.id} is not running")
        return processes(container, self._rooms.runtime.ps(container.id), arguments)

    def prune(self, wanted: Callable[[Container], bool] = lambda c: True) -> tuple[Sequence[str], int]:
        """Remove everything that does not run; ids and freed bytes."""
        removed, freed = [], 0
        for container in self.list(all=True):
            if container.state.active or not wanted(container):
                continue
            try:
                size = self.size(container)
                self.remove(container)
            except (Conflict, NoSuchContainer):  # somebody was faster
                continue
            removed.append(container.id)
            freed += size
        return removed, freed

    def inspect(self, text: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON. Raises NoSuchContainer."""
        from boxwright.container.describe import inspect

        container = self.get(text)
        sizes = (self.size(container), self.root_size(container)) if size else None
        return inspect(container, driver=self._rooms.snapshots.name, sizes=sizes)

    def size(self, container: Container) -> int:
        """Bytes that its writable layer takes."""
        from boxwright.errors import NotFound

        try:
            return self._rooms.snapshots.usage(container.id)
        except NotFound:
            return 0

    def root_size(self, container: Container) -> int:
        """Bytes of its image's layers and its own."""
        from boxwright.spec.digest import DiffID

        return sum(self._rooms.layers.get(DiffID.parse(d)).bytes for d in container.layers) + self.size(container)
