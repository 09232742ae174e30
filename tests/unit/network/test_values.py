"""Values for rules and files: what is let through has no text of its own."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.network import files, firewall, values
from boxwright.network.values import Forward, Plumbing, Unfit

HOSTILE = (
    "",
    " ",
    "80\n",
    "80 ",
    "a b",
    "a\nb",
    "-j",
    "$(x)",
    "é",
    "\u0663",
    "1.2.3.4\n",
    "1.2.3",
    "::1%eth0",
    "tcp\nCOMMIT",
    "9" * 5000,
    "\0",
)
_LINE = re.compile(r"-[AI] [A-Z]+ [-A-Za-z0-9 !./:,_\[\]]+\Z")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "parse", [values.port, values.protocol, values.ipv4, values.address, values.subnet, values.interface]
)
def test_hostile_texts_are_no_values(parse: object, text: str) -> None:
    assert callable(parse)
    if (parse, text) == (values.interface, "1.2.3"):
        return  # a name like any other
    with pytest.raises(Unfit):
        parse(text)


def test_values_are_what_they_say() -> None:
    assert values.port("80") == values.port(80) == 80 and values.port("0080") == 80
    assert [values.protocol(p) for p in ("tcp", "udp", "sctp")] == ["tcp", "udp", "sctp"]
    assert values.ipv4("10.0.0.1") == "10.0.0.1" and values.address("0:0::1") == "::1"
    assert values.subnet("10.1.0.0/16") == "10.1.0.0/16"
    assert values.interface("br9") == "br9" and values.interface("a" * 15)
    for wrong in (0, 65536, True, 80.0, None, "65536", "-1"):
        with pytest.raises(Unfit):
            values.port(wrong)
    for wrong_name in ("lo", "1 2", "all", "default", "a" * 16, ".", "..", "a/b", "a:b"):
        with pytest.raises(Unfit):
            values.interface(wrong_name)


_ANY = st.text(max_size=40) | st.sampled_from(HOSTILE) | st.sampled_from(("tcp", "80", "10.0.0.1", "br9"))


@given(_ANY, _ANY, _ANY | st.integers(), _ANY, _ANY | st.integers())
def test_rules_of_ports_are_made_of_values(
    protocol: str, host: str, outside: object, address: str, inside: object
) -> None:
    try:
        port = Forward(protocol, host, outside, address, inside)
    except Unfit:
        return
    assert port.protocol in values.PROTOCOLS and 0 < port.host_port < 65536 and 0 < port.port < 65536
    kind = ipaddress.IPv6Address if port.six else ipaddress.IPv4Address
    assert kind(port.address) and (not port.host_ip or kind(port.host_ip))
    for rules in firewall._port_rules([port], "a" * 64).values():
        assert all(_LINE.match(rule) for rule in rules)


@given(_ANY, _ANY, _ANY, _ANY, st.booleans(), st.booleans())
def test_rules_of_networks_are_made_of_values(
    identity: str, bridge: str, subnet: str, gateway: str, internal: bool, six: bool
) -> None:
    blocks = ("", "", subnet, gateway) if six else (subnet, gateway)
    try:
        network = Plumbing(identity, bridge, *blocks, internal=internal)
    except Unfit:
        network = Plumbing("b" * 64, "br9", "10.1.0.0/16", "10.1.0.1", internal=internal)
    for family in (False, True):
        for rules in firewall._network_rules(network, six=family).values():
            assert all(_LINE.match(rule) for rule in rules)


def test_what_a_network_has_no_addresses_of_leaves_it_nowhere() -> None:
    """IPv4 that a container of a network of IPv6 alone sends, to itself or through the host."""
    only6 = Plumbing("b" * 64, "br9", "", "", "fd00::/64", "fd00::1")
    rules = firewall._network_rules(only6, six=False)["mangle"]
    assert [rule.split(" -m ")[0] + rule[-8:] for rule in rules] == [
        "-A FORWARD ! -i br9 -o br9 -j DROP",
        "-A FORWARD -i br9 ! -o br9 -j DROP",
    ]
    with pytest.raises(Unfit):
        Plumbing("b" * 64, "br9", "", "")
    with pytest.raises(Unfit):
        Plumbing("b" * 64, "br9", "fd00::/64", "fd00::1")


def test_ports_over_ipv6() -> None:
    """Golden: what one port everywhere and one at an address are."""

    def rules(host: str) -> list[str]:
        return firewall._port_rules([Forward("sctp", host, 8080, "fd00::2", 80)], "a" * 64)["nat"]

    tail = "-p sctp -m sctp --dport 8080 -m comment --comment boxwright:aaaaaaaaaaaa -j DNAT --to-destination [fd00::2]:80"
    assert rules("::") == [
        f"-A OUTPUT -m addrtype --dst-type LOCAL ! -d ::1/128 {tail}",
        f"-A PREROUTING ! -s fe80::/10 -m addrtype --dst-type LOCAL {tail}",
    ]
    assert rules("2001:db8::1") == [
        f"-A OUTPUT -d 2001:db8::1 {tail}",
        f"-A PREROUTING ! -s fe80::/10 -d 2001:db8::1 {tail}",
    ]
    with pytest.raises(Unfit):
        rules("10.0.0.1")


def test_a_port_for_the_host_alone_is_not_forwarded() -> None:
    def chains(host: str) -> list[str]:
        rules = firewall._port_rules([Forward("tcp", host, 8080, "10.0.0.2", 80)], "a" * 64)
        return [rule.split()[1] for rule in rules["nat"]]

    assert chains("127.0.0.1") == ["OUTPUT"] and chains("") == chains("192.0.2.1") == ["OUTPUT", "PREROUTING"]


@given(_ANY, _ANY, _ANY)
def test_lines_of_hosts_are_made_of_values(name: str, address: str, own: str) -> None:
    try:
        text = files.hosts([f"{name}:{address}"], [("10.0.0.2", [own])])
    except Unfit:
        return
    extra, mine = text.splitlines()[-2:]
    assert ipaddress.ip_address(extra.split("\t")[0]) and mine == f"10.0.0.2\t{own}"
    assert len(text.splitlines()) == len(files.hosts([], []).splitlines()) + 2


@given(st.lists(_ANY, max_size=3), st.lists(_ANY, max_size=3), st.lists(_ANY, max_size=3))
def test_lines_of_resolv_conf_are_made_of_words(
    servers: list[str], search: list[str], options: list[str]
) -> None:
    try:
        text = files.resolv("", servers=servers, search=search, options=options)
    except Unfit:
        return
    assert all(line.split()[0] in ("nameserver", "search", "options") for line in text.splitlines())
    found = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]
    assert found == (servers or ["8.8.8.8", "8.8.4.4"])
