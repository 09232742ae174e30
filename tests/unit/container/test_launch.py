"""What a start decides before anything runs: its log, health check, namespaces, ports, files and signals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.container.config import ContainerConfig, PortBinding
from boxwright.container.endpoints import bound, names_of
from boxwright.container.job import LogPlan
from boxwright.container.launch import Launcher, stop_plan
from boxwright.container.records import Container, State, WrongState, save_state
from boxwright.container.shipments import plan_of
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import Networks
from boxwright.network.ports import PortTaken
from support.endpoints import port
from support.few import Few, added

ONE, TWO = "a1" * 32, "b2" * 32


@pytest.fixture
def few(tmp_path: Path) -> Few:
    few = Few(tmp_path)
    few.settings = SimpleNamespace(runtime_dir=tmp_path / "run")  # type: ignore[attr-defined]
    few.runtime_for = lambda name: None  # type: ignore[attr-defined]
    return few


class Start:
    """One container, and the Launcher that would start it; `others` are found by name."""

    def __init__(self, few: Few, *, others: dict[str, Container] | None = None, **more: Any) -> None:
        record = {key: more.pop(key) for key in ("merged", "networks", "links") if key in more}
        config = ContainerConfig(image="image", **more).to_json()
        self.box = added(few, ONE, "box", config=config, **record)
        known = {"box": self.box, **(others or {})}
        services: Any = few
        self.networks = Networks(few.root, few.db)
        self.launcher = Launcher(
            services=services,
            networks=self.networks,
            container=self.box,
            find=lambda name: list(known.values()) if name is None else known[name],
        )


@pytest.mark.parametrize(
    ("driver", "options", "size", "files"),
    [
        ("", {}, 0, 1),
        ("json-file", {"max-size": "1m", "max-file": "3"}, 1 << 20, 3),
        ("json-file", {"max-size": "-1"}, 0, 1),
        ("local", {}, 20 << 20, 5),
    ],
)
def test_a_log_is_as_large_as_docker_has_it(
    few: Few, driver: str, options: dict[str, str], size: int, files: int
) -> None:
    start = Start(few, log_driver=driver, log_opts=options)
    path = str(start.box.log_path)
    assert plan_of(start.box) == LogPlan(
        path=path, max_size=size, max_files=files, compress=driver == "local"
    )


def test_without_a_log_there_is_no_file(few: Few) -> None:
    assert plan_of(Start(few, log_driver="none").box).path == ""


def facts() -> Any:
    confinement = SimpleNamespace(apparmor="", process_label="", mount_label="")
    user = SimpleNamespace(uid=0, gid=0, extra_gids=(), home="/root")
    return SimpleNamespace(
        user=user,
        hostname="h",
        bounding=(),
        hard_limits={},
        size=None,
        confinement=confinement,
        trust=None,
        links=(),
    )


@pytest.mark.parametrize(
    "test", [None, ["NONE"], ["CMD"], ["CMD-SHELL"], ["SOMETHING", "x"]], ids=lambda test: str(test)
)
def test_no_health_check(few: Few, test: list[str] | None) -> None:
    assert Start(few, merged={"Healthcheck": {"Test": test}}).launcher._health(facts()) is None


def test_a_health_check_has_dockers_times(few: Few) -> None:
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Timeout": -1}
    plan = Start(few, merged={"Healthcheck": check, "Shell": ["/bin/ash", "-c"]}).launcher._health(facts())
    assert plan is not None and plan.process["args"] == ["/bin/ash", "-c", "true"]
    assert (plan.interval, plan.timeout, plan.start_period, plan.retries) == (5, 0.001, 0, 3)


def test_namespaces_are_new_the_hosts_or_anothers(few: Few) -> None:
    other = added(few, TWO, "other")
    start = Start(few, others={"other": other}, network="host", pid="container:other", ipc="host")
    with pytest.raises(WrongState, match="cannot join network of a non running container"):
        start.launcher._network(77)
    save_state(other.directory, State(status="running", pid=123))
    assert start.launcher._network(77) == (
        {"pid": "/proc/123/ns/pid", "ipc": None, "network": None},
        None,
        [],
    )


def test_a_container_without_networks_has_a_namespace_of_its_own(few: Few) -> None:
    spaces, plan, lines = Start(few, network="none").launcher._network(77)
    assert spaces == {"network": "/proc/77/fd/60"} and lines == []
    assert plan is not None and plan.endpoints == () and plan.ports == ()


def joined(few: Few, **more: Any) -> Start:
    start = Start(few, network="mine", networks={"mine": {}}, **more)
    start.networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    return start


def test_a_published_port_is_taken_once(few: Few) -> None:
    other = added(few, TWO, "other")
    taken = port(address="10.9.8.9")
    save_state(other.directory, State(status="running", pid=1, ports=(taken,)))
    binding = PortBinding(container_port=80, protocol="tcp", host_ip="127.0.0.1", host_port=8080)
    start = joined(few, others={"other": other}, ports=(binding,))
    endpoints, held = start.launcher._endpoints(), []
    with pytest.raises(
        PortTaken, match=r"Bind for 127\.0\.0\.1:8080 failed: port is already allocated"
    ) as info:
        bound(start.box, endpoints, [other], held)
    assert info.value.hint == "container other has it"
    save_state(other.directory, State(status="exited", ports=(taken,)))
    other.refresh()
    (found,) = bound(start.box, endpoints, [other], held)
    assert (found.host_ip, found.host_port, found.port, found.address) == (
        "127.0.0.1",
        8080,
        80,
        endpoints[0].address,
    )
    for socket in held:
        socket.close()


def test_names_of_links_are_those_of_running_containers(few: Few) -> None:
    other = added(few, TWO, "other")
    start = joined(few, others={"other": other, TWO: other}, links=[[TWO, "db"]])
    with pytest.raises(WrongState, match="Cannot link to a non running container: /other AS /box/db"):
        start.launcher._network(1)
    save_state(other.directory, State(status="running", pid=1, networks={"mine": {"address": "10.9.8.9"}}))
    assert start.launcher._network(1)[2][0] == ("10.9.8.9", ["db", TWO[:12], "other"])


def test_files_of_a_container(few: Few) -> None:
    start = Start(few, network="none", extra_hosts=("db:10.0.0.9",), dns=("9.9.9.9",))
    found = start.launcher._files(None, [("10.9.8.2", ["box"])])
    assert set(found) == {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
    assert "10.0.0.9\tdb" in Path(found["/etc/hosts"]).read_text()
    assert "nameserver 9.9.9.9" in Path(found["/etc/resolv.conf"]).read_text()
    assert Path(found["/etc/hostname"]).read_text() == "h\n"


def test_a_failed_start_is_remembered(few: Few) -> None:
    from boxwright.container.execs import ExecMissing

    start = Start(few)
    start.launcher._note(ExecMissing("no such program"), 127)
    state = start.box.refresh()
    assert (state.exit_code, state.error, state.status) == (127, "no such program", "created")


def test_what_could_not_be_set_up_is_dockers_128_whatever_the_command_ends_with(few: Few) -> None:
    from boxwright.container.execs import ExecMissing

    start = Start(few)
    start.launcher._undo(ExecMissing("no such device"))  # as `run --device /dev/nosuch`, which ends with 127
    state = start.box.refresh()
    assert (state.exit_code, state.error, state.status) == (128, "no such device", "created")


@pytest.mark.parametrize(
    ("merged", "signal", "seconds", "plan"),
    [
        ({}, "", None, (15, 10.0)),
        ({"StopSignal": "SIGINT", "StopTimeout": 3}, "", None, (2, 3.0)),
        ({"StopSignal": "SIGINT", "StopTimeout": 3}, "KILL", 0.5, (9, 0.5)),
        ({"StopSignal": "what an image may say"}, "", None, (15, 10.0)),
    ],
)
def test_how_a_container_is_stopped(
    few: Few, merged: dict[str, Any], signal: str, seconds: float | None, plan: tuple[int, float]
) -> None:
    assert stop_plan(added(few, ONE, "box", merged=merged), signal, seconds) == plan


def test_names_on_a_network(few: Few) -> None:
    assert names_of(added(few, ONE, "box"), {"aliases": ["web"]}) == ["box", "web", ONE[:12]]
