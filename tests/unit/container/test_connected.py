"""What a supervisor does for a container's network while it runs: in which order, and when another program removes
rules. The loop is turned by hand; the firewall is one that tells what it is told to."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from boxwright.container.job import RestartChange
from boxwright.container.supervisor.connected import Connected, KeptRules
from boxwright.network.plan import Endpoint, NameServer, NetworkPlan
from boxwright.network.values import Unfit
from support.endpoints import endpoint, port
from support.turns import Turns

BOX, ONE, TWO = "c" * 64, "a" * 64, "b" * 64
SERVER = NameServer(directory="/run/dns", program="/bin/dns")


class Told:
    """What another program did to rules, once the test has said it (`removals.Removals`)."""

    def __init__(self) -> None:
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._said = b""
        self.closed = False

    def removed(self, comment: str) -> None:
        self._said += comment.encode() + b"\0"
        os.eventfd_write(self._ready, 1)

    def fileno(self) -> int:
        return self._ready

    def named(self, tags: Sequence[bytes]) -> bool:
        os.eventfd_read(self._ready)
        said, self._said = self._said, b""
        return any(tag in said for tag in tags)

    def close(self) -> None:
        if not self.closed:
            os.close(self._ready)
        self.closed = True


class Firewall:
    """`missing`: whether rules are to be made again; `wrong`: what stops that."""

    def __init__(self, *, tells: bool = True) -> None:
        self.told = Told() if tells else None
        self.missing, self.wrong = True, None
        self.wrong: Exception | None
        self.mended: list[tuple[str, ...]] = []

    def removals(self) -> Told | None:
        return self.told

    def mend(self, endpoints: Sequence[Endpoint]) -> bool:
        self.mended.append(tuple(e.network for e in endpoints))
        if self.wrong is not None:
            raise self.wrong
        return self.missing


class Namespace:
    """What was done to it, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def up(self) -> None:
        self.done.append(("up",))

    def hold(self, pid: int, networks: Sequence[str]) -> None:
        self.done.append(("hold", pid, *networks))

    def also_named(self, server: NameServer, network: str) -> None:
        self.done.append(("named", server.directory, network))

    def down(self) -> None:
        self.done.append(("down",))


class Box:
    """A container on the network ``mine``, and the seconds since it began."""

    def __init__(self, *, tells: bool = True, endpoints: Sequence[Endpoint] = (endpoint(),)) -> None:
        self.loop: Any = Turns()
        self.now = 1000.0
        self.firewall: Any = Firewall(tells=tells)
        plan = NetworkPlan(id=BOX, lock="/lock", endpoints=tuple(endpoints))
        self.rules = KeptRules(self.loop, plan, firewall=self.firewall, clock=lambda: self.now)

    def removed(self, comment: str) -> bool:
        """Another program removes such a rule; whether something is going to be done about it."""
        self.firewall.told.removed(comment)
        self.loop.settle()
        return bool(self.loop.timers)

    def mends(self) -> float:
        """Let the time come; the seconds that it took."""
        seconds: float = self.loop.due()
        self.now += seconds
        return seconds


@pytest.fixture
def box() -> Box:
    box = Box()
    box.rules.watch()
    return box


@pytest.mark.parametrize(
    ("comment", "ours"),
    [
        (f"boxwright-net:{ONE[:12]}", True),
        (f"boxwright:{BOX[:12]}", True),
        ("firewalld", True),  # it was loaded anew, and knows our bridges no more
        (f"boxwright-net:{TWO[:12]}", False),
        (f"boxwright:{TWO[:12]}", False),
        ("DOCKER", False),
    ],
)
def test_rules_of_ours_that_were_removed_are_made_again(box: Box, comment: str, ours: bool) -> None:
    assert box.removed(comment) is ours
    if ours:
        assert not box.firewall.mended  # not at once: something else may be loaded instead
        assert box.mends() == 1.0 and box.firewall.mended == [("mine",)] and not box.loop.timers


def test_several_removals_are_one_answer(box: Box) -> None:
    for _ in range(3):
        assert box.removed(f"boxwright-net:{ONE[:12]}")
    box.mends()
    assert len(box.firewall.mended) == 1 and not box.loop.timers


def test_two_programs_do_not_fight(box: Box) -> None:
    waits = []
    for _ in range(9):
        assert box.removed(f"boxwright-net:{ONE[:12]}")
        waits.append(box.mends())
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60]
    box.now += 121  # seconds of peace
    box.removed(f"boxwright-net:{ONE[:12]}")
    box.mends()
    box.now += 121
    box.removed(f"boxwright-net:{ONE[:12]}")
    assert box.mends() == 1.0


def test_a_removal_that_took_nothing_of_ours_costs_no_patience(box: Box) -> None:
    box.firewall.missing = False
    for _ in range(3):
        box.removed("firewalld")
        assert box.mends() == 1.0


@pytest.mark.parametrize("wrong", [OSError(5, "iptables-restore failed"), Unfit("no interface")])
def test_what_cannot_be_mended_now_is_tried_later(box: Box, wrong: Exception) -> None:
    box.firewall.wrong = wrong
    box.removed(f"boxwright:{BOX[:12]}")
    assert [box.mends() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    box.firewall.wrong = None
    box.mends()
    assert not box.loop.timers and len(box.firewall.mended) == 9


def test_where_nothing_tells_nothing_is_watched() -> None:
    box = Box(tells=False)
    box.rules.watch()
    assert not box.loop.watched
    box.rules.close()


@pytest.mark.parametrize("endpoints", [(), (endpoint(driver="macvlan", parent="eth0"),)])
def test_without_a_bridge_there_are_no_rules_to_mind(endpoints: Sequence[Endpoint]) -> None:
    box = Box(endpoints=endpoints)
    box.rules.watch()
    box.rules.join(endpoint(driver="ipvlan", parent="eth0"))
    assert not box.loop.watched
    box.rules.join(endpoint(network="later", id=TWO))
    assert list(box.loop.watched) == [box.firewall.told.fileno()]


def test_networks_that_were_joined_are_minded_and_those_that_were_left_are_not(box: Box) -> None:
    box.rules.join(endpoint(network="other", id=TWO))
    assert box.removed(f"boxwright-net:{TWO[:12]}")
    box.mends()
    assert box.firewall.mended == [("mine", "other")]
    box.rules.keep({TWO})
    assert not box.removed(f"boxwright-net:{ONE[:12]}")
    assert box.removed(f"boxwright-net:{TWO[:12]}")
    box.mends()
    assert box.firewall.mended[-1] == ("other",)


def test_after_the_end_nothing_is_mended(box: Box) -> None:
    box.removed(f"boxwright:{BOX[:12]}")
    for _ in range(2):
        box.rules.close()
        assert not box.loop.timers and not box.loop.watched and box.firewall.told.closed
    assert not box.firewall.mended


# --- the whole network -----------------------------------------------------------------------------


class Network:
    def __init__(self, **more: Any) -> None:
        self.loop: Any = Turns()
        self.firewall: Any = Firewall()
        self.namespace: Any = Namespace()
        plan = NetworkPlan(id=BOX, lock="/lock", endpoints=(endpoint(),), **more)
        self.one = Connected(self.loop, plan, namespace=self.namespace, firewall=self.firewall)


def test_it_is_built_and_taken_down() -> None:
    network = Network()
    network.one.up()
    assert network.namespace.done == [("up",)] and not network.firewall.mended
    assert list(network.loop.watched) == [network.firewall.told.fileno()]
    network.one.close()
    assert network.namespace.done == [("up",), ("down",)] and not network.loop.watched


def test_what_runs_on_is_held_and_its_rules_are_looked_at_once() -> None:
    network = Network()
    network.one.hold(123, [ONE])
    assert network.namespace.done == [("hold", 123, ONE)] and network.firewall.mended == [("mine",)]


def test_a_port_on_the_hosts_ipv6_loopback_is_handed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside, socket.socket(socket.AF_INET6) as held:
        try:
            held.bind(("::1", 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        number = held.getsockname()[1]
        held.close()
        relayed = port(host_ip="::1", host_port=number, address="127.0.0.1", port=inside.getsockname()[1])
        network = Network(ports=(relayed,))
        network.one.up()
        with socket.create_connection(("::1", number), timeout=20) as client:
            client.sendall(b"hello")
            network.loop.turn(20)
            inside.settimeout(20)
            connection, _ = inside.accept()
            network.loop.settle()
            with connection:
                connection.settimeout(20)
                assert connection.recv(100) == b"hello"
        network.one.close()
        assert not network.loop.watched
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", number), timeout=20)


def test_a_network_that_is_joined_or_left_later() -> None:
    network = Network()
    network.one.up()
    other = endpoint(network="other", id=TWO, names=("web",))
    joined = RestartChange(
        networks={"mine": endpoint().shown(), "other": other.shown()},
        named=TWO,
        name_server=SERVER,
        joined=other,
    )
    network.one.change(joined)
    assert network.namespace.done[1:] == [("named", "/run/dns", TWO)]
    network.firewall.told.removed(f"boxwright-net:{TWO[:12]}")
    network.loop.settle()
    network.loop.due()
    assert network.firewall.mended == [("mine", "other")]
    network.one.change(RestartChange(networks={"other": other.shown()}))
    network.firewall.told.removed(f"boxwright-net:{TWO[:12]}")
    network.loop.settle()
    network.loop.due()
    assert network.firewall.mended[-1] == ("other",)
    network.one.change(RestartChange(name="new"))  # nothing of it is the network's
    network.firewall.told.removed(f"boxwright-net:{TWO[:12]}")
    network.loop.settle()
    assert network.loop.timers
    network.one.close()
