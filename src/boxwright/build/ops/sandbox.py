"""Running a RUN step: a writable tree over the parent, a container around it, a layer of what was written."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from boxwright.build.graph import Outcome, Tree
from boxwright.build.ops import devices, missing, stepmounts, stepnet
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.build.ops.exec import ExecOp
from boxwright.build.ops.normalise import Normaliser
from boxwright.build.ops.step import Given, Step
from boxwright.errors import StepFailed
from boxwright.files.places import Places
from boxwright.rootfs.mountpoints import MountPoints
from boxwright.rootfs.root import Root
from boxwright.rootfs.users import ProcessUser, resolve_user
from boxwright.runtime.process import require_root
from boxwright.runtime.userns import namespace
from boxwright.snapshot.snapshotter import IdMap, Mount
from boxwright.spec.text import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_LOG_IN_ERROR = 1 << 16


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
            users = None
            if ctx.sandbox.users is not None:
                users = IdMap(stack.enter_context(namespace(ctx.sandbox.users)), ctx.sandbox.users.base)
            step = Step(op=op, inputs=inputs, ctx=ctx, key=key, rootfs=rootfs, files=files, users=users)
            began = time.time_ns()
            spec = _spec(step, stack)
            points.prepare(rootfs, spec["mounts"])
            if users is not None:
                spec["root"]["path"] = str(_reachable(step, users, stack))
            log = _run(step, spec)
        if ctx.sandbox.users is not None:
            snapshots.unmount(key)
            snapshots.mount(key)
        points.clean(rootfs)
        upper = snapshots.seal(key)
        points.prune(upper)
        Normaliser(began, layer_time(op.epoch, len(inputs[0].layers))).run(upper)
        layer = ctx.keep(lambda: snapshots.commit(key))
    return Outcome((layer.diff_id,), layer.bytes, {"log": log})


def _reachable(step: Step, users: IdMap, stack: ExitStack) -> Path:
    """The step's tree where its users can get to, and no other user of the host: the store is closed to both."""
    from boxwright.snapshot import mount as mounting

    tree = step.mount_tree(step.key)
    root, run = step.ctx.services.root, step.ctx.services.settings.runtime_dir
    tag = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    _forget_killed(run, tag, Places(root).workspaces)
    directory = run / f"{step.key}.{tag}"
    target = directory / "rootfs"
    target.mkdir(parents=True)
    os.chown(directory, 0, users.root)
    directory.chmod(0o710)
    above = directory.parent
    above.chmod(stat.S_IMODE(above.stat().st_mode) | 0o001)  # whatever the umask was when it was made
    stack.callback(directory.rmdir)
    stack.callback(target.rmdir)
    mounting.attach([Mount("bind", str(tree))], target)
    stack.callback(mounting.detach, target)
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
        runtime = step.ctx.services.runtime
        code = run_step(
            runtime,
            step.files / "bundle",
            spec,
            output=output,
            cancel=step.ctx.cancel,
            guard=step.ctx.shared.guard(runtime),
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
            f"process {go_quote(command)} did not complete successfully: exit code: {code}",
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


def _spec(step: Step, stack: ExitStack) -> dict[str, Any]:
    """The OCI config of the step, and everything that it names."""
    from boxwright.runtime.confinement import confine
    from boxwright.runtime.host import host
    from boxwright.spec import runtimespec as rs
    from boxwright.spec.seccomp import compiled_default

    op, ctx, here = step.op, step.ctx, host()
    with Root.at(step.rootfs) as root:
        user = resolve_user(root, op.user)
        _make_cwd(root, op.cwd, user)
    network = stepnet.connect(step, stack)
    given = Given.together(
        (*stepmounts.given(step, stack), Given(defaults={**ctx.sandbox.proxies, "HOME": user.home}))
    )
    namespaces, mounts = network.namespaces, (*network.mounts, *given.mounts)
    if ctx.sandbox.users is not None:
        mounts = (*mounts, *stepnet.system(step, namespaces, stack))
        namespaces = {**namespaces, "user": ""}
    privileged = op.security == "insecure"
    caps = rs.capabilities(privileged=privileged, bounding=here.bounding)
    process = rs.ProcessSpec(
        argv=op.argv,
        env=[f"{k}={v}" for k, v in given.environment({**dict(op.env), **dict(op.build_args)}).items()],
        cwd=op.cwd,
        uid=user.uid,
        gid=user.gid,
        extra_gids=user.extra_gids,
        capabilities=caps,
        ambient=privileged,  # whatever USER says, as in BuildKit
        limits=rs.rlimits(rs.parse_limits(op.ulimits), here.hard_limits),
        apparmor=confine((), step.key, privileged=privileged).apparmor,
    ).json()
    architecture = ctx.services.images_store.default_platform.architecture
    seccomp = None if privileged else compiled_default(frozenset(caps), architecture, here.kernel)
    spec = rs.RuntimeConfig(
        root=str(step.rootfs),
        process=process,
        hostname=op.hostname,
        mounts=mounts,
        namespaces=namespaces,
        cgroup_v2=here.cgroup_v2,
        resources=op.limits.resources(),
        cgroups_path=rs.cgroup_below(parent, step.key) if (parent := op.limits.cgroup_parent) else "",
        seccomp=seccomp,
        privileged=privileged,
        # In a user namespace the runtime makes no nodes.
        devices=devices.of_insecure() if privileged and ctx.sandbox.users is None else (),
        shm_size=op.shm_size or rs.SHM_SIZE,
    ).json()
    for name in devices.give(op, ctx.sandbox.devices, spec):
        said = f"this host has no device {name}, which is not required: the step runs without it\n"
        ctx.log(2, said.encode(errors="replace"))
    if ctx.sandbox.users is not None:
        spec = rs.of_other_users(spec, ctx.sandbox.users.mappings())
    return spec


def _make_cwd(root: Root, cwd: str, user: ProcessUser) -> None:
    """The working directory exists when the process starts; it belongs to the user, as BuildKit has it."""
    try:
        root.makedirs(cwd, 0o755, uid=user.uid, gid=user.gid)
    except (NotADirectoryError, FileExistsError) as error:
        from boxwright.build.ops.workdir import WorkdirRefused

        raise WorkdirRefused(cwd, cwd) from error
