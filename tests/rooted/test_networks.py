"""Networks of real containers: the default bridge, user networks with names, published ports."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from boxwright.container.hostside import ProgramAbsent, dns_program
from support.containers import IMAGE, Root
from support.waiting import eventually

pytestmark = [pytest.mark.rooted, pytest.mark.usefixtures("cleared")]


def links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def rules() -> str:
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def get(address: str, port: int, path: str = "/motd") -> str:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


WEB = (IMAGE, "httpd", "-f", "-p", "80", "-h", "/etc")


def test_the_default_bridge(root: Root) -> None:
    out = root.out(
        "run",
        "--rm",
        IMAGE,
        "sh",
        "-c",
        "ip -4 addr show eth0; ip route; cat /etc/hosts /etc/resolv.conf; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    )
    network = root.engine.containers.networks.get("bridge")
    assert f"default via {network.gateway} dev eth0" in out
    address = out.split("inet ")[1].split("/")[0]
    assert f"{address}\t" in out and out.endswith("\n0")
    assert network.bridge in links()


def test_containers_reach_the_host_and_each_other(root: Root) -> None:
    root.run("run", "-d", "--name", "web", *WEB)
    address = root.out("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web")
    eventually(
        lambda: (
            root.run("run", "--rm", IMAGE, "wget", "-qO-", f"http://{address}/motd", check=None).stdout
            == "hello\n"
        )
    )
    gateway = root.engine.containers.networks.get("bridge").gateway
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        heard: list[str] = []

        def serve() -> None:
            connection, peer = server.accept()
            heard.append(peer[0])
            connection.sendall(b"from the host\n")
            connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert (
            root.out("run", "--rm", "--add-host", "me:host-gateway", IMAGE, "nc", "me", str(port))
            == "from the host"
        )
        thread.join(10)
    assert heard and heard[0].rpartition(".")[0] == gateway.rpartition(".")[0]


def test_published_ports(root: Root) -> None:
    root.run("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-p", "80/tcp", *WEB)
    shown = root.out("port", "web").splitlines()
    six = Path("/proc/net/if_inet6").exists()
    assert len(shown) == 2 + six and shown[0].startswith("80/tcp -> ")
    ports = {line.rpartition(":")[0].split("-> ")[1]: int(line.rpartition(":")[2]) for line in shown}
    for address in ("127.0.0.1", "0.0.0.0"):
        eventually(lambda address=address: get("127.0.0.1", ports[address]) == "hello\n")
    if six:
        assert ports["[::]"] == ports["0.0.0.0"] and get("::1", ports["[::]"]) == "hello\n"
    assert f":{ports['0.0.0.0']}->80/tcp" in root.out("ps", "--format", "{{.Ports}}")
    identity = root.engine.containers.get("web").short_id
    assert f"boxwright:{identity}" in rules()
    # Through the host's own address, from another container.
    gateway = root.engine.containers.networks.get("bridge").gateway
    assert (
        root.out("run", "--rm", IMAGE, "wget", "-qO-", f"http://{gateway}:{ports['0.0.0.0']}/motd") == "hello"
    )
    refused = root.run("run", "--rm", "-p", f"{ports['0.0.0.0']}:80", IMAGE, "true", check=125)
    assert (
        "Error: failed to set up container networking: driver failed programming external" in refused.stderr
    )
    assert "port is already allocated" in refused.stderr
    root.run("rm", "-f", "web")
    eventually(lambda: f"boxwright:{identity}" not in rules())
    with pytest.raises(OSError):
        get("127.0.0.1", ports["0.0.0.0"])


def test_a_port_that_a_program_has(root: Root) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = root.run(
            "run", "--rm", "-p", f"127.0.0.1:{server.getsockname()[1]}:80", IMAGE, "true", check=125
        )
    assert "address already in use" in refused.stderr


def test_publish_all(root: Root) -> None:
    root.run("run", "-d", "--name", "all", "--expose", "80", "--expose", "53/udp", "-P", *WEB)
    assert {line.split(" ")[0] for line in root.out("port", "all").splitlines()} == {"80/tcp", "53/udp"}


def test_host_and_none(root: Root) -> None:
    assert set(root.out("run", "--rm", "--network", "host", IMAGE, "ls", "/sys/class/net").split()) >= {
        "lo"
    } | {n for n in links() if not n.startswith("veth")}
    assert (
        root.out(
            "run",
            "--rm",
            "--network",
            "none",
            IMAGE,
            "cat",
            "/sys/class/net/lo/operstate",
            "/sys/class/net/lo/flags",
        ).split()[1]
        == "0x9"
    )
    assert root.out("run", "--rm", "--network", "host", IMAGE, "hostname") == socket.gethostname()


def needs_dns() -> None:
    try:
        dns_program()
    except ProgramAbsent as error:
        pytest.skip(str(error))


def test_links_tell_of_ports(root: Root) -> None:
    root.run("run", "-d", "--name", "web", "-e", "FOO=bar", "--expose", "80", *WEB)
    linked = ("--link", "web:db")
    script = "env | grep ^DB_; wget -qO- http://db/motd"
    said = root.out("run", "--rm", "--name", "box", *linked, IMAGE, "sh", "-c", script).splitlines()
    address = root.out("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web")
    assert {f"DB_PORT=tcp://{address}:80", "DB_NAME=/box/db", "DB_ENV_FOO=bar", "hello"} <= set(said)
    root.run("run", "-d", "--name", "box", *linked, IMAGE, "sleep", "1000")
    assert f"DB_PORT_80_TCP_ADDR={address}" in root.out("exec", "box", "env")
    assert root.out("inspect", "-f", "{{json .HostConfig.Links}}", "box") == '["/web:/box/db"]'
    root.run("rm", "-f", "web", "box")
    assert "could not get container for web" in root.run("create", *linked, IMAGE, check=1).stderr


def test_user_networks_have_names(root: Root) -> None:
    needs_dns()
    identity = root.out("network", "create", "--label", "a=b", "mine")
    assert len(identity) == 64
    try:
        root.run("run", "-d", "--name", "web", "--network", "mine", "--network-alias", "www", *WEB)
        for name in ("web", "www", root.engine.containers.get("web").short_id):
            eventually(
                lambda name=name: (
                    root.run(
                        "run",
                        "--rm",
                        "--network",
                        "mine",
                        IMAGE,
                        "wget",
                        "-qO-",
                        f"http://{name}/motd",
                        check=None,
                    ).stdout
                    == "hello\n"
                )
            )
        assert "network mine id" in root.run("network", "rm", "mine", check=1).stderr
        assert root.out("network", "ls", "--filter", "label=a=b", "-q") == identity[:12]
        assert root.out("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "mine") == "web"
        bridge = root.engine.containers.networks.get("mine").bridge
        root.run("rm", "-f", "web")
    finally:
        root.clean()
        root.run("network", "rm", "-f", "mine")
    assert bridge not in links() and bridge not in rules()


def test_connecting_a_running_container(root: Root) -> None:
    needs_dns()
    root.run("network", "create", "--subnet", "10.231.7.0/24", "extra")
    try:
        root.run("run", "-d", "--name", "web", *WEB)
        root.run("network", "connect", "--ip", "10.231.7.77", "--alias", "www", "extra", "web")
        assert "10.231.7.77" in root.out("exec", "web", "ip", "-4", "addr", "show", "eth1")
        eventually(
            lambda: (
                root.run(
                    "run", "--rm", "--network", "extra", IMAGE, "wget", "-qO-", "http://www/motd", check=None
                ).stdout
                == "hello\n"
            )
        )
        assert (
            root.out("inspect", "-f", "{{.NetworkSettings.Networks.extra.IPAddress}}", "web") == "10.231.7.77"
        )
        root.run("network", "disconnect", "extra", "web")
        assert "eth1" not in root.out("exec", "web", "ls", "/sys/class/net")
    finally:
        root.clean()
        root.run("network", "rm", "-f", "extra")


def test_an_internal_network_leads_nowhere(root: Root) -> None:
    root.run("network", "create", "--internal", "inside")
    try:
        assert "default" not in root.out("run", "--rm", "--network", "inside", IMAGE, "ip", "route")
    finally:
        root.run("network", "rm", "inside")


def test_network_errors(root: Root) -> None:
    assert "predefined bridge network" in root.run("network", "create", "bridge", check=1).stderr
    assert "pre-defined network" in root.run("network", "rm", "bridge", check=1).stderr
    assert "network nosuch not found" in root.run("network", "inspect", "nosuch", check=1).stderr
    assert "invalid subnet" in root.run("network", "create", "--subnet", "1.2.3", "bad", check=1).stderr
    assert sorted(root.out("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()) == [
        "bridge bridge",
        "host host",
        "none null",
    ]


def test_nothing_is_left_of_a_container(root: Root) -> None:
    root.run("run", "--rm", IMAGE, "true")
    before = links()
    for _ in range(3):
        root.run("run", "--rm", IMAGE, "true")
    eventually(lambda: links() <= before)


def test_dns_settings(root: Root, tmp_path: Path) -> None:
    out = root.out(
        "run",
        "--rm",
        "--network",
        "none",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:2",
        IMAGE,
        "cat",
        "/etc/resolv.conf",
    )
    assert out.splitlines() == ["nameserver 9.9.9.9", "search example.org", "options ndots:2"]


def test_an_idle_bridge_is_taken_down_and_made_again(root: Root) -> None:
    networks = root.engine.containers.networks
    root.run("run", "-d", "--name", "user", IMAGE, "sleep", "100")
    bridge = networks.get("bridge").bridge
    networks.take_down_idle()
    assert bridge in links()
    root.run("rm", "-f", "user")
    eventually(lambda: networks.take_down_idle() is None and bridge not in links())
    assert bridge not in rules()
    root.run("run", "--rm", IMAGE, "true")
    assert bridge in links()
