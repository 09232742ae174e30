"""Mounts without a kernel: what is mounted is a small tree that is made on the spot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from boxwright.container.supervisor.mounted import MountShare
from boxwright.container.volumes import Volume, Volumes
from boxwright.snapshot.mount import MountFailed
from boxwright.snapshot.snapshotter import Mount


class Mounts:
    """What `snapshot.mount.HostMounts` is told: `done` names the ends of paths. `wrong` is why nothing can be mounted."""

    def __init__(self, wrong: str = "") -> None:
        self.done: list[tuple[str, ...]] = []
        self.wrong = wrong

    def attach(self, mounts: Sequence[Mount], target: Path) -> None:
        """The tree has users and a link in the place of one of the files that a container gets."""
        self.done.append(
            ("attach", target.name, *(f"{m.type} {','.join(m.options)}".strip() for m in mounts))
        )
        if self.wrong:
            raise MountFailed(self.wrong, code=1)
        (target / "etc").mkdir(exist_ok=True)
        (target / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
        (target / "etc/group").write_text("root:x:0:\nwww:x:34:web\n")
        (target / "etc/resolv.conf").unlink(missing_ok=True)
        (target / "etc/resolv.conf").symlink_to("../run/resolv.conf")

    def attach_part(self, fd: int, target: Path) -> None:
        self.done.append(("attach part", os.readlink(f"/proc/self/fd/{fd}"), target.name))

    def detach(self, target: Path) -> bool:
        self.done.append(("detach", target.name))
        return False

    def detach_all(self, target: Path) -> None:
        self.detach(target)


class Unmounted(Volumes):
    """Volumes whose devices are not mounted; a share of one holds its lock all the same."""

    def shared(self, volume: Volume) -> MountShare:
        return MountShare(str(volume.path / "lock"), str(volume.data))
