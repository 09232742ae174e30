"""search: an index, a catalog, limits and filters."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.errors import Invalid
from boxwright.registry.client.auth import Credential
from boxwright.registry.client.search import SearchUnsupported, search, split_term
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.config import Auth
from support.images_pushed import push_image
from support.registry import FakeRegistry, Response, client, make_image, running
from support.server import serving


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        for name in ("app", "team/app", "tools/other", "zapp"):
            fake.add_image(name, "1", make_image({"a": b"x"}))
        yield fake


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("", "nginx")),
        ("library/nginx", ("", "nginx")),
        ("user/app", ("", "user/app")),
        ("docker.io/user/app", ("", "user/app")),
        ("localhost/x", ("localhost", "x")),
        ("localhost:5000/x/y", ("localhost:5000", "x/y")),
        ("r.example/", ("r.example", "")),
        ("localhost:5000", ("localhost:5000", "")),
        ("quay.io/a", ("quay.io", "a")),
    ],
)
def test_split(text: str, expected: tuple[str, str]) -> None:
    assert split_term(text) == expected


def test_index(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.searchable = True
    found = search(client(tmp_path), f"{registry.host}/app")
    assert [(f.name, f.stars, f.official) for f in found] == [
        (f"{registry.host}/app", 0, False),
        (f"{registry.host}/team/app", 1, False),
        (f"{registry.host}/zapp", 3, True),
    ]
    assert [f.stars for f in search(client(tmp_path), f"{registry.host}/app", stars=1)] == [1, 3]
    assert [f.stars for f in search(client(tmp_path), f"{registry.host}/app", official=True)] == [3]
    assert [f.stars for f in search(client(tmp_path), f"{registry.host}/app", official=False)] == [0, 1]
    assert len(search(client(tmp_path), f"{registry.host}/", limit=2)) == 2
    asked = registry.requests("GET", "/v1/search")[0]
    assert asked.query["n"] == ["25"] and asked.headers["x-docker-token"] == "true"


def test_catalog_where_there_is_no_index(registry: FakeRegistry, tmp_path: Path) -> None:
    assert [f.name for f in search(client(tmp_path), f"{registry.host}/APP")] == [
        f"{registry.host}/{n}" for n in ("app", "team/app", "zapp")
    ]


def test_neither(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.hook = lambda r: Response(404)
    with pytest.raises(SearchUnsupported):
        search(client(tmp_path), f"{registry.host}/x")


def test_limits(tmp_path: Path) -> None:
    for limit in (-1, 101):
        with pytest.raises(Invalid, match=r"outside the range of \[1, 100\]"):
            search(client(tmp_path), "localhost:1/x", limit=limit)


def test_odd_answers(registry: FakeRegistry, tmp_path: Path) -> None:
    body = b'{"results": [{"name": "a\\u001b[2J", "description": null, "star_count": "many"}, 5, {}]}'
    registry.hook = lambda r: Response(200, {}, body) if "search" in r.path else None
    (found,) = search(client(tmp_path), f"{registry.host}/x")
    assert (found.name, found.description, found.stars) == (f"{registry.host}/a [2J", "", 0)


@pytest.mark.parametrize("challenge", ["bearer", "basic"])
def test_an_account_finds_what_is_its_own_where_every_client_may_search(
    tmp_path: Path, challenge: str
) -> None:
    """Such a registry asks no client for an account."""
    users = Users(tmp_path / "htpasswd")
    users.put("ann", "secret", new=True)
    auth = Auth(htpasswd=users.path, anonymous=("**",), private=("ann/**",), challenge=challenge)
    login = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
    with serving(tmp_path / "reg", auth=auth) as server:
        for name in ("ann/app", "ann/other-app"):
            push_image(server, name, credentials=login)
        speaker = client(tmp_path / "nobody")
        assert search(speaker, f"{server.host}/app") == []
        speaker = client(tmp_path / "ann")
        speaker.login(server.host, Credential("ann", "secret"))
        found = {f"{server.host}/ann/app", f"{server.host}/ann/other-app"}
        assert {f.name for f in search(speaker, f"{server.host}/app")} == found
        assert {f"{server.host}/{name}" for name in client(tmp_path / "ann").catalog(server.host)} == found
