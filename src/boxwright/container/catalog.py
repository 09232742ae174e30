"""What containers there are: finding them, and what hangs on them: volumes, networks, sizes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

from boxwright.container.records import (
    Container,
    NoSuchContainer,
    cgroup_of,
    tell,
)
from boxwright.errors import BoxwrightError, Unavailable
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from boxwright.container.life import Life
    from boxwright.container.volumes import Volumes
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.image.services import Services
    from boxwright.network.networks import Networks


class ContainerCatalog:
    """The rows of table `containers`, with their states. All methods may be called from any thread and process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def networks(self) -> Networks:
        """Networks of this root."""
        from boxwright.network.networks import Networks

        return Networks(self._services.root, self._services.db)

    @cached_property
    def volumes(self) -> Volumes:
        """Volumes of this root."""
        from boxwright.container.volumes import Volumes

        return Volumes(self._services.root, self._services.db)

    # --- finding -------------------------------------------------------------------------------

    def rows(self, where: str = "", *values: object) -> list[Container]:
        """As they are recorded, by a condition of SQL and its values."""
        with self._services.db.read() as sql:
            rows = sql.execute(
                f"SELECT id, name, image, layers, created, record FROM containers {where}", values
            ).fetchall()
        top = Places(self._services.root).containers
        # In one go: each call has a price, and makes its own texts of the same keys.
        records = json.loads(f"[{','.join(row[-1] for row in rows)}]")
        return [
            Container(
                id=i,
                name=n,
                target=target,
                layers=tuple(layers.split()),
                created=created,
                record=record,
                directory=f"{top}/{i}",
            )
            for (i, n, target, layers, created, _), record in zip(rows, records)
        ]

    def get(self, text: str) -> Container:
        """By name, id, or the beginning of an id. Raises NoSuchContainer, and says so when several ids begin so."""
        plain = text.removeprefix("/")
        found = self.rows("WHERE name = ? OR id = ?", plain, plain)
        if len(found) > 1:
            found = [c for c in found if c.id == plain]
        if not found and plain and all(c in "0123456789abcdef" for c in plain):
            found = self.rows("WHERE substr(id, 1, ?) = ?", len(plain), plain)
            if len(found) > 1:
                raise NoSuchContainer(f"multiple IDs found with provided prefix: {plain}")
        if not found:
            raise NoSuchContainer(f"No such container: {text}")
        container = found[0]
        if container.state.unattended and not self.exists(self.settled(container)):
            raise NoSuchContainer(f"No such container: {text}")
        return container

    def list(self, *, all: bool = False, revive: bool = True) -> Sequence[Container]:
        """Newest first; running ones only, unless `all`. Without `revive` no restart policy has a say."""
        found = []
        for container in self.rows("ORDER BY created DESC"):
            left = container.state.unattended
            if left and not self.exists(self.settled(container, revive=revive)):
                continue
            if all or container.state.active:
                found.append(container)
        return found

    def find(self, text: str | None) -> Any:
        """One as `get` does; every one, as recorded, for None."""
        return self.rows() if text is None else self.get(text)

    def settled(self, container: Container, *, revive: bool = True) -> Container:
        """The same, after what a supervisor that was killed, or a boot, left to do: see `container.life`. It may have
        been removed then."""
        if container.state.unattended:
            with self.locked(container):
                if container.refresh().unattended:
                    self.life().settle(container, revive=revive)
        return container

    def life(self) -> Life:
        """What starts containers again, and buries those that ended unseen."""
        from boxwright.container.life import Life

        return Life(
            self._services,
            networks=lambda: self.networks,
            find=self.find,
            discard=partial(self.discard, volumes=True),
        )

    def exists(self, container: Container) -> bool:
        """Whether it was not removed meanwhile."""
        return bool(self.rows("WHERE id = ?", container.id))

    @contextmanager
    def locked(self, container: Container) -> Iterator[None]:
        """One change of a container's state at a time, over all processes."""
        container.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Lock.at(locks.CONTAINER, container.directory / "lock"):
            yield

    def save_record(self, container: Container, record: Mapping[str, Any]) -> None:
        """Replace what does not change by itself."""
        with self._services.db.write() as sql:
            sql.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps(record), container.id))

    def discard(self, container: Container, *, volumes: bool) -> None:
        """Remove row, tree and directory; `volumes` takes its anonymous volumes along. Idempotent."""
        from boxwright.container.rows import view_key
        from boxwright.content import reserve
        from boxwright.files.trees import remove_tree
        from boxwright.network import addresses
        from boxwright.runtime.host import remove_cgroup

        if not container.state.supervised:  # else the runtime is about to
            remove_cgroup(cgroup_of(container))
        reserve.spend(self._services.root)
        _unmount_below(container.directory)
        # Durably before the tree: a row that comes back after a power cut would have none.
        with self._services.db.write() as sql:
            addresses.release(self._services.db, container.id)
            gone = sql.execute("DELETE FROM containers WHERE id = ?", (container.id,)).rowcount
        for number, point in enumerate(container.record["mounts"]):
            if point["kind"] == "image":
                self._services.snapshots.discard(view_key(container.id, number))
        self._services.snapshots.discard(container.id)
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
        if gone:
            tell(self._services, container, "destroy")

    def _drop_volumes(self, container: Container) -> None:
        names = container.record.get("anonymous") or ()
        if names:
            used = self.volume_users()
            for name in names:
                if not used.get(name):
                    try:
                        self.volumes.remove(name)
                    except BoxwrightError:  # another process removed it, or took it, meanwhile
                        continue

    def sweep(self) -> int:
        """Remove what crashes left: directories of containers and volumes without a row. Returns how many."""
        from boxwright.files.trees import remove_tree

        removed = 0
        places = Places(self._services.root)
        for table, key, top in (("containers", "id", places.containers), ("volumes", "name", places.volumes)):
            # Rows come before these directories, and go before them; a volume's is made in its row's transaction.
            with self._services.db.write() as sql:
                names = os.listdir(top) if top.is_dir() else []
                known = {name for (name,) in sql.execute(f"SELECT {key} FROM {table}")}
            for name in set(names) - known:
                _unmount_below(top / name)
                fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    remove_tree(fd, name)
                    removed += 1
                finally:
                    os.close(fd)
        return removed

    # --- what hangs on them --------------------------------------------------------------------

    def volume_users(self) -> dict[str, Sequence[str]]:
        """Volume -> ids of the containers that have it."""
        found: dict[str, Any] = {}
        for container in self.rows():
            for point in container.record["mounts"]:
                if point["name"] and point["kind"] == "volume":
                    found.setdefault(point["name"], []).append(container.id)
        return found

    def prune_volumes(self, filters: Filters, *, everything: bool = False) -> Pruned:
        """Remove anonymous volumes that no container has, or with `everything` named ones too. Filters: label, label!.
        Raises FilterInvalid."""
        from boxwright.image.filters import prunable
        from boxwright.image.maintain import Pruned

        wanted = prunable(filters, ("label", "label!"))
        removed, freed = [], 0
        users = self.volume_users()
        for volume in self.volumes.list():
            meant = (everything or volume.anonymous) and wanted(volume.created, volume.labels)
            if meant and not users.get(volume.name):
                freed += self.volumes.usage(volume)
                self.volumes.remove(volume.name)
                removed.append(volume.name)
        self._services.tell("volume", "prune", identity="", attributes={"reclaimed": str(freed)})
        return Pruned.of(removed, freed)

    def remove_network(self, text: str) -> None:
        """Raises NoSuchNetwork, BuiltIn, NetworkInUse."""
        from boxwright.network.networks import NetworkInUse

        network = self.networks.get(text)
        users = [c.name for c in self.list() if network.name in c.state.networks]
        if users:
            raise NetworkInUse(
                f"error while removing network: network {network.name} id {network.id} has active endpoints",
                hint=f"used by {', '.join(users)}",
            )
        self.networks.remove(text)

    def mend_networks(self, *, thoroughly: bool = False) -> None:
        """Make the rules of networks and of published ports again when another program (a firewall that was loaded
        anew) has removed rules of a network; `thoroughly` does so whatever is there. Raises Unavailable."""
        from boxwright.network import bridge, firewall

        if not self.networks.mend(thoroughly=thoroughly):
            return
        lock = str(Places(self._services.root).network_lock)
        for container in self.list():
            if container.state.ports:
                try:
                    bridge.publish_again(container.state.ports, container.id, lock, thoroughly=True)
                    # Its supervisor says that it has ended before it takes its rules away.
                    if not container.refresh().active:
                        firewall.forget(container.id)
                except OSError as error:
                    raise Unavailable(
                        f"cannot publish the ports of {container.name} again: {error}"
                    ) from error

    def prune_networks(self, filters: Filters) -> Pruned:
        """Remove user networks that no container is to join. Filters: until, label, label!. Raises FilterInvalid."""
        from boxwright.image.filters import prunable
        from boxwright.image.maintain import Pruned
        from boxwright.network.networks import BUILT_IN
        from boxwright.spec.times import unix_seconds

        wanted = prunable(filters)
        used = {name for c in self.list(all=True) for name in c.record["networks"]}
        found = [
            n
            for n in self.networks.list()
            if n.name not in BUILT_IN
            and n.name not in used
            and wanted(unix_seconds(n.created) or 0, n.labels)
        ]
        for network in found:
            self.networks.remove(network.name)
        self.networks.take_down_idle()
        self._services.tell("network", "prune", identity="", attributes={"reclaimed": "0"})
        return Pruned.of(n.name for n in found)

    # --- looking -------------------------------------------------------------------------------

    def size(self, container: Container) -> int:
        """Bytes that its writable layer takes."""
        from boxwright.errors import NotFound

        try:
            return self._services.snapshots.usage(container.id)
        except NotFound:
            return 0

    def root_size(self, container: Container) -> int:
        """Bytes of its image's layers and its own."""
        from boxwright.spec.digest import DiffID

        return sum(self._services.layers.get(DiffID.parse(d)).bytes for d in container.layers) + self.size(
            container
        )


def _unmount_below(directory: Path) -> None:
    """The tree of a container and parts of volumes, or what a volume is mounted from."""
    from boxwright.snapshot import mount as mounting

    for place in reversed(mounting.mounted_below(directory)):
        mounting.detach(place)
