"""The runtime as the supervisor calls it: one that dies, and one that hangs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.container.supervisor import runner
from boxwright.container.supervisor.runner import Runner, StartFailed

_NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def runner_of(here: Path, script: str) -> Runner:
    program = here / "runtime"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    job: Any = SimpleNamespace(
        id="c" * 64, directory=str(here), runtime=(str(program),), hidden="", tty=False
    )
    return Runner(job)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "the runtime did not terminate successfully: signal 9"),
        ("exit 7", "the runtime did not terminate successfully: exit status 7"),
        ("exit 0", "the runtime started nothing"),
        ('echo "why" >"$2"; exit 1', "why\n"),
    ],
)
def test_a_runtime_that_dies(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(StartFailed) as failed:
        runner_of(tmp_path, script).start((_NULL, _NULL, _NULL))
    assert failed.value.log.decode() == said


def children() -> set[str]:
    """The IDs of this process's children, of those too that wait to be reaped."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


def test_a_runtime_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PATIENCE", 0.3)
    before = children()
    read, write = os.pipe()
    hangs = runner_of(tmp_path, "sleep 1000 & sleep 1000")
    with pytest.raises(StartFailed) as failed:
        hangs.start((_NULL, write, write))
    assert failed.value.log == b"the runtime did not answer within 0.3 seconds, and was killed"
    os.close(write)
    assert os.read(read, 1) == b""  # nothing holds the other end any more
    os.close(read)
    hangs.delete()  # it hangs there, too: that ends all the same
    assert children() <= before  # other tests may have theirs
