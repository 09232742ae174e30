"""The order in which a network's bridge and rules are made and taken down, on links and rules that are lists."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.network import bridge, namespace
from boxwright.network.values import Plumbing
from support.endpoints import endpoint

NETWORK = Plumbing("a1b2c3d4e5f6" + "0" * 52, "bw-test", "10.9.0.0/24", "10.9.0.1")


class Firewalld:
    """Interfaces by zone; it may be deaf."""

    def __init__(self) -> None:
        self.trusted: set[str] = set()
        self.others: set[str] = set()
        self.deaf = True

    def without_zone(self, bridges: list[str]) -> list[str]:
        return [bridge for bridge in bridges if bridge not in self.trusted | self.others]

    def trust(self, bridge: str) -> None:
        if not self.deaf and self.without_zone([bridge]):
            self.trusted.add(bridge)

    def forget(self, bridge: str) -> None:
        self.trusted.discard(bridge)


class Kernel:
    """Links by name, and what was done, in order."""

    def __init__(self) -> None:
        self.links_by_name: dict[str, SimpleNamespace] = {}
        self.done: list[tuple[Any, ...]] = []
        self.opened = False
        self.zones = Firewalld()
        self.zones.others.add("bw-test")
        self.addresses: set[tuple[int, str]] = set()

    # netlink
    def __call__(self) -> Kernel:
        return self

    def close(self) -> None:
        pass

    def link(self, name: str) -> SimpleNamespace | None:
        return self.links_by_name.get(name)

    def links(self) -> list[SimpleNamespace]:
        return list(self.links_by_name.values())

    def add_link(self, name: str, kind: str, **more: Any) -> SimpleNamespace:
        made = SimpleNamespace(
            name=name, kind=kind, index=len(self.links_by_name) + 2, up=False, mac="", master=0
        )
        vars(made).update(more)
        self.links_by_name[name] = made
        return made

    def add_bridge(self, name: str, *, mtu: int = 0, mac: str = "") -> None:
        self.done.append(("bridge", name, mac))
        self.add_link(name, "bridge", mac=mac)

    def add_address(self, index: int, address: str, prefix: int, *, label: str = "") -> None:
        if (index, address) in self.addresses:
            raise FileExistsError(address)
        self.addresses.add((index, address))
        self.done.append(("address", address, prefix))

    def delete_address(self, index: int, address: str, prefix: int, *, label: str) -> bool:
        self.done.append(("no address", address))
        return (index, address) in self.addresses

    def up(self, index: int) -> None:
        self.done.append(("up", index))
        for link in self.links():
            link.up = link.up or link.index == index

    def delete(self, index: int) -> None:
        self.done.append(("delete", index))
        self.links_by_name = {n: link for n, link in self.links_by_name.items() if link.index != index}

    # the firewall
    def are_open(self, networks: list[Plumbing]) -> bool:
        return self.opened

    def open_network(self, network: Plumbing) -> None:
        self.done.append(("rules", network.bridge))
        self.opened = True

    def close_network(self, network: Plumbing) -> None:
        self.done.append(("no rules", network.bridge))
        self.opened = False

    def close_forwarding(self, *, six: bool) -> None:
        self.done.append(("close forwarding", six))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(bridge, "firewall", kernel)
    monkeypatch.setattr(bridge, "zones", kernel.zones)
    monkeypatch.setattr(bridge, "Netlink", kernel)
    monkeypatch.setattr(bridge, "_forwards", lambda *, six: False)
    monkeypatch.setattr(bridge, "set_kernel", lambda name, value: kernel.done.append((name, value)))
    return kernel


@pytest.fixture
def lock(tmp_path: Path) -> str:
    (tmp_path / "network.lock").touch()
    return str(tmp_path / "network.lock")


def ensure(kernel: Kernel, lock: str) -> int:
    return bridge.ensure(kernel, NETWORK, lock)  # type: ignore[arg-type]


def test_others_see_it_when_all_of_it_is_there(kernel: Kernel, lock: str) -> None:
    index = ensure(kernel, lock)
    assert kernel.done == [
        ("bridge", "bw-test", "02:42:a1:b2:c3:d4"),
        ("ipv6/conf/bw-test/disable_ipv6", "1"),
        ("address", "10.9.0.1", 24),
        ("close forwarding", False),
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/bw-test/route_localnet", "1"),
        ("rules", "bw-test"),
        ("up", index),
    ]
    kernel.done.clear()
    assert ensure(kernel, lock) == index and not kernel.done  # one look, nothing to do


@pytest.mark.parametrize("missing", ["rules", "up"])
def test_what_is_missing_is_made_again(kernel: Kernel, lock: str, missing: str) -> None:
    index = ensure(kernel, lock)
    kernel.done.clear()
    kernel.opened, kernel.links_by_name["bw-test"].up = missing != "rules", missing != "up"
    assert ensure(kernel, lock) == index
    assert ("rules", "bw-test") in kernel.done and ("bridge", "bw-test", NETWORK.mac) not in kernel.done


def test_a_bridge_with_ipv6_has_both_gateways_and_forwards_both(
    kernel: Kernel, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dual = Plumbing(NETWORK.id, "bw-test", "10.9.0.0/24", "10.9.0.1", *("fd00:9::/64", "fd00:9::1"))
    monkeypatch.setattr(bridge.os, "listdir", lambda path: ["eth0", "eth1"])
    monkeypatch.setattr(bridge, "_kernel", lambda name: {"ipv6/conf/eth0/accept_ra": "1"}.get(name, "0"))
    index = bridge.ensure(kernel, dual, lock)  # type: ignore[arg-type]
    assert kernel.done == [
        ("bridge", "bw-test", "02:42:a1:b2:c3:d4"),
        *((f"ipv6/conf/bw-test/{name}", value) for name, value in bridge.SIX),
        ("address", "10.9.0.1", 24),
        ("address", "fd00:9::1", 64),
        ("close forwarding", False),
        ("ipv4/ip_forward", "1"),
        ("close forwarding", True),
        ("ipv6/conf/eth0/accept_ra", "2"),  # the host goes on to ask its routers for its own way out
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/conf/bw-test/route_localnet", "1"),
        ("rules", "bw-test"),
        ("up", index),
    ]
    kernel.links_by_name["bw-test"].mac = "aa:bb:cc:dd:ee:ff"  # had it been there before
    kernel.done.clear()
    bridge.take_down(dual, lock)
    assert [line for line in kernel.done if line[0] == "no address"] == [
        ("no address", "10.9.0.1"),
        ("no address", "fd00:9::1"),
    ]


def test_an_interface_that_is_no_bridge_is_refused(kernel: Kernel, lock: str) -> None:
    kernel.add_link("bw-test", "dummy", up=True)
    with pytest.raises(bridge.NoBridge, match="is there already, and is no bridge"):
        ensure(kernel, lock)
    assert ("up", 2) not in kernel.done


def test_a_bridge_that_gets_no_rules_does_not_stay(
    kernel: Kernel, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: Plumbing) -> None:
        raise FileNotFoundError(2, "iptables-restore is not installed")

    monkeypatch.setattr(kernel, "open_network", fail)
    for closed in (kernel.close_network, fail):
        monkeypatch.setattr(kernel, "close_network", closed)
        with pytest.raises(FileNotFoundError, match="iptables-restore is not installed"):
            ensure(kernel, lock)
        assert not kernel.links_by_name
    kernel.add_link("bw-test", "bridge", mac=NETWORK.mac)  # one that others may use
    with pytest.raises(FileNotFoundError):
        ensure(kernel, lock)
    assert "bw-test" in kernel.links_by_name


def test_only_what_is_ours_is_taken_down(kernel: Kernel, lock: str) -> None:
    ensure(kernel, lock)
    bridge.take_down(NETWORK, lock)
    assert not kernel.links_by_name and kernel.done[-1] == ("no rules", "bw-test")
    # A bridge of the host's own stays; our address on it goes, and the way to the loopback.
    kernel.add_link("bw-test", "bridge", mac="aa:bb:cc:dd:ee:ff")
    ensure(kernel, lock)
    kernel.done.clear()
    bridge.take_down(NETWORK, lock)
    assert "bw-test" in kernel.links_by_name
    assert kernel.done == [
        ("no address", "10.9.0.1"),
        ("ipv4/conf/bw-test/route_localnet", "0"),
        ("no rules", "bw-test"),
    ]


def test_an_idle_bridge_goes_and_a_used_one_stays(kernel: Kernel, lock: str) -> None:
    index = ensure(kernel, lock)
    kernel.add_link("veth1", "veth", master=index)
    assert bridge.remove_idle(NETWORK, lock) is False and "bw-test" in kernel.links_by_name
    del kernel.links_by_name["veth1"]
    assert bridge.remove_idle(NETWORK, lock) is True and "bw-test" not in kernel.links_by_name
    assert bridge.remove_idle(NETWORK, f"{lock}-of-a-root-that-is-gone") is True


def test_rules_that_another_program_removed_come_back(kernel: Kernel, lock: str) -> None:
    assert bridge.mend([NETWORK], lock) is False  # no bridge, nothing to mend
    ensure(kernel, lock)
    assert bridge.mend([NETWORK], lock) is False
    kernel.opened = False
    assert bridge.mend([NETWORK], lock) is True and kernel.opened
    assert bridge.mend([NETWORK], lock, thoroughly=True) is True


def test_firewalld_has_our_bridge_in_a_zone(kernel: Kernel, lock: str) -> None:
    zones = kernel.zones
    zones.deaf = False
    ensure(kernel, lock)
    assert not zones.trusted  # the user's choice is kept
    zones.others.clear()
    ensure(kernel, lock)
    assert zones.trusted == {"bw-test"}
    zones.trusted.clear()  # it was loaded anew
    assert bridge.mend([NETWORK], lock) is True and zones.trusted == {"bw-test"}
    assert bridge.mend([NETWORK], lock) is False
    zones.trusted.clear()
    zones.deaf = True
    with pytest.raises(OSError, match="firewalld does not answer"):  # who asked tries again
        bridge.mend([NETWORK], lock)
    zones.trusted.add("bw-test")
    bridge.take_down(NETWORK, lock)
    assert not zones.trusted
    # One that was there before us is the user's.
    zones.deaf = False
    kernel.add_link("bw-test", "bridge", mac="aa:bb:cc:dd:ee:ff")
    ensure(kernel, lock)
    assert bridge.mend([NETWORK], lock) is False and not zones.trusted


class Inside:
    """A socket of a container's namespace."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def index(self, name: str) -> int:
        return 7

    def __getattr__(self, name: str) -> Any:
        return lambda *words, **named: self.done.append((name, *words, *named.values()))


@pytest.mark.parametrize("default", [True, False])
def test_one_interface_of_a_container(default: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outside, inside = Inside(), Inside()
    given = endpoint(bridge="bw-test", default=default, mtu=1400)
    monkeypatch.setattr(bridge, "ensure", lambda netlink, network, lock: 3)
    wires: Any = {"outside": outside, "inside": inside}
    namespace.connect(**wires, namespace=60, endpoint=given, lock="/l")
    assert outside.done == [("add_veth", "veth1", "eth0", 3, 60, "02:42:0a:00:00:02", 1400)]
    route = [("add_default_route", 7, "10.0.0.1")] if default else []
    assert inside.done == [("add_address", 7, "10.0.0.2", 24), ("up", 7), *route]


@pytest.mark.parametrize(("code", "again"), [(19, True), (13, False)])
def test_a_bridge_that_went_meanwhile_is_made_again(
    monkeypatch: pytest.MonkeyPatch, code: int, again: bool
) -> None:
    tried: list[int] = []

    def plug(**rest: object) -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise OSError(code, "gone")

    monkeypatch.setattr(namespace, "connect", plug)
    plan: Any = SimpleNamespace(endpoints=(), lock="l", name_server=None)
    endpoint: Any = SimpleNamespace(driver="bridge")
    one = namespace.NetworkNamespace(plan, 60)
    if again:
        one._plug(Inside(), Inside(), endpoint)  # type: ignore[arg-type]
        assert tried == [0, 1]
    else:
        with pytest.raises(OSError, match="gone"):
            one._plug(Inside(), Inside(), endpoint)  # type: ignore[arg-type]
