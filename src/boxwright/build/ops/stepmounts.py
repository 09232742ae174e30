"""What is mounted into a RUN step: the mounts it asks for, secrets, the host's certificates.

Nothing of it is part of the layer, and nothing that is secret touches the disk under the root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from boxwright.build.ops.context import SecretMissing
from boxwright.build.ops.exec import ExecMount
from boxwright.build.ops.step import Given, Step
from boxwright.errors import Cancelled, Invalid, NotFound
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.files.trees import discard
from boxwright.rootfs.root import found_in
from boxwright.runtime.trust import Trust
from boxwright.spec import runtimespec as rs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from threading import Event
    from typing import Any

_POLL = 0.1  # seconds between attempts at a cache that another step holds


class MountSourceMissing(NotFound):
    """The source of a bind mount does not exist in the tree that it names."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f'failed to compute cache key: "{source}": not found',
            hint="the path is looked for from the root of the other stage or image",
        )


class SecretInvalid(Invalid):
    """A secret cannot be used as it is asked for."""


def given(step: Step, stack: ExitStack) -> Iterator[Given]:
    """What each of them is, in their order; `stack` closes what is opened for them. Raises SecretMissing,
    MountSourceMissing, SecretInvalid, Cancelled."""
    settings = step.ctx.services.settings
    if step.ctx.sandbox.trust_host_ca and settings.host_ca_bundle is not None:
        trust = Trust(settings.host_ca_bundle)
        yield Given(mounts=(trust.mount(),), defaults=dict(entry.split("=", 1) for entry in trust.env(())))
    if step.op.script is not None:
        path, text = step.op.script
        script = step.files / "script"
        script.write_bytes(text.encode("utf-8", "surrogateescape"))
        script.chmod(0o755)
        step.give(script)
        yield Given(mounts=(rs.bind(str(script), path, readonly=True),))
    caches = _claim_caches(step, stack)
    for position, mount in enumerate(step.op.mounts):
        if mount.type == "cache":
            yield _cache(
                step=step,
                mount=mount,
                position=position,
                directory=caches[_cache_place(step, mount)],
                stack=stack,
            )
        else:
            yield _KINDS[mount.type](step=step, mount=mount, position=position, stack=stack)


# --- kinds of mounts --------------------------------------------------------------------------


def _bind(step: Step, mount: ExecMount, position: int, stack: ExitStack) -> Given:
    assert mount.input is not None
    snapshots = step.ctx.services.snapshots
    key = f"{step.key}-{position}"
    step.ctx.hold_workspace(key)
    stack.callback(snapshots.discard, key)
    layers = step.inputs[mount.input].layers
    if mount.readonly:
        snapshots.view(key, layers)
    else:
        snapshots.prepare(key, layers, volatile=True)  # what is written there is thrown away
    top = step.mount_tree(key)
    where = str(top) + _inside(top, mount.source)
    return Given(mounts=(rs.bind(where, mount.target, readonly=mount.readonly),))


def _inside(top: Path, source: str) -> str:
    """Where a source path really is in a mounted tree. Raises MountSourceMissing."""
    try:
        return found_in(top, source)[0].rstrip("/")
    except OSError as error:
        raise MountSourceMissing(source) from error


def _tmpfs(step: Step, mount: ExecMount, position: int, stack: ExitStack) -> Given:
    size = [f"size={mount.size}"] if mount.size else []
    return Given(mounts=(rs.mount(mount.target, "tmpfs", "tmpfs", options=["nosuid", *size]),))


def _secret(step: Step, mount: ExecMount, position: int, stack: ExitStack) -> Given:
    secret = step.ctx.sandbox.secrets.get(mount.id)
    if secret is None:
        if mount.required:
            raise SecretMissing(
                f"secret {mount.id}: not found", hint=f"give it with --secret id={mount.id},src=FILE"
            )
        return Given()
    data = secret.read()
    env: dict[str, str] = {}
    if mount.env is not None:
        if b"\0" in data:
            raise SecretInvalid(f"secret {mount.id} has a NUL byte and cannot be an environment variable")
        env[mount.env] = data.decode("utf-8", "surrogateescape")
        if not mount.file:
            return Given(env=env)
    file = _private(step, stack) / str(position)
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        os.fchmod(fd, 0o400 if mount.mode is None else mount.mode)
    step.give(file, mount.uid, mount.gid)
    options = ("rbind", "rprivate", "nosuid", "nodev", "noexec")
    return Given(mounts=(rs.bind(str(file), mount.target, readonly=True, options=options),), env=env)


def _private(step: Step, stack: ExitStack) -> Path:
    """A directory in memory, gone with the step."""
    directory = step.ctx.services.settings.runtime_dir / f"secrets-{step.key}"
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
        stack.callback(discard, directory)
    return directory


def _ssh(step: Step, mount: ExecMount, position: int, stack: ExitStack) -> Given:
    agent = step.ctx.sandbox.ssh.get(mount.id)
    env = {"SSH_AUTH_SOCK": mount.target}  # also where there is no agent, as BuildKit has it
    if agent is None:
        if mount.required:
            raise SecretMissing(f"unset ssh forward key {mount.id}", hint="give it with --ssh default")
        return Given(defaults=env)
    from boxwright.build.ops.agent import AgentRelay

    path = _private(step, stack) / str(position)
    stack.callback(AgentRelay(path, agent.path, raw=agent.raw).close)
    path.chmod(0o600 if mount.mode is None else mount.mode)
    step.give(path, mount.uid, mount.gid)
    return Given(mounts=(rs.bind(str(path), mount.target),), defaults=env)


def _cache_place(step: Step, mount: ExecMount) -> Path:
    base = step.inputs[mount.input].chain if mount.input is not None else ""
    name = hashlib.sha256(
        "\0".join(
            (
                f"{step.op.cache_namespace}/{mount.id}",
                base,
                mount.source if base else "",
                f"{mount.uid}:{mount.gid}:{mount.mode}",
            )
        ).encode("utf-8", "surrogateescape")
    ).hexdigest()[:32]
    return Places(step.ctx.services.root).cache_mounts / name


def _claim_caches(step: Step, stack: ExitStack) -> dict[Path, Path]:
    """The directories of the step's caches, locked until `stack` ends: one that is mounted twice once, as the first
    mount shares it, and in one order, so that no two steps wait for each other."""
    sharing: dict[Path, str] = {}
    for mount in step.op.mounts:
        if mount.type == "cache":
            sharing.setdefault(_cache_place(step, mount), mount.sharing)
    return {
        place: claimed_cache(directory=place, sharing=sharing[place], cancel=step.ctx.cancel, stack=stack)
        for place in sorted(sharing)
    }


def claimed_cache(directory: Path, sharing: str, cancel: Event, stack: ExitStack) -> Path:
    """A cache's directory, locked as `sharing` wants: shared by all, for one after the other, or a copy for each.
    Raises Cancelled."""
    number = 0
    while True:
        here = directory if not number else directory.with_name(f"{directory.name}.{number}")
        try:
            here.mkdir(parents=True, exist_ok=True)
            lock = Lock(
                locks.CACHE_MOUNT,
                os.open(here / "lock", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600),
                shared=sharing == "shared",
                wait=False,
                polled=sharing != "private",
            )
        except FileNotFoundError:  # pruned meanwhile
            continue
        except BlockingIOError:
            if sharing == "private":
                number += 1
            elif cancel.wait(_POLL):
                raise Cancelled("the build was cancelled") from None
            continue
        if not lock.is_at(here / "lock"):
            lock.close()
            continue
        stack.enter_context(lock)
        os.write(lock.fd, b".")  # how often and when it was used, for image.buildcache
        return here


def _cache(step: Step, mount: ExecMount, position: int, directory: Path, stack: ExitStack) -> Given:
    data = directory / "data"
    if not data.exists():
        _fill(step=step, mount=mount, position=position, directory=directory, stack=stack)
        (directory / "id").write_text(mount.id)
    return Given(mounts=(rs.bind(str(step.seen(data, stack)), mount.target, readonly=mount.readonly),))


def _fill(step: Step, mount: ExecMount, position: int, directory: Path, stack: ExitStack) -> None:
    """A new cache: empty, or with what `from` has."""
    fresh = directory / f".data-{os.urandom(6).hex()}"
    if mount.input is None:
        fresh.mkdir()
    else:
        snapshots = step.ctx.services.snapshots
        key = f"{step.key}-{position}"
        step.ctx.hold_workspace(key)
        stack.callback(snapshots.discard, key)
        snapshots.view(key, step.inputs[mount.input].layers)
        top = snapshots.mount(key)
        _copy_tree(Path(str(top) + _inside(top, mount.source)), fresh)
    os.chown(fresh, mount.uid, mount.gid)
    fresh.chmod(0o755 if mount.mode is None else mount.mode)
    try:
        fresh.rename(directory / "data")
    except OSError:
        discard(fresh)  # another step was first


def _copy_tree(source: Path, target: Path) -> None:
    """A copy with owners, modes and times. Both are trees that no other process writes."""

    def copy(one: str, other: str) -> Any:
        shutil.copy2(one, other, follow_symlinks=False)
        info = os.lstat(one)
        os.chown(other, info.st_uid, info.st_gid, follow_symlinks=False)
        return other

    shutil.copytree(source, target, symlinks=True, copy_function=copy)
    for directory, _, _ in os.walk(target):
        info = os.lstat(source / Path(directory).relative_to(target))
        os.chown(directory, info.st_uid, info.st_gid)


_KINDS = {"bind": _bind, "tmpfs": _tmpfs, "secret": _secret, "ssh": _ssh}
