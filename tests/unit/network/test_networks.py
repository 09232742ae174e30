"""Networks without building any: names, subnets, addresses."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from pathlib import Path

import pytest

from boxwright.container.config import ContainerConfigInvalid
from boxwright.container.options import parse_network
from boxwright.content.db import Database
from boxwright.content.lease import Lease
from boxwright.errors import Invalid
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.network import driver_options
from boxwright.network.addresses import OwnerGone, release_dead
from boxwright.network.janitor import SOURCES
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import (
    AddressesExhausted,
    AddressTaken,
    BuiltIn,
    NetworkExists,
    NetworkInUse,
    NetworkInvalid,
    Networks,
    NoSuchNetwork,
)
from boxwright.network.pools import Pool
from boxwright.runtime.spawn import start


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    return Networks(tmp_path, Database(tmp_path / "boxwright.db"))


def test_the_addresses_of_steps_that_were_killed_are_given_back(tmp_path: Path) -> None:
    db = Database(tmp_path / "boxwright.db")
    networks = Networks(tmp_path, db)
    bridge = networks.default()
    for owner in ("step-dead", "step-alive", "container"):
        networks.allocate(bridge, owner)
    with Lease(db, "test") as lease:
        lease.hold("workspace", "step-alive")
        lease.hold("layer", "step-dead")
        release_dead(db, "step-")
    with db.read() as sql:
        rows = sql.execute("SELECT container FROM addresses ORDER BY container").fetchall()
    assert rows == [("container",), ("step-alive",)]


def test_built_in_ones_are_always_there(networks: Networks) -> None:
    assert [(n.name, n.driver) for n in networks.list()] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    with pytest.raises(BuiltIn):
        networks.create("host", NetworkConfig())
    with pytest.raises(BuiltIn):
        networks.remove("bridge")


def test_the_default_bridge_gets_a_subnet_once(networks: Networks, tmp_path: Path) -> None:
    first = networks.default()
    assert first == Networks(tmp_path, Database(tmp_path / "boxwright.db")).default()
    assert len(first.bridge) <= 15 and first.gateway in [
        str(h) for h in list(ipaddress.IPv4Network(first.subnet).hosts())[:1]
    ]
    assert networks.get(first.id[:10]).name == "bridge"


def test_subnets_do_not_overlap(networks: Networks) -> None:
    made = [networks.create(f"net{n}", NetworkConfig()) for n in range(5)]
    blocks = [ipaddress.IPv4Network(n.subnet) for n in made]
    assert all(not a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i])
    with pytest.raises(NetworkInvalid, match="Pool overlaps"):
        networks.create("again", NetworkConfig(subnet=made[0].subnet))
    with pytest.raises(NetworkExists):
        networks.create("net0", NetworkConfig())


def test_a_container_that_is_gone_takes_no_address(networks: Networks) -> None:
    """`rm -f` beside `network connect` or `start`: an address that is taken later would never be given back."""
    net = networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    with pytest.raises(OwnerGone):
        networks.allocate_both(net, "gone", ("", ""), on_record=lambda db, owner: owner != "gone")
    assert networks.members("mine") == {}


def test_addresses(networks: Networks) -> None:
    net = networks.create("small", NetworkConfig(subnet="10.9.8.0/29"))
    assert net.gateway == "10.9.8.1"
    assert [networks.allocate(net, f"c{n}") for n in range(2)] == ["10.9.8.2", "10.9.8.3"]
    assert networks.allocate(net, "c0") == "10.9.8.2"  # it keeps its own
    assert networks.allocate(net, "c9", "10.9.8.6") == "10.9.8.6"
    with pytest.raises(AddressTaken):
        networks.allocate(net, "cx", "10.9.8.6")
    with pytest.raises(AddressTaken):
        networks.allocate(net, "cx", "10.9.8.1")
    with pytest.raises(NetworkInvalid, match="not in subnet"):
        networks.allocate(net, "cx", "10.9.9.1")
    assert [networks.allocate(net, f"d{n}") for n in range(2)] == ["10.9.8.4", "10.9.8.5"]
    whole = rf"no available IPv4 addresses on this network's address pools: {net.name} \({net.id}\)"
    with pytest.raises(AddressesExhausted, match=whole):
        networks.allocate(net, "full")
    networks.release("c0")
    assert networks.allocate(net, "full") == "10.9.8.2"


def test_a_range_inside_the_subnet(networks: Networks) -> None:
    net = networks.create(
        "ranged", NetworkConfig(subnet="10.9.0.0/16", ip_range="10.9.5.0/24", gateway="10.9.0.254")
    )
    assert networks.allocate(net, "c") == "10.9.5.0" and net.gateway == "10.9.0.254"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subnet": "10.0.0.1/24"}, "invalid subnet"),
        ({"subnet": "10.0.0.0/31"}, "no room"),
        ({"subnet": "10.0.0.0/24", "gateway": "10.0.1.1"}, "invalid gateway"),
        ({"subnet": "10.0.0.0/24", "ip_range": "10.0.1.0/25"}, "no matching subnet for range"),
        ({"ip_range": "x"}, "invalid ip-range x"),
        ({"subnet": "fd00::/64", "gateway": "fd01::1", "ipv6": True}, "invalid gateway"),
        ({"driver": "overlay"}, 'plugin "overlay" not found'),
    ],
)
def test_networks_that_cannot_be(networks: Networks, options: dict[str, str], message: str) -> None:
    with pytest.raises(NetworkInvalid, match=message):
        networks.create("refused", NetworkConfig(**options))  # type: ignore[arg-type]
    with pytest.raises(NoSuchNetwork):
        networks.get("refused")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("com.docker.network.bridge.name", "lo"),
        ("com.docker.network.bridge.name", "x" * 16),
        ("com.docker.network.bridge.name", "../../etc"),
        ("com.docker.network.bridge.name", "a\nb"),
        ("com.docker.network.driver.mtu", "abc"),
        ("com.docker.network.driver.mtu", "67"),
        ("com.docker.network.driver.mtu", "9" * 5000),
        ("com.docker.network.driver.mtu", "\u0663000"),
        ("com.docker.network.bridge.enable_ip_masquerade", "maybe"),
        ("com.docker.network.bridge.enable_icc", "false"),
        ("com.docker.network.bridge.host_binding_ipv4", "here"),
        ("com.docker.network.enable_ipv6", "true"),
        ("foo", "bar"),
    ],
)
def test_options_have_their_effect_or_are_refused(networks: Networks, key: str, value: str) -> None:
    with pytest.raises(Invalid):
        networks.create("refused", NetworkConfig(options={key: value}))
    with pytest.raises(NoSuchNetwork):
        networks.get("refused")


def test_options_and_their_effect(networks: Networks) -> None:
    options = {
        "com.docker.network.bridge.name": "bw-mine",
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
        "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        "com.docker.network.bridge.enable_icc": "true",
    }
    network = networks.create("mine", NetworkConfig(options=options))
    plumbing = network.plumbing()
    assert (plumbing.bridge, plumbing.mtu, plumbing.masquerade) == ("bw-mine", 1400, False)
    assert networks.endpoint(network, "c", addresses=(network.gateway, "")).host_address == "127.0.0.1"
    with pytest.raises(NetworkInvalid, match="has the bridge name"):
        networks.create("other", NetworkConfig(options={"com.docker.network.bridge.name": "bw-mine"}))


def test_both_families(networks: Networks) -> None:
    net = networks.create("dual", NetworkConfig(subnet="10.9.8.0/24", ipv6=True))
    assert [p.six for p in net.pools] == [False, True] and net.gateway6 == net.subnet6.replace("/64", "1")
    assert networks.allocate(net, "c") == "10.9.8.2"
    six = networks.allocate(net, "c", six=True)
    assert six == net.subnet6.replace("/64", "2") and networks.allocate(net, "c", six=True) == six
    wanted = networks.allocate(net, "c", net.subnet6.replace("/64", "77"), six=True)
    assert wanted.endswith("::77") and networks.allocate(net, "c") == "10.9.8.2"
    assert (
        networks.allocate(net, "c", wanted.replace("::77", "::0077"), six=True) == wanted
    )  # it keeps its own
    with pytest.raises(AddressTaken):
        networks.allocate(net, "d", wanted, six=True)
    assert networks.members("dual") == {"c": "10.9.8.2"}
    one = networks.endpoint(net, "c", addresses=("10.9.8.2", wanted))
    assert one.addresses == (("10.9.8.2", 24), (wanted, 64)) and one.gateway6 == net.gateway6
    assert one.plumbing().gateways == ((net.gateway, 24), (net.gateway6, 64))
    networks.release("c")
    assert networks.members("dual") == {}


def test_ipv6_alone_and_ipv4_alone(networks: Networks) -> None:
    only = networks.create("only", NetworkConfig(ipv4=False, ipv6=True))
    assert (only.subnet, only.gateway, networks.allocate(only, "c")) == ("", "", "")
    with pytest.raises(NetworkInvalid, match="no configured subnet"):
        networks.allocate(only, "c", "10.0.0.2")
    six = networks.allocate(only, "c", six=True)
    one = networks.endpoint(only, "c", addresses=("", six))
    assert one.addresses == ((six, 64),)
    # As in Docker, a subnet of a family that was not asked for is kept and shown, and has no effect.
    four = networks.create("four", NetworkConfig(subnet="fd00:2::/64"))
    assert four.subnet and not four.subnet6 and len(four.pools) == 2
    with pytest.raises(NetworkInvalid, match="IPv4 or IPv6 must be enabled"):
        networks.create("none6", NetworkConfig(ipv4=False))


def test_networks_that_describe_others(networks: Networks) -> None:
    mtu = {"com.docker.network.driver.mtu": "1400"}
    conf = networks.create("conf", NetworkConfig(config_only=True, subnet="10.9.8.0/24", options=mtu))
    assert (conf.driver, conf.bridge, conf.subnet) == ("null", "", "10.9.8.0/24")
    made = networks.create("made", NetworkConfig(config_from="conf"))
    assert (made.subnet, made.mtu, made.config_from, made.driver) == ("10.9.8.0/24", 1400, "conf", "bridge")
    with pytest.raises(NetworkInUse, match='configuration network "conf" is in use'):
        networks.remove("conf")
    for more in ({"subnet": "10.1.0.0/24"}, {"labels": {"a": "b"}}, {"options": mtu}, {"ipv6": True}):
        with pytest.raises(NetworkInvalid, match="user specified configurations are not supported"):
            networks.create("again", NetworkConfig(config_from="conf", **more))  # type: ignore[arg-type]
    for name in ("absent", "made"):
        with pytest.raises(NetworkInvalid, match=f'configuration network "{name}" does not exist'):
            networks.create("again", NetworkConfig(config_from=name))
    with pytest.raises(
        NetworkInvalid, match="configuration network can only contain network specific fields"
    ):
        networks.create("again", NetworkConfig(config_only=True, internal=True))
    networks.remove("made")
    networks.remove("conf")


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"driver": "host"}, 'only one instance of "host" network is allowed'),
        ({"ipam_driver": "foo"}, 'plugin "foo" not found'),
        ({"ipam_driver": "null"}, "ipv4 pool is empty"),
    ],
)
def test_drivers_that_are_not_there(networks: Networks, wish: dict[str, str], message: str) -> None:
    with pytest.raises((Invalid, BuiltIn), match=message):
        networks.create("refused", NetworkConfig(**wish))  # type: ignore[arg-type]


def test_reserved_addresses_are_given_to_no_container(networks: Networks) -> None:
    pool = Pool(subnet="10.9.8.0/29", reserved={"router": "10.9.8.2"})
    net = networks.create("aux", NetworkConfig(pools=(pool,)))
    assert networks.allocate(net, "c") == "10.9.8.3"
    assert networks.get("aux").pools[0].reserved == {"router": "10.9.8.2"}


def test_a_record_of_an_earlier_release(networks: Networks) -> None:
    network = networks.create("old", NetworkConfig(subnet="10.9.8.0/24"))
    pools = {"subnet": "10.9.8.0/24", "gateway": "10.9.8.1", "ip_range": "10.9.8.0/25"}
    record = {"driver": "bridge", "bridge": network.bridge, "created": "", **pools}
    with networks._db.write() as sql:
        sql.execute("UPDATE networks SET record = ?", (json.dumps(record),))
    assert networks.get("old").pools == (Pool(**pools),) and networks.get("old").gateway == "10.9.8.1"


@pytest.mark.parametrize(
    "text",
    [
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.eth0.log_martians=1",
        "net.core.conf.IFNAME.x=1",
        "net.ipv4.../../IFNAME.x=1",
        "net.ipv4.conf.IFNAME.a/b=1",
        "net.ipv4.conf.IFNAME.x",
        "net.ipv4.conf.IFNAME.x=1\n",
    ],
)
def test_sysctls_of_an_interface(text: str) -> None:
    with pytest.raises(NetworkInvalid, match="unrecognised network interface sysctl"):
        driver_options.check_endpoint({driver_options.SYSCTLS: text})
    good = {driver_options.SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.hop_limit=9"}
    assert driver_options.sysctls(good, "eth7") == (
        ("ipv4/conf/eth7/log_martians", "1"),
        ("ipv6/conf/eth7/hop_limit", "9"),
    )
    with pytest.raises(NetworkInvalid, match="unknown driver option"):
        driver_options.check_endpoint({"foo": "bar"})


def test_a_record_that_could_not_be_made_can_be_removed(networks: Networks) -> None:
    """Of a version that did not look at names."""
    network = networks.create("old", NetworkConfig())
    record = {**network.record(), "bridge": "a-name-that-is-too-long"}
    with networks._db.write() as sql:
        sql.execute("UPDATE networks SET record = ?", (json.dumps(record),))
    networks.remove("old")
    with pytest.raises(NoSuchNetwork):
        networks.get("old")


def test_endpoints(networks: Networks) -> None:
    net = networks.create("ends", NetworkConfig(subnet="10.9.8.0/24"))
    endpoint = networks.endpoint(net, "c" * 64, addresses=("10.9.8.7", ""), number=1)
    assert endpoint.mac == "02:42:0a:09:08:07" and endpoint.interface == "eth1" and len(endpoint.veth) <= 15


def test_the_network_option() -> None:
    assert parse_network("mine") == ("mine", {})
    assert parse_network("name=mine,alias=a,alias=b,ip=10.0.0.2") == (
        "mine",
        {"aliases": ("a", "b"), "ipv4": "10.0.0.2"},
    )
    for wrong in ("alias=a", "name=x,foo=1"):
        with pytest.raises(ContainerConfigInvalid):
            parse_network(wrong)


def test_the_janitor_finds_the_package() -> None:
    from boxwright.network import janitor

    assert (Path(janitor.SOURCES) / "boxwright" / "network" / "janitor.py").samefile(janitor.__file__)


@pytest.mark.parametrize("removed", [False, True])
def test_a_janitor_that_ends_leaves_no_lock(tmp_path: Path, removed: bool) -> None:
    path = tmp_path / "network.lock.bw-0"
    # Another network's janitor has the name once `network rm` has removed ours.
    replaced = f"os.replace(__file__, {str(path)!r})" if removed else "None"
    code = tmp_path / "janitor.py"
    code.write_text(
        "import os, sys; sys.path.insert(0, sys.argv[1]); from boxwright.network import janitor; janitor._SECONDS = 0\n"
        f"def remove_idle(*_): {replaced}; return True\n"
        "janitor.remove_idle = remove_idle; janitor.main(*sys.argv[2:])"
    )
    network = ["a" * 64, "bw-0", "172.30.0.0/24", "172.30.0.1", "", ""]
    argv = [sys.executable, str(code), SOURCES, str(tmp_path / "network.lock"), *network]
    with Lock.at(locks.JANITOR, path, wait=False) as waiting:
        pid = start(sys.executable, argv, fds={9: waiting.fd})
        assert os.waitpid(pid, 0)[1] == 0
    assert path.exists() is removed
