"""Health checks: when they are made, what they say, what becomes of the state."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.job import HealthPlan
from boxwright.container.supervisor import health as checks
from boxwright.container.supervisor.health import Health
from support.descriptors import none_left_open
from support.turns import Turns


class Program:
    """A runtime whose `exec` is a process that sleeps, or cannot be started; what it would print is written here."""

    def __init__(self) -> None:
        self.fails = False
        self.calls: list[tuple[str, ...]] = []
        self.says = b""
        self.pid = 0

    def spawn(self, *words: str, stdio: tuple[int, int, int]) -> int:
        if self.fails:
            raise FileNotFoundError(2, "No such file or directory")
        self.calls.append(words)
        os.write(stdio[1], self.says)
        self.pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {}, setsid=True)
        return self.pid


class Run:
    def __init__(self, directory: Path, **plan: Any) -> None:
        self.loop, self.program = Turns(), Program()
        self.state: dict[str, Any] = {}
        self.told = 0
        self.events: list[str] = []
        times = {"interval": 30.0, "timeout": 5.0, "start_period": 0.0, "start_interval": 0.0, "retries": 2}
        loop: Any = self.loop
        runner: Any = self.program
        self.health = Health(
            loop,
            runner,
            plan=HealthPlan(**{**times, "process": {"args": ["true"]}, **plan}),
            directory=str(directory),
            state=self.state,
            changed=self._changed,
            told=self._event,
        )
        self.health.begin()

    def _event(self, action: str, identity: str, words: str = "", **more: str) -> None:
        assert len(identity) == 64
        self.events.append(" ".join([action, words, *more.values()]).rstrip())

    def _changed(self) -> None:
        self.told += 1

    def check(self, code: int, says: bytes = b"") -> float:
        """One check that ends with `code`; after how many seconds it was made."""
        self.program.says = says
        waited = self.loop.due()
        self.ended(code << 8)
        return waited

    def ended(self, status: int) -> None:
        os.kill(self.program.pid, signal.SIGKILL)
        os.waitpid(self.program.pid, 0)
        self.loop.end(self.program.pid, status)

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = self.state["Health"]
        return found


def test_a_check_runs_what_the_plan_says(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.result == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert run.check(0, b"fine\n") == 30.0
    verb, flag, file, *_ = run.program.calls[0]
    assert (verb, flag) == ("exec", "--process") and json.loads(Path(file).read_text()) == {"args": ["true"]}
    assert (run.result["Status"], run.told) == ("healthy", 1)
    assert [(e["ExitCode"], e["Output"]) for e in run.result["Log"]] == [(0, "fine\n")]
    assert run.events == ["create true", "start true", "die  0"]


def test_so_many_failures_make_it_unhealthy_and_one_success_healthy(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.check(1)
    assert (run.result["Status"], run.result["FailingStreak"]) == ("starting", 1)
    run.check(1)
    assert (run.result["Status"], run.result["FailingStreak"]) == ("unhealthy", 2)
    run.check(0)
    assert (run.result["Status"], run.result["FailingStreak"]) == ("healthy", 0)


def test_five_results_are_kept_and_4096_bytes_of_each(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number in range(7):
        run.check(0, b"%d" % number + b"x" * 5000)
    assert [entry["Output"][0] for entry in run.result["Log"]] == list("23456")
    assert {len(entry["Output"]) for entry in run.result["Log"]} == {4096}


def test_failures_do_not_count_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    run = Run(tmp_path, start_period=60.0, start_interval=2.0, retries=1)
    assert run.check(1) == 2.0 and run.result["FailingStreak"] == 0
    now[0] += 61
    assert run.check(1) == 2.0  # which was set while it started
    assert (run.result["Status"], run.result["FailingStreak"]) == ("unhealthy", 1)
    assert run.check(0) == 30.0


def test_a_check_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.program.says = b"half"
    run.loop.due()
    inside = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    Path(tmp_path / "health.pid").write_text(str(inside))
    assert run.loop.due() == 5.0
    assert os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) == -signal.SIGKILL
    run.ended(signal.SIGKILL)
    (entry,) = run.result["Log"]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "Health check exceeded timeout (5s): half")
    assert not (tmp_path / "health.pid").exists()


def test_a_runtime_that_wrote_no_pid_is_killed_itself(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.loop.due()
    run.loop.due()
    assert os.waitstatus_to_exitcode(os.waitpid(run.program.pid, 0)[1]) == -signal.SIGKILL


def test_a_runtime_that_is_gone_is_a_failed_check(tmp_path: Path) -> None:
    with none_left_open():
        run = Run(tmp_path)
        run.program.fails = True
        run.loop.due()
        (entry,) = run.result["Log"]
        assert entry["Output"] == "cannot run the check: No such file or directory"
        assert run.loop.timers


def test_the_containers_end_ends_its_check(tmp_path: Path) -> None:
    with none_left_open():
        run = Run(tmp_path)
        run.loop.due()
        run.health.end()
        assert os.waitstatus_to_exitcode(os.waitpid(run.program.pid, 0)[1]) == -signal.SIGKILL
        assert not run.loop.timers and not run.loop.watched
        assert run.result["Status"] == "unhealthy" and run.result["Log"] == []
        run.loop.end(run.program.pid, signal.SIGKILL)  # told late: it says nothing
        assert run.result["Log"] == []


def test_a_check_may_be_asked_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.health.probe()
    assert len(run.program.calls) == 1
    run.health.probe()  # one at a time
    assert len(run.program.calls) == 1
    run.ended(0)
    assert run.result["Status"] == "healthy" and checks._KEPT == 5
