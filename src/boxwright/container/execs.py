"""`exec`: one more process in a running container."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from boxwright.container import frames, spec
from boxwright.container.options import check_unicode, merge_env
from boxwright.container.records import Container, WrongState, runtime_of, tell
from boxwright.container.session import Session
from boxwright.container.supervisor.telling import shown
from boxwright.errors import BoxwrightError, Unsupported
from boxwright.rootfs.root import Root
from boxwright.rootfs.users import resolve_user
from boxwright.runtime import oci
from boxwright.runtime.confinement import confine
from boxwright.runtime.host import host
from boxwright.runtime.oci import FirstWords, ProgramUnrunnable, last_error, translate
from boxwright.runtime.process import DEVNULL, PIPE, Process, Stdio, pidfd
from boxwright.runtime.tty import write_all
from boxwright.spec import runtimespec as rs
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.image.services import Services
    from boxwright.runtime.oci import Running

_CHUNK = 1 << 16
_LOOK = 500  # milliseconds between looks whether a slow runtime has started the process


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


def process(
    container: Container,
    config: ExecConfig,
    *,
    size: tuple[int, int] | None = None,
    links: Sequence[str] = (),
) -> dict[str, Any]:
    """The OCI `process`; `links` are the variables of --link. Raises WrongState when the container does not run,
    UserUnknown."""
    check_unicode(config)
    state = container.refresh()
    if state.status == "paused":
        raise WrongState(f"Container {container.id} is paused, unpause the container before exec")
    if not state.running:
        raise WrongState(
            f"container {container.id} is not running"
            if state.status != "restarting"
            else f"Container {container.id} is restarting, wait until the container is running"
        )
    own, merged, here = container.config, container.merged, host()
    with Root.at(f"/proc/{state.pid}/root") as root:
        user = resolve_user(root, config.user or str(merged.get("User") or ""), own.group_add)
    base = [
        f"PATH={rs.DEFAULT_PATH}",
        f"HOSTNAME={container.record['hostname']}",
        *(["TERM=xterm"] if config.tty else []),
        *links,
        f"HOME={user.home}",
    ]
    env = merge_env(base, map(str, merged.get("Env") or ()), config.env)
    if state.trusted:
        from boxwright.runtime.trust import TARGET, VARIABLES

        present = {entry.partition("=")[0] for entry in env}
        env += [f"{name}={TARGET}" for name in VARIABLES if name not in present]
    confinement = confine(own.security_opt, container.id, privileged=own.privileged or config.privileged)
    return rs.ProcessSpec(
        argv=config.command,
        env=env,
        cwd=config.workdir or merged.get("WorkingDir") or "/",
        uid=user.uid,
        gid=user.gid,
        extra_gids=user.extra_gids,
        terminal=config.tty,
        size=size,
        capabilities=rs.capabilities(privileged=True, bounding=here.bounding)
        if config.privileged
        else spec.chosen_capabilities(own, here.bounding),
        limits=spec.limits_of(own, here.hard_limits),
        no_new_privileges=spec.no_new_privileges(own) and not config.privileged,
        apparmor=confinement.apparmor,
        selinux=confinement.process_label,
        umask=own.umask,
    ).json()


def _links(services: Services, container: Container) -> list[str]:
    """The variables of --link, as long as what it links to runs."""
    if not container.config.links:
        return []
    from boxwright.container import links
    from boxwright.container.catalog import ContainerCatalog
    from boxwright.container.records import NoSuchContainer

    try:
        return links.variables(container, links.found(container, ContainerCatalog(services).get))
    except (WrongState, NoSuchContainer):
        return []


def translated(error: BoxwrightError) -> BoxwrightError:
    """With Docker's words and exit code."""
    if isinstance(error, ProgramUnrunnable):
        return error
    if error.exit_code in (126, 127):
        kind = ExecMissing if error.exit_code == 127 else ExecFailed
        return kind(f"OCI runtime exec failed: exec failed: {error}: unknown")
    if "no such file or directory" in str(error).lower():  # the working directory
        return ExecMissing(f"OCI runtime exec failed: {str(error).partition(': ')[2] or error}: unknown")
    return error


def run(
    services: Services,
    container: Container,
    config: ExecConfig,
    *,
    stdin: int,
    output: Callable[[int, bytes], None],
) -> int:
    """Without a terminal; `stdin` is a descriptor to copy from (-1 = nothing), `output` gets (1 or 2, bytes). Returns
    the exit code. Raises ExecMissing, ExecFailed, WrongState.

    The process gets pipes, never our descriptors: a terminal of the host must not reach a container.
    """
    wanted = process(container, config, links=_links(services, container))
    told = Told(services, container, config)
    pid_file = _pid_file(container)
    running = runtime_of(services, container.state).exec(
        container.id,
        wanted,
        stdio=Stdio(stdin=DEVNULL if stdin < 0 else PIPE, stdout=PIPE, stderr=PIPE),
        pid_file=pid_file,
    )
    try:
        _relay(_Beginning(running, pid_file), stdin, output)
        return told.ended(finish(running))
    finally:
        running.process.close()
        pid_file.unlink(missing_ok=True)


class _Beginning:
    """The start of a process, which the runtime tells by the file with its pid."""

    def __init__(self, running: Running, pid_file: Path) -> None:
        self.running, self._file = running, str(pid_file)
        self._until = time.monotonic() + oci.PATIENCE

    def patience(self) -> int | None:
        """Milliseconds until this has to be asked again; None once the process runs. Raises RuntimeFailed when the
        runtime hangs."""
        if not self._until or os.path.exists(self._file):
            self._until = 0.0
            return None
        if time.monotonic() > self._until:
            raise self.running.hung()
        return _LOOK


def _relay(beginning: _Beginning, stdin: int, output: Callable[[int, bytes], None]) -> None:
    """Until both outputs end, or the process has and nothing more comes (something it left behind may hold them)."""
    running = beginning.running
    child = running.process
    streams = {child.stdout: 1, child.stderr: 2}
    poller = select.poll()
    for fd in streams:
        poller.register(fd, select.POLLIN)
    if stdin >= 0:
        poller.register(stdin, select.POLLIN)
    with pidfd(child.pid) as ended:
        poller.register(ended, select.POLLIN)
        over = False
        first = FirstWords(running)
        while streams:
            limit = None if over else beginning.patience()
            ready = poller.poll(100 if over else 50 if first.waiting else limit)
            if not ready and (over or first.waiting):
                _tell(output, 2, first.settle(over=over))
                if over:
                    return
            for fd, _ in ready:
                if fd == ended:
                    over = True
                    poller.unregister(ended)
                    if stdin >= 0:
                        poller.unregister(stdin)
                        stdin = -1
                elif fd == stdin:
                    stdin = _feed(child, stdin, poller)
                elif fd in streams:
                    _take(first=first, fd=fd, streams=streams, poller=poller, output=output)


def _feed(child: Process, stdin: int, poller: select.poll) -> int:
    data = os.read(stdin, _CHUNK)
    try:
        if data:
            write_all(child.stdin, data)
            return stdin
    except BrokenPipeError:  # it does not want more
        pass
    poller.unregister(stdin)
    os.close(child.stdin)
    child.stdin = -1
    return -1


def _take(
    first: FirstWords,
    fd: int,
    streams: dict[int, int],
    poller: select.poll,
    output: Callable[[int, bytes], None],
) -> None:
    data = os.read(fd, _CHUNK)
    stream = streams[fd]
    if data and stream == 2:
        _tell(output, 2, first.take(data))
        return
    if data or stream == 2:
        _tell(output, 2, first.settle(over=stream == 2))
    _tell(output, stream, data)
    if not data:
        poller.unregister(fd)
        del streams[fd]


def _tell(output: Callable[[int, bytes], None], stream: int, data: bytes) -> None:
    if data:
        output(stream, data)


def finish(running: Running, seconds: float | None = None) -> int:
    """The exit code. Raises what the runtime complained of, and RuntimeFailed when it takes longer."""
    code = running.wait(seconds)
    error = running.error()
    if error is not None:
        raise translated(error)
    return code


def run_detached(services: Services, container: Container, config: ExecConfig) -> None:
    """Start it and let it be: the supervisor does, which is its parent. Raises ExecMissing, ExecFailed, WrongState."""
    file = container.directory / f"exec-{os.urandom(6).hex()}.json"
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as out:
            json.dump(process(container, config, links=_links(services, container)), out)
        with Session.attach(container, 0) as session:
            session.send(frames.EXEC, (os.urandom(32).hex(), shown(config.command), str(file)))
            _, complaint = session.expect(frames.DONE)
        if complaint:
            name = runtime_of(services, container.state).name
            raise translated(translate(last_error(complaint.encode()) or complaint, name, config.command[0]))
    finally:
        file.unlink(missing_ok=True)


class Told:
    """One exec, for `events`: created and started before it is, and its end with its exit code. One that cannot be
    started has no end, as in Docker."""

    def __init__(self, services: Services, container: Container, config: ExecConfig) -> None:
        self._services, self._container = services, container
        self._identity = os.urandom(32).hex()
        for action in ("exec_create", "exec_start"):
            self.tell(f"{action}: {shown(config.command)}")

    def tell(self, action: str, **more: str) -> None:
        tell(self._services, self._container, action, execID=self._identity, **more)

    def ended(self, code: int) -> int:
        """The code."""
        self.tell("exec_die", exitCode=str(code))
        return code


def _pid_file(container: Container) -> Path:
    return container.directory / f"exec-{os.urandom(6).hex()}.pid"


def _reap_later(pid: int) -> None:
    """If we are the subreaper whose child the process became: its zombie would keep the container from ending."""
    from _thread import start_new_thread

    def reap() -> None:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # it is another process's
            pass

    start_new_thread(reap, ())


class TerminalExec:
    """With a terminal: `master` is our side of it. A context manager; `wait` gives the exit code."""

    def __init__(
        self, services: Services, container: Container, config: ExecConfig, size: tuple[int, int] | None
    ) -> None:
        from boxwright.runtime.process import become_subreaper
        from boxwright.runtime.tty import ConsoleSocket

        # With --detach the process is its subreaper's child.
        become_subreaper()
        self._stack = ExitStack()
        pid_file = _pid_file(container)
        services.settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ConsoleSocket(services.settings.runtime_dir) as console:
            wanted = process(container, config, size=size, links=_links(services, container))
            self._told = Told(services, container, config)
            running = runtime_of(services, container.state).exec(
                container.id,
                wanted,
                console_socket=console.path,
                pid_file=pid_file,
                detach=True,
            )
            code = finish(running, oci.PATIENCE)
            if code:
                raise ExecFailed(f"OCI runtime exec failed: exit code {code}")
            self.master = console.receive()
        self._stack.callback(os.close, self.master)
        self.pid = int(pid_file.read_text())
        pid_file.unlink()
        self.pidfd = os.pidfd_open(self.pid)
        self._stack.callback(os.close, self.pidfd)
        self._ended = False

    def wait(self) -> int:
        """The exit code, once it has ended."""
        from boxwright.runtime.spawn import exit_code

        code = exit_code(os.waitpid(self.pid, 0)[1])
        self._ended = True
        return self._told.ended(code)

    def detached(self) -> None:
        """The user let go of it."""
        self._told.tell("exec_detach")

    def __enter__(self) -> TerminalExec:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if not self._ended:
            _reap_later(self.pid)
