"""What the next command does with a container whose supervisor was killed, or that a boot ended: by real supervisors
with a runtime that is a script."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.config import RestartPolicy
from boxwright.container.life import Life, due
from boxwright.container.records import Container, State, save_state
from boxwright.container.remains import keep_job, kept_job
from boxwright.container.session import wait_gone
from boxwright.content import journal
from boxwright.network.networks import Networks
from boxwright.network.plan import NetworkPlan
from boxwright.spec.values import replace
from support.few import Few
from support.starts import ONE, Start, runnable
from support.waiting import eventually

LOST = "another-boot:1:1"  # the identity of a process that cannot be any more
ALWAYS, FAILURE = RestartPolicy("always"), RestartPolicy("on-failure", 2)
BEGAN = "2026-01-01T00:00:00Z"


class Case(Start):
    """A container, and what looks after it; `gone` are those that were removed."""

    def __init__(self, few: Few, **more: Any) -> None:
        super().__init__(few, **more)
        services: Any = few
        host: Any = self.mounts
        self.gone: list[str] = []
        self.life = Life(
            services,
            networks=lambda: Networks(few.root, few.db),
            find=lambda name: [self.box] if name is None else self.box,
            discard=lambda box: self.gone.append(box.name),
            mounts=host,
        )

    def left(self, **state: Any) -> None:
        """As a supervisor left it."""
        given = {"status": "running", "pid": 2**22, "supervisor": LOST, "started_at": BEGAN, **state}
        save_state(self.box.directory, State(**given))
        self.box.refresh()

    def orphaned(self) -> int:
        """It runs, and its supervisor is killed; the process."""
        with self.begin() as session:
            os.kill(session.supervisor_pid, signal.SIGKILL)
            assert wait_gone(session.supervisor_pid)
        assert self.box.refresh().unattended and self.box.state.alive
        return self.box.state.pid

    @property
    def verbs(self) -> list[str]:
        path = self.few.root / "verbs"
        return path.read_text().split() if path.exists() else []

    @property
    def events(self) -> list[tuple[str, str | None]]:
        found = [json.loads(line) for line in journal.lines(str(self.few.root / "events"))]
        return [(value["Action"], value["Actor"]["Attributes"].get("exitCode")) for value in found]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Callable[..., Case]]:
    made: list[Case] = []

    def make(**more: Any) -> Case:
        made.append(Case(runnable(tmp_path), **more))
        return made[-1]

    yield make
    for one in made:
        if one.box.refresh().alive:
            supervisor = int(one.box.state.supervisor.split(":")[1])
            os.kill(supervisor, signal.SIGKILL)  # first, or it would start another
            assert wait_gone(supervisor)
            os.kill(one.box.state.pid, signal.SIGKILL)


def test_a_process_that_runs_on_gets_a_new_supervisor(case: Callable[..., Case]) -> None:
    one = case(auto_remove=True)
    pid = one.orphaned()
    one.life.settle(one.box)
    assert one.box.state.pid == pid and one.box.state.supervised
    assert not one.gone and "delete" not in one.verbs


def test_what_it_is_to_do_then_is_what_the_container_is_now(case: Callable[..., Case]) -> None:
    one = case()
    pid = one.orphaned()
    config = replace(one.box.config, restart=ALWAYS)
    one.box = Container(
        id=ONE,
        name="renamed",
        target="sha256:1",
        layers=(),
        created=1.0,
        record={**one.box.record, "config": config.to_json()},
        directory=one.box.directory,
    )
    one.life.settle(one.box)
    line = Path(f"/proc/{one.box.state.supervisor.split(':')[1]}/cmdline").read_bytes()
    assert b"boxwright: renamed" in line
    os.kill(pid, signal.SIGKILL)  # and it is started again, as its policy is now
    assert wait_gone(pid)
    eventually(lambda: one.box.refresh().alive and one.box.state.pid != pid, 20)
    assert one.box.state.restart_count >= 1 and one.box.state.alive


def test_its_network_is_found_at_the_new_supervisor(case: Callable[..., Case]) -> None:
    one = case()
    one.orphaned()
    job = kept_job(one.box)
    assert job is not None
    keep_job(one.box, replace(job, network=NetworkPlan(id=ONE, lock=str(one.few.root / "network.lock"))))
    path = one.box.directory / "config.json"
    bundle = one.bundle
    bundle["linux"]["namespaces"] += [{"type": "network", "path": "/proc/1/fd/60"}]
    path.write_text(json.dumps(bundle))
    one.life.settle(one.box)
    supervisor = one.box.state.supervisor.split(":")[1]
    found = {n["type"]: n.get("path") for n in one.bundle["linux"]["namespaces"]}
    assert found["network"] == f"/proc/{supervisor}/fd/60"
    assert os.readlink(found["network"]) == os.readlink(f"/proc/{one.box.state.pid}/ns/net")


def test_what_ended_unseen_is_buried(case: Callable[..., Case]) -> None:
    one = case()
    one.left(placeholders=("/etc/hosts",))
    one.life.settle(one.box)
    state = one.box.state
    assert (state.status, state.exit_code, state.pid) == ("exited", 255, 0)
    assert state.started_at == BEGAN and state.placeholders == ("/etc/hosts",)
    assert one.verbs == ["delete"] and ("detach", "rootfs") in one.mounts.done
    assert one.events == [("die", "255")] and not one.gone


def test_without_what_was_told_a_process_that_runs_on_is_ended(case: Callable[..., Case]) -> None:
    one = case()
    pid = one.orphaned()
    one.box.job_path.write_text("{}")  # of a release that is not this one
    one.life.settle(one.box)
    assert one.box.state.status == "exited" and one.verbs[-1] == "delete"
    os.kill(pid, signal.SIGKILL)  # the script's delete takes nothing away


@pytest.mark.parametrize(
    ("state", "gone"),
    [
        ({}, True),
        (
            {"status": "created", "unfinished": True, "started_at": ""},
            False,
        ),  # it never ran: the start failed
        ({"status": "exited", "unfinished": True}, True),
    ],
)
def test_what_was_to_be_removed_is(case: Callable[..., Case], state: dict[str, Any], gone: bool) -> None:
    one = case(auto_remove=True)
    one.left(**state)
    one.life.settle(one.box)
    assert one.gone == (["box"] if gone else [])


@pytest.mark.parametrize(
    ("restart", "state", "again"),
    [
        (RestartPolicy(), {}, False),
        (ALWAYS, {}, True),
        (ALWAYS, {"stopped": True}, False),  # while it was being stopped
        (ALWAYS, {"status": "exited", "unfinished": True}, False),
        (FAILURE, {"restart_count": 1}, True),
        (FAILURE, {"restart_count": 2}, False),
    ],
)
def test_its_restart_policy_has_a_say(
    case: Callable[..., Case], restart: RestartPolicy, state: dict[str, Any], again: bool
) -> None:
    one = case(restart=restart)
    (one.few.root / "program").write_text("exec sleep 1000")
    one.left(**state)
    one.life.settle(one.box)
    assert one.box.state.running is again
    if again:
        assert one.box.state.restart_count == state.get("restart_count", 0) + 1 and one.box.state.supervised


def test_one_that_waited_for_its_restart_has_counted_it(case: Callable[..., Case]) -> None:
    one = case(restart=ALWAYS)
    (one.few.root / "program").write_text("exec sleep 1000")
    one.left(status="restarting", restart_count=4)
    one.life.settle(one.box)
    assert one.box.state.running and one.box.state.restart_count == 4


def test_who_only_looks_starts_nothing(case: Callable[..., Case]) -> None:
    one = case(restart=ALWAYS)
    one.left()
    one.life.settle(one.box, revive=False)
    assert one.box.state.status == "exited" and "run" not in one.verbs


def test_a_start_that_fails_is_told_by_the_state_alone(case: Callable[..., Case]) -> None:
    one = case(restart=ALWAYS, wrong="cannot mount overlay x: it is gone")
    one.left()
    one.life.settle(one.box)
    assert one.box.state.status == "exited" and "it is gone" in one.box.state.error


@pytest.mark.parametrize(
    ("restart", "state", "wanted"),
    [
        (ALWAYS, {}, True),
        (ALWAYS, {"stopped": True}, True),
        (RestartPolicy("unless-stopped"), {}, True),
        (RestartPolicy("unless-stopped"), {"stopped": True}, False),
        (FAILURE, {"exit_code": 1}, True),
        (FAILURE, {"exit_code": 0}, False),
        (RestartPolicy(), {"exit_code": 1}, False),
        (ALWAYS, {"status": "running"}, False),
        (ALWAYS, {"started_at": ""}, False),
    ],
)
def test_what_a_boot_starts(
    tmp_path: Path, restart: RestartPolicy, state: dict[str, Any], wanted: bool
) -> None:
    one = Start(Few(tmp_path), restart=restart)
    save_state(one.box.directory, State(**{"status": "exited", "started_at": BEGAN, **state}))
    one.box.refresh()
    assert due(one.box) is wanted
