"""Orders for containers that a supervisor has in hand: the supervisor is a thread that answers by the book."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.container import frames, manager
from boxwright.container.config import ContainerConfig, Limits, RestartPolicy
from boxwright.container.job import RestartChange
from boxwright.container.manager import Containers, DoesNotEnd
from boxwright.container.records import Container, NoSuchContainer, State, WrongState, save_state
from boxwright.engine import Engine
from boxwright.errors import BoxwrightError
from boxwright.image.changes import ChangeInvalid
from boxwright.spec.digest import Digest
from boxwright.spec.values import replace
from support.few import Few, added
from support.image import engine as engine_at
from support.image import imported
from support.supervisor import supervised

ONE = "a1" * 32


@pytest.fixture
def few(tmp_path: Path) -> Few:
    few = Few(tmp_path)
    few.updates = []  # type: ignore[attr-defined]
    few.runtime = SimpleNamespace(update=lambda *words: few.updates.append(words))  # type: ignore[attr-defined]
    return few


@pytest.fixture
def containers(few: Few) -> Containers:
    return Containers(few)  # type: ignore[arg-type]


@pytest.fixture
def box(few: Few) -> Container:
    return added(few, ONE, "box")


def test_pause_and_unpause(containers: Containers, box: Container) -> None:
    with supervised(box) as supervisor:
        with pytest.raises(WrongState, match="is not paused"):
            containers.unpause(box)
        containers.pause(box)
        with pytest.raises(WrongState, match="is already paused"):
            containers.pause(box)
        containers.unpause(box)
        assert [kind for kind, _ in supervisor.orders] == [frames.PAUSE, frames.RESUME]


def test_what_a_supervisor_refuses_is_told(containers: Containers, box: Container) -> None:
    with (
        supervised(box, refuses="the runtime refused"),
        pytest.raises(WrongState, match="the runtime refused"),
    ):
        containers.pause(box)


def test_stop_asks_with_the_containers_signal_and_time(few: Few, containers: Containers) -> None:
    box = added(few, ONE, "box", merged={"StopSignal": "SIGINT", "StopTimeout": 3})
    with supervised(box) as supervisor:
        containers.stop(box)
        assert supervisor.orders == [(frames.STOP, (2, 3.0, True))] and box.state.status == "exited"


def test_kill_waits_for_the_end_by_sigkill_alone(containers: Containers, box: Container) -> None:
    with supervised(box, hangs=True) as supervisor:
        containers.kill(box, "HUP")
        assert supervisor.orders == [(frames.SIGNAL, 1)] and box.refresh().running
    with pytest.raises(BoxwrightError):
        containers.kill(box, "NOPE")


def test_kill_is_over_when_it_has_ended(containers: Containers, box: Container) -> None:
    with supervised(box):
        containers.kill(box)
        assert box.state.exit_code == 137 and containers.wait(box) == 137


def test_what_the_kernel_does_not_let_go_of(
    containers: Containers, box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_STOP_GRACE", 0.05)
    with supervised(box, hangs=True):
        with pytest.raises(DoesNotEnd, match="container box was killed, but has not ended"):
            containers.kill(box)
        with pytest.raises(DoesNotEnd):
            containers.stop(box, seconds=0)


def test_a_supervisor_that_dies_meanwhile_is_cleaned_up_after(
    containers: Containers, box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[str] = []

    def bury(container: Container, *, revive: bool = True) -> Container:
        settled.append(container.name)
        save_state(container.directory, State(status="exited", exit_code=137))
        return container

    monkeypatch.setattr(containers.catalog, "settled", bury)
    save_state(box.directory, State(status="running", pid=1, supervisor="another-boot:1:1"))
    assert containers.wait(box) == 137
    save_state(box.directory, State(status="running", pid=1, supervisor="another-boot:1:1"))
    containers.stop(box)
    assert settled == ["box", "box"] and box.state.status == "exited"


def test_restart_of_what_runs_is_one_order(containers: Containers, box: Container) -> None:
    with supervised(box) as supervisor:
        containers.restart(box, signal="KILL", seconds=1)
        assert supervisor.orders == [(frames.RESTART, (9, 1.0))]


def test_an_update_reaches_runtime_supervisor_and_record(
    few: Few, containers: Containers, box: Container
) -> None:
    with supervised(box) as supervisor:
        containers.update(box, lambda config: replace(config, restart=RestartPolicy("on-failure", 3)))
        assert few.updates == []  # type: ignore[attr-defined]
        containers.update(box, lambda config: replace(config, limits=Limits(memory=8 << 20)))
        ((identity, resources),) = few.updates  # type: ignore[attr-defined]
        assert identity == ONE and resources["memory"]["limit"] == 8 << 20
        kind, value = supervisor.orders[0]
        change = RestartChange.of(value)
        assert kind == frames.UPDATE and change.restart is not None
        assert (change.restart.name, change.restart.maximum) == ("on-failure", 3)
    assert containers.catalog.rows()[0].config.limits.memory == 8 << 20


def test_removal_by_force_ends_it_first(few: Few, containers: Containers, box: Container) -> None:
    with supervised(box) as supervisor:
        containers.remove(box, force=True)
        assert supervisor.orders == [(frames.STOP, (9, 0.0, False))]
    assert containers.list(all=True) == [] and few.snapshots.discarded == [ONE]


def test_a_container_that_removes_itself_is_reaped(few: Few, containers: Containers) -> None:
    box = added(few, ONE, "box", config={"image": "i", "auto_remove": True})
    with supervised(box) as supervisor:
        containers.reap(ONE)
        assert containers.list(all=True)
        supervisor.end(0)
    containers.reap(ONE)
    containers.reap(ONE)  # which is gone
    assert containers.list(all=True) == []


def test_everything_is_ended_before_a_root_goes(
    few: Few, containers: Containers, box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    down: list[str] = []
    monkeypatch.setattr(
        type(containers.networks), "take_down", lambda self, network: down.append(network.name)
    )
    with supervised(box):
        containers.end_all()
    assert containers.list(all=True) == [] and "bridge" in down


def test_what_runs_is_found_without_readable_rows(few: Few, containers: Containers, box: Container) -> None:
    with few.db.write() as sql:
        sql.execute("UPDATE containers SET record = 'nonsense'")
    with supervised(box) as supervisor:
        containers.end_all()
        assert supervisor.orders == [(frames.STOP, (9, 0.0, False))]


def test_looking(few: Few, containers: Containers) -> None:
    box = added(few, ONE, "box", image_id="sha256:" + "0" * 64)
    assert "SizeRw" not in containers.inspect("box")
    assert containers.inspect("box", size=True)["SizeRw"] == 100
    with pytest.raises(NoSuchContainer):
        containers.inspect("other")
    with pytest.raises(WrongState, match="is not running"):
        containers.top("box")
    few.runtime.ps = lambda identity: [os.getpid()]  # type: ignore[attr-defined]
    with supervised(box):
        assert containers.top("box", "-eo pid,comm")[1][0][0] == str(os.getpid())


def test_a_container_that_runs_is_not_started_again(
    containers: Containers, box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "require_root", lambda what: None)

    class Talk:
        closed = False

        def close(self) -> None:
            self.closed = True

    session: Any = Talk()
    with supervised(box):
        assert containers.start(box, session=session) is session and not session.closed
        containers.pause(box)
        with pytest.raises(WrongState, match="cannot start a paused container"):
            containers.start(box, session=session)
        assert session.closed


# --- commit ------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = engine_at(tmp_path / "root", BOXWRIGHT_DRIVER="copied")
    imported(made, "base:1", changes=["CMD sh", "ENV A=image"])
    return made


def written(engine: Engine) -> Container:
    """A container in whose tree a file was written."""
    made = engine.containers.create(ContainerConfig(image="base:1", name="box"))
    root = engine.services.snapshots.open(made.id)
    try:
        fd = os.open("new", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=root)
        os.write(fd, b"content")
        os.close(fd)
    finally:
        os.close(root)
    return made


def test_a_commit_is_one_layer_more(engine: Engine) -> None:
    box = written(engine)
    assert engine.containers.inspect("box")["Id"] == box.id
    row = engine.containers.commit(
        box, "made:1", author="me", message="why", changes=["LABEL a=b"], pause=False
    )
    found = engine.images.inspect("made:1")
    before = engine.images.inspect("base:1")
    assert found["Id"] == str(row.image_id)
    assert found["RootFS"]["Layers"][:-1] == before["RootFS"]["Layers"]
    assert (found["Author"], found["Config"]["Labels"]) == ("me", {"a": "b"})
    assert found["Config"]["Env"] == before["Config"]["Env"] and not found["Config"].get("Hostname")
    assert engine.images.history("made:1")[0].comment == "why"


def test_a_time_of_the_settings_is_the_images(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "root", BOXWRIGHT_DRIVER="copied", SOURCE_DATE_EPOCH="1700000000")
    imported(engine, "base:1", changes=["CMD sh"])
    engine.containers.commit(written(engine), "made:1")
    assert engine.images.inspect("made:1")["Created"].startswith("2023-11-14T22:13:20")


def test_an_image_that_was_removed_meanwhile_still_has_its_layers(engine: Engine) -> None:
    box = written(engine)
    engine.images.remove("base:1", force=True)
    # As the collector does: a container keeps its layers, not its image's config.
    engine.services.store.path(Digest.parse(box.record["image_id"])).unlink(missing_ok=True)
    engine.containers.commit(box, "made:1")
    assert len(engine.images.inspect("made:1")["RootFS"]["Layers"]) == 2


def test_a_change_that_cannot_be_commits_nothing(engine: Engine) -> None:
    with pytest.raises(ChangeInvalid):
        engine.containers.commit(written(engine), "made:1", changes=["RUN x"])
    assert len(engine.images.list()) == 1


def test_a_container_is_paused_for_its_commit_and_runs_on(
    few: Few, containers: Containers, box: Container
) -> None:
    with supervised(box) as supervisor:
        with containers.paused(box):
            assert box.refresh().status == "paused"
        with containers.paused(box, wanted=False):
            assert box.refresh().status == "running"
        assert [kind for kind, _ in supervisor.orders] == [frames.PAUSE, frames.RESUME]
