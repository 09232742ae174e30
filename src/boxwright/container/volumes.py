"""Volumes: directories that outlive containers.

ROOT/volumes/<name>/_data     what is mounted
table `volumes`               name, whether anonymous, labels, options
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from boxwright.content import reserve
from boxwright.content.db import Database
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files.disk import disk_errors, make_directories
from boxwright.files.places import Places
from boxwright.spec.text import is_name
from boxwright.spec.values import EMPTY, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.supervisor.mounted import MountShare


class NoSuchVolume(NotFound):
    """No volume has this name."""


class VolumeInUse(Conflict):
    """A container has the volume."""


class VolumeInvalid(Invalid):
    """The name or driver cannot be."""


class VolumeDiffers(Conflict):
    """The volume exists with other options."""


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume; `created` is unix seconds."""

    name: str
    created: float
    anonymous: bool
    path: Path
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    options: Mapping[str, str] = field(default=EMPTY, hash=False)

    @property
    def data(self) -> Path:
        """What is mounted."""
        return self.path / "_data"


class Volumes:
    """All methods may be called from any thread."""

    def __init__(self, root: Path, db: Database) -> None:
        self._root, self._db = Places(root).volumes, db

    def list(self) -> list[Volume]:
        """Every volume, by name."""
        with self._db.read() as sql:
            return [
                self._volume(*row)
                for row in sql.execute("SELECT name, created, anonymous, record FROM volumes ORDER BY name")
            ]

    def get(self, name: str) -> Volume:
        """Raises NoSuchVolume."""
        with self._db.read() as sql:
            row = sql.execute(
                "SELECT name, created, anonymous, record FROM volumes WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            raise NoSuchVolume(f"get {name}: no such volume")
        return self._volume(*row)

    def _volume(self, name: str, created: float, anonymous: int, record: str) -> Volume:
        return Volume(
            name=name,
            created=created,
            anonymous=bool(anonymous),
            path=self._root / name,
            **json.loads(record),
        )

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> tuple[Volume, bool]:
        """The volume, and whether it is new. An existing one of that name is used. Raises VolumeInvalid,
        VolumeDiffers."""
        if driver not in ("", "local"):
            raise VolumeInvalid(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found',
                hint="the driver is local",
            )
        if name and not is_name(name):
            from boxwright.container.mounts import wrong_name

            raise VolumeInvalid(f"create {name}: {wrong_name(name)}")
        if options:
            from boxwright.container import volumemount

            volumemount.check(name, options)
        name = name or os.urandom(32).hex()
        record: dict[str, Any] = {}
        if labels:
            record["labels"] = dict(labels)
        if options:
            record["options"] = dict(options)
        with self._db.write() as sql:
            row = sql.execute(
                "SELECT name, created, anonymous, record FROM volumes WHERE name = ?", (name,)
            ).fetchone()
            if row is not None:
                found = self._volume(*row)
                if options and dict(found.options) != dict(options):
                    raise VolumeDiffers(
                        f"create {name}: conflict: volume name must be unique: it exists with other options"
                    )
                return found, False
            now = time.time()
            self.make_directory(name)
            sql.execute(
                "INSERT INTO volumes VALUES (?, ?, ?, ?)", (name, now, int(anonymous), json.dumps(record))
            )
        self._tell("create", name)
        return self.get(name), True

    def _tell(self, action: str, name: str) -> None:
        from boxwright.content import journal

        journal.tell(
            str(Places(self._root.parent).events),
            kind="volume",
            action=action,
            identity=name,
            attributes={"driver": "local"},
        )

    def make_directory(self, name: str) -> None:
        """The directory of a volume, durably. Raises DiskError."""
        with disk_errors(str(self._root / name)):
            make_directories(self._root / name / "_data", mode=0o755)
            self._root.chmod(0o701)

    def remove(self, name: str, users: Iterable[str] = ()) -> None:
        """`users` are the ids of containers that have it. Raises NoSuchVolume, VolumeInUse."""
        volume = self.get(name)
        found = sorted(users)
        if found:
            raise VolumeInUse(f"remove {name}: volume is in use - [{', '.join(found)}]")
        reserve.spend(self._root.parent)
        with self._db.write() as sql:
            sql.execute("DELETE FROM volumes WHERE name = ?", (name,))
        self._delete(volume)
        self._tell("destroy", name)

    def _delete(self, volume: Volume) -> None:
        from boxwright.files.trees import remove_tree

        self._unmount(volume)
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(fd, volume.name)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)

    def shared(self, volume: Volume) -> MountShare:
        """Mount what the volume's options say, for as long as a process has a share of it. Raises VolumeUnmountable."""
        from boxwright.container import volumemount
        from boxwright.container.supervisor.mounted import MountShare

        share = MountShare(str(volume.path / "lock"), str(volume.data))
        try:
            locks = Places(self._root.parent).mounts
            locks.mkdir(exist_ok=True)
            volumemount.mount(volumemount.described(volume.options), volume.data, locks / "lock")
        except BaseException:
            share.release()
            raise
        return share

    @contextmanager
    def mounted(self, volume: Volume) -> Iterator[Path]:
        """The directory with the volume's files, while it is mounted. Raises VolumeUnmountable."""
        share = self.shared(volume) if volume.options else None
        try:
            yield volume.data
        finally:
            if share is not None:
                share.release()

    def _unmount(self, volume: Volume) -> None:
        from boxwright.snapshot import mount as mounting

        for place in reversed(mounting.mounted_below(volume.path)):
            mounting.detach(place)

    def usage(self, volume: Volume) -> int:
        """Bytes of its files on disk."""
        total, seen = 0, set()
        for directory, _, files in os.walk(volume.data):
            for name in files:
                try:
                    info = os.lstat(os.path.join(directory, name))
                except FileNotFoundError:
                    continue
                if (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    total += info.st_size
        return total
