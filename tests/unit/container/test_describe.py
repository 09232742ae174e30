"""`ps`'s words and `inspect`'s JSON of containers whose files say that they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import describe
from boxwright.container.config import (
    ContainerConfig,
    DeviceSpec,
    Limits,
    MountSpec,
    PortBinding,
    RestartPolicy,
    Ulimit,
)
from boxwright.container.records import Container, MountPoint, State, save_state
from boxwright.spec.times import unix_seconds
from support.endpoints import port
from support.few import Few, added

ONE = "a1" * 32
MOMENT = "2024-05-01T10:00:00Z"
NOW = (unix_seconds(MOMENT) or 0) + 180


def box(path: Path, state: State | None = None, **record: Any) -> Container:
    made = added(Few(path), ONE, "box", image_id="sha256:" + "0" * 64, **record)
    if state is not None:
        save_state(made.directory, state)
        made.refresh()
    return made


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(status="created"), "Created"),
        (State(status="running", started_at=MOMENT), "Up 3 minutes"),
        (State(status="paused", started_at=MOMENT), "Up 3 minutes (Paused)"),
        (State(status="running", started_at=MOMENT, health={"Status": "healthy"}), "Up 3 minutes (healthy)"),
        (
            State(status="running", started_at=MOMENT, health={"Status": "starting"}),
            "Up 3 minutes (health: starting)",
        ),
        (State(status="restarting", exit_code=3, finished_at=MOMENT), "Restarting (3) 3 minutes ago"),
        (State(status="exited", exit_code=3, finished_at=MOMENT), "Exited (3) 3 minutes ago"),
        (State(status="exited"), "Created"),
        (State(status="removing"), "Removal In Progress"),
        (State(status="dead"), "Dead"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_states_in_words(state: State, text: str) -> None:
    assert describe.status_text(state, now=NOW) == text


def test_a_command_is_one_line(tmp_path: Path) -> None:
    merged = {"Entrypoint": ["sh", "-c"], "Cmd": ["echo a b", "", "x"]}
    assert describe.command_text(box(tmp_path, merged=merged)) == "sh -c 'echo a b' '' x"


def test_ports_are_those_of_what_runs(tmp_path: Path) -> None:
    published = port()
    merged = {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}
    one = box(tmp_path, State(status="running", ports=(published,)), merged=merged)
    assert describe.ports_text(one) == "53/udp, 0.0.0.0:8080->80/tcp"
    assert describe.port_map(one) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "53/udp": None,
    }
    save_state(one.directory, State(status="exited", ports=(published,)))
    one.refresh()
    assert describe.ports_text(one) == "" and describe.port_map(one) == {}


def test_networks_have_addresses_while_it_runs(tmp_path: Path) -> None:
    shown = {
        "id": "n1",
        "mac": "02:42:0a:00:00:02",
        "gateway": "10.0.0.1",
        "address": "10.0.0.2",
        "prefix": 24,
        "names": ["web"],
    }
    wish = {"mine": {"aliases": ["web"], "ipv4": "10.0.0.2"}}
    one = box(tmp_path, State(status="running", networks={"mine": shown}), networks=wish)
    found = describe.networks(one)["mine"]
    assert (found["NetworkID"], found["IPAddress"], found["IPPrefixLen"]) == ("n1", "10.0.0.2", 24)
    assert (found["Aliases"], found["DNSNames"]) == (["web"], ["web"])
    assert found["IPAMConfig"] == {"IPv4Address": "10.0.0.2"}
    save_state(one.directory, State(status="exited", networks={"mine": shown}))
    one.refresh()
    found = describe.networks(one)["mine"]
    assert (found["IPAddress"], found["Gateway"], found["DNSNames"]) == ("", "", None)


def test_modes_without_networks_are_shown_as_one(tmp_path: Path) -> None:
    config = ContainerConfig(image="i", network="host").to_json()
    assert list(describe.networks(box(tmp_path, config=config))) == ["host"]


def test_inspect(tmp_path: Path) -> None:
    points = [
        MountPoint(kind="volume", target="/v", source="/r/v/_data", name="v", driver="local", mode="z"),
        MountPoint(kind="bind", target="/b", source="/host", writable=False, propagation="rslave"),
    ]
    state = State(status="running", pid=7, started_at=MOMENT, restart_count=2, health={"Status": "healthy"})
    one = box(
        tmp_path,
        state,
        merged={"Entrypoint": ["sh"], "Cmd": ["-c", "x"], "Labels": {"a": "b"}},
        mounts=[p.to_json() for p in points],
    )
    bundle = {"process": {"apparmorProfile": "docker-default"}, "linux": {"mountLabel": "label"}}
    (one.directory / "config.json").write_text(json.dumps(bundle))
    found = describe.inspect(one, driver="overlayfs", sizes=(5, 9))
    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == (ONE, "/box", "sh", ["-c", "x"])
    assert (found["SizeRw"], found["SizeRootFs"], found["RestartCount"]) == (5, 9, 2)
    assert (found["AppArmorProfile"], found["MountLabel"]) == ("docker-default", "label")
    shown = found["State"]
    assert (shown["Running"], shown["Pid"], shown["StartedAt"]) == (True, 7, MOMENT)
    assert shown["FinishedAt"] == "0001-01-01T00:00:00Z" and shown["Health"] == {"Status": "healthy"}
    volume, bind = found["Mounts"]
    assert (volume["Name"], volume["Driver"], volume["Mode"], volume["RW"]) == ("v", "local", "z", True)
    assert (bind["Source"], bind["RW"], bind["Propagation"]) == ("/host", False, "rslave")
    assert "Name" not in bind and "SizeRw" not in describe.inspect(one, driver="x")


def test_what_never_started_has_no_profile_and_perhaps_no_log(tmp_path: Path) -> None:
    config = ContainerConfig(image="i", log_driver="none").to_json()
    found = describe.inspect(box(tmp_path, config=config), driver="overlayfs")
    assert (found["AppArmorProfile"], found["LogPath"], found["Path"]) == ("", "", "")
    assert found["State"]["Status"] == "created"


def host(path: Path, **config: Any) -> dict[str, Any]:
    return describe.host_config(box(path, config=ContainerConfig(image="i", **config).to_json()))


def test_mounts_are_shown_as_they_were_typed(tmp_path: Path) -> None:
    mounts = (
        MountSpec(kind="bind", target="/a", source="/h", readonly=True, propagation="rslave", flag=True),
        MountSpec(kind="volume", target="/v", source="v", nocopy=True, flag=True),
        MountSpec(kind="tmpfs", target="/t", options=("size=1m", "mode=700"), flag=True),
        MountSpec(kind="bind", target="/c", source="/h", readonly=True, create=True),
        MountSpec(kind="bind", target="/d", source="/h", recursive=False),
        MountSpec(kind="volume", target="/e", source="w", labels=(("a", "b"),), driver="local"),
    )
    found = host(tmp_path, mounts=mounts)
    assert found["Binds"] == ["/h:/a:ro,rslave", "v:/v:nocopy"]
    assert found["Tmpfs"] == {"/t": "size=1m,mode=700"}
    create, flat, volume = found["Mounts"]
    assert create["ReadOnly"] and create["BindOptions"] == {"CreateMountpoint": True}
    assert flat["BindOptions"] == {"NonRecursive": True}
    assert volume["VolumeOptions"]["Labels"] == {"a": "b"}


def test_host_config_says_what_was_asked(tmp_path: Path) -> None:
    found = host(
        tmp_path,
        ports=(PortBinding(80, host_port=8080), PortBinding(80, host_ip="127.0.0.1")),
        restart=RestartPolicy("on-failure", 3),
        limits=Limits(memory=1 << 20, memory_swappiness=10, pids_limit=5),
        devices=(DeviceSpec("/dev/null", "/dev/x", "r"),),
        ulimits=(Ulimit("nofile", 1, 2),),
        sysctls={"a": "b"},
        extra={"Kept": True},
    )
    assert found["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}]
    }
    assert found["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (found["Memory"], found["MemorySwap"], found["MemorySwappiness"]) == (1 << 20, 2 << 20, 10)
    assert found["Devices"][0]["PathInContainer"] == "/dev/x"
    assert found["Ulimits"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]
    assert (found["Sysctls"], found["Kept"], found["ShmSize"]) == ({"a": "b"}, True, 64 << 20)
    assert "Init" not in found and found["CapAdd"] is None


@pytest.mark.parametrize(
    ("config", "hidden"),
    [
        ({}, True),
        ({"privileged": True}, False),
        ({"security_opt": ("systempaths=unconfined",)}, False),
    ],
)
def test_paths_that_are_hidden(tmp_path: Path, config: dict[str, Any], hidden: bool) -> None:
    found = host(tmp_path, **config)
    assert bool(found["MaskedPaths"]) is hidden and bool(found["ReadonlyPaths"]) is hidden


def test_paths_that_are_hidden_by_choice(tmp_path: Path) -> None:
    found = host(tmp_path, masked_paths=("/proc/x",), readonly_paths=())
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == (["/proc/x"], [])
