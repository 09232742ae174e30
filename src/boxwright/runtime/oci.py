"""OCI runtimes (runc, crun) as programs: one method a verb, typed errors.

What a runtime says is read from its JSON log, which goes to a memfd: no file to clean up, and nothing of it in the
container's own output. State lives under a directory of ours (``--root``), so containers of two roots never meet.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import BoxwrightError, Conflict, NotFound, Unsupported
from boxwright.runtime.lastwords import docker_line
from boxwright.runtime.process import NO_STDIO, Process, ProgramTimeout, Stdio, find_program, spawn
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOG_FD = 9  # the log's number in the runtime process: above the stdio, below what we would hand on
_KILL = 9
PATIENCE = 120.0  # seconds for one verb, or the start of a process that a verb waits for
_LAST_WORDS = 2.0  # seconds between the end of a runtime's stderr and its own, at most: it logs in between
# What crun says of a program that cannot be run, in its releases from 1.8 to 1.28. Compiled at its first use.
_CRUN = (
    r"executable file `(.*)` not found(?: in \$PATH)?"
    r"|open executable: (.*)"
    r"|exec container process `(.*)`: (.*)"
    r"|the path `(.*)` (?:is not a regular file|exists but it is not executable)"
    r"|(?:cannot )?open `(.*)`: (Not a directory)"
)


class RuntimeFailed(BoxwrightError):
    """The OCI runtime could not do what it was told; Docker's exit code for it is 125."""

    exit_code = 125


class ExecutableMissing(NotFound):
    """The command does not exist in the container."""

    exit_code = 127


class ExecutableRefused(RuntimeFailed):
    """The command exists and cannot be run (no permission, a directory, wrong format)."""

    exit_code = 126


class ProgramUnrunnable(Unsupported):
    """The command is there, and the kernel does not run it: its interpreter is missing, or it is in no known format. To
    Docker that is the command's own failure."""


class ContainerMissing(NotFound):
    """The runtime knows no container of this id."""


class ContainerState(Conflict):
    """The container is in another state than the request needs."""


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """What `state` says. `status` is creating, created, running, paused or stopped; `pid` is 0 once stopped."""

    id: str
    status: str
    pid: int
    bundle: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that was tried and works, with the directory of its state."""

    name: str  # 'runc' or 'crun', or the base name of what the user chose
    program: str  # absolute path
    version: str
    root: Path
    hidden: str = (
        ""  # a mount of the host's that it must not see: every call gets a mount namespace of its own
    )
    why: str = ""  # this one: what stopped those that were tried before it

    def command(self, *arguments: str) -> list[str]:
        """The argv of one call, for whom nothing but words can be handed to."""
        wrapper = [*hiding(self.hidden), self.hidden] if self.hidden else []
        return [*wrapper, *self.bare_command(*arguments)]

    def bare_command(self, *arguments: str) -> list[str]:
        """The argv for a caller that hides `hidden` itself."""
        return [self.program, "--root", str(self.root), *arguments]

    def create(
        self,
        bundle: Path,
        id: str,
        *,
        stdio: Stdio = NO_STDIO,
        console_socket: Path | None = None,
        pid_file: Path | None = None,
        fds: Sequence[int] = (),
        no_pivot: bool = False,
    ) -> None:
        """Set the container up; its process waits for `start`. `fds` are its descriptors from 3 on. Raises
        ExecutableMissing, ExecutableRefused, RuntimeFailed."""
        options = [
            "--bundle",
            str(bundle),
            *_options(console_socket, pid_file, len(fds)),
            *(["--no-pivot"] if no_pivot else []),
        ]
        self._finish(self._begin(["create", *options, id], stdio=stdio, fds=fds))

    def start(self, id: str) -> None:
        """Let the created process go. Raises ExecutableMissing (runc finds out here), ContainerMissing."""
        self._call("start", [id])

    def run(
        self,
        bundle: Path,
        id: str,
        *,
        stdio: Stdio = NO_STDIO,
        console_socket: Path | None = None,
        pid_file: Path | None = None,
        fds: Sequence[int] = (),
        program: str = "",
    ) -> Running:
        """Create, start, wait and delete in one go, in the foreground; `Running.wait` gives the exit code. Errors name
        the `program` where the runtime does not."""
        arguments = ["run", "--bundle", str(bundle), *_options(console_socket, pid_file, len(fds)), id]
        return self._begin(arguments, stdio=stdio, fds=fds, program=program)

    def exec(
        self,
        id: str,
        process: Mapping[str, Any],
        *,
        stdio: Stdio = NO_STDIO,
        console_socket: Path | None = None,
        pid_file: Path | None = None,
        detach: bool = False,
    ) -> Running:
        """Run one more process (an OCI `process` object). With `detach`, `wait` returns once it runs, and its end is
        for the subreaper to see; `console_socket` needs `detach`."""
        with memory_file("process", json.dumps(process).encode()) as spec:
            options = _options(console_socket, pid_file, 0) + (["--detach"] if detach else [])
            arguments = ["exec", *options, "--process", "/proc/self/fd/8", id]
            return self._begin(
                arguments,
                stdio=stdio,
                extra={8: spec},
                program=str(process["args"][0]),
            )

    def kill(self, id: str, signal: int = _KILL, *, all: bool = False) -> None:
        """Send a signal to the container's process. Raises ContainerMissing, ContainerState when it has ended."""
        self._call("kill", [*(["--all"] if all else []), id, str(signal)])

    def state(self, id: str) -> RuntimeState:
        """Raises ContainerMissing."""
        value = json.loads(self._call("state", [id]))
        return _state(value)

    def states(self) -> list[RuntimeState]:
        """Every container under this state directory."""
        value = json.loads(self._call("list", ["--format", "json"]) or b"null")
        return [_state(entry) for entry in value or ()]

    def delete(self, id: str, *, force: bool = False) -> None:
        """Forget a stopped container; with `force` kill it first, and an unknown one is no error."""
        try:
            self._call("delete", [*(["--force"] if force else []), id])
        except ContainerMissing:
            if not force:
                raise

    def pause(self, id: str) -> None:
        """Freeze every process."""
        self._call("pause", [id])

    def resume(self, id: str) -> None:
        """Thaw."""
        self._call("resume", [id])

    def update(self, id: str, resources: Mapping[str, Any]) -> None:
        """Change limits: an OCI `linux.resources` object."""
        with memory_file("resources", json.dumps(resources).encode()) as spec:
            self._finish(self._begin(["update", "--resources", "/proc/self/fd/8", id], extra={8: spec}))

    def ps(self, id: str) -> list[int]:
        """Process ids, as this process's PID namespace counts them."""
        value = json.loads(self._call("ps", ["--format", "json", id]) or b"null")
        return [int(pid) for pid in value or ()]

    def _call(self, verb: str, arguments: list[str]) -> bytes:
        with memory_file("stdout") as said:
            self._finish(self._begin([verb, *arguments], stdio=Stdio(stdout=said)))
            return read_all(said)

    def _finish(self, running: Running) -> bytes:
        code = running.wait(PATIENCE)
        if code != 0:
            raise running.error() or RuntimeFailed(f"{self.name} failed with exit code {code}")
        return b""

    def _begin(
        self,
        arguments: list[str],
        *,
        stdio: Stdio = NO_STDIO,
        fds: Sequence[int] = (),
        extra: Mapping[int, int] | None = None,
        program: str = "",
    ) -> Running:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.memfd_create("log")
        number = max(_LOG_FD, 3 + len(fds))
        try:
            argv = self.bare_command("--log", f"/proc/self/fd/{number}", "--log-format", "json", *arguments)
            passed = {number: log, **(extra or {}), **{3 + n: fd for n, fd in enumerate(fds)}}
            return Running(
                process=spawn(argv, stdio=stdio, fds=passed, hidden=self.hidden),
                log=log,
                name=self.name,
                program=program,
            )
        except BaseException:
            os.close(log)
            raise


class Running:
    """A runtime at work in the foreground."""

    def __init__(self, process: Process, log: int, name: str, program: str = "") -> None:
        self.process = process
        self._log = log
        self._name = name
        self.program = program
        self._said = ""

    def said(self) -> str:
        """The runtime's last error message so far; empty when it reported none."""
        if self._log >= 0 and os.fstat(self._log).st_size:
            self._said = last_error(read_all(self._log))
        return self._said

    def ended_within(self, seconds: float) -> bool:
        """Wait for the runtime's end; whether it came."""
        try:
            self.process.wait(seconds)
        except ProgramTimeout:
            return False
        return True

    def wait(self, timeout: float | None = None) -> int:
        """The exit code: the container process's own, unless `error` has something. A runtime that has not ended after
        `timeout` seconds hangs: it is killed. Raises RuntimeFailed."""
        try:
            code = self.process.wait(timeout)
        except ProgramTimeout:
            raise self.hung() from None
        self.said()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        return code

    def hung(self) -> RuntimeFailed:
        """End a runtime that does not answer; the error to raise."""
        self.process.kill()
        self.process.wait()
        return RuntimeFailed(f"{self._name} did not answer within {PATIENCE:g} seconds, and was killed")

    def error(self) -> BoxwrightError | None:
        """Why the runtime failed, as a typed error; None when only the container's process did."""
        return translate(self._said, self._name, self.program) if self._said else None


class FirstWords:
    """What comes first on the stderr of a container's process, held back until it is known whose words they are: a
    runtime says its own errors there too, and those are raised, not shown. crun says them there before it logs them."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._held = b""
        self._open = True

    @property
    def waiting(self) -> bool:
        """Whether there is something to be settled soon."""
        return self._open and bool(self._held)

    def take(self, data: bytes) -> bytes:
        """More of stderr; returns what is the process's own for certain."""
        if self._open:
            self._held += data
            return b""
        return data

    def settle(self, *, over: bool = False) -> bytes:
        """The process said something on stdout, or a moment has passed, or stderr has ended (`over`): what was held
        back, without the runtime's complaint. What reads like a complaint waits for the end: on a busy machine the
        log comes late."""
        if not self.waiting:  # a slow start: its error message is yet to come
            return b""
        if re.match(_CRUN, self._held.decode(errors="replace")):
            if not over:
                return b""
            self._running.ended_within(_LAST_WORDS)
        self._open = False
        data, self._held = self._held, b""
        said = self._running.said().encode()
        if said and data.rstrip(b"\n").endswith(said):
            data = data.rstrip(b"\n")[: -len(said)]
        return docker_line(data, self._running.program)


def hiding(path: str) -> list[str]:
    """Words that run the command after them, and `path`, where nothing is mounted at that path. Raises
    ProgramMissing."""
    # Only the mount above it becomes private: what the container's volumes pass on to the host, they still do.
    script = 'p=$0; mount --make-private "${p%/*}" && umount -l "$p" && exec "$@"'
    return [find_program("unshare"), "--mount", "--propagation", "unchanged", "/bin/sh", "-c", script]


def _options(console_socket: Path | None, pid_file: Path | None, preserve: int) -> list[str]:
    options: list[str] = []
    if console_socket is not None:
        options += ["--console-socket", str(console_socket)]
    if pid_file is not None:
        options += ["--pid-file", str(pid_file)]
    if preserve:
        options += ["--preserve-fds", str(preserve)]
    return options


def _state(value: Mapping[str, Any]) -> RuntimeState:
    return RuntimeState(
        id=str(value["id"]),
        status=str(value["status"]),
        pid=int(value.get("pid") or 0),
        bundle=str(value.get("bundle") or ""),
    )


@contextmanager
def memory_file(name: str, data: bytes = b"") -> Iterator[int]:
    """An anonymous file in memory, positioned at its start."""
    fd = os.memfd_create(name)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def read_all(fd: int) -> bytes:
    """The whole of a memory file, whatever its position."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _entries(text: str) -> Iterator[object]:
    """The values of a log, one after another, each on a line or (crun 1.28) on several; a line that is no JSON is a
    text."""
    decoder = json.JSONDecoder()
    while text:
        try:
            entry, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            entry, end = text.split("\n", 1)[0].strip(), len(text.split("\n", 1)[0])
        yield entry
        text = text[end:].lstrip()


def last_error(log: bytes) -> str:
    """The message of the last error in a runtime's JSON log; what is no JSON counts as a message."""
    found = ""
    for entry in _entries(log.decode(errors="replace").strip()):
        if isinstance(entry, str):
            found = entry
            continue
        if (
            isinstance(entry, dict)
            and entry.get("level", "error") in ("error", "fatal", "panic")
            and entry.get("msg")
        ):
            found = str(entry["msg"])
    return found


def translate(message: str, runtime: str, program: str | None = None) -> BoxwrightError:
    """Make a typed error of what runc or crun said about starting `program`, None when it is not known (there are no
    codes, only these sentences)."""
    message = _as_runc(message, program)
    lower = message.lower()
    if lower in ("exec: no such file or directory", "exec: exec format error"):  # crun's, of an `exec`
        return ProgramUnrunnable(f"exec {program}: {lower.removeprefix('exec: ')}")
    if 'exec: "' in lower or "executable" in lower or lower.startswith("exec container process"):
        if "not found" in lower or "no such file or directory" in lower:
            return ExecutableMissing(_plain(message))
        if any(
            why in lower
            for why in (
                "permission denied",
                "not permitted",
                "is a directory",
                "exec format error",
                "not a directory",
            )
        ):
            return ExecutableRefused(_plain(message))
    if ("does not exist" in lower and "container" in lower) or (
        "no such file" in lower
        and ("/status`" in lower or "cannot open directory" in lower or "state directory" in lower)
    ):
        return ContainerMissing(message)
    states = (
        "container not running",
        "container is not running",
        "already exists",
        "cannot exec in a stopped",
        "not in running state",
        "process already finished",
        "container that has",
        "no such process",
    )
    if any(s in lower for s in states) or ("cannot" in lower and "container" in lower and "state" in lower):
        return ContainerState(message)
    if "cgroups in hybrid mode not supported" in lower:
        return Unsupported(f"{runtime}: {message}", hint="use runc, or unmount /sys/fs/cgroup/unified")
    return RuntimeFailed(f"{runtime}: {message}")


def _as_runc(message: str, program: str | None) -> str:
    """crun's sentences about a program that cannot be run, in runc's words: they are what Docker's users know."""
    found = re.match(_CRUN, message)
    if found is None:
        return message
    if program == "":  # crun finds a directory of $PATH there
        return 'unable to start container process: exec: "": executable file not found in $PATH'
    missing, refused, named, why, closed, below, nowhere = found.groups()
    if missing:
        reason = (
            f"stat {missing}: no such file or directory"
            if "/" in missing
            else "executable file not found in $PATH"
        )
    else:
        reason = (refused or why or nowhere or "permission denied").lower()
        reason = reason.replace("operation not permitted", "permission denied")
    name = missing or named or closed or below or program
    return f'unable to start container process: exec: "{name}": {reason}'


def _plain(message: str) -> str:
    """Without the runtime's own stack of prefixes: what Docker prints begins at the exec."""
    for prefix in ("runc run failed: ", "runc create failed: ", "exec failed: "):
        message = message.removeprefix(prefix)
    return message
