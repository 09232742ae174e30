"""A host with firewalld: its bridges are in a zone that lets them in, also after it was loaded anew or started late."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.containers import IMAGE
from support.netns import WEB, Host, Machine, private_host, reaches
from support.waiting import eventually

pytestmark = pytest.mark.rooted

_BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_type="method_return"/>
<allow receive_type="error"/></policy></busconfig>"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if not all(map(shutil.which, ("firewalld", "dbus-daemon"))):
        pytest.skip("firewalld and dbus-daemon are not installed")
    with private_host(tmp_path_factory.mktemp("host")) as host:
        host.sh("mkdir /run/dbus; mount -t tmpfs none /etc/firewalld; mount -t tmpfs none /var/log")
        host.sh(f"cat > /run/bus.conf <<'END'\n{_BUS}\nEND")
        with begun(host, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile"):
            eventually(lambda: host.sh("ls /run/dbus/system_bus_socket", check=False) != "")
            yield host


@pytest.fixture
def firewalld(host: Host) -> Iterator[Host]:
    with firewalld_in(host):
        yield host


@contextmanager
def begun(host: Host, *words: str) -> Iterator[None]:
    argv = ["nsenter", "-t", str(host.pid), "-n", "-m", *words]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def firewalld_in(host: Host) -> Iterator[None]:
    with begun(host, "firewalld", "--nofork", "--nopid"):
        eventually(lambda: host.sh("firewall-cmd --state", check=False) == "running\n")
        yield


def zone(host: Host, bridge: str) -> str:
    """'' for one that is in none."""
    return host.sh(f"firewall-cmd --get-zone-of-interface={bridge}", check=False).strip()


def bridges(host: Host) -> list[str]:
    return sorted(link for link in host.links() if link.startswith("bw-"))


def finds(host: Host, name: str) -> bool:
    """Whether a container on the network `lan` finds another by its name: it asks the host."""
    return host.run("run", "--rm", "--network", "lan", IMAGE, "nslookup", name, check=None).returncode == 0


def test_containers_reach_names_and_the_world(firewalld: Host) -> None:
    host, world = firewalld, firewalld.neighbour("198.51.100", "fd00:98::")
    try:
        world.serve(80)
        host.run("network", "create", "lan")
        host.run("run", "-d", "--name", "web", "--network", "lan", "-p", "8080:80", *WEB)
        eventually(lambda: reaches(world.pid, "198.51.100.1", 8080))
        assert finds(host, "web")
        assert reaches(host.pid_of("web"), "198.51.100.2", 80)
        assert not reaches(world.pid, host.address("web"), 80)  # what is not published stays so
        (bridge,) = bridges(host)
        assert zone(host, bridge) == "trusted"
        after_a_change(host, world, "firewall-cmd --reload")
        after_a_change(host, world, "firewall-cmd --complete-reload")
    finally:
        host.run("rm", "-f", "web", check=None)
        host.run("network", "rm", "lan", check=None)
        world.close()
    assert zone(host, bridge) == ""
    assert host.sh("firewall-cmd --permanent --zone=trusted --list-all").count("bw-") == 0


def after_a_change(host: Host, world: Machine, command: str) -> None:
    host.sh(command)
    (bridge,) = bridges(host)
    eventually(lambda: zone(host, bridge) == "trusted")  # without another command of ours
    assert finds(host, "web") and reaches(host.pid_of("web"), "198.51.100.2", 80)
    eventually(lambda: reaches(world.pid, "198.51.100.1", 8080))


def test_firewalld_that_is_started_later(host: Host) -> None:
    host.run("network", "create", "lan")
    host.run("run", "-d", "--name", "web", "--network", "lan", *WEB)
    try:
        (bridge,) = bridges(host)
        for _ in range(2):  # started, and started anew
            with firewalld_in(host):
                eventually(lambda: zone(host, bridge) == "trusted")
                assert finds(host, "web")
    finally:
        host.run("rm", "-f", "web", check=None)
        host.run("network", "rm", "lan", check=None)


def test_a_bridge_of_the_users_stays_in_its_zone(firewalld: Host) -> None:
    host = firewalld
    host.sh("ip link add br9 type bridge; ip addr add 10.77.0.9/24 dev br9; ip link set br9 up")
    host.run(
        "network", "create", "--subnet", "10.77.0.0/24", "-o", "com.docker.network.bridge.name=br9", "n9"
    )
    for wanted in ("", "dmz"):
        if wanted:
            host.sh(f"firewall-cmd --zone={wanted} --add-interface=br9")
        host.run("run", "--rm", "--network", "n9", IMAGE, "true")
        host.run("network", "reload")
        assert zone(host, "br9") == wanted
    host.run("network", "rm", "n9")
    assert zone(host, "br9") == "dmz"


def test_a_zone_that_the_user_chose_for_a_bridge_of_ours_stays(firewalld: Host) -> None:
    host = firewalld
    host.run("network", "create", "-o", "com.docker.network.bridge.name=br8", "n8")
    host.sh("firewall-cmd --zone=dmz --add-interface=br8")
    host.run("run", "--rm", "--network", "n8", IMAGE, "true")
    assert zone(host, "br8") == "dmz"
    host.run("network", "rm", "n8")
    assert zone(host, "br8") == "dmz"
