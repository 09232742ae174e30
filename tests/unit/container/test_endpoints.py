"""A container's places on its networks: wishes, ways out, ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.container import endpoints
from boxwright.container.config import ContainerConfigInvalid, EndpointConfig
from boxwright.container.options import driver_opts, parse_network
from boxwright.content.db import Database
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import Networks
from boxwright.network.plan import Endpoint, Port, with_ways_out
from boxwright.network.ports import NoRelay, publishable
from support.endpoints import endpoint as joined_to


def endpoint(network: str, **more: Any) -> Endpoint:
    return joined_to(**{"network": network, "default": False, **more})


@pytest.mark.parametrize(
    ("given", "four", "six"),
    [
        ([endpoint("a"), endpoint("b")], "a", ""),
        ([endpoint("a"), endpoint("b", priority=1)], "b", ""),
        ([endpoint("a", internal=True, priority=9), endpoint("b", priority=-1)], "b", ""),
        ([endpoint("a"), endpoint("b", address6="fd00::2", priority=-5)], "a", "b"),
        ([endpoint("a", address=""), endpoint("b")], "b", ""),
        ([endpoint("a", internal=True)], "", ""),
        ([], "", ""),
    ],
)
def test_who_has_the_way_out(given: list[Endpoint], four: str, six: str) -> None:
    found = with_ways_out(given)
    assert [e.network for e in found if e.default] == [four] * bool(four)
    assert [e.network for e in found if e.default6] == [six] * bool(six)


def test_the_long_form_of_network_says_it_all() -> None:
    text = "name=n,IP=10.0.0.2,ip6=fd00::2,alias=a,gw-priority=-3,link-local-ip=fe80::9,driver-opt=K=V,mac-address=x"
    name, given = parse_network(text)
    wish = endpoints.wish_of(EndpointConfig(name, **given))
    assert wish == {
        "aliases": ["a"],
        "ipv4": "10.0.0.2",
        "ipv6": "fd00::2",
        "mac": "x",
        "link_local": ["fe80::9"],
        "priority": -3,
        "driver_opts": {"k": "V"},
    }
    for wrong in ("gw-priority=a", "driver-opt=a", "driver-opt==b", "foo=bar", "gw-priority=" + "9" * 5000):
        with pytest.raises(ContainerConfigInvalid):
            parse_network(f"name=n,{wrong}")
    assert driver_opts(["A = b", "c="]) == {"a": "b", "c": ""}


@pytest.mark.parametrize(
    ("network", "wish", "message"),
    [
        ("mine", {"ipv6": "zz"}, "invalid IPv6 address: zz"),
        ("mine", {"ipv6": "10.0.0.1"}, "invalid IPv6 address: 10.0.0.1"),
        ("mine", {"ipv4": "fd00::1"}, "invalid IPv4 address: fd00::1"),
        ("mine", {"ipv4": "10.9.9.1"}, "no configured subnet or ip-range contain the IP address 10.9.9.1"),
        ("mine", {"ipv6": "fd00::1"}, "only when connecting to networks with user configured subnets"),
        ("ours", {"ipv4": "10.0.0.1"}, "only when connecting to networks with user configured subnets"),
        ("bridge", {"ipv4": "172.17.0.9"}, "only when connecting to networks with user configured subnets"),
        ("mine", {"link_local": ["fe80::1%eth0"]}, "invalid link-local IP address"),
        ("mine", {"driver_opts": {"foo": "bar"}}, "unknown driver option 'foo'"),
        (
            "bridge",
            {"ipv6": "fd00::1"},
            "user specified IP address is supported on user defined networks only",
        ),
        ("bridge", {"aliases": ["a"]}, "network-scoped aliases are only supported for user-defined networks"),
    ],
)
def test_wishes_that_cannot_be(tmp_path: Path, network: str, wish: dict[str, Any], message: str) -> None:
    networks = Networks(tmp_path, Database(tmp_path / "boxwright.db"))
    networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    networks.create("ours", NetworkConfig())
    endpoints.check_wish(networks.get("mine"), {"ipv4": "10.9.8.7"})
    with pytest.raises(ContainerConfigInvalid, match=message):
        endpoints.check_wish(networks.get(network), wish)


def test_every_fault_of_a_wish_is_told(tmp_path: Path) -> None:
    networks = Networks(tmp_path, Database(tmp_path / "boxwright.db"))
    with pytest.raises(
        ContainerConfigInvalid, match="settings:\n\\* invalid IPv4 address: x\n\\* invalid link"
    ):
        endpoints.check_wish(networks.get("none"), {"ipv4": "x", "link_local": ["y"]})


@pytest.mark.parametrize(
    ("host", "inside", "forwarded", "relayed"),
    [
        ("", "10.0.0.2", True, False),
        ("::", "10.0.0.2", False, True),
        ("::", "fd00::2", True, True),  # rules for all but ::1
        ("::1", "fd00::2", False, True),
        ("2001:db8::1", "fd00::2", True, False),
        ("2001:db8::1", "10.0.0.2", False, True),
    ],
)
def test_rules_or_the_supervisor_lead_to_a_port(
    host: str, inside: str, forwarded: bool, relayed: bool
) -> None:
    port = Port(protocol="tcp", host_ip=host, host_port=8080, address=inside, port=80, bridge="b")
    assert (port.forwarded, port.relayed) == (forwarded, relayed)


@pytest.mark.parametrize(
    ("known", "wanted", "same"),
    [
        ("", "", True),
        ("::", "", True),
        ("", "127.0.0.1", True),
        ("::", "127.0.0.1", False),
        ("::", "::1", True),
        ("::1", "2001:db8::1", False),
        ("", "::1", False),
        ("127.0.0.1", "0.0.0.0", True),
    ],
)
def test_addresses_of_the_host_that_overlap(known: str, wanted: str, same: bool) -> None:
    assert endpoints._overlap(known, wanted) is same


def test_sctp_goes_where_rules_lead() -> None:
    with pytest.raises(NoRelay):
        publishable("sctp", "fd00::1", 80)
    with pytest.raises(NoRelay):
        publishable("sctp", "::1", 80, six=True)
