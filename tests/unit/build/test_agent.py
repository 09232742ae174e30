"""The relay between a RUN step and an SSH agent: bytes as they are, both ways; many, none, and an end."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from boxwright.build.ops.agent import AgentRelay
from support.agent import EchoAgent


@contextmanager
def relayed(agent: Path, tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    path = tmp_path / "s"
    with closing(AgentRelay(path, agent)), ExitStack() as stack:

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
    fds = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        AgentRelay(tmp_path / f"n{number}", agent.path).close()
    assert len(os.listdir("/proc/self/fd")) <= fds
