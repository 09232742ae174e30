"""The shell that ends steps when the process that runs them is killed, with a runtime that only writes down its words."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from boxwright.errors import Unsupported
from boxwright.runtime import guard as module
from boxwright.runtime.guard import Guard
from boxwright.runtime.oci import Runtime
from boxwright.runtime.process import PIPE, Process, Stdio, spawn

_BUILD = """
import os
import sys
from pathlib import Path
from boxwright.runtime.guard import Guard
from boxwright.runtime.oci import Runtime

guard = Guard(Runtime("fake", sys.argv[1], "1", Path(sys.argv[2])))
told = {}
for word in sys.stdin:
    what, name, pid = word.split()
    if what == "begun":
        told[name] = guard.begun(name, int(pid))
    elif what == "ended":
        guard.ended(told[name])
    else:
        guard.close()
    os.write(1, b"done\\n")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A runtime that says what it is asked for to those who read `calls`."""
    os.mkfifo(tmp_path / "calls")
    path = tmp_path / "runtime"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def sleepers() -> Iterator[list[Process]]:
    started = [spawn(["sleep", "1000"]) for _ in range(3)]
    yield started
    for one in started:
        one.kill()
        one.wait()


def _say(build: Process, words: str) -> None:
    os.write(build.stdin, f"{words}\n".encode())
    assert os.read(build.stdout, 100) == b"done\n"


def test_a_killed_build_takes_the_steps_along_that_run(
    tmp_path: Path, program: Path, sleepers: list[Process]
) -> None:
    calls = os.open(tmp_path / "calls", os.O_RDWR | os.O_CLOEXEC)
    build = spawn(
        [sys.executable, "-c", _BUILD, str(program), str(tmp_path)],
        stdio=Stdio(stdin=PIPE, stdout=PIPE),
        env=dict(os.environ),
    )
    for number, sleeper in enumerate(sleepers):
        _say(build, f"begun step-{number} {sleeper.pid}")
    _say(build, "ended step-1 0")
    build.kill()
    build.wait()
    assert [sleepers[number].wait(10) for number in (0, 2)] == [128 + signal.SIGKILL] * 2
    said = b""
    while said.count(b"\n") < 2:
        said += os.read(calls, 1000)
    words = f"--root {tmp_path} delete --force"
    assert said.decode().splitlines() == [f"{words} step-0", f"{words} step-2"]
    assert sleepers[1].poll() is None
    os.close(calls)
    build.close()


def test_a_build_that_ends_leaves_alone_what_it_ran(
    tmp_path: Path, program: Path, sleepers: list[Process]
) -> None:
    with closing(Guard(Runtime("fake", str(program), "1", tmp_path))) as guard:
        guard.begun("step-0", sleepers[0].pid)
        guard.ended(guard.begun("step-1", sleepers[1].pid))
        shell = guard._shell
        assert shell is not None
    assert shell.poll() == 0 and sleepers[0].poll() is None


def test_a_guard_that_was_killed_is_followed_by_one_that_knows_the_same(
    tmp_path: Path, program: Path, sleepers: list[Process]
) -> None:
    calls = os.open(tmp_path / "calls", os.O_RDWR | os.O_CLOEXEC)
    guard = Guard(Runtime("fake", str(program), "1", tmp_path))
    guard.begun("step-0", sleepers[0].pid)
    first = guard._shell
    assert first is not None
    first.kill()
    first.wait()
    gone = guard.begun("step-1", sleepers[1].pid)
    second = guard._shell
    assert second is not None and second is not first
    guard.ended(gone)
    second.close()  # as the kernel does when the build is killed
    assert sleepers[0].wait(10) == 128 + signal.SIGKILL and sleepers[1].poll() is None
    assert os.read(calls, 1000).decode().split()[-1] == "step-0"
    second.wait(10)
    os.close(calls)


def test_a_step_for_which_no_shell_can_be_started_is_unknown(
    tmp_path: Path, program: Path, sleepers: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended by its own process; its number may be another's when the next shell hears of the steps."""

    def refuse(*_: object, **__: object) -> Process:
        raise Unsupported("cannot run /bin/sh")

    with closing(Guard(Runtime("fake", str(program), "1", tmp_path))) as guard:
        with monkeypatch.context() as patched:
            patched.setattr(module, "spawn", refuse)
            with pytest.raises(Unsupported):
                guard.begun("step-0", sleepers[0].pid)
        guard.begun("step-1", sleepers[1].pid)
        assert list(guard._steps) == [f"step-1:{sleepers[1].pid}"]
