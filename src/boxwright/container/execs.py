"""`exec`: one more process in a running container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from boxwright.container import spec
from boxwright.container.options import merge_env
from boxwright.container.records import Container, WrongState
from boxwright.errors import BoxwrightError, Unsupported
from boxwright.rootfs.root import Root
from boxwright.rootfs.users import resolve_user
from boxwright.runtime.host import host
from boxwright.spec import runtimespec as rs

if TYPE_CHECKING:
    from boxwright.container.rooms import Rooms
    from boxwright.runtime.oci import Running


class ExecFailed(Unsupported):
    """The process could not be started. Docker's exit codes: 126 it cannot be run, 127 it is not there."""

    exit_code = 126


class ExecMissing(ExecFailed):
    """There is no such command in the container."""

    exit_code = 127


class ExecConfig(NamedTuple):
    """What to run, and how."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    tty: bool = False
    privileged: bool = False


def process(container: Container, config: ExecConfig, *, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """The OCI `process`. Raises WrongState when the container does not run, UserUnknown."""
    state = container.refresh()
    if state.status == "paused":
        raise WrongState(f"Container {container.id} is paused, unpause the container before exec")
    if not state.running:
        raise WrongState(f"container {container.id} is not running" if state.status != "restarting" else f"Container {container.id} is restarting, wait until the container is running")
    own, merged, here = container.config, container.merged, host()
    with Root.at(f"/proc/{state.pid}/root") as root:
        user = resolve_user(root, config.user or str(merged.get("User") or ""), own.group_add)
    base = [f"PATH={rs.DEFAULT_PATH}", f"HOSTNAME={container.record['hostname']}", *(["TERM=xterm"] if config.tty else []), f"HOME={user.home}"]
    env = merge_env(base, map(str, merged.get("Env") or ()), config.env)
    if state.trusted:
        from boxwright.container.trust import TARGET, VARIABLES

        present = {entry.partition("=")[0] for entry in env}
        env += [f"{name}={TARGET}" for name in VARIABLES if name not in present]
    return rs.process(
        config.command, env=env, cwd=config.workdir or merged.get("WorkingDir") or "/", uid=user.uid, gid=user.gid, extra_gids=user.extra_gids,
        terminal=config.tty, size=size, capabilities=rs.capabilities(privileged=True, bounding=here.bounding) if config.privileged else spec.chosen_capabilities(own, here.bounding),
        limits=spec.limits_of(own, here.hard_limits), no_new_privileges=spec.no_new_privileges(own) and not config.privileged,
    )  # fmt: skip


def translated(error: BoxwrightError) -> BoxwrightError:
    """With Docker's words and exit code."""
    if error.exit_code in (126, 127):
        kind = ExecMissing if error.exit_code == 127 else ExecFailed
        return kind(f"OCI runtime exec failed: exec failed: {error}: unknown")
    return error


def run(rooms: Rooms, container: Container, config: ExecConfig, *, stdin: int, stdout: int, stderr: int) -> int:
    """Without a terminal, with these descriptors as its own; the exit code. Raises ExecMissing, ExecFailed, WrongState."""
    running = rooms.runtime.exec(container.id, process(container, config), stdin=stdin, stdout=stdout, stderr=stderr)
    return finish(running)


def finish(running: Running) -> int:
    """The exit code. Raises what the runtime complained of."""
    code = running.wait()
    error = running.error()
    if error is not None:
        raise translated(error)
    return code


def run_detached(rooms: Rooms, container: Container, config: ExecConfig) -> None:
    """Start it and let it be."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        code = finish(rooms.runtime.exec(container.id, process(container, config), stdin=null, stdout=null, stderr=null, detach=True))
        if code:
            raise ExecFailed(f"OCI runtime exec failed: exit code {code}")
    finally:
        os.close(null)


class TerminalExec:
    """With a terminal: `master` is our side of it. A context manager; `wait` gives the exit code."""

    def __init__(self, rooms: Rooms, container: Container, config: ExecConfig, size: tuple[int, int] | None) -> None:
        from boxwright.runtime.process import become_subreaper
        from boxwright.runtime.tty import ConsoleSocket

        # With --detach the process is nobody's child but its subreaper's.
        become_subreaper()
        self._stack = ExitStack()
        pid_file = container.directory / f"exec-{os.urandom(6).hex()}.pid"
        rooms.settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ConsoleSocket(rooms.settings.runtime_dir) as console:
            running = rooms.runtime.exec(container.id, process(container, config, size=size), console_socket=console.path, pid_file=pid_file, detach=True)
            code = finish(running)
            if code:
                raise ExecFailed(f"OCI runtime exec failed: exit code {code}")
            self.master = console.receive()
        self._stack.callback(os.close, self.master)
        self.pid = int(pid_file.read_text())
        pid_file.unlink()
        self.pidfd = os.pidfd_open(self.pid)
        self._stack.callback(os.close, self.pidfd)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        from boxwright.runtime.process import exit_code

        return exit_code(os.waitpid(self.pid, 0)[1])

    def __enter__(self) -> TerminalExec:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


