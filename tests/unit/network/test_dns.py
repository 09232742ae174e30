"""Entries of the name server: files named by ids, lines of checked words."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.network import dns
from boxwright.network.plan import Endpoint, NameServer
from boxwright.network.values import Unfit
from support import endpoints

ONE, TWO, NET = "1" * 64, "2" * 64, "a" * 64


def server(folder: Path) -> NameServer:
    return NameServer(directory=str(folder / "dns"), program="/bin/true")


def endpoint(container: str, *names: str, internal: bool = False) -> Endpoint:
    address = f"10.0.0.{container[0]}"
    return endpoints.endpoint(id=NET, address=address, internal=internal, names=names)


def register(folder: Path, container: str, *names: str, internal: bool = False) -> None:
    dns.register(server(folder), container, [endpoint(container, *names, internal=internal)])


def unregister(folder: Path, container: str) -> None:
    dns.unregister(server(folder).directory, container, [NET])


def test_entries_come_and_go(tmp_path: Path) -> None:
    register(tmp_path, ONE, "web", "www")
    register(tmp_path, TWO, "db")
    file = tmp_path / "dns" / NET[:12]
    assert file.read_text().splitlines() == [
        "10.0.0.1",
        f"{ONE[:12]} 10.0.0.1  web,www",
        f"{TWO[:12]} 10.0.0.2  db",
    ]
    unregister(tmp_path, ONE)
    assert file.read_text().splitlines()[1:] == [f"{TWO[:12]} 10.0.0.2  db"]
    unregister(tmp_path, TWO)
    unregister(tmp_path, TWO)
    assert not file.exists()


def test_an_internal_network_has_another_server(tmp_path: Path) -> None:
    register(tmp_path, ONE, "web", internal=True)
    aside = tmp_path / "dns.internal"
    assert not (tmp_path / "dns").exists()
    assert [path.name for path in aside.iterdir()] == [NET[:12] + "%int"]
    unregister(tmp_path, ONE)
    assert list(aside.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "a\nb", "a,b", "", "a\tb", "x\r"])
def test_a_name_is_one_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unfit):
        register(tmp_path, ONE, name)
    assert list((tmp_path / "dns").iterdir()) == []
