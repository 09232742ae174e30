"""`--link`: which variables and names tell a container of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.container import links
from boxwright.container.config import ContainerConfig, ContainerConfigInvalid
from boxwright.container.records import Container, NoSuchContainer, State, WrongState, save_state
from support.few import Few, added

ONE, TWO = "a1" * 32, "b2" * 32
# As Docker 28.5 shows them for a container with --expose 80 --expose 53/udp -p 81:81 and two variables.
VARIABLES = """\
DB_PORT=tcp://172.17.0.2:80
DB_PORT_80_TCP=tcp://172.17.0.2:80
DB_PORT_80_TCP_ADDR=172.17.0.2
DB_PORT_80_TCP_PORT=80
DB_PORT_80_TCP_PROTO=tcp
DB_PORT_81_TCP=tcp://172.17.0.2:81
DB_PORT_81_TCP_ADDR=172.17.0.2
DB_PORT_81_TCP_PORT=81
DB_PORT_81_TCP_PROTO=tcp
DB_PORT_53_UDP=udp://172.17.0.2:53
DB_PORT_53_UDP_ADDR=172.17.0.2
DB_PORT_53_UDP_PORT=53
DB_PORT_53_UDP_PROTO=udp
DB_PORT_80_TCP_START=tcp://172.17.0.2:80
DB_PORT_80_TCP_PORT_START=80
DB_PORT_80_TCP_END=tcp://172.17.0.2:81
DB_PORT_80_TCP_PORT_END=81
DB_NAME=/box/db
DB_ENV_FOO=bar
DB_ENV_BAZ=a b
"""


class Pair:
    """A container `box` that links to another as `alias`, and that other one, `web`, with a state."""

    def __init__(self, path: Path, alias: str = "db", mode: str = "bridge", **state: Any) -> None:
        few = Few(path)
        config = ContainerConfig(image="i", network=mode).to_json()
        merged = {
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "81/tcp": {}},
            "Env": ["PATH=/bin", "FOO=bar", "BAZ=a b", "HOME=/"],
        }
        networks: dict[str, Any] = {} if mode == "none" else {mode: {}}
        self.box = added(few, ONE, "box", config=config, links=[[TWO, alias]], networks=networks)
        self.web = added(few, TWO, "web", merged=merged)
        save_state(self.web.directory, State(**state))

    def find(self, text: str) -> Container:
        if text not in ("web", TWO):
            raise NoSuchContainer(f"No such container: {text}")
        return self.web

    def found(self) -> list[links.ContainerLink]:
        return links.found(self.box, self.find)


def running(name: str) -> dict[str, Any]:
    return {"status": "running", "pid": 1, "networks": {name: {"address": "172.17.0.2"}}}


def test_variables_and_names_on_the_default_bridge(tmp_path: Path) -> None:
    pair = Pair(tmp_path, **running("bridge"))
    assert links.variables(pair.box, pair.found()) == VARIABLES.splitlines()
    assert links.host_lines(pair.found()) == [("172.17.0.2", ["db", TWO[:12], "web"])]


def test_an_alias_with_dashes(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "my-db", **running("bridge"))
    assert links.variables(pair.box, pair.found())[:1] == ["MY_DB_PORT=tcp://172.17.0.2:80"]


def test_a_network_of_names_has_no_variables(tmp_path: Path) -> None:
    pair = Pair(tmp_path, mode="mine", **running("mine"))
    assert links.variables(pair.box, pair.found()) == []
    assert links.host_lines(pair.found())[0][0] == "172.17.0.2"


def test_without_a_network_nothing_is_linked(tmp_path: Path) -> None:
    assert Pair(tmp_path, mode="none").found() == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "^Cannot link to a non running container: /web AS /box/db$"),
        (running("mine"), f"^container {TWO} not attached to default bridge network$"),
    ],
)
def test_what_cannot_be_linked(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongState, match=message):
        Pair(tmp_path, **state).found()


def test_links_are_looked_up_at_birth(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    wanted = ContainerConfig(image="i", links=("web:db", "web"))
    assert links.resolved(wanted, pair.find) == [[TWO, "db"], [TWO, "web"]]
    with pytest.raises(
        ContainerConfigInvalid, match=r"^could not get container for x: No such container: x$"
    ):
        links.resolved(ContainerConfig(image="i", links=("x:y",)), pair.find)
    for network, what in (("host", "host type networking"), ("container:a", "container type network")):
        with pytest.raises(
            ContainerConfigInvalid, match=f"^conflicting options: {what} can't be used with links"
        ):
            links.resolved(ContainerConfig(image="i", links=("web",), network=network), pair.find)
