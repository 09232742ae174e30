"""macvlan and ipvlan: what the kernel is told (golden), for kernels that have neither; what is made and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.content.db import Database
from boxwright.errors import Invalid
from boxwright.network import driver_options, netlink, parents
from boxwright.network.driver_options import NetworkInvalid
from boxwright.network.netlink import Link, Netlink, attribute
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import Networks
from boxwright.network.values import Unfit


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    return Networks(tmp_path, Database(tmp_path / "boxwright.db"))


class Wire(Netlink):
    """Netlink whose messages are kept; links are those of `there`, by name: (index, kind, alias, loopback)."""

    def __init__(self, **there: tuple[int, str, str, bool]) -> None:
        self.there = there
        self.sent: list[tuple[int, int, bytes]] = []

    def close(self) -> None:
        pass

    def link(self, name: str) -> Link | None:
        if name not in self.there:
            return None
        found = Link.__new__(Link)
        found.name, found.up, found.mac, found.master = name, True, "", 0
        found.index, found.kind, found.alias, found.loopback = self.there[name]
        return found

    def _request(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        self.sent.append((kind, flags, body))
        told = dict(netlink._attributes(body, 16))
        name = told.get(3, b"").rstrip(b"\0").decode()
        if kind == netlink.RTM_NEWLINK and name and flags:
            self.there[name] = (len(self.there) + 10, "", "", False)
        return []


@pytest.mark.parametrize(
    ("driver", "mode", "data"),
    [
        ("macvlan", "bridge", "08000100 04000000"),
        ("macvlan", "private", "08000100 01000000"),
        ("macvlan", "vepa", "08000100 02000000"),
        ("macvlan", "passthru", "08000100 08000000"),
        ("ipvlan", "l2,bridge", "06000100 00000000 06000200 00000000"),
        ("ipvlan", "l3,private", "06000100 01000000 06000200 01000000"),
        ("ipvlan", "l3s,vepa", "06000100 02000000 06000200 02000000"),
    ],
)
def test_modes_are_the_kernels_numbers(driver: str, mode: str, data: str) -> None:
    assert parents.settings(driver, mode) == bytes.fromhex(data)


def test_a_child_of_a_parent_that_is_there() -> None:
    wire = Wire(eth0=(7, "", "", False))
    wire.add_child(
        "eth0",
        kind="macvlan",
        parent=7,
        settings=parents.settings("macvlan", "bridge"),
        namespace=60,
        mac="02:42:0a:00:00:02",
    )
    ((kind, flags, body),) = wire.sent
    assert (kind, flags) == (16, 0x600)
    assert body.hex() == (
        "0" * 32
        + "0900030065746830"
        + "00"
        + "000000"  # IFLA_IFNAME eth0
        + "08000500"
        + "07000000"  # IFLA_LINK
        + "08001c00"
        + "3c000000"  # IFLA_NET_NS_FD
        + "0a000100"
        + "02420a000002"
        + "0000"  # IFLA_ADDRESS
        + "1c001200"
        + "0b000100"
        + b"macvlan".hex()
        + "00"
        + "0c000200"
        + "0800010004000000"  # IFLA_LINKINFO
    )


def endpoint(networks: Networks, **options: str) -> Any:
    wish = NetworkConfig(driver="macvlan", subnet="10.9.8.0/24", options=options)
    network = networks.create("shared", wish)
    return networks.endpoint(network, "c" * 64, addresses=("10.9.8.2", ""))


def test_a_vlan_is_made_with_our_remark_and_only_that_is_removed(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(eth7=(7, "", "", False))
    lock = str(tmp_path / "network.lock")
    Path(lock).touch()
    monkeypatch.setattr(netlink, "Netlink", lambda: wire)
    one = endpoint(networks, parent="eth7.10")
    parents.add_child(wire, one, 60, lock)
    made, remark, up, child = wire.sent
    assert attribute(3, b"eth7.10\0") in made[2] and b"vlan" in made[2] and attribute(1, b"\x0a\0") in made[2]
    assert f"boxwright-net:{one.id[:12]}".encode() in remark[2] and up[0] == child[0] == 16
    monkeypatch.setattr(parents, "Netlink", lambda: wire)
    for alias, gone in (
        ("", False),
        ("boxwright-net:" + "b" * 12, False),
        (f"boxwright-net:{one.id[:12]}", True),
    ):
        wire.there["eth7.10"] = (12, "vlan", alias, False)
        wire.sent.clear()
        parents.remove("eth7.10", one.id, lock)
        assert bool(wire.sent) is gone and (not gone or wire.sent[0][0] == netlink.RTM_DELLINK)


def test_a_network_without_a_parent_leads_nowhere(networks: Networks) -> None:
    one = endpoint(networks)
    assert one.parent == f"dm-{one.id[:12]}" and one.internal
    assert (one.driver, one.mode, one.bridge, one.names) == ("macvlan", "bridge", "", ())


@pytest.mark.parametrize(
    "name", ["eth0", "eth0.0", "eth0.4095", "eth0.", ".10", "eth0.1a", "a b.10", "eth0.\u0663"]
)
def test_names_that_are_no_vlan(name: str) -> None:
    with pytest.raises(Unfit):
        parents.sub_interface(name)


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        (
            "macvlan",
            {"macvlan_mode": "foo"},
            "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan",
        ),
        ("ipvlan", {"ipvlan_mode": "lx"}, "requested ipvlan mode 'lx' is not valid, 'l2' mode is the ipvlan"),
        ("ipvlan", {"ipvlan_flag": "x"}, "requested ipvlan flag 'x' is not valid"),
        ("macvlan", {"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ("macvlan", {"parent": "../x"}, "invalid interface name"),
        ("macvlan", {"parent": "absent0.10"}, "there is no interface absent0"),
        ("macvlan", {"foo": "bar"}, "unknown network option 'foo'"),
        ("ipvlan", {driver_options.NAME: "br9"}, "unknown network option"),
    ],
)
def test_options_of_shared_interfaces(
    networks: Networks, driver: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        networks.create("refused", NetworkConfig(driver=driver, options=options))


def test_several_subnets_are_for_shared_interfaces_alone(networks: Networks) -> None:
    from boxwright.network.pools import Pool

    two = tuple(Pool(subnet=f"10.{n}.0.0/29") for n in (1, 2))
    with pytest.raises(NetworkInvalid, match="bridge driver doesn't support multiple subnets"):
        networks.create("two", NetworkConfig(pools=two))
    network = networks.create("two", NetworkConfig(driver="ipvlan", pools=two, options={"ipvlan_mode": "l3"}))
    found = [networks.allocate(network, f"c{n}") for n in range(6)]
    assert found[4] == "10.1.0.6" and found[5] == "10.2.0.2"
    assert networks.allocate(network, "c9", "10.2.0.5") == "10.2.0.5"
    one = networks.endpoint(network, "c9", addresses=("10.2.0.5", ""))
    assert (one.prefix, one.gateway) == (29, "0.0.0.0")  # layer 3: out of the interface itself
