"""The relay between a RUN step and an SSH agent: bytes as they are, both ways; many, none, and an end."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from boxwright.build.fields import RequestInvalid
from boxwright.build.keys import AgentSocket, KeyUnusable, agents
from boxwright.build.ops.agent import AgentRelay
from boxwright.build.request import SshSource
from support.agent import EchoAgent
from support.descriptors import none_left_open


@contextmanager
def relayed(agent: Path, tmp_path: Path, *, raw: bool = True) -> Iterator[Callable[[], socket.socket]]:
    path = tmp_path / "s"
    with closing(AgentRelay(path, agent, raw=raw)), ExitStack() as stack:

        def connect() -> socket.socket:
            one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            one.connect(str(path))
            one.settimeout(20)
            return one

        yield connect


def all_of(one: socket.socket) -> bytes:
    return b"".join(iter(lambda: one.recv(1 << 16), b""))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[EchoAgent]:
    with EchoAgent(tmp_path / "agent") as agent:
        yield agent


def test_all_bytes_go_both_ways_and_ends_are_told(agent: EchoAgent, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with relayed(agent.path, tmp_path) as connect:
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        one = connect()

        def send() -> None:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert all_of(one) == data  # and the end: the agent closed when it had all
        sender.join()


def test_more_connections_than_it_holds_wait(agent: EchoAgent, tmp_path: Path) -> None:
    with relayed(agent.path, tmp_path) as connect:
        held = [connect() for _ in range(40)]
        for number, one in enumerate(held):
            one.sendall(b"%d" % number)
            one.shutdown(socket.SHUT_WR)
            assert all_of(one) == b"%d" % number
        assert agent.most <= 32


def test_an_agent_that_is_gone_is_an_end(tmp_path: Path) -> None:
    with relayed(tmp_path / "gone", tmp_path) as connect:
        for _ in range(3):
            assert connect().recv(1) == b""


def test_close_ends_what_is_under_way(agent: EchoAgent, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with relayed(agent.path, tmp_path) as connect:
            one = connect()
            one.sendall(b"x")
            assert one.recv(1) == b"x"
            kept = stack.enter_context(one.dup())
            kept.settimeout(20)
        assert kept.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name == "ssh-agent"]
    with none_left_open():
        for number in range(20):
            AgentRelay(tmp_path / f"n{number}", agent.path).close()


# --- what a step may ask, and agents of key files -------------------------------------------------


def message(kind: int, rest: bytes = b"") -> bytes:
    return (1 + len(rest)).to_bytes(4, "big") + bytes([kind]) + rest


def exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (more := one.recv(count - len(found))):
        found += more
    return found


def test_keys_and_signatures_can_be_asked_for_and_nothing_else(agent: EchoAgent, tmp_path: Path) -> None:
    """17 adds a key, 19 removes all, 22 locks the agent, 27 is an extension: the user's agent never hears of them."""
    failure = message(5)
    with relayed(agent.path, tmp_path, raw=False) as connect:
        one = connect()
        for kind in (17, 18, 19, 20, 22, 23, 25, 26, 27, 0, 255):
            one.sendall(message(kind, b"x" * 100))
            assert exactly(one, len(failure)) == failure
        for asked in (message(11), message(13, os.urandom(70_000))):
            for at in range(0, len(asked), 999):  # in pieces
                one.sendall(asked[at : at + 999])
            assert exactly(one, len(asked)) == asked


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0x", b"\xff\xff\xff\xff\x0b", (300_000).to_bytes(4, "big") + b"\x0b"]
)
def test_what_is_no_message_ends_the_connection(agent: EchoAgent, tmp_path: Path, data: bytes) -> None:
    with relayed(agent.path, tmp_path, raw=False) as connect:
        one = connect()
        one.sendall(data)
        assert all_of(one) == b""


needs_openssh = pytest.mark.skipif(
    shutil.which("ssh-agent") is None or shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed"
)


def key(path: Path, kind: str = "ed25519", phrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-C", path.name, "-f", path], check=True)
    path.chmod(0o644)  # as a checkout has it
    return path


def listed(socket_: Path) -> list[str]:
    env = {**os.environ, "SSH_AUTH_SOCK": str(socket_)}
    said = subprocess.run(["ssh-add", "-l"], env=env, capture_output=True, text=True)
    return [line.split()[2] for line in said.stdout.splitlines()]


@needs_openssh
def test_key_files_get_an_agent_of_their_own(tmp_path: Path) -> None:
    one, two = key(tmp_path / "one"), key(tmp_path / "two", "ecdsa")
    with agents({"a": SshSource((one, two)), "b": SshSource((one,))}) as found:
        assert listed(found["a"].path) == ["one", "two"] and listed(found["b"].path) == ["one"]
        assert stat.S_IMODE(found["a"].path.parent.stat().st_mode) == 0o700
        with closing(AgentRelay(tmp_path / "s", found["a"].path)):
            assert listed(tmp_path / "s") == ["one", "two"]
            env = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "s")}
            assert subprocess.run(["ssh-add", "-q", "-D"], env=env, capture_output=True).returncode
        assert listed(found["a"].path) == ["one", "two"]
    assert not found["a"].path.parent.exists() and not found["b"].path.parent.exists()


@needs_openssh
def test_an_agent_does_not_outlive_a_build_that_was_killed(tmp_path: Path) -> None:
    one = key(tmp_path / "one")
    text = (
        "import sys, time\nfrom pathlib import Path\nfrom boxwright.build.keys import agents\n"
        "from boxwright.build.request import SshSource\n"
        f"with agents({{'a': SshSource((Path({str(one)!r}),))}}) as found:\n"
        "    print(found['a'].path, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        assert listed(path) == ["one"]
        process.kill()
    end = time.monotonic() + 20
    while path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not path.exists()
    shutil.rmtree(path.parent)


@needs_openssh
def test_keys_that_cannot_be_used(tmp_path: Path, agent: EchoAgent) -> None:
    (tmp_path / "text").write_text("no key")
    locked = key(tmp_path / "locked", phrase="a phrase")
    for path in (tmp_path / "text", locked, tmp_path / "missing"):
        with pytest.raises(KeyUnusable), agents({"a": SshSource((path,))}):
            pass
    for source in (SshSource((locked, agent.path)), SshSource((locked,), raw=True)):
        with pytest.raises(RequestInvalid), agents({"a": source}):
            pass
    with agents({"a": agent.path, "b": SshSource((agent.path,), raw=True)}) as found:
        assert found == {"a": AgentSocket(agent.path), "b": AgentSocket(agent.path, raw=True)}
