"""Running a RUN step: a writable tree over the parent, a container around it, a layer of what was written."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxwright.build.graph import Outcome, Tree
from boxwright.build.ops import missing, stepmounts, stepnet
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.build.ops.normalise import Normaliser
from boxwright.errors import StepFailed
from boxwright.rootfs.mountpoints import MountPoints
from boxwright.rootfs.root import Root
from boxwright.rootfs.users import User, resolve_user
from boxwright.runtime.process import require_root
from boxwright.runtime.userns import NoUserNamespace
from boxwright.snapshot.mount import MountUnsupported
from boxwright.snapshot.snapshotter import IdMap, Mount
from boxwright.snapshot.workspace import helper_mount
from boxwright.spec.values import dataclass, field

if TYPE_CHECKING:
    from boxwright.build.ops.exec import ExecOp

_LOG_IN_ERROR = 1 << 16


@dataclass
class Step:
    """One run on its way: `key` names its workspace, `files` is a directory of it for what is mounted in. `users` is
    the user namespace through which its mounts are seen, None when root is the host's root."""

    op: ExecOp
    inputs: Sequence[Tree]
    ctx: StepContext
    stack: ExitStack
    key: str
    rootfs: Path
    files: Path
    env: dict[str, str]
    users: IdMap | None = None
    mounts: list[dict[str, Any]] = field(default_factory=list)

    def mount_tree(self, key: str) -> Path:
        """A workspace's tree as the step's processes are to see it."""
        snapshots = self.ctx.services.snapshots
        if self.users is None:
            return snapshots.mount(key)
        with _explained():
            return snapshots.mount_mapped(key, self.users)

    def seen(self, directory: Path) -> Path:
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
        self.stack.callback(mounting.detach, target)
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
            hint="the store must be on a file system whose mounts can map users (ext4, xfs, btrfs), under Linux 5.19 or newer",
        ) from error


def run_in_sandbox(op: ExecOp, inputs: Sequence[Tree], ctx: StepContext) -> Outcome:
    """Run the operation's process; the layer of what it wrote. Raises StepFailed, Cancelled, UserUnknown,
    SecretMissing, RuntimeFailed, RootNeeded."""
    require_root("a RUN step")
    for tree in inputs:
        ctx.ensure(tree)
    snapshots = ctx.services.snapshots
    key = f"step-{os.urandom(8).hex()}"
    with ExitStack() as kept:
        ctx.hold_workspace(key)
        kept.callback(snapshots.discard, key)
        snapshots.prepare(key, inputs[0].layers, volatile=True)
        rootfs = snapshots.mount(key)
        files = rootfs.parent / "sandbox"
        files.mkdir(mode=0o700)
        points = MountPoints()
        with ExitStack() as stack:
            step = Step(op, inputs, ctx, stack, key, rootfs, files, {**dict(op.env), **dict(op.build_args)})
            if ctx.sandbox.users is not None:
                from boxwright.runtime.userns import namespace

                step.users = IdMap(stack.enter_context(namespace(ctx.sandbox.users)), ctx.sandbox.users.base)
            began = time.time_ns()
            spec = _spec(step, points)
            if step.users is not None:
                spec["root"]["path"] = str(_reachable(step, step.mount_tree(key)))
            log = _run(step, spec)
        if ctx.sandbox.users is not None:
            snapshots.unmount(key)
            snapshots.mount(key)
        points.clean(rootfs)
        upper = snapshots.seal(key)
        points.prune(upper, ctx.view(inputs[0]))
        Normaliser(began, layer_time(op.epoch, len(inputs[0].layers))).run(upper)
        layer = ctx.keep(lambda: snapshots.commit(key))
    return Outcome((layer.diff_id,), layer.bytes, {"log": log})


def _reachable(step: Step, tree: Path) -> Path:
    """The tree where the step's users can get to, and no other user of the host: the store is closed to both."""
    from boxwright.snapshot import mount as mounting

    root, run = step.ctx.services.root, step.ctx.services.settings.runtime_dir
    tag = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    _forget_killed(run, tag, root / "work")
    directory = run / f"{step.key}.{tag}"
    target = directory / "rootfs"
    target.mkdir(parents=True)
    assert step.users is not None
    os.chown(directory, 0, step.users.root)
    directory.chmod(0o710)
    above = directory.parent
    above.chmod(stat.S_IMODE(above.stat().st_mode) | 0o001)  # whatever the umask was when it was made
    step.stack.callback(directory.rmdir)
    step.stack.callback(target.rmdir)
    mounting.attach([Mount("bind", str(tree))], target)
    step.stack.callback(mounting.detach, target)
    return target


def _forget_killed(directory: Path, tag: str, work: Path) -> None:
    """Remove the empty places of this store's steps that were killed; their mounts went with their workspaces."""
    for place in directory.glob(f"step-*.{tag}"):
        if not (work / place.stem).exists():
            try:
                (place / "rootfs").rmdir()
                place.rmdir()
            except OSError:
                continue  # another build was first


def _run(step: Step, spec: dict[str, Any]) -> int:
    """Returns how many bytes the step said. Raises StepFailed, ExecutableMissing, EmulationMissing."""
    from boxwright.runtime.emulation import check_emulation
    from boxwright.runtime.oci import ExecutableMissing
    from boxwright.runtime.step import run_step
    from boxwright.spec.platform import Platform

    said = bytearray()
    total = 0

    def output(stream: int, data: bytes) -> None:
        nonlocal total
        total += len(data)
        said.extend(data)
        del said[:-_LOG_IN_ERROR]
        step.ctx.log(stream, data)

    try:
        code = run_step(
            step.ctx.services.runtime, step.files / "bundle", spec, output=output, cancel=step.ctx.cancel
        )
    except ExecutableMissing as error:
        with Root.at(step.rootfs) as root:
            error.hint = error.hint or missing.hint(missing.checked(step.op.argv[0]), root)
        raise
    if code:
        if b"exec format error" in said.lower():
            check_emulation(Platform.parse(step.op.platform))
        command = " ".join(step.op.argv)
        text = said.decode("utf-8", "replace")
        raise StepFailed(
            f'process "{command}" did not complete successfully: exit code: {code}',
            code=code,
            log=text,
            hint=_hint(step, code, text),
        )
    return total


def _hint(step: Step, code: int, said: str) -> str:
    if code == 137:
        return "the process was killed, perhaps because memory ran out"
    if code == 127:
        with Root.at(step.rootfs) as root:
            return missing.hint(missing.command_of(said), root)
    return ""


def _spec(step: Step, points: MountPoints) -> dict[str, Any]:
    """The OCI config of the step."""
    from boxwright.runtime.confinement import confine
    from boxwright.runtime.host import host
    from boxwright.spec import runtimespec as rs
    from boxwright.spec.seccomp import compile_profile, default_profile

    op, ctx, here = step.op, step.ctx, host()
    with Root.at(step.rootfs) as root:
        user = resolve_user(root, op.user)
        _make_cwd(root, op.cwd, user)
    namespaces = stepnet.connect(step)
    stepmounts.add(step, user)
    if ctx.sandbox.users is not None:
        stepnet.show_system(step, namespaces)
        namespaces["user"] = ""
    _environment(step, user)
    privileged = op.security == "insecure"
    caps = rs.capabilities(privileged=privileged, bounding=here.bounding)
    process = rs.process(
        op.argv,
        env=[f"{k}={v}" for k, v in step.env.items()],
        cwd=op.cwd,
        uid=user.uid,
        gid=user.gid,
        extra_gids=user.extra_gids,
        capabilities=caps,
        limits=rs.rlimits(_limits(op.ulimits), here.hard_limits),
        apparmor=confine((), step.key, privileged=privileged).apparmor,
    )
    architecture = ctx.services.images_store.default_platform.architecture
    seccomp = (
        None
        if privileged
        else compile_profile(
            default_profile(), capabilities=caps, architecture=architecture, kernel=here.kernel
        )
    )
    spec = rs.base_spec(
        str(step.rootfs),
        process,
        hostname=op.hostname,
        mounts=step.mounts,
        namespaces=namespaces,
        cgroup_v2=here.cgroup_v2,
        resources=op.limits.resources(),
        cgroups_path=f"{parent.rstrip('/')}/{step.key}" if (parent := op.limits.cgroup_parent) else "",
        seccomp=seccomp,
        privileged=privileged,
        shm_size=op.shm_size or rs.SHM_SIZE,
    )
    if ctx.sandbox.users is not None:
        spec = rs.of_other_users(spec, ctx.sandbox.users.mappings())
    points.prepare(step.rootfs, spec["mounts"])
    return spec


def _make_cwd(root: Root, cwd: str, user: User) -> None:
    """The working directory exists when the process starts; it belongs to the user, as BuildKit has it."""
    try:
        root.makedirs(cwd, 0o755, uid=user.uid, gid=user.gid)
    except (NotADirectoryError, FileExistsError) as error:
        from boxwright.build.ops.workdir import WorkdirRefused

        raise WorkdirRefused(cwd, cwd) from error


def _environment(step: Step, user: User) -> None:
    """What the process sees beside its own environment, where it does not say otherwise itself."""
    env = step.env
    for name, value in step.ctx.sandbox.proxies.items():
        env.setdefault(name, value)
    env.setdefault("HOME", user.home)


def _limits(texts: Sequence[str]) -> dict[str, tuple[int, int]]:
    from boxwright.spec.runtimespec import LimitInvalid

    out: dict[str, tuple[int, int]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        soft, _, hard = values.partition(":")
        try:
            out[name] = int(soft), int(hard or soft)
        except ValueError as error:
            raise LimitInvalid(
                f"invalid ulimit argument: {text}", hint="write TYPE=SOFT[:HARD], such as nofile=1024:2048"
            ) from error
    return out
