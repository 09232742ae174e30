"""Networks with IPv6, and with IPv6 alone: addresses, names, ports, ways out, and what may speak with what."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.containers import IMAGE
from support.netns import WEB, Host, Machine, private_host, reached, reaches
from support.waiting import eventually

pytestmark = pytest.mark.rooted
EVERYWHERE, HERE, ONE, LOOP, ALONE = 8080, 8081, 8082, 8083, 8084
NEAR, FAR = "2001:db8:1::", "2001:db8:2::"  # the host is 1, the neighbour 2
PUBLISHED, SIX = "fd00:1::77", "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}"


@dataclass
class World:
    """A host with dual-stack networks and two neighbours that route through it."""

    host: Host
    near: Machine
    far: Machine

    def six(self, name: str) -> str:
        return self.host.out("inspect", "-f", SIX, name)

    def questions(self) -> list[tuple[str, int, str, int]]:
        """Who asks whom, over IPv6: (name, pid of the asker, address, port)."""
        names = ("published", "plain", "other", "inside", "inside2", "single")
        pids = {name: self.host.pid_of(name) for name in names}
        at = {name: self.six(name) for name in names}
        pids |= {"host": self.host.pid, "near": self.near.pid, "far": self.far.pid}
        found = [(f"{a} -> {b}", pids[a], at[b], 80) for a in pids for b in at if a != b]
        for asker in ("published", "plain", "other", "inside", "single"):
            gateway = at[asker].rpartition("::")[0] + "::1"
            found += [
                (f"{asker} -> {port}", pids[asker], gateway, port) for port in (EVERYWHERE, ONE, LOOP, ALONE)
            ]
            found += [(f"{asker} -> outside", pids[asker], f"{NEAR}2", 7)]
        for asker, own in (("near", NEAR), ("far", FAR)):
            found += [(f"{asker} -> {p}", pids[asker], f"{own}1", p) for p in (EVERYWHERE, ONE, LOOP, ALONE)]
        found += [(f"far -> near's {port}", pids["far"], f"{NEAR}1", port) for port in (EVERYWHERE, ONE)]
        found += [(f"host -> {port}", pids["host"], "::1", port) for port in (EVERYWHERE, ONE, LOOP, ALONE)]
        found += [
            (f"host -> 4 {port}", pids["host"], "127.0.0.1", port) for port in (EVERYWHERE, HERE, ALONE)
        ]
        found += [("near -> far", pids["near"], f"{FAR}2", 7)]
        return found


ALLOWED = {
    *(f"host -> {name}" for name in ("published", "plain", "other", "inside", "inside2", "single")),
    *("published -> plain", "plain -> published", "inside -> inside2", "inside2 -> inside"),
    *(f"{name} -> {EVERYWHERE}" for name in ("published", "plain", "other", "single", "near", "far", "host")),
    *(f"{name} -> {ALONE}" for name in ("published", "plain", "other", "single", "near", "far", "host")),
    *(f"near -> {ONE}", f"far -> near's {ONE}", f"far -> near's {EVERYWHERE}"),
    *(f"host -> {LOOP}", f"host -> 4 {EVERYWHERE}", f"host -> 4 {HERE}"),
    *(f"{name} -> outside" for name in ("published", "plain", "other", "single")),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with private_host(tmp_path_factory.mktemp("dual")) as host:
        near = host.neighbour("198.51.100", NEAR)
        far = host.neighbour("203.0.113", FAR)
        near.serve(7)
        far.serve(7)
        host.run("network", "create", "--internal", "--ipv6", "shut")
        host.run("run", "-d", "--name", "inside", "--network", "shut", *WEB)
        host.run("network", "create", "--ipv6", "--subnet", "fd00:1::/64", "na")
        given = (f"{EVERYWHERE}:80", f"127.0.0.1:{HERE}:80", f"[{NEAR}1]:{ONE}:80", f"[::1]:{LOOP}:80")
        ports = [word for port in given for word in ("-p", port)]
        host.run("run", "-d", "--name", "published", "--network", "na", "--ip6", PUBLISHED, *ports, *WEB)
        host.run("run", "-d", "--name", "plain", "--network", "na", *WEB)
        # Networks that are opened later change nothing for those before them.
        host.run("network", "create", "--ipv6", "nb")
        host.run("run", "-d", "--name", "other", "--network", "nb", *WEB)
        host.run("network", "create", "--ipv6", "--ipv4=false", "only6")
        host.run("run", "-d", "--name", "single", "--network", "only6", "-p", f"{ALONE}:80", *WEB)
        host.run("run", "-d", "--name", "inside2", "--network", "shut", *WEB)
        try:
            yield World(host, near, far)
        finally:
            far.close()
            near.close()


def check(world: World) -> None:
    eventually(lambda: reaches(world.host.pid, world.six("inside2"), 80))
    assert reached(world.questions()) == ALLOWED


def test_networks_are_isolated_over_ipv6(world: World) -> None:
    check(world)


def test_rules_of_ipv6_come_back(world: World) -> None:
    before = sorted(world.host.rules().splitlines())
    for table in ("filter", "nat", "mangle"):
        world.host.sh(f"ip6tables -t {table} -F && ip6tables -t {table} -X")
    world.host.run("network", "reload")
    assert sorted(world.host.rules().splitlines()) == before
    check(world)


def test_nothing_leaves_by_the_family_that_a_network_has_not(world: World) -> None:
    """A container of a network of IPv6 alone gives itself an IPv4 address, and the host's bridge as its router."""
    heard = world.near.listen(9)
    host = world.host
    digits = host.out("network", "inspect", "-f", "{{.Id}}", "only6")[:8]
    mac = ":".join(("02", "42", digits[:2], digits[2:4], digits[4:6], digits[6:]))
    at = f"nsenter -t {host.pid_of('single')} -n"
    host.sh(f"{at} ip addr add 198.51.100.77/32 dev eth0; {at} ip route add 198.51.100.0/24 dev eth0")
    host.sh(f"{at} ip neigh replace 198.51.100.2 lladdr {mac} dev eth0")
    send = "from socket import *; socket(type=SOCK_DGRAM).sendto(b'four', ('198.51.100.2', 9))"
    host.sh("iptables -P FORWARD ACCEPT")
    try:
        host.sh(f'{at} {sys.executable} -c "{send}"', check=False)
        # What the host itself sends arrives: what was sent before it would have.
        host.sh(
            f"{sys.executable} -c \"from socket import *; socket(type=SOCK_DGRAM).sendto(b'host', ('198.51.100.2', 9))\""
        )
        eventually(lambda: b"host" in heard())
    finally:
        host.sh("iptables -P FORWARD DROP")
    assert b"four" not in heard()


def test_names_have_addresses_of_both_families(world: World) -> None:
    asked = world.host.out("exec", "plain", "nslookup", "published")
    assert PUBLISHED in asked and world.host.address("published") in asked
    for address in (PUBLISHED, world.host.address("published")):
        assert "name = published" in world.host.out("exec", "plain", "nslookup", address)
    hosts = world.host.out("exec", "published", "cat", "/etc/hosts")
    assert PUBLISHED in hosts and world.host.address("published") in hosts
    assert world.host.out("exec", "single", "cat", "/etc/resolv.conf").split()[1].endswith("::1")


def test_inspect_shows_both_families(world: World) -> None:
    (shown,) = json.loads(world.host.out("network", "inspect", "na"))
    assert (shown["EnableIPv4"], shown["EnableIPv6"]) == (True, True)
    four, six = sorted(shown["IPAM"]["Config"], key=lambda pool: ":" in pool["Subnet"])
    assert six == {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1"} and ":" not in four["Subnet"]
    (member,) = [m for m in shown["Containers"].values() if m["Name"] == "published"]
    assert member["IPv6Address"] == f"{PUBLISHED}/64" and member["IPv4Address"]
    (shown,) = json.loads(world.host.out("inspect", "published"))
    endpoint = shown["NetworkSettings"]["Networks"]["na"]
    assert endpoint["IPAMConfig"] == {"IPv6Address": PUBLISHED}
    assert (endpoint["IPv6Gateway"], endpoint["GlobalIPv6PrefixLen"]) == ("fd00:1::1", 64)
    (shown,) = json.loads(world.host.out("inspect", "single"))
    assert shown["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "::", "HostPort": str(ALONE)}]


def test_the_way_out_follows_the_priority(world: World) -> None:
    host = world.host
    own = "name=nb,gw-priority=5,link-local-ip=169.254.9.9,link-local-ip=fe80::99"
    opts = "driver-opt=com.docker.network.endpoint.ifname=foo0"
    sysctl = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    host.run(
        "run",
        "-d",
        "--name",
        "two",
        "--network",
        "na",
        "--network",
        f"{own},{opts},{sysctl}",
        IMAGE,
        "sleep",
        "99",
    )

    def ways() -> list[str]:
        text = host.out("exec", "two", "ip", "route") + "\n" + host.out("exec", "two", "ip", "-6", "route")
        return [line.split(" dev ")[1].split()[0] for line in text.splitlines() if line.startswith("default")]

    addresses = host.out("exec", "two", "ip", "addr", "show", "foo0")
    assert "169.254.9.9/16" in addresses and "fe80::99/64" in addresses
    assert host.out("exec", "two", "cat", "/proc/sys/net/ipv4/conf/foo0/log_martians") == "1"
    assert ways() == ["foo0", "foo0"]
    host.run("network", "connect", "--gw-priority", "7", "--link", "single:one", "only6", "two")
    assert ways() == ["foo0", "eth1"]  # IPv4 stays where it is: the new network has none
    assert f"{world.six('single')}\tone" in host.out("exec", "two", "cat", "/etc/hosts")
    host.run("network", "disconnect", "only6", "two")
    host.run("network", "disconnect", "nb", "two")
    assert ways() == ["eth0", "eth0"]
    host.run("rm", "-f", "two")


def test_our_ipv6_address_leaves_a_bridge_of_the_users(world: World) -> None:
    host = world.host
    host.sh(
        "ip link add theirs type bridge && ip addr add fd00:9::9/64 dev theirs nodad && ip link set theirs up"
    )
    name = "com.docker.network.bridge.name=theirs"
    host.run("network", "create", "--ipv6", "--subnet", "fd00:9::/64", "-o", name, "onit")
    host.run("run", "--rm", "--network", "onit", IMAGE, "true")
    assert "fd00:9::1/64" in host.sh("ip addr show theirs")
    host.run("network", "rm", "onit")
    left = host.sh("ip addr show theirs")
    assert "fd00:9::9/64" in left and "fd00:9::1/64" not in left
    host.sh("ip link del theirs")


def test_what_the_user_may_not_have(world: World) -> None:
    def told(*words: str) -> str:
        return world.host.run("run", "--rm", *words, IMAGE, "true", check=125).stderr

    assert "invalid IPv6 address: zz" in told("--network", "na", "--ip6", "zz")
    assert "Address already in use" in told("--network", "na", "--ip6", "fd00:1::1")
    assert "no configured subnet or ip-range contain the IP address fd00:2::5" in told(
        "--network", "na", "--ip6", "fd00:2::5"
    )
    assert "supported on user defined networks only" in told("--ip6", "fd00::5")
    assert "invalid link-local IP address: zz" in told("--link-local-ip", "zz")
    assert "invalid gw-priority (a)" in told("--network", "name=na,gw-priority=a")
    assert "invalid interface name" in told(
        "--network", "name=na,driver-opt=com.docker.network.endpoint.ifname=a/b"
    )
