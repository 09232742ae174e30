"""What is recorded of containers, and what is done for it without a running one: a store of files and rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.container.connect import ConnectionRefused, connect, disconnect
from boxwright.container.describe_networks import inspect_network
from boxwright.container.manager import Containers, RunningContainer
from boxwright.container.names import NameInvalid
from boxwright.container.records import (
    NameTaken,
    NoSuchContainer,
    State,
    WrongState,
    save_state,
)
from boxwright.errors import Conflict
from boxwright.image.maintain import Pruned
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import NetworkInUse
from boxwright.spec.values import replace
from support.few import Few, added


@pytest.fixture
def few(tmp_path: Path) -> Few:
    return Few(tmp_path)


@pytest.fixture
def containers(few: Few) -> Containers:
    return Containers(few)  # type: ignore[arg-type]


ONE, TWO, OTHER = "a1" * 32, "a2" * 32, "b0" * 32


def test_containers_are_found_by_name_and_id(few: Few, containers: Containers) -> None:
    added(few, ONE, "one", 1)
    added(few, TWO, "two", 2)
    added(few, OTHER, ONE[:4], 3)  # a name that looks like an id
    for text, found in (("one", ONE), ("/two", TWO), (ONE, ONE), ("a2", TWO), ("b", OTHER), (ONE[:4], OTHER)):
        assert containers.get(text).id == found
    with pytest.raises(NoSuchContainer, match="multiple IDs found with provided prefix: a"):
        containers.get("a")
    for text in ("", "three", "%", "c"):
        with pytest.raises(NoSuchContainer, match="No such container"):
            containers.get(text)
    assert [c.id for c in containers.list(all=True)] == [OTHER, TWO, ONE]
    assert containers.list() == []


def test_a_supervisor_that_died_is_cleaned_up_after(
    few: Few, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []

    class Runtime:
        def delete(self, identity: str, *, force: bool) -> None:
            deleted.append(identity)

    monkeypatch.setattr("boxwright.container.remains.runtime_of", lambda services, state: Runtime())
    one = added(few, ONE, "one")
    save_state(one.directory, State(status="running", pid=2**22, supervisor="another-boot:1:1"))
    found = containers.get("one")
    assert (found.state.status, found.state.exit_code, found.state.pid) == ("exited", 255, 0)
    assert deleted == [ONE]
    containers.get("one")
    assert deleted == [ONE]


def test_renaming(few: Few, containers: Containers) -> None:
    one = added(few, ONE, "one")
    added(few, TWO, "two")
    containers.rename(one, "other")
    assert containers.get("other").id == ONE
    for name, error in (("two", NameTaken), ("", NameTaken), ("one", NameTaken), ("a b", NameInvalid)):
        with pytest.raises(error):
            containers.rename(one, name)


def test_removing_takes_everything_along(few: Few, containers: Containers) -> None:
    volume, _ = containers.volumes.create("anon")
    one = added(few, ONE, "one", anonymous=["anon"], mounts=[{"kind": "volume", "name": "anon"}])
    assert containers.catalog.volume_users() == {"anon": [ONE]}
    (one.directory / "log").write_text("x")
    save_state(one.directory, State(status="exited"))
    containers.remove(one, volumes=True)
    assert containers.list(all=True) == [] and few.snapshots.discarded == [ONE]
    assert not one.directory.exists() and not volume.data.exists()


def test_what_runs_is_not_removed(few: Few, containers: Containers) -> None:
    one = added(few, ONE, "one")
    for status, reason in (("running", "stop the container"), ("paused", "unpaused first")):
        save_state(one.directory, State(status=status))
        with pytest.raises(RunningContainer, match=reason):
            containers.remove(one)


def test_orders_need_a_running_container(few: Few, containers: Containers) -> None:
    one = added(few, ONE, "one")
    for order in (containers.kill, containers.pause, containers.unpause):
        with pytest.raises(WrongState):
            order(one)
    containers.stop(one)  # no error, as in Docker
    assert containers.wait(one) == 0


def test_pruning_leaves_what_was_asked_for(few: Few, containers: Containers) -> None:
    save_state(added(few, ONE, "one", merged={"Labels": {"a": "b"}}).directory, State(status="exited"))
    save_state(added(few, TWO, "two").directory, State(status="exited"))
    assert containers.prune({"label": ["a=b"]}) == Pruned.of([ONE], 100)
    assert [c.name for c in containers.list(all=True)] == ["two"]


def test_directories_without_a_row_are_swept(few: Few, containers: Containers) -> None:
    added(few, ONE, "one")
    for left in ("containers/x/rootfs", "volumes/v/_data"):
        (few.root / left).mkdir(parents=True)
    assert containers.catalog.sweep() == 2
    assert [p.name for p in (few.root / "containers").iterdir()] == [ONE]


def test_a_policy_may_change_of_what_does_not_run(few: Few, containers: Containers) -> None:
    one = added(few, ONE, "one")
    policy = replace(one.config.restart, name="always")
    containers.update(one, lambda config: replace(config, restart=policy))
    assert containers.get("one").config.restart.name == "always"
    with pytest.raises(Conflict, match="AutoRemove"):
        containers.update(one, lambda config: replace(config, auto_remove=True, restart=policy))


def test_networks_are_joined_and_left(few: Few, containers: Containers) -> None:
    network = containers.networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    one = added(few, ONE, "one")
    services: Any = few
    connect(services, containers, one, network, {"aliases": ("web",)})
    one = containers.get("one")
    assert one.record["networks"] == {"mine": {"aliases": ["web"]}}
    with pytest.raises(WrongState, match="already exists"):
        connect(services, containers, one, network, {})
    assert containers.catalog.prune_networks({}).removed == ()
    disconnect(services, containers, one, network)
    with pytest.raises(WrongState, match="is not connected"):
        disconnect(services, containers, containers.get("one"), network)
    for number, mode in enumerate(("host", "none", "container:x")):
        alone = added(few, f"{number:064x}", mode.replace(":", "-"), config={"image": "i", "network": mode})
        with pytest.raises(ConnectionRefused):
            connect(services, containers, alone, network, {})


def test_a_network_in_use_stays(few: Few, containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    network = containers.networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    one = added(few, ONE, "one")
    shown = {"mac": "02:42:0a:09:08:02", "address": "10.9.8.2", "prefix": 24}
    save_state(one.directory, State(status="running", networks={"mine": shown}))
    monkeypatch.setattr(containers.catalog, "settled", lambda container, *, revive=True: container)
    with pytest.raises(NetworkInUse, match="has active endpoints"):
        containers.catalog.remove_network("mine")
    found = inspect_network(containers, network)
    assert found["Containers"][ONE]["IPv4Address"] == "10.9.8.2/24"
    assert found["IPAM"]["Config"] == [{"Subnet": "10.9.8.0/24", "Gateway": "10.9.8.1"}]
