"""A real supervisor, told a job by a client, with a runtime that is a script: the states it goes through."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import frames
from boxwright.container.config import ContainerConfig
from boxwright.container.job import HealthPlan, Job, LogPlan, Restart, RestartChange
from boxwright.container.logs import read
from boxwright.container.records import Container, State, load_state
from boxwright.container.session import Session, wait_gone
from boxwright.content import journal
from boxwright.network.plan import plain
from boxwright.spec.values import replace
from support.scripted import scripted_runtime
from support.waiting import eventually


class Run:
    """One container and a client that is told everything."""

    def __init__(self, here: Path, **changes: Any) -> None:
        self.here = here
        script = scripted_runtime(here)
        self.container = Container(
            id="c" * 64,
            name="name",
            target="",
            layers=(),
            created=0,
            record={"config": ContainerConfig(image="image").to_json()},
            directory=here,
        )
        wants = frames.WANT_STDIN | frames.WANT_STDOUT | frames.WANT_STDERR | frames.WANT_LAST_EXIT
        job = Job(
            id="c" * 64,
            directory=str(here),
            rootfs=str(here / "rootfs"),
            runtime=(str(script), "--root", "/r"),
            hidden="",
            filter=None,
            tty=False,
            open_stdin=True,
            stdin_once=True,
            size=(0, 0),
            log=LogPlan(path=str(self.container.log_path)),
            restart=Restart(name="no"),
            health=None,
            network=None,
            auto_remove=False,
            reaper=(),
            reaper_environ={},
            state=State().to_json(),
            wants=wants,
            oom_files=(str(here / "oom"),),
        )
        self.job = replace(job, **changes)
        self.session = Session.launch()

    def begin(self, program: str) -> int:
        """Start; the pid of the program."""
        (self.here / "program").write_text(program)
        self.session.send(frames.JOB, plain(self.job))
        return int(self.session.expect(frames.STARTED)[1])

    def says(self) -> bytes:
        """Some output."""
        return next(body for kind, body in self.session.frames() if kind == frames.STDOUT)

    def ends(self) -> dict[str, Any]:
        """What is said of the exit."""
        value: dict[str, Any] = self.session.expect(frames.EXITED, silence=20)[1]
        return value

    def ask(self, kind: int, value: Any = None) -> str:
        """Order the supervisor about on a connection of its own."""
        with Session.attach(self.container, 0) as session:
            session.send(kind, value)
            return str(session.expect(frames.DONE, silence=20)[1])

    @property
    def state(self) -> State:
        return load_state(self.here)

    @property
    def verbs(self) -> list[str]:
        return (self.here / "verbs").read_text().split()

    def log(self) -> str:
        return "".join(entry.text for entry in read(self.container))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(**changes: Any) -> Run:
        made.append(Run(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        if one.state.alive:
            os.kill(one.state.pid, signal.SIGKILL)
        one.session.close()
        assert wait_gone(one.session.supervisor_pid)


def test_output_and_exit_code(run: Callable[..., Run]) -> None:
    one = run()
    pid = one.begin("echo out; echo err >&2; exit 3")
    output: dict[int, list[bytes]] = {1: [], 2: []}
    assert one.session.converse(None, output) == 3
    assert (b"".join(output[1]), b"".join(output[2])) == (b"out\n", b"err\n")
    state = one.state
    assert (state.status, state.exit_code, state.pid) == ("exited", 3, 0) and pid
    assert state.started_at and state.finished_at >= state.started_at
    assert sorted(one.log().split()) == ["err", "out"]
    one.session.drain()
    assert one.verbs == ["run", "delete"]
    eventually(lambda: not state.supervised)


def test_input_reaches_the_program_and_ends(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("cat")
    output: dict[int, list[bytes]] = {1: [], 2: []}
    assert one.session.converse(b"x" * 300_000, output) == 0
    assert b"".join(output[1]) == b"x" * 300_000


def test_what_cannot_be_started_says_why(run: Callable[..., Run]) -> None:
    one = run()
    (one.here / "refuses").write_text('{"msg":"no"}')
    (one.here / "program").write_text("")
    one.session.send(frames.JOB, plain(one.job))
    _, value = one.session.expect(frames.FAILED)
    assert value == {"stage": "runtime", "message": '{"msg":"no"}'}
    one.session.drain()
    assert (one.state.status, one.state.exit_code) == ("created", 128) and one.state.error


def test_signals_and_the_code_they_leave(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
    one.says()
    assert one.ask(frames.SIGNAL, int(signal.SIGTERM)) == ""
    assert one.ends()["code"] == 7


def test_stop_kills_what_does_not_listen(run: Callable[..., Run]) -> None:
    one = run(restart=Restart(name="always"))
    one.begin("trap '' TERM; echo up; while :; do sleep 0.05; done")
    one.says()
    assert one.ask(frames.STOP, (int(signal.SIGTERM), 0.1)) == ""
    assert one.ends() == {"code": 137, "restarting": False, "oom": False, "error": "", "remove": False}
    assert one.state.restart_count == 0  # stopped on purpose: the policy has no say


def test_a_failing_container_is_started_again_so_many_times(run: Callable[..., Run]) -> None:
    one = run(restart=Restart(name="on-failure", maximum=2))
    one.begin("exit 5")
    assert one.ends()["code"] == 5
    assert (one.state.restart_count, one.state.status) == (2, "exited")
    one.session.drain()
    assert one.verbs.count("run") == 3


def test_the_policy_may_change_meanwhile(run: Callable[..., Run]) -> None:
    one = run(restart=Restart(name="always"))
    one.begin("read line; exit 5")
    assert one.ask(frames.UPDATE, plain(RestartChange(restart=Restart(name="no")))) == ""
    shown = {"mine": {"address": "10.0.0.2", "names": ["a"]}}
    assert one.ask(frames.UPDATE, plain(RestartChange(networks=shown))) == ""
    assert one.state.networks == shown
    one.session.send_input(b"go\n")
    assert one.ends()["code"] == 5 and one.state.restart_count == 0


def test_restart_runs_it_anew(run: Callable[..., Run]) -> None:
    one = run()
    first = one.begin("exec sleep 1000")
    assert one.ask(frames.RESTART, (int(signal.SIGKILL), 5.0)) == ""
    assert one.state.status == "running" and one.state.pid != first and one.state.restart_count == 0


def test_pausing_is_the_runtimes(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("exec sleep 1000")
    assert one.ask(frames.PAUSE) == "" and one.state.status == "paused"
    assert one.ask(frames.RESUME) == "" and one.state.status == "running"
    (one.here / "refuses").write_text("")
    assert one.ask(frames.PAUSE) == "the runtime refused" and one.state.status == "running"


def test_one_more_process_is_its_child_and_its_end_is_told(run: Callable[..., Run], tmp_path: Path) -> None:
    one = run(journal=str(tmp_path / "events"))
    one.begin("exec sleep 1000")
    (one.here / "check").write_text('(kill -9 "$(sh -c \'echo $PPID\')") & echo $! >"$5"')
    assert one.ask(frames.EXEC, ("e1", "sh -c x", "/process.json")) == ""

    def told() -> list[tuple[str, str, str | None]]:
        values = [json.loads(line) for line in journal.lines(str(tmp_path / "events"))]
        found = [(v["Action"], v["Actor"]["Attributes"]) for v in values if "exec" in v["Action"]]
        return [(action, a["execID"], a.get("exitCode")) for action, a in found]

    begun = [("exec_create: sh -c x", "e1", None), ("exec_start: sh -c x", "e1", None)]
    eventually(lambda: told() == [*begun, ("exec_die", "e1", "137")], 20)
    (one.here / "check").write_text("exit 3")
    assert one.ask(frames.EXEC, ("e2", "x ", "/process.json")) == "exit code 3"
    assert one.state.status == "running" and not (one.here / "exec.pid").exists()


def test_each_kill_for_want_of_memory_is_told_while_it_runs(run: Callable[..., Run], tmp_path: Path) -> None:
    """The kernel's file does not wake us here, so that the last look is the only one."""
    one = run(journal=str(tmp_path / "events"))
    (one.here / "oom").write_text("oom_kill 0\n")
    one.begin("read -r line")
    (one.here / "oom").write_text("oom_kill 2\n")
    one.session.send_input(b"x\n")
    assert one.ends()["oom"] is True
    told = [json.loads(line)["Action"] for line in journal.lines(str(tmp_path / "events"))]
    assert told == ["start", "oom", "die"]


def test_out_of_memory_is_read_off_the_cgroup(run: Callable[..., Run]) -> None:
    one = run()
    (one.here / "oom").write_text("oom 3\noom_kill 1\n")
    one.begin("exit 137")
    assert one.ends()["oom"] is True and one.state.oom_killed


@pytest.mark.parametrize(("check", "status"), [("echo fine", "healthy"), ("echo bad; exit 1", "unhealthy")])
def test_health(run: Callable[..., Run], check: str, status: str) -> None:
    plan = HealthPlan(
        interval=0.02,
        timeout=5.0,
        start_period=0.0,
        start_interval=0.0,
        retries=2,
        process={"args": ["x"]},
    )
    one = run(health=plan)
    (one.here / "check").write_text(check)
    one.begin("exec sleep 1000")
    eventually(lambda: (one.state.health or {}).get("Status") == status, 20)
    health = one.state.health
    assert health is not None and len(health["Log"]) <= 5
    assert health["Log"][-1]["Output"] == check.split(";")[0].removeprefix("echo ") + "\n"
    assert (health["FailingStreak"] >= 2) is (status == "unhealthy")


def test_a_check_that_takes_too_long_is_ended(run: Callable[..., Run]) -> None:
    plan = HealthPlan(
        interval=0.02,
        timeout=0.05,
        start_period=0.0,
        start_interval=0.0,
        retries=1,
        process={"args": ["x"]},
    )
    one = run(health=plan)
    (one.here / "check").write_text("exec sleep 1000")
    one.begin("exec sleep 1000")
    eventually(lambda: (one.state.health or {}).get("Status") == "unhealthy", 20)
    assert one.state.health is not None
    assert one.state.health["Log"][-1]["Output"] == "Health check exceeded timeout (0.05s)"


def test_without_a_client_the_removal_is_left_to_a_reaper(run: Callable[..., Run], tmp_path: Path) -> None:
    code = f"import os; open({str(tmp_path / 'reaped')!r}, 'w').write(os.environ['WORD'])"
    one = run(
        auto_remove=True, reaper=(sys.executable, "-c", code), reaper_environ={"WORD": "clean"}, wants=0
    )
    one.begin("exit 0")
    eventually(lambda: (tmp_path / "reaped").exists() and bool((tmp_path / "reaped").read_text()), 20)
    assert (tmp_path / "reaped").read_text() == "clean"


def orphaned(one: Run) -> int:
    """Kill its supervisor; the pid of what it leaves."""
    pid = one.state.pid
    os.kill(one.session.supervisor_pid, signal.SIGKILL)
    assert wait_gone(one.session.supervisor_pid)
    eventually(lambda: not one.state.supervised)
    assert one.state.unattended and one.state.alive and pid
    return pid


def adopt(one: Run) -> tuple[int, Any]:
    """By a new supervisor, which is the session's from now on."""
    one.session.close()
    one.session = Session.launch()
    job = replace(one.job, state=one.state.to_json(), restart=Restart(name="no"))
    one.session.send(frames.ADOPT, plain(job))
    return one.session.expect(frames.STARTED, frames.FAILED, silence=20)


LOOP = "i=0; while [ ! -e $HERE/enough ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo late >&2; exit 7"


def test_a_process_is_adopted_with_its_output(run: Callable[..., Run], tmp_path: Path) -> None:
    one = run()
    one.begin(LOOP.replace("$HERE", str(tmp_path)))
    eventually(lambda: len(one.log().split()) > 2, 20)
    pid = orphaned(one)
    before = len(one.log().split())
    time.sleep(0.2)  # what it writes meanwhile waits in the pipe
    assert len(one.log().split()) == before and one.state.alive
    assert adopt(one) == (frames.STARTED, pid)
    assert one.state.supervised and one.state.pid == pid
    eventually(lambda: len(one.log().split()) > before + 8, 20)
    (tmp_path / "enough").touch()
    eventually(lambda: one.state.status == "exited", 20)
    words = one.log().split()
    assert words == [*map(str, range(1, len(words))), "late"]  # not a line is lost, none is there twice
    # Linux 6.15 tells the exit code to others than the parent, once another process has reaped it.
    state = one.state
    assert state.exit_code == 7 or (state.exit_code == 255 and "exit code is unknown" in state.error)
    eventually(lambda: not one.state.unfinished)
    assert not state.stopped


def test_what_is_adopted_is_stopped_by_hand(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("exec sleep 1000")
    orphaned(one)
    adopt(one)
    with Session.attach(one.container, frames.WANT_LAST_EXIT) as session:
        session.send(frames.STOP, (int(signal.SIGKILL), 5.0))
        session.expect(frames.EXITED, silence=20)
    assert one.state.stopped and one.state.status == "exited"


def test_what_has_ended_is_not_adopted(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("exec sleep 1000")
    pid = orphaned(one)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 20)
    before = one.state
    assert adopt(one)[0] == frames.FAILED
    assert wait_gone(one.session.supervisor_pid) and one.state == before


def test_another_process_of_the_same_number_is_not_adopted(run: Callable[..., Run]) -> None:
    one = run()
    one.begin("exec sleep 1000")
    pid = orphaned(one)
    one.job = replace(one.job)
    state = {**one.state.to_json(), "Process": f"{one.state.process}0"}
    one.session.close()
    one.session = Session.launch()
    one.session.send(frames.ADOPT, plain(replace(one.job, state=state)))
    assert one.session.expect(frames.STARTED, frames.FAILED, silence=20)[0] == frames.FAILED
    os.kill(pid, signal.SIGKILL)


def test_the_host_sees_whose_supervisor_it_is(run: Callable[..., Run]) -> None:
    one = run(name="web")
    one.begin("exec sleep 1000")

    def title() -> str:
        return Path(f"/proc/{one.session.supervisor_pid}/cmdline").read_bytes().rstrip(b"\0").decode()

    assert title() == f"boxwright: web (supervisor of container {'c' * 12})"
    assert Path(f"/proc/{one.session.supervisor_pid}/comm").read_text() == "boxwright: web\n"
    one.ask(frames.UPDATE, plain(RestartChange(name="other")))
    assert title().startswith("boxwright: other (")


def test_a_session_without_a_job_ends_its_supervisor() -> None:
    session = Session.launch()
    session.close()
    assert wait_gone(session.supervisor_pid)
