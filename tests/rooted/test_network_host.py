"""What networks do to the host: only what is ours is made, changed and removed, and it goes wholly."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.containers import IMAGE
from support.image import docker_archive
from support.images import busybox_tar
from support.netns import WEB, Host, private_host, reaches
from support.waiting import eventually

pytestmark = pytest.mark.rooted
NAME = "com.docker.network.bridge.name"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with private_host(tmp_path_factory.mktemp("host")) as host:
        yield host


def ours(host: Host) -> list[str]:
    return [line for line in host.rules().splitlines() if "boxwright" in line.lower()]


def test_a_bridge_of_the_users_is_used_and_stays(host: Host) -> None:
    host.sh("ip link add br9 type bridge; ip addr add 10.77.0.9/24 dev br9; ip link set br9 up")

    def seen() -> list[str]:
        text = host.sh("ip -br addr show br9; cat /proc/sys/net/ipv4/conf/br9/route_localnet")
        return text.split()[2:]  # after its name and whether it has a carrier

    before = seen()
    host.run("network", "create", "--subnet", "10.77.0.0/24", "-o", f"{NAME}=br9", "n9")
    host.run("run", "-d", "--name", "web", "--network", "n9", "-p", "127.0.0.1:8099:80", *WEB)
    eventually(lambda: reaches(host.pid, "127.0.0.1", 8099))
    host.run("rm", "-f", "web")
    host.run("network", "rm", "n9")
    assert seen() == before
    assert not ours(host)
    # A gateway that was there before stays as well.
    host.run(
        "network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "-o", f"{NAME}=br9", "n9"
    )
    host.run("run", "--rm", "--network", "n9", IMAGE, "true")
    host.run("network", "rm", "n9")
    assert "10.77.0.9/24" in host.sh("ip -br addr show br9")


def test_a_bridge_that_the_user_made_anew_stays(host: Host) -> None:
    host.run("network", "create", "-o", f"{NAME}=br7", "n7")
    host.run("run", "--rm", "--network", "n7", IMAGE, "true")
    assert "br7" in host.links()
    host.sh("ip link del br7; ip link add br7 type bridge")
    host.run("network", "rm", "n7")
    assert "br7" in host.links() and not ours(host)


def test_a_bridge_of_ours_goes(host: Host) -> None:
    host.run("network", "create", "-o", f"{NAME}=br8", "n8")
    assert "br8" not in host.links()
    host.run("run", "--rm", "--network", "n8", IMAGE, "true")
    assert "br8" in host.links()
    assert (
        "has the bridge name br8" in host.run("network", "create", "-o", f"{NAME}=br8", "m8", check=1).stderr
    )
    host.run("network", "rm", "n8")
    assert "br8" not in host.links() and not ours(host)


def test_what_is_no_bridge_is_refused(host: Host) -> None:
    host.sh("ip link add eth0 type veth peer name other; ip link set eth0 up")
    for name, said in (
        ("eth0", "is no bridge"),
        ("lo", "invalid interface name"),
        ("a-very-long-name-", "longer than 15"),
        ("a b", "invalid interface name"),
        ("../x", "invalid interface name"),
        ("all", "invalid interface name"),
        ("-j", "invalid interface name"),
    ):
        assert said in host.run("network", "create", "-o", f"{NAME}={name}", "bad", check=1).stderr
    # One that became something else after the network was made.
    host.run("network", "create", "-o", f"{NAME}=later", "n6")
    host.sh("ip link add later type veth peer name later2")
    refused = host.run("run", "--rm", "--network", "n6", IMAGE, "true", check=125)
    assert "later is there already, and is no bridge" in refused.stderr
    host.run("network", "rm", "n6")
    assert {"eth0", "later"} <= host.links() and not ours(host)


def test_rules_go_though_the_bridge_has_gone(host: Host) -> None:
    for remove in (
        ("network", "rm", "gone"),
        ("network", "prune", "-f"),
        ("system", "prune", "-f"),
    ):
        identity = host.out("network", "create", "gone")[:12]
        host.run("run", "-d", "--name", "web", "--network", "gone", "-p", "8098:80", *WEB)
        assert f"boxwright-net:{identity}" in host.rules()
        host.sh("for b in $(ip -br link | grep -o '^bw-[0-9a-f]*'); do ip link del $b; done")
        host.run("rm", "-f", "web")
        assert ":8098" not in host.rules() and "--dport 8098" not in host.rules()
        host.run(*remove)
        assert not ours(host), remove


def test_rules_of_a_killed_container_go(host: Host) -> None:
    host.run("run", "-d", "--name", "web", "-p", "8097:80", *WEB)
    assert "--dport 8097" in host.rules()
    state = json.loads(next(host.root.glob("containers/*/state.json")).read_text())
    host.sh(f"kill -9 {state['Supervisor'].split(':')[1]}")
    host.run("rm", "-f", "web")
    assert "--dport 8097" not in host.rules()


@pytest.mark.parametrize(
    "exposed",
    [
        "80/tcp\nCOMMIT\n*filter\n-A INPUT -s 203.0.113.7 -j DROP\nCOMMIT\n*nat\n-A PREROUTING -p tcp",
        "foo",
        "80-70/tcp",
        "99999",
        "-1",
        "80/xyz",
        "80/tcp -j ACCEPT",
        "\u0663/tcp",
        "9" * 5000,
    ],
)
def test_no_text_of_an_image_is_in_a_rule(host: Host, tmp_path: Path, exposed: str) -> None:
    config = {"ExposedPorts": {exposed: {}}, "Cmd": ["sh"]}
    (tmp_path / "image.tar").write_bytes(docker_archive([(["odd:1"], [busybox_tar()])], config=config))
    host.run("load", "-i", str(tmp_path / "image.tar"))
    before = host.rules()
    refused = host.run("run", "--rm", "-P", "odd:1", "true", check=125)
    assert "which is no port" in refused.stderr and "\n*filter" not in refused.stderr
    host.run("run", "-d", "--name", "odd", "odd:1", "sleep", "100")
    assert "odd" in host.run("ps").stdout
    assert exposed in json.loads(host.out("inspect", "odd"))[0]["NetworkSettings"]["Ports"]
    host.run("rm", "-f", "odd")
    assert "203.0.113.7" not in host.rules() and host.rules().count("*filter") == before.count("*filter")


def test_names_of_networks_are_no_files(host: Host) -> None:
    for name in ("aardvark.pid", "a b"):
        host.run("network", "create", name)
        host.run("run", "-d", "--name", "first", "--network", name, IMAGE, "sleep", "100")
        found = host.run("run", "--rm", "--network", name, IMAGE, "nslookup", "first")
        assert host.address("first") in found.stdout
        host.run("rm", "-f", "first")
        host.run("network", "rm", name)


def test_the_network_default_is_the_bridge(host: Host) -> None:
    for option in ("default", "name=default"):
        host.run("run", "-d", "--name", "usual", "--network", option, IMAGE, "sleep", "100")
        found = json.loads(host.out("inspect", "usual"))[0]
        assert found["HostConfig"]["NetworkMode"] == "bridge"
        assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        host.run("rm", "-f", "usual")


def test_a_host_that_forwards_for_containers_forwards_for_no_other(tmp_path: Path) -> None:
    def policy(host: Host) -> str:
        return next(line for line in host.sh("iptables -S FORWARD").splitlines() if line.startswith("-P"))

    for forwards, wanted in (("0", "-P FORWARD DROP"), ("1", "-P FORWARD ACCEPT")):
        with private_host(tmp_path / forwards) as host:
            host.sh(f"sysctl -qw net.ipv4.ip_forward={forwards}")
            host.run("run", "--rm", IMAGE, "true")
            assert policy(host) == wanted and host.sh("sysctl -n net.ipv4.ip_forward").strip() == "1"


def test_how_many_programs_a_start_takes(tmp_path: Path) -> None:
    """Rules are loaded in one batch, and none is needed where there are no ports."""
    log = tmp_path / "log"
    with private_host(tmp_path) as host:
        host.sh("sysctl -qw net.ipv4.ip_forward=1; mkdir /run/real")
        host.own_sbin()
        for name in ("iptables-restore", "iptables-save"):
            real = Path(f"/usr/sbin/{name}").resolve()
            script = f"#!/bin/sh\necho {name} >>{log}\nexec /run/real/{name} "
            host.sh(
                f"ln -s {real} /run/real/{name}; rm /usr/sbin/{name}; "
                f"printf '%s\"$@\"\\n' '{script}' >/usr/sbin/{name}; chmod 755 /usr/sbin/{name}"
            )

        def programs(*words: str) -> list[str]:
            log.write_text("")
            host.run(*words)
            return log.read_text().split()

        host.run("network", "create", "counted")
        start = ("run", "-d", "--network", "counted")
        # It stays, so that the janitor of an idle network is not counted.
        assert programs(*start, "--name", "first", IMAGE, "sleep", "300") == ["iptables-restore"]
        assert programs(*start, "--name", "second", IMAGE, "sleep", "300") == []
        assert programs(*start, "--name", "web", "-p", "80:80", "-p", "81:80", *WEB) == ["iptables-restore"]
        assert programs("rm", "-f", "web") == ["iptables-restore"]
        assert programs("rm", "-f", "second", "first") == []
        assert programs("network", "rm", "counted") == ["iptables-save", "iptables-restore"]


def test_many_starts_and_ends_at_once_beside_a_firewall_that_is_flushed(host: Host) -> None:
    for number in range(3):
        host.run("network", "create", f"busy{number}")

    def live(number: int) -> str:
        name, network = f"c{number}", f"busy{number % 3}"
        host.run("run", "-d", "--name", name, "--network", network, "-p", f"{20000 + number}:80", *WEB)
        if number % 4 == 0:
            host.sh("iptables -t mangle -F; iptables -t nat -F")
        return host.run("rm", "-f", name).stderr

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(live, range(18))) == {""}
    assert not [line for line in ours(host) if "--dport" in line]
    host.run("network", "prune", "-f")
    assert not ours(host)


@pytest.mark.parametrize(
    "flush", ["for t in raw mangle filter nat; do iptables -t $t -F; done", "nft flush ruleset"]
)
def test_a_firewall_that_was_loaded_anew_is_mended_without_a_command(host: Host, flush: str) -> None:
    """Each supervisor minds the rules of its networks and ports; several on a network make them once."""
    if flush.startswith("nft ") and not shutil.which("nft"):
        pytest.skip("nft is not installed")
    if "legacy" in os.path.realpath(shutil.which("iptables-restore") or ""):
        pytest.skip("the older iptables tells of no removal")
    host.run("network", "create", "kept")
    host.run("network", "create", "--ipv6", "later")
    host.run("network", "create", "apart")
    for number in range(3):
        host.run(
            "run", "-d", "--name", f"web{number}", "--network", "kept", "-p", f"{8300 + number}:80", *WEB
        )
    host.run("run", "-d", "--name", "alone", "--network", "apart", *WEB)
    host.run("network", "connect", "later", "web1")
    try:
        before = sorted(ours(host))
        for _ in range(2):
            host.sh(flush)
            eventually(lambda: sorted(ours(host)) == before, 30)
            eventually(lambda: all(reaches(host.pid, "127.0.0.1", 8300 + n) for n in range(3)))
            asker = host.pid_of("alone")
            address = host.out("inspect", "-f", "{{.NetworkSettings.Networks.kept.IPAddress}}", "web0")
            assert not reaches(asker, address, 80)
        # What the container left is minded no more, and what is taken away on purpose stays away.
        host.run("network", "disconnect", "later", "web1")
        host.run("network", "rm", "later")
        host.run("rm", "-f", "web0")
        rest = sorted(ours(host))
        assert not [rule for rule in rest if "8300" in rule]
        host.sh(flush)
        eventually(lambda: sorted(ours(host)) == rest, 30)
    finally:
        host.run("rm", "-f", "web0", "web1", "web2", "alone", check=None)
        host.run("network", "prune", "-f")
    assert not ours(host)


def test_the_name_server_of_an_internal_network_asks_no_other(host: Host, tmp_path: Path) -> None:
    """Else names that a container makes up would carry what it knows to the servers of those names."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.2\n")
    world = host.neighbour("192.0.2", "2001:db8:9::")
    host.sh(f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf")
    try:
        heard = world.listen(53)
        for options in (("--internal",), ()):
            host.run("network", "create", *options, "named")
            host.run("run", "-d", "--name", "first", "--network", "named", IMAGE, "sleep", "100")
            ask = ("run", "--rm", "--network", "named", IMAGE, "timeout", "4", "nslookup")
            assert host.address("first") in host.run(*ask, "first", check=None).stdout
            host.run(*ask, f"secret-{len(options)}.example", check=None)
            host.run("rm", "-f", "first")
            host.run("network", "rm", "named")
        assert b"secret-0" in heard() and b"secret-1" not in heard()
    finally:
        host.sh("umount /etc/resolv.conf")
        world.close()


def test_one_name_server_while_containers_come_and_go(host: Host) -> None:
    def servers() -> list[str]:
        inside = host.sh("readlink /proc/self/ns/net").strip()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (
                    b"aardvark" in (process / "cmdline").read_bytes()
                    and os.readlink(process / "ns/net") == inside
                ):
                    found.append(process.name)
            except OSError:
                continue
        return found

    host.run("network", "create", "crowd")

    def live(number: int) -> str:
        name = f"member{number}"
        host.run("run", "-d", "--name", name, "--network", "crowd", IMAGE, "sleep", "100")
        eventually(lambda: host.address(name) in host.run("exec", name, "nslookup", name, check=None).stdout)
        return host.run("rm", "-f", name).stderr

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(live, range(8))) == {""}
    assert servers() == []
    host.run("network", "rm", "crowd")


def test_iptables_legacy(tmp_path: Path) -> None:
    with private_host(tmp_path) as host:
        host.own_sbin()
        names = "iptables iptables-save iptables-restore ip6tables ip6tables-save"
        host.sh(f"cd /usr/sbin; for n in {names}; do ln -sf xtables-legacy-multi $n; done")
        if not host.sh("iptables -t mangle -S", check=False):
            pytest.skip("iptables-legacy does not work here")
        host.run("network", "create", "old")
        host.run("run", "-d", "--name", "web", "--network", "old", "-p", "8093:80", *WEB)
        eventually(lambda: reaches(host.pid, "127.0.0.1", 8093))
        before = sorted(host.rules().splitlines())
        assert any("boxwright-net" in line for line in before)
        host.run("run", "--rm", "--network", "old", IMAGE, "true")
        host.sh("iptables -t mangle -F; iptables -t nat -F")
        host.run("network", "reload")
        assert sorted(host.rules().splitlines()) == before
        host.run("rm", "-f", "web")
        host.run("network", "rm", "old")
        assert not ours(host)


def test_a_host_without_iptables(host: Host) -> None:
    """It is said, the state says it too, and no bridge is left; without a network containers run."""
    host.run("network", "create", "bare")
    before = host.links()
    host.own_sbin()
    host.sh("mkdir /run/kept; cd /usr/sbin; cp -a *tables* /run/kept; rm *tables*")
    try:
        for words in (("--rm",), ("-d", "--name", "unlucky")):
            done = host.run("run", "--network", "bare", *words, IMAGE, "true", check=125)
            assert "iptables-restore is not installed (package iptables)" in done.stderr
            assert host.links() == before
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}"
        said = "created 128 cannot set up the container: iptables-restore is not installed (package iptables)"
        assert host.out("inspect", "-f", form, "unlucky") == said
        assert host.out("run", "--rm", "--network", "none", IMAGE, "echo", "fine") == "fine"
        host.run("rm", "unlucky")
    finally:
        host.sh("cp -a /run/kept/* /usr/sbin/; umount /usr/sbin; rm -r /run/kept /run/upper /run/work")
    assert host.out("run", "--rm", "--network", "bare", IMAGE, "echo", "again") == "again"
    host.run("network", "rm", "bare")


def test_a_proc_that_hides_processes(host: Host) -> None:
    host.sh("mount -o remount,hidepid=2 /proc")
    try:
        health = ("--health-cmd", "true", "--health-interval", "100ms")
        host.run("run", "-d", "--name", "box", *health, IMAGE, "sleep", "1000")
        form = "{{.State.Status}} {{.State.Health.Status}}"
        eventually(lambda: host.out("inspect", "-f", form, "box") == "running healthy")
        assert host.out("exec", "box", "whoami") == "root"
        assert "sleep 1000" in host.out("top", "box")
        assert host.out("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box") == "box 1"
        host.run("stop", "-t", "0", "box")
        assert host.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box") == "exited 137"
    finally:
        host.run("rm", "-f", "box", check=None)
        host.sh("mount -o remount,hidepid=0 /proc")


def test_a_network_without_a_free_address(host: Host) -> None:
    """The state says it, and what was refused runs when there is one again."""
    host.run("network", "create", "--subnet", "10.99.0.0/30", "tiny")
    host.run("run", "-d", "--name", "first", "--network", "tiny", IMAGE, "sleep", "1000")
    host.run("run", "--name", "second", "--network", "tiny", IMAGE, "true", check=125)
    said = host.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "second")
    assert said.startswith("created 128 failed to set up container networking: no available IPv4 addresses")
    host.run("rm", "-f", "first")
    host.run("start", "-a", "second")
    host.run("rm", "second")
    host.run("network", "rm", "tiny")
