"""Records, states, and the words for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boxwright.container import describe, names
from boxwright.container.config import (
    ContainerConfig,
    ContainerConfigInvalid,
    DeviceSpec,
    EndpointConfig,
    Limits,
    MountSpec,
    PortBinding,
    RestartPolicy,
    Ulimit,
)
from boxwright.container.logs import read
from boxwright.container.records import Container, State, ended, load_state, save_state
from boxwright.container.stats import Sample, cpu_percent
from boxwright.network.plan import Port
from boxwright.runtime import trust
from boxwright.spec.times import stamp
from support.few import recorded

FULL = ContainerConfig(
    image="img",
    command=("a",),
    entrypoint=(),
    env=("A=1",),
    labels={"l": "1"},
    mounts=(MountSpec(kind="volume", target="/v", labels=(("a", "b"),)),),
    ports=(PortBinding(80, "tcp", "", 1),),
    endpoints=(EndpointConfig("net", ("x",)),),
    devices=(DeviceSpec("/a", "/b"),),
    ulimits=(Ulimit("nofile", 1, 2),),
    limits=Limits(memory=9),
    restart=RestartPolicy("always"),
    health={"Test": ["NONE"]},
    stop_timeout=0,
    masked_paths=(),
)


def test_configs_survive_json() -> None:
    for config in (FULL, ContainerConfig(image="img")):
        assert ContainerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert ContainerConfig(image="img").to_json() == {"image": "img"}
    with pytest.raises(ContainerConfigInvalid):
        ContainerConfig.from_json({"image": "x", "unknown": 1})


def test_states_survive_the_disk(tmp_path: Path) -> None:
    assert load_state(tmp_path) == State()
    state = State(
        status="running",
        pid=5,
        supervisor="boot:1:2",
        exit_code=3,
        error="e",
        oom_killed=True,
        started_at="s",
        finished_at="f",
        restart_count=2,
        health={"Status": "healthy", "Log": []},
        networks={"net": {"names": []}},
        ports=(Port(protocol="tcp", host_ip="", host_port=1, address="2", port=3, bridge="b"),),
        placeholders=("/run",),
        trusted=True,
        process="boot:5:1",
        pipes=(7, 8),
        stopped=True,
        unfinished=True,
    )
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert state.active and not state.supervised
    dead = ended(state)
    assert (
        dead.status == "exited"
        and dead.exit_code == 255
        and dead.pid == 0
        and dead.health is not None
        and dead.health["Status"] == "unhealthy"
    )
    assert "started anew" in dead.error and not dead.unfinished and dead.stopped
    (tmp_path / "state.json").write_text("{torn")
    assert load_state(tmp_path).status == "exited"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(), "Created"),
        (State(status="running", started_at=stamp(1000)), "Up 2 minutes"),
        (
            State(status="running", started_at=stamp(1000), health={"Status": "starting"}),
            "Up 2 minutes (health: starting)",
        ),
        (
            State(status="running", started_at=stamp(1000), health={"Status": "healthy"}),
            "Up 2 minutes (healthy)",
        ),
        (State(status="paused", started_at=stamp(1000)), "Up 2 minutes (Paused)"),
        (State(status="restarting", exit_code=2, finished_at=stamp(1100)), "Restarting (2) 20 seconds ago"),
        (State(status="exited", exit_code=0, finished_at=stamp(1119.5)), "Exited (0) Less than a second ago"),
    ],
)
def test_status(state: State, text: str) -> None:
    assert describe.status_text(state, now=1120) == text


def container(tmp_path: Path, **record: object) -> Container:
    merged = {"Cmd": ["sh", "-c", "echo 'a b'"]}
    return recorded(tmp_path, **{"merged": merged, "networks": {}, "mounts": [], **record})


def test_commands_are_shown_on_one_line(tmp_path: Path) -> None:
    assert describe.command_text(container(tmp_path)) == "sh -c 'echo 'a b''"


def test_reading_logs(tmp_path: Path) -> None:
    one = container(tmp_path)
    lines = [
        json.dumps({"log": f"{n}\n", "stream": "stdout", "time": f"2026-01-01T00:00:0{n}.5Z"}) + "\n"
        for n in range(6)
    ]
    one.log_path.with_name(one.log_path.name + ".1").write_text("".join(lines[:3]))
    one.log_path.write_text(lines[3] + "torn\n" + "".join(lines[4:]))
    assert [e.text for e in read(one)] == [f"{n}\n" for n in range(6)]
    assert [e.text for e in read(one, tail=4)] == ["3\n", "4\n", "5\n"]  # the torn line is one of the four
    assert [e.text for e in read(one, tail=0)] == []
    assert [e.text for e in read(one, since=1767225604.0)] == ["4\n", "5\n"]
    assert [e.text for e in read(one, until=1767225601.0)] == ["0\n"]


def test_names() -> None:
    assert all(names.checked(name) == name for name in map(names.random_name, range(50)))
    assert names.checked("/ok.name") == "ok.name"
    for wrong in ("x", "-ab", "a b", ""):
        with pytest.raises(names.NameInvalid):
            names.checked(wrong)


def test_trust() -> None:
    bundle = Path("/etc/ca.crt")
    assert trust.decide("", "auto", bundle, named=True) == trust.Trust(bundle)
    assert trust.decide("", "auto", bundle, named=False) is None
    assert trust.decide("never", "always", bundle, named=True) is None
    assert trust.decide("always", "never", bundle, named=False) == trust.Trust(bundle)
    with pytest.raises(trust.BundleMissing):
        trust.decide("always", "auto", None, named=False)
    assert "PIP_CERT" not in {e.partition("=")[0] for e in trust.Trust(bundle).env(["PIP_CERT=x"])}


def test_use_of_processors() -> None:
    assert cpu_percent(Sample(1.0, 0), Sample(2.0, 500_000_000)) == pytest.approx(50.0)
    assert cpu_percent(Sample(), Sample()) == 0.0
