"""Subnets: which gateway, range and address belongs to which, and what is free."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.network import pools
from boxwright.network.driver_options import NetworkInvalid
from boxwright.network.pools import AddressesExhausted, Pool, lowest, matched, parse_subnet, settled


def test_lists_are_matched_by_subnet_as_the_docker_client_does() -> None:
    found = matched(
        ["10.1.0.0/24", "fd00:1::/64"],
        ranges=["fd00:1::/80"],
        gateways=["fd00:1::1", "10.1.0.9"],
        reserved={"a": "10.1.0.2", "b": "fd00:1::5"},
    )
    assert found == (
        Pool(subnet="10.1.0.0/24", gateway="10.1.0.9", reserved={"a": "10.1.0.2"}),
        Pool(subnet="fd00:1::/64", gateway="fd00:1::1", ip_range="fd00:1::/80", reserved={"b": "fd00:1::5"}),
    )
    assert found[0].reserved == {"a": "10.1.0.2"} and found[1].reserved == {"b": "fd00:1::5"}
    assert matched([], ranges=[], gateways=[], reserved={}) == ()


@pytest.mark.parametrize(
    ("subnets", "more", "message"),
    [
        ((), {"gateways": ["10.1.0.1"]}, "every ip-range or gateway must have a corresponding subnet"),
        (("10.1.0.0/24",), {"gateways": ["10.1.0.1", "10.1.0.2"]}, "every ip-range or gateway"),
        (("10.1.0.0/24",), {"gateways": ["10.2.0.1"]}, "no matching subnet for gateway 10.2.0.1"),
        (("10.1.0.0/24",), {"ranges": ["10.2.0.0/28"]}, "no matching subnet for ip-range 10.2.0.0"),
        (("10.1.0.0/24",), {"reserved": {"a": "10.2.0.1"}}, "no matching subnet for aux-address 10.2.0.1"),
        (("10.1.0.0/24",), {"reserved": {"zzz": ""}}, "no matching subnet for aux-address"),
        (("10.1.0.0/24", "10.1.0.0/25"), {}, "multiple overlapping subnet configuration is not supported"),
        (("fd00::/64", "fd00::/80"), {}, "multiple overlapping subnet configuration is not supported"),
        (
            ("10.1.0.0/24", "10.2.0.0/24"),
            {"gateways": ["10.1.0.1", "10.1.0.2"]},
            r"cannot configure multiple gateways \(10.1.0.2, 10.1.0.1\) on the same subnet \(10.1.0.0/24\)",
        ),
        (("10.1.0.0/33",), {}, "invalid CIDR address"),
    ],
)
def test_lists_that_do_not_match(subnets: tuple[str, ...], more: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"ranges": [], "gateways": [], "reserved": {}, **more}
    with pytest.raises(NetworkInvalid, match=message):
        matched(list(subnets), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("subnet", ["10.0.0.0/29", "fd00::/125"])
def test_addresses_come_from_the_lowest_and_skip_what_is_reserved(subnet: str) -> None:
    base = ipaddress.ip_network(subnet)
    pool = settled(Pool(reserved={"router": str(base[3])}), base)
    assert pool.gateway == str(base[1])
    taken: set[str] = set()
    for number in (2, 4, 5, 6, *([7] if base.version == 6 else [])):  # the last one is no broadcast in IPv6
        assert lowest(pool, taken) == str(base[number])
        taken.add(str(base[number]))
    with pytest.raises(AddressesExhausted, match=f"no available IPv{base.version} addresses"):
        lowest(pool, taken)


def test_what_is_reserved_may_be_written_in_more_than_one_way() -> None:
    pool = settled(Pool(reserved={"a": "FD00::0:2", "b": "fd00:0::0003"}), parse_subnet("fd00::/64"))
    assert lowest(pool, set()) == "fd00::4"


def test_a_range_of_ipv6() -> None:
    pool = settled(Pool(ip_range="fd00::ff00/120"), parse_subnet("fd00::/64"))
    assert lowest(pool, set()) == "fd00::ff00"
    with pytest.raises(NetworkInvalid, match="no matching subnet for range"):
        settled(Pool(ip_range="10.0.0.0/24"), parse_subnet("fd00::/64"))


def test_reserved_addresses_are_in_the_subnet_and_not_the_gateways() -> None:
    with pytest.raises(NetworkInvalid, match=r"failed to allocate secondary ip address \(a:10.0.0.1\)"):
        settled(Pool(reserved={"a": "10.0.0.1"}), parse_subnet("10.0.0.0/24"))
    with pytest.raises(NetworkInvalid, match="it is not in subnet"):
        settled(Pool(reserved={"a": "fe80::1%eth0"}), parse_subnet("fe80::/64"))


def test_free_subnets_of_ipv6_are_of_a_site_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pools, "_host_networks", lambda *, six: [ipaddress.IPv6Network("::/0")] if not six else []
    )
    first = pools.free("/a", [], six=True)
    assert first.prefixlen == 64 and first.subnet_of(ipaddress.IPv6Network("fd00::/8"))  # type: ignore[arg-type]
    second = pools.free("/a", ["10.0.0.0/8", str(first)], six=True)
    assert not second.overlaps(first) and second.supernet(new_prefix=48) == first.supernet(new_prefix=48)
    assert pools.free("/b", [], six=True).supernet(new_prefix=48) != first.supernet(new_prefix=48)


@given(st.text(max_size=30))
def test_no_text_is_half_a_subnet(text: str) -> None:
    try:
        block = parse_subnet(text)
    except NetworkInvalid:
        return
    assert parse_subnet(str(block)) == block and block.num_addresses >= 4
