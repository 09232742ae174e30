"""A run of a RUN step on its way, and what it is given: the values between the sandbox and what fills it.

What a function opens for the step it puts on the sandbox's stack, which closes it when the step has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.build.graph import Tree
from boxwright.build.ops.context import StepContext
from boxwright.build.ops.exec import ExecOp
from boxwright.runtime.userns import NoUserNamespace
from boxwright.snapshot.mount import MountUnsupported
from boxwright.snapshot.snapshotter import IdMap
from boxwright.snapshot.workspace import helper_mount
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`key` names the run's workspace, `rootfs` is its tree and `files` a directory of it for what is mounted in.
    `users` is the user namespace through which its mounts are seen, None when root is the host's root."""

    op: ExecOp
    inputs: Sequence[Tree]
    ctx: StepContext
    key: str
    rootfs: Path
    files: Path
    users: IdMap | None = None

    def mount_tree(self, key: str) -> Path:
        """A workspace's tree as the step's processes are to see it."""
        snapshots = self.ctx.services.snapshots
        if self.users is None:
            return snapshots.mount(key)
        with _explained():
            return snapshots.mount_mapped(key, self.users)

    def seen(self, directory: Path, stack: ExitStack) -> Path:
        """A directory of the host as the step's processes are to see it."""
        if self.users is None:
            return directory
        from boxwright.snapshot import mount as mounting

        target = helper_mount(self.rootfs.parent)
        with _explained():
            fd = mounting.mapped(directory, self.users)
            try:
                mounting.place(fd, target)
            finally:
                os.close(fd)
        stack.callback(mounting.detach, target)
        return target

    def give(self, file: Path, uid: int = 0, gid: int = 0) -> None:
        """Make a file that we wrote belong to a user of the step's."""
        if (users := self.ctx.sandbox.users) is not None:
            uid, gid = users.host(uid), users.host(gid)
        os.chown(file, uid, gid)


@contextmanager
def _explained() -> Iterator[None]:
    """MountUnsupported -> NoUserNamespace: what cannot be had is the user namespace, not the mount."""
    try:
        yield
    except MountUnsupported as error:
        raise NoUserNamespace(
            f"the step cannot run in a user namespace of its own: {error}",
            hint="the store must be on a file system whose mounts can map users (ext4, xfs, btrfs), "
            "under Linux 5.19 or newer",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a step is given beside its definition: `mounts` as the OCI config has them; `env` replaces variables of the
    step's own, `defaults` are for those that it does not have."""

    mounts: tuple[Mapping[str, Any], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def together(cls, parts: Iterable[Given]) -> Given:
        """All of it, in this order. Of two values of a variable the last replaces, of two defaults the first stands."""
        mounts: list[Mapping[str, Any]] = []
        env: dict[str, str] = {}
        defaults: dict[str, str] = {}
        for part in parts:
            mounts += part.mounts
            env |= part.env
            defaults = {**part.defaults, **defaults}
        return cls(mounts=tuple(mounts), env=env, defaults=defaults)

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The variables of the process; `own` are those of the definition."""
        env = {**own, **self.env}
        for name, value in self.defaults.items():
            env.setdefault(name, value)
        return env


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNetwork:
    """The network of a step: `namespaces` as `runtimespec.RuntimeConfig` takes them, `mounts` its files under /etc."""

    namespaces: Mapping[str, str | None]
    mounts: tuple[Mapping[str, Any], ...] = ()
