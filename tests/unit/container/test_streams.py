"""A container's streams between pipes, its log and its clients."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import frames
from boxwright.container.supervisor.logfile import LogFile
from boxwright.container.supervisor.streams import Streams
from support.descriptors import none_left_open
from support.turns import Listener, Turns

ALL = frames.WANT_STDIN | frames.WANT_STDOUT | frames.WANT_STDERR


class Run:
    """The streams of a container, whose ends of the pipes a test holds."""

    def __init__(self, log: Path, *clients: Listener, tty: bool = False, stdin: bool = True) -> None:
        self.loop = Turns()
        self.path = log
        self.log = LogFile(str(log), 0, 1)
        loop: Any = self.loop
        listeners: Any = clients
        self.streams = Streams(loop, self.log, listeners, tty=tty, stdin=stdin)
        self.stdin, self.stdout, self.stderr = (os.dup(fd) for fd in self.streams.theirs)

    def begin(self) -> None:
        self.streams.begin()

    def logged(self) -> str:
        self.log.flush()
        return self.path.read_text()

    def close(self) -> None:
        self.streams.close()
        self.log.close()
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)

    def hang_up(self, name: str) -> None:
        os.close(getattr(self, name))
        setattr(self, name, -1)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    runs: list[Run] = []

    def make(*clients: Listener, **options: Any) -> Run:
        runs.append(Run(tmp_path / "log", *clients, **options))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def test_each_client_has_the_streams_that_it_wants(made: Any) -> None:
    out, err = Listener(frames.WANT_STDOUT), Listener(frames.WANT_STDERR)
    run = made(out, err)
    run.begin()
    os.write(run.stdout, b"one\n")
    os.write(run.stderr, b"two\n")
    run.loop.settle()
    assert out.sent == [(frames.STDOUT, b"one\n")] and err.sent == [(frames.STDERR, b"two\n")]
    assert '"stream":"stdout"' in run.logged() and '"stream":"stderr"' in run.logged()


def test_what_is_left_in_the_pipes_is_taken_after_the_end(made: Any) -> None:
    client = Listener(ALL)
    run = made(client)
    run.begin()
    os.write(run.stdout, b"x" * 60_000)
    os.write(run.stderr, b"last words")
    run.streams.drain()
    assert len(client.said(1)) == 60_000 and client.said(2) == b"last words"


def test_a_slow_client_stops_the_container_until_it_has_caught_up(made: Any) -> None:
    client = Listener(ALL, lags=1)
    run = made(client)
    run.begin()
    os.write(run.stdout, b"first")
    run.loop.settle()
    os.write(run.stdout, b"second")
    run.loop.settle()
    assert client.said(1) == b"first"
    client.lagging = False
    run.streams.resume()
    run.loop.settle()
    assert client.said(1) == b"firstsecond"


def test_a_stream_that_was_closed_is_watched_no_more(made: Any) -> None:
    run = made(Listener(ALL))
    run.begin()
    watched = len(run.loop.watched)
    run.hang_up("stdout")
    run.loop.settle()
    assert len(run.loop.watched) == watched - 1


def test_input_waits_for_a_container_that_does_not_read(made: Any) -> None:
    client = Listener(ALL)
    run = made(client)
    run.begin()
    client.paused = True
    fed = b"y" * (1 << 20)
    assert run.streams.feed(b"a") and not run.streams.feed(fed)
    run.streams.end_input()
    read = b""
    os.set_blocking(run.stdin, False)
    while True:
        run.loop.settle()
        try:
            data = os.read(run.stdin, 1 << 16)
        except BlockingIOError:
            pytest.fail("the end of the input never came")
        if not data:
            break
        read += data
    assert read == b"a" + fed and not client.paused
    assert run.streams.feed(b"after the end")  # nothing waits for what will not be taken


def test_the_end_of_no_input_is_told_at_once(made: Any) -> None:
    run = made(Listener(ALL))
    run.begin()
    os.set_blocking(run.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(run.stdin, 1)
    run.streams.end_input()
    assert os.read(run.stdin, 1) == b""


def test_input_that_the_container_closed_is_dropped(made: Any) -> None:
    client = Listener(ALL)
    run = made(client)
    run.begin()
    client.paused = True
    run.hang_up("stdin")
    assert run.streams.feed(b"lost")
    run.loop.settle()
    assert not client.paused


def test_without_input_the_container_reads_its_end(made: Any) -> None:
    run = made(stdin=False)
    run.begin()
    assert os.read(run.stdin, 10) == b""
    assert run.streams.feed(b"nothing takes it")


def test_a_terminal_has_one_stream_a_size_and_no_end_of_input(made: Any) -> None:
    client = Listener(ALL)
    run = made(client, tty=True)
    assert run.streams.theirs[0] == run.streams.theirs[1] == run.streams.theirs[2]
    master, slave = pty.openpty()
    try:
        run.streams.terminal(master, (24, 80))
        run.begin()
        size = struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, b"\0" * 8))
        assert size[:2] == (24, 80)
        run.streams.resize(30, 100)
        assert struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, b"\0" * 8))[:2] == (30, 100)
        os.write(slave, b"shown")
        run.streams.feed(b"typed\n")
        run.streams.end_input()
        run.loop.settle()
        assert client.said(frames.STDOUT).startswith(b"shown")
        assert os.read(slave, 100) == b"typed\n"
        assert master in run.loop.watched
    finally:
        os.close(slave)
    run.loop.settle()  # EIO: no process has the terminal open
    assert master not in run.loop.watched


def test_a_failed_start_leaves_no_descriptor(made: Any) -> None:
    with none_left_open():
        run = made()
        run.close()
        run.stdin = run.stdout = run.stderr = -1
