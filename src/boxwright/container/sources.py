"""Where a container's mounts come from today: volumes, images and parts of them are made ready on the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from boxwright.container.config import ContainerConfigInvalid
from boxwright.container.records import Container, MountPoint
from boxwright.container.rows import view_key
from boxwright.container.supervisor.mounted import MountShare
from boxwright.rootfs.root import Root
from boxwright.spec.digest import DiffID
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.volumes import Volumes
    from boxwright.image.services import Services
    from boxwright.snapshot.mount import HostMounts


class SubpathMissing(ContainerConfigInvalid):
    """A volume or an image has nothing at the path of which a part was wanted."""

    exit_code = 127  # as docker/cli has it for every "no such file or directory"


class Sources:
    """The sources of one start. `mounts` are what was mounted for it alone, the last first; `shares` are the volumes
    whose devices it uses with others, held until `release`."""

    def __init__(
        self,
        services: Services,
        container: Container,
        *,
        mounts: HostMounts,
        volumes: Volumes | None = None,
    ) -> None:
        self._services, self._container, self._host = services, container, mounts
        self._volumes = volumes
        self.mounts: list[str] = []
        self.shares: list[MountShare] = []

    def ready(self, number: int, point: MountPoint) -> MountPoint:
        """A mount with today's source; `number` is its place among the container's. Raises ContainerConfigInvalid when
        a host path is gone, NoSuchVolume, SubpathMissing, VolumeUnmountable, LayerMissing."""
        if point.kind == "volume":
            path, writable = self._volume(point.name)
            point = replace(point, writable=point.writable and writable)
        elif point.kind == "image":
            path = self._image(view_key(self._container.id, number), point)
        else:
            if point.kind == "bind" and not os.path.lexists(point.source):
                raise ContainerConfigInvalid(
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
                )
            return point
        if point.subpath:
            path = self._part(path, point.subpath, number)
        return replace(point, source=str(path))

    def release(self) -> None:
        """Let go of the volumes: the supervisor has them, or nothing runs."""
        for share in self.shares:
            share.release()
        self.shares.clear()

    def _volume(self, name: str) -> tuple[Path, bool]:
        """Where it is, and whether its options let it be written: a runtime may not keep what its mount says."""
        from boxwright.container.volumemount import described
        from boxwright.container.volumes import Volumes

        volumes = self._volumes or Volumes(self._services.root, self._services.db)
        volume = volumes.get(name)
        if not volume.options:
            return volume.data, True
        self.shares.append(volumes.shared(volume))
        return volume.data, not described(volume.options).readonly

    def _image(self, key: str, point: MountPoint) -> Path:
        snapshots = self._services.snapshots
        snapshots.discard(key)
        snapshots.view(key, [DiffID.parse(layer) for layer in point.layers])
        path = snapshots.mount(key)
        self.mounts.insert(0, str(path))
        return path

    def _part(self, top: Path, subpath: str, number: int) -> Path:
        """What a path inside a tree leads to, mounted beside the container's tree: the tree's owner may swap links, and
        the runtime would follow them."""
        try:
            with Root.at(top) as root:
                fd = root.open(subpath, os.O_PATH)
        except OSError as error:
            path = top / subpath
            raise SubpathMissing(
                f"cannot access path {path}: lstat {path}: {(error.strerror or '').lower()}"
            ) from error
        try:
            place = self._container.directory / f"part-{number}"
            self._host.detach(place)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                place.mkdir(exist_ok=True)
            else:
                place.touch()
            self._host.attach_part(fd, place)
        finally:
            os.close(fd)
        self.mounts.insert(0, str(place))
        return place
