"""A container that runs is joined to networks and taken from them: its namespace is a list of what is done there, its
supervisor one that answers by the book."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from boxwright.container import frames
from boxwright.container.connect import ConnectionRefused, connect, disconnect
from boxwright.container.endpoints import NoEndpoint
from boxwright.container.job import RestartChange
from boxwright.container.manager import Containers
from boxwright.container.records import Container, State, WrongState, save_state
from boxwright.container.supervisor.light import identity_of
from boxwright.errors import Unsupported
from boxwright.network.live import lead
from boxwright.network.network import NetworkConfig
from boxwright.network.plan import Endpoint, NameServer
from boxwright.network.values import Unfit
from boxwright.runtime.process import ProgramMissing
from support.few import Few, added
from support.supervisor import Supervisor, supervised

ONE, TWO = "a1" * 32, "b2" * 32


class Joining:
    """What of the host a container is joined with; `fails`: the step that raises, and what."""

    def __init__(self, **fails: Exception) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.fails = fails
        self.open = 0

    def _do(self, step: str, *words: Any) -> None:
        self.done.append((step, *words))
        if step in self.fails:
            raise self.fails[step]

    def network_of(self, pid: int) -> Self:
        self._do("network_of", pid)
        return self

    def name_server(self) -> NameServer:
        self._do("name_server")
        return NameServer(directory="/run/dns", program="/bin/dns")

    def register(self, server: NameServer, container: str, endpoint: Endpoint) -> None:
        self._do("register", container, endpoint.names)

    def unregister(self, container: str, network: str) -> None:
        self._do("unregister", container, network)

    # what is done inside
    def __enter__(self) -> Self:
        self.open += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.open -= 1

    def join(self, endpoint: Endpoint, lock: str) -> None:
        self._do("join", endpoint.interface, endpoint.address, Path(lock).name)

    def leave(self, interface: str) -> None:
        self._do("leave", interface)

    def lead(self, shown: Mapping[str, Any]) -> None:
        self._do("lead", *shown)


class House:
    """One container that runs on ``first``, and the network ``second`` that it may join."""

    def __init__(self, few: Few, supervisor: Callable[[Container], Supervisor]) -> None:
        self.services: Any = few
        self.containers = Containers(few)  # type: ignore[arg-type]
        networks = self.containers.networks
        self.first = networks.create("first", NetworkConfig(subnet="10.9.7.0/24"))
        self.second = networks.create("second", NetworkConfig(subnet="10.9.8.0/24"))
        self.box = added(few, ONE, "box", networks={"first": {}})
        shown = {
            "id": self.first.id,
            "interface": "eth0",
            "address": "10.9.7.2",
            "gateway": "10.9.7.1",
            "names": ("box",),
        }
        save_state(self.box.directory, State(networks={"first": shown}))
        self.hosts.write_text("127.0.0.1\tlocalhost\n10.9.7.2\th\n")
        self.supervisor = supervisor(self.box)

    @property
    def hosts(self) -> Path:
        return self.box.directory / "hosts"

    @property
    def told(self) -> list[RestartChange]:
        """What its supervisor was told of networks."""
        return [RestartChange.of(v) for kind, v in self.supervisor.orders if kind == frames.UPDATE]

    def join(self, joining: Joining, **wish: Any) -> None:
        host: Any = joining
        connect(self.services, self.containers, self.containers.get("box"), self.second, wish, host=host)

    def leave(self, joining: Joining, name: str = "first") -> None:
        host: Any = joining
        network = self.containers.networks.get(name)
        disconnect(self.services, self.containers, self.containers.get("box"), network, host=host)

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """Those that are taken: network, container."""
        with self.services.db.read() as sql:
            return [tuple(row) for row in sql.execute("SELECT network, container FROM addresses")]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    few = Few(tmp_path)
    few.settings = SimpleNamespace(runtime_dir=tmp_path / "run")  # type: ignore[attr-defined]
    made: list[Any] = []

    def supervisor(box: Container) -> Supervisor:
        made.append(supervised(box))
        found: Supervisor = made[0].__enter__()
        return found

    yield House(few, supervisor)
    made[0].__exit__(None, None, None)


def test_a_running_container_is_joined_to_a_network(house: House) -> None:
    joining = Joining()
    house.join(joining, aliases=("web",), ipv4="10.9.8.77")
    names = ("box", "web", ONE[:12])
    pid = house.box.refresh().pid
    assert joining.done == [
        ("name_server",),
        ("network_of", pid),
        ("join", "eth1", "10.9.8.77", "network.lock"),
        ("lead", "first", "second"),
        ("register", ONE, names),
    ]
    (change,) = house.told
    assert change.joined is not None and change.joined.address == "10.9.8.77"
    assert change.named == house.second.id and change.name_server is not None
    assert change.networks is not None and list(change.networks) == ["first", "second"]
    assert house.hosts.read_text().splitlines()[1:] == ["10.9.7.2\th", "10.9.8.77\th"]
    box = house.containers.get("box")
    assert box.record["networks"]["second"] == {"aliases": ["web"], "ipv4": "10.9.8.77"}
    assert box.state.networks["second"]["interface"] == "eth1" and joining.open == 0


def test_a_link_is_a_line_of_its_hosts(house: House) -> None:
    other = added(house.services, TWO, "other")
    shown = {"second": {"address": "10.9.8.9"}}
    own = identity_of(os.getpid())
    save_state(other.directory, State(status="running", pid=1, supervisor=own, networks=shown))
    house.join(Joining(), links=("other:db", "nobody:x"))
    assert house.hosts.read_text().splitlines()[-1] == "10.9.8.9\tdb"


def test_a_network_without_names_needs_no_server(house: House) -> None:
    house.second = house.containers.networks.default()
    joining = Joining()
    house.join(joining)
    assert [step for step, *_ in joining.done] == ["network_of", "join", "lead"]
    (change,) = house.told
    assert change.named == "" and change.name_server is None


@pytest.mark.parametrize(
    ("step", "wrong", "told", "undone"),
    [
        ("name_server", ProgramMissing("aardvark-dns is not installed"), ProgramMissing, False),
        ("network_of", FileNotFoundError(2, "No such file or directory"), Unsupported, False),
        ("join", OSError(17, "File exists"), Unsupported, True),
        ("join", Unfit("no interface"), Unfit, True),
        ("register", OSError(28, "No space left on device"), Unsupported, True),
    ],
)
def test_what_cannot_be_joined_is_as_it_was(
    house: House, step: str, wrong: Exception, told: type[Exception], undone: bool
) -> None:
    joining = Joining(**{step: wrong})
    before = house.addresses
    with pytest.raises(told) as info:
        house.join(joining)
    if told is Unsupported:
        assert str(info.value) == f"cannot connect container box to network second: {wrong}"
    assert joining.done[-2:] == [("leave", "eth1"), ("lead", "first")] or not undone
    assert house.addresses == before and not house.told and joining.open == 0
    assert "second" not in house.containers.get("box").record["networks"]
    house.join(Joining(), ipv4="10.9.8.2")  # the address is free again


def test_the_wish_is_looked_at_before_anything_is_done(house: House) -> None:
    networks = house.containers.networks
    house.second = networks.create("mould", NetworkConfig(config_only=True))
    joining = Joining()
    with pytest.raises(NoEndpoint, match="configuration-only"):
        house.join(joining)
    for name in ("host", "none"):
        house.second = networks.get(name)
        with pytest.raises(ConnectionRefused):
            house.join(joining)
    assert not joining.done and not house.told


def test_a_running_container_leaves_a_network(house: House) -> None:
    house.join(Joining())
    joining = Joining()
    house.leave(joining)
    assert joining.done == [
        ("network_of", house.box.refresh().pid),
        ("leave", "eth0"),
        ("lead", "second"),
        ("unregister", ONE, house.first.id),
    ]
    assert list(house.told[-1].networks or ()) == ["second"] and house.told[-1].joined is None
    assert house.hosts.read_text() == "127.0.0.1\tlocalhost\n10.9.8.2\th\n"
    box = house.containers.get("box")
    assert list(box.record["networks"]) == ["second"] and joining.open == 0
    with pytest.raises(WrongState, match="is not connected to network first"):
        house.leave(joining)


def test_what_cannot_be_left_stays_joined(house: House) -> None:
    joining = Joining(leave=OSError(1, "Operation not permitted"))
    with pytest.raises(Unsupported, match=r"cannot disconnect container box from network first: .*permitted"):
        house.leave(joining)
    assert list(house.containers.get("box").record["networks"]) == ["first"] and not house.told


# --- the ways out ----------------------------------------------------------------------------------


class Routes:
    """The default routes of a namespace with eth0 to eth2: family -> link, gateway."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, str]] = {"4": (9, "gone"), "6": (9, "gone")}

    def index(self, name: str) -> int:
        return {"eth0": 10, "eth1": 11, "eth2": 12}.get(name, 0)

    def add_default_route(self, index: int, gateway: str) -> None:
        self.found["6" if ":" in gateway else "4"] = (index, gateway)

    def delete_default_route(self, *, six: bool) -> None:
        self.found.pop("6" if six else "4", None)


def shown(interface: str, **more: Any) -> dict[str, Any]:
    return {"interface": interface, "address": "10.0.0.2", "gateway": f"gw-{interface}", **more}


@pytest.mark.parametrize(
    ("endpoints", "routes"),
    [
        ([], {}),
        ([shown("eth0"), shown("eth1")], {"4": (10, "gw-eth0")}),
        ([shown("eth0"), shown("eth1", priority=2)], {"4": (11, "gw-eth1")}),
        ([shown("eth0", internal=True, priority=9), shown("eth2")], {"4": (12, "gw-eth2")}),
        ([shown("eth0", internal=True)], {}),
        ([shown("eth7")], {}),  # it was removed by hand
        (
            [shown("eth0"), {"interface": "eth1", "address6": "fd00::2", "gateway6": "fd00::1"}],
            {"4": (10, "gw-eth0"), "6": (11, "fd00::1")},
        ),
    ],
)
def test_the_way_out_is_that_of_the_highest_priority(
    endpoints: list[dict[str, Any]], routes: dict[str, tuple[int, str]]
) -> None:
    inside: Any = Routes()
    lead(inside, {str(number): endpoint for number, endpoint in enumerate(endpoints)})
    assert inside.found == routes
