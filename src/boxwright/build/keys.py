"""SSH keys and agents that a build was given (``--ssh``): key files get an agent of their own while it runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from boxwright.build.fields import RequestInvalid
from boxwright.build.ops.context import AgentSocket
from boxwright.build.request import SshSource
from boxwright.errors import Invalid, Unavailable
from boxwright.files.trees import discard
from boxwright.runtime.process import PIPE, Process, ProgramFailed, ProgramMissing, Stdio, run, spawn
from boxwright.runtime.spawn import USUAL_PATH

_LARGEST = 1 << 20  # bytes of a key file
_PATIENCE = 10.0  # seconds for an agent to listen
# Its end of the pipe closes with this process, whatever ends it; the agent ends then.
_UNTIL_CLOSED = 'read -r _; kill "$SSH_AGENT_PID"'


class KeyUnusable(Invalid):
    """A key file cannot be given to an agent."""


class AgentSilent(Unavailable):
    """The agent for key files did not start."""


@contextmanager
def agents(sources: Mapping[str, Path | SshSource]) -> Iterator[dict[str, AgentSocket]]:
    """An agent for each id, gone when the block ends. Raises KeyUnusable, RequestInvalid, AgentSilent,
    ProgramMissing."""
    with ExitStack() as stack:
        found: dict[str, AgentSocket] = {}
        for identity, given in sources.items():
            source = SshSource((given,)) if isinstance(given, Path) else given
            sockets = [path for path in source.paths if path.is_socket()]
            if sockets and len(source.paths) > 1:
                raise RequestInvalid(
                    f"ssh {identity}: an agent's socket stands alone", hint="give its keys, or the agent"
                )
            if source.raw and not sockets:
                raise RequestInvalid(f"ssh {identity}: raw=true takes one socket")
            path = sockets[0] if sockets else stack.enter_context(_agent_of(identity, source.paths))
            found[identity] = AgentSocket(path, source.raw)
        yield found


@contextmanager
def _agent_of(identity: str, keys: tuple[Path, ...]) -> Iterator[Path]:
    texts = [_read(identity, path) for path in keys]
    directory = Path(tempfile.mkdtemp(prefix="boxwright-ssh-"))  # a short path: a socket's has 107 bytes
    socket = directory / "agent"
    agent: Process | None = None
    try:
        agent = _started(socket)
        for path, text in zip(keys, texts, strict=True):
            _add(identity=identity, path=path, text=text, socket=socket)
        yield socket
    finally:
        if agent is not None:
            agent.close()
            agent.wait()
        discard(directory)


def _started(socket: Path) -> Process:
    try:
        command = ["ssh-agent", "-a", str(socket), "/bin/sh", "-c", _UNTIL_CLOSED]
        agent = spawn(command, stdio=Stdio(stdin=PIPE), new_session=True)
    except ProgramMissing as error:
        error.hint = "install OpenSSH's client, or start an agent and give its socket"
        raise
    deadline = time.monotonic() + _PATIENCE
    while not socket.is_socket():
        if agent.poll() is not None or time.monotonic() > deadline:
            agent.kill()
            agent.close()
            agent.wait()
            raise AgentSilent("ssh-agent does not start")
        time.sleep(0.005)
    return agent


def _add(identity: str, path: Path, text: bytes, socket: Path) -> None:
    env = {
        "PATH": USUAL_PATH,
        "LC_ALL": "C",
        "SSH_AUTH_SOCK": str(socket),
        "SSH_ASKPASS_REQUIRE": "never",
    }
    try:
        # By standard input: the program is particular about the modes of files.
        run(["ssh-add", "-q", "-"], input=text, env=env, timeout=_PATIENCE)
    except ProgramFailed as error:
        raise KeyUnusable(
            f"ssh {identity}: {path} is no private key that can be used without a passphrase",
            hint="start ssh-agent, add the key there, and give --ssh default",
        ) from error


def _read(identity: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise KeyUnusable(f"ssh {identity}: cannot read {path}: {(error.strerror or '').lower()}") from error
    if len(text) > _LARGEST:
        raise KeyUnusable(f"ssh {identity}: {path} is no key")
    return text if text.endswith(b"\n") else text + b"\n"
