"""What may speak with what: Docker's isolation of networks, on a host with other machines around it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.containers import IMAGE
from support.netns import WEB, Host, Machine, private_host, reached, reaches
from support.peers import needs
from support.waiting import eventually

pytestmark = pytest.mark.rooted
EVERYWHERE, HERE, ONE, SIX = 8080, 8081, 8082, 8083  # ports published at all addresses, 127.0.0.1, one, ::1
FIRST, SECOND = "198.51.100", "203.0.113"


@dataclass
class World:
    """A host with networks and two neighbours that route through it."""

    host: Host
    beside: Host  # another root on it, with the container `foreign`
    near: Machine
    far: Machine

    def questions(self) -> list[tuple[str, int, str, int]]:
        """Who asks whom: (name, pid of the asker, address, port)."""
        host, pids, at = self.host, {}, {}
        for name in ("published", "plain", "other", "inside", "inside2", "usual", "foreign"):
            owner = self.beside if name == "foreign" else host
            pids[name], at[name] = owner.pid_of(name), owner.address(name)
        pids |= {"host": host.pid, "near": self.near.pid, "far": self.far.pid}
        gateway = {name: address.rpartition(".")[0] + ".1" for name, address in at.items()}
        found = [
            (f"{asker} -> {asked}", pids[asker], at[asked], 80)
            for asker in pids
            for asked in at
            if asker != asked
        ]
        for asker in ("published", "plain", "other", "inside", "usual", "foreign"):
            found += [
                (f"{asker} -> {port}", pids[asker], gateway[asker], port) for port in (EVERYWHERE, HERE)
            ]
        for asker, address, six in (
            ("near", f"{FIRST}.1", "2001:db8:1::1"),
            ("far", f"{SECOND}.1", "2001:db8:2::1"),
        ):
            found += [(f"{asker} -> {port}", pids[asker], address, port) for port in (EVERYWHERE, HERE, ONE)]
            found += [
                (f"{asker} -> six {port}", pids[asker], six, port) for port in (EVERYWHERE, HERE, ONE, SIX)
            ]
        found += [(f"far -> near's {port}", pids["far"], f"{FIRST}.1", port) for port in (HERE, ONE)]
        found += [("near -> far", pids["near"], f"{SECOND}.2", 7)]
        found += [(f"host -> {port}", host.pid, "127.0.0.1", port) for port in (EVERYWHERE, HERE)]
        found += [(f"host -> six {port}", host.pid, "::1", port) for port in (EVERYWHERE, SIX)]
        found += [(f"{name} -> outside", pids[name], f"{FIRST}.2", 7) for name in at]
        return found


ALLOWED = {
    *(f"host -> {name}" for name in ("published", "plain", "other", "inside", "inside2", "usual", "foreign")),
    "published -> plain",
    "plain -> published",
    "inside -> inside2",
    "inside2 -> inside",
    *(
        f"{name} -> {EVERYWHERE}"
        for name in ("published", "plain", "other", "usual", "foreign", "near", "far", "host")
    ),
    *(f"{name} -> six {EVERYWHERE}" for name in ("near", "far", "host")),
    f"near -> {ONE}",
    f"far -> near's {ONE}",
    f"host -> {HERE}",
    f"host -> six {SIX}",
    *(f"{name} -> outside" for name in ("published", "plain", "other", "usual", "foreign")),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with private_host(tmp_path_factory.mktemp("isolation")) as host:
        near = host.neighbour(FIRST, "2001:db8:1::")
        far = host.neighbour(SECOND, "2001:db8:2::")
        host.sh("sysctl -qw net.ipv6.conf.all.forwarding=1")
        near.serve(7)
        far.serve(7)
        host.run("run", "-d", "--name", "usual", *WEB)
        host.run("network", "create", "--internal", "shut")
        told = host.run("run", "-d", "--name", "inside", "--network", "shut", "-p", "8090:80", *WEB)
        assert "discarded in internal networks" in told.stderr
        host.run("network", "create", "na")
        ports = (f"{EVERYWHERE}:80", f"127.0.0.1:{HERE}:80", f"{FIRST}.1:{ONE}:80", f"[::1]:{SIX}:80")
        published = [word for port in ports for word in ("-p", port)]
        host.run("run", "-d", "--name", "published", "--network", "na", *published, *WEB)
        host.run("run", "-d", "--name", "plain", "--network", "na", *WEB)
        # Networks that are opened later change nothing for those before them.
        host.run("network", "create", "nb")
        host.run("run", "-d", "--name", "other", "--network", "nb", *WEB)
        host.run("run", "-d", "--name", "inside2", "--network", "shut", *WEB)
        beside = host.with_root(tmp_path_factory.mktemp("beside"))
        beside.run("run", "-d", "--name", "foreign", *WEB)
        try:
            yield World(host, beside, near, far)
        finally:
            beside.run("system", "reset", "-f")
            far.close()
            near.close()


def check(world: World) -> None:
    eventually(lambda: reaches(world.host.pid, world.host.address("inside2"), 80))
    assert reached(world.questions()) == ALLOWED


def test_networks_are_isolated(world: World) -> None:
    check(world)
    assert "8090" not in world.host.out("ps") + world.host.rules()  # an internal network publishes nothing


def test_nothing_leaves_an_internal_network_by_a_route_of_the_containers_own(world: World) -> None:
    """A container that may route (NET_ADMIN) is kept in by rules of the network, also on a host that forwards for
    everybody, and for packets that ask for no answer."""
    heard = world.near.listen(9)
    told = {}
    for name in ("usual", "inside"):
        at = f"nsenter -t {world.host.pid_of(name)} -n"
        gateway = world.host.address(name).rpartition(".")[0] + ".1"
        world.host.sh(f"{at} ip route replace default via {gateway}")
        send = f"socket(type=SOCK_DGRAM).sendto(b'{name}', ('{FIRST}.2', 9))"
        told[name] = f'{at} {sys.executable} -c "from socket import *; {send}"'

    def usual_is_heard() -> bool:
        world.host.sh(told["inside"], check=False)  # the kernel may say at once that it is not permitted
        world.host.sh(told["usual"])
        return b"usual" in heard()

    world.host.sh("iptables -P FORWARD ACCEPT")
    try:
        eventually(usual_is_heard)
    finally:
        world.host.sh("iptables -P FORWARD DROP")
    assert b"inside" not in heard()


@pytest.mark.parametrize("asked", ["0", "1"])
def test_whether_or_not_bridges_ask_the_rules(world: World, asked: str) -> None:
    """With the module br_netfilter, which Docker loads, frames between ports of one bridge pass iptables too."""
    name = "net.bridge.bridge-nf-call-iptables"
    before = world.host.sh(f"sysctl -n {name}", check=False).strip()
    if not before:
        pytest.skip("br_netfilter is not loaded")
    world.host.sh(f"sysctl -qw {name}={asked}")
    try:
        check(world)
    finally:
        world.host.sh(f"sysctl -qw {name}={before}")


def test_a_firewall_that_was_loaded_anew_is_mended_by_the_next_start(world: World) -> None:
    before = sorted(world.host.rules().splitlines())
    for table in ("filter", "nat", "mangle", "raw"):
        world.host.sh(f"iptables -t {table} -F && iptables -t {table} -X")
    for root in (world.host, world.beside):  # each minds its own
        root.run("run", "--rm", IMAGE, "true")
    assert sorted(world.host.rules().splitlines()) == before
    check(world)


@needs("nft")
def test_part_of_the_rules_is_mended_by_network_reload(world: World) -> None:
    before = sorted(world.host.rules().splitlines())
    world.host.sh("nft flush chain ip nat PREROUTING && nft flush chain ip mangle FORWARD")
    for root in (world.host, world.beside):
        root.run("network", "reload")
    assert sorted(world.host.rules().splitlines()) == before


@needs("nft")
def test_beside_the_rules_of_others(world: World) -> None:
    """Docker's, whose chain accepts what its bridges send and drops by policy; firewalld's, a table of its own."""
    host = world.host
    before = host.rules()
    theirs = """
        ip link add docker0 type bridge && ip addr add 10.200.0.1/24 dev docker0 && ip link set docker0 up
        ip link add theirs type veth peer name eth0 netns $THEM && ip link set theirs master docker0 up
        iptables -P FORWARD DROP; iptables -N DOCKER; iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT
        iptables -I FORWARD -o docker0 -j DOCKER; iptables -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -A DOCKER -d 10.200.0.2 ! -i docker0 -o docker0 -p tcp --dport 81 -j ACCEPT
        iptables -t nat -A POSTROUTING -s 10.200.0.0/24 ! -o docker0 -j MASQUERADE
        nft add table inet firewalld
        nft add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; policy accept; }'
        nft add rule inet firewalld filter_FORWARD ct state invalid drop
    """
    them = Machine(["nsenter", "-t", str(host.pid), "-n", "-m", "unshare", "-n", "-m"])
    try:
        host.sh(theirs.replace("$THEM", str(them.pid)))
        them.sh(
            "ip addr add 10.200.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.200.0.1"
        )
        them.serve(80)
        them.serve(81)
        own = [
            line for line in host.sh("nft list table inet firewalld").splitlines() if "counter" not in line
        ]
        foreign = set(host.rules().splitlines()) - set(before.splitlines())
        host.run("network", "create", "late")
        host.run("run", "-d", "--name", "latest", "--network", "late", *WEB)
        host.run("network", "reload")
        check(world)
        pids = {name: host.pid_of(name) for name in ("plain", "usual", "latest")}
        asked = [(f"theirs -> {name}", them.pid, host.address(name), 80) for name in pids]
        asked += [(f"theirs -> {EVERYWHERE}", them.pid, "10.200.0.1", EVERYWHERE)]
        asked += [
            (f"{name} -> theirs {port}", pid, "10.200.0.2", port)
            for name, pid in pids.items()
            for port in (80, 81)
        ]
        assert reached(asked) == {f"theirs -> {EVERYWHERE}", *(f"{name} -> theirs 81" for name in pids)}
        host.run("rm", "-f", "latest")
        host.run("network", "rm", "late")
        assert foreign <= set(host.rules().splitlines())
        now = [
            line for line in host.sh("nft list table inet firewalld").splitlines() if "counter" not in line
        ]
        assert now == own
    finally:
        host.sh(
            "iptables -P FORWARD ACCEPT; ip link del docker0; nft delete table inet firewalld", check=False
        )
        them.close()


def test_a_container_does_not_reach_the_loopback_of_the_host(world: World) -> None:
    host = world.host
    host.serve(7777, "127.0.0.1")
    host.run("run", "-d", "--name", "crafty", "--privileged", IMAGE, "sleep", "100")
    gateway = host.address("crafty").rpartition(".")[0] + ".1"
    crafty = host.pid_of("crafty")
    settings = (
        "sysctl -qw net.ipv4.conf.all.route_localnet=1; ip addr del 127.0.0.1/8 dev lo; "
        f"ip route add 127.0.0.1/32 via {gateway} src {host.address('crafty')}"
    )
    host.sh(f"nsenter -t {crafty} -n sh -c '{settings}'")
    assert reaches(host.pid, "127.0.0.1", 7777)
    assert not reaches(crafty, "127.0.0.1", 7777)
