"""Search, stars and descriptions, over HTTP."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from suites.ladder_suite import make, old_versions
from support.images_pushed import push_image, push_index
from support.server import Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")

NOTE = "org.opencontainers.image."


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path) as client:
        yield client


def names(client: Client, query: str) -> list[str]:
    answer = client("GET", f"/api/search?{query}")
    assert answer.status == 200, answer
    return [r["name"] for r in answer.json["results"]]


def test_ping_says_standalone(registry: Client) -> None:
    answer = registry("GET", "/v1/_ping")
    assert answer.status == 200 and answer.json == {"standalone": True}
    assert answer.headers["X-Docker-Registry-Standalone"] == "true"


def test_what_is_pushed_is_found_at_once_by_all_it_says(registry: Client) -> None:
    push_image(
        registry,
        "acme/web",
        labels={"com.acme.flavour": "raspberry"},
        annotations={NOTE + "description": "Serves pages with zest"},
    )
    for text in (
        "web",
        "acme/web",
        "ACME",
        "zest",
        "raspberry",
        "com.acme.flavour",
        "amd64",
        "web+raspberry",
        "eb",
        "pages+zest+we",
    ):
        assert names(registry, f"q={text}") == ["acme/web"], text
    for text in ("nothing", "web+nothing", "zz", "%22web", "we*b", "acme_web", "NOT+x"):
        assert names(registry, f"q={text}") == [], text


def test_labels_and_description_follow_the_newest_image(registry: Client) -> None:
    push_image(registry, "a/b", labels={NOTE + "description": "an oldtimer"})
    assert names(registry, "q=oldtimer") == ["a/b"]
    push_image(registry, "a/b", labels={NOTE + "description": "a youngster"})
    assert names(registry, "q=oldtimer") == []
    assert names(registry, "q=youngster") == ["a/b"]
    digest = registry("HEAD", "/v2/a/b/manifests/latest").headers["Docker-Content-Digest"]
    assert registry("DELETE", f"/v2/a/b/manifests/{digest}").status == 202
    assert names(registry, "q=youngster") == []


def test_the_closest_name_comes_first_then_the_most_liked(registry: Client) -> None:
    for name in ("x/redis-tools", "y/redis", "redis", "z/my-redis", "x/other", "x/redis-cluster"):
        push_image(registry, name)
    registry("PUT", "/api/stars/x/redis-tools")
    assert names(registry, "q=redis") == [
        "redis",
        "y/redis",
        "x/redis-tools",
        "x/redis-cluster",
        "z/my-redis",
    ]
    assert names(registry, "q=redis&sort=name") == [
        "redis",
        "x/redis-cluster",
        "x/redis-tools",
        "y/redis",
        "z/my-redis",
    ]
    assert names(registry, "q=redis&sort=stars")[0] == "x/redis-tools"
    assert names(registry, "q=redis&official=true") == ["redis"]
    assert "redis" not in names(registry, "official=false")
    assert names(registry, "q=redis&limit=2&offset=1") == ["y/redis", "x/redis-tools"]
    assert registry("GET", "/api/search?q=redis&limit=1").json["total"] == 5


def test_platforms_of_an_index(registry: Client) -> None:
    children = {
        p: push_image(registry, "m/multi", "", platform=p)
        for p in ("linux/amd64", "linux/arm/v7", "linux/arm64")
    }
    push_index(
        registry, "m/multi", "latest", children, {NOTE + "title": "Many", NOTE + "description": "everywhere"}
    )
    push_image(registry, "m/single", platform="linux/arm64")
    assert names(registry, "platform=linux/arm&sort=name") == ["m/multi"]
    assert names(registry, "platform=arm64&sort=name") == ["m/multi", "m/single"]
    assert names(registry, "platform=linux/arm/v7&q=everywhere") == ["m/multi"]
    assert names(registry, "platform=windows/amd64") == []
    found = registry("GET", "/api/repositories/m/multi").json
    assert found["title"] == "Many" and found["platforms"] == ["linux/amd64", "linux/arm/v7", "linux/arm64"]
    assert [t["name"] for t in found["tags"]] == ["latest"] and found["tags_total"] == 1
    variants = found["tags"][0]["platforms"]
    assert [v["platform"] for v in variants] == found["platforms"] and all(
        v["size"] > 80_000 for v in variants
    )


def test_docker_gets_names_to_pull_and_others_bare_ones(registry: Client) -> None:
    push_image(registry, "acme/web", annotations={NOTE + "description": "Web"})
    push_image(registry, "busybox")
    answer = registry("GET", "/v1/search?q=web&n=10", User_Agent="docker/20.10.24 go/go1.19").json
    assert [r["name"] for r in answer["results"]] == [f"{registry.host}/acme/web"]
    answer = registry("GET", "/v1/search?q=&n=10").json
    assert answer["num_results"] == 2 and answer["page"] == 1
    assert [(r["name"], r["is_official"], r["description"], r["star_count"]) for r in answer["results"]] == [
        ("busybox", True, "", 0),
        ("acme/web", False, "Web", 0),
    ]
    second = registry("GET", "/v1/search?q=&n=1&page=2").json
    assert [r["name"] for r in second["results"]] == ["acme/web"]
    assert registry("GET", "/v1/search?q=&n=x").status == 400
    assert registry("GET", "/v1/searching").status == 404


def test_stars_come_and_go(registry: Client) -> None:
    push_image(registry, "a/b")
    assert registry("PUT", "/api/stars/a/b").json == {"name": "a/b", "stars": 1, "starred": True}
    assert registry("PUT", "/api/stars/a/b").json["stars"] == 1
    assert registry("GET", "/api/repositories/a/b").json["stars"] == 1
    assert registry("DELETE", "/api/stars/a/b").json["stars"] == 0
    assert registry("PUT", "/api/stars/no/such").status == 404


def test_owners_describe_in_their_own_words(registry: Client) -> None:
    push_image(registry, "a/b", annotations={NOTE + "description": "from the image"})
    assert (
        registry("PATCH", "/api/repositories/a/b", b'{"description": "from the owner"}').json["description"]
        == "from the owner"
    )
    push_image(registry, "a/b", annotations={NOTE + "description": "a newer image"})
    assert names(registry, "q=from+owner") == ["a/b"]
    assert (
        registry("PATCH", "/api/repositories/a/b", b'{"description": null}').json["description"]
        == "a newer image"
    )
    for bad in (b"", b"[]", b'{"description": 1}', b"{" * 5000):
        assert registry("PATCH", "/api/repositories/a/b", bad).status == 400
    assert registry("PATCH", "/api/repositories/no/such", b'{"description": "x"}').status == 404


@pytest.mark.parametrize("labels", [["a"], "text", 5, {"a": {"b": 1}}, None])
def test_nonsense_in_a_config_does_no_harm(registry: Client, labels: object) -> None:
    push_image(registry, "odd/one", config={"Labels": labels, "Env": "no list"})
    assert names(registry, "q=odd") == ["odd/one"]


def test_wrong_questions(registry: Client) -> None:
    for query in ("official=maybe", "sort=taste", "limit=-1", "limit=x", "offset=%C2%B2"):
        assert registry("GET", f"/api/search?{query}").status == 400, query


def test_an_older_storage_without_search_is_filled(tmp_path: Path) -> None:
    make(old_versions("registry")[0], tmp_path / "registry.db")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as sql, sql:
        for number in range(500):
            sql.execute(
                "INSERT INTO repositories (name, created, updated) VALUES (?, 1, 1)",
                (f"old/repo-{number:03}",),
            )
    with serving(tmp_path) as client:
        eventually(lambda: client("GET", "/api/search?q=repo&limit=1").json["total"] == 500)


def test_no_client_waits_for_a_large_backlog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are described first, and no search describes more than a few."""
    from boxwright.registry.server.api import search as search_handlers
    from boxwright.registry.server.store.search import FEW, Search

    monkeypatch.setattr(search_handlers, "_PAUSE", 3600)
    with serving(tmp_path, read_only=True) as client:
        assert client("GET", "/healthz").status == 200  # so the indexer has looked, and sleeps
        catalog, search = client.service.catalog, Search(client.service.catalog, client.service.blobs)
        with catalog.write() as sql:
            for number in range(FEW + 10):
                catalog.make(sql, f"many/repo-{number:03}")
        assert search.pending() == FEW + 1, "more than a few"
        client.service.read_only = False
        assert client("GET", "/api/search?q=many").json["total"] == 0
        assert search.refresh(10) == 10
        assert names(client, "q=many&sort=name&limit=1") == ["many/repo-000"], "what is left is few enough"
        assert search.pending() == 0


def test_text_that_is_no_text_does_no_harm(registry: Client) -> None:
    """JSON may hold half a character, which no encoding has."""
    half = "half \ud800 a\x00 character"
    push_image(
        registry,
        "odd/half",
        labels={"org.opencontainers.image.description": half, half: half},
        history=[{"created_by": half}] * 2,
        annotations={"x": half},
    )
    assert names(registry, "q=odd/half") == ["odd/half"]
    assert registry("GET", "/api/repositories/odd/half").json["description"].startswith("half ")
    for page in ("/v1/search?q=half", "/", "/?q=half", "/r/odd/half", "/r/odd/half/tags/latest"):
        assert registry("GET", page).status == 200, page


def test_private_repositories_stay_unseen(tmp_path: Path) -> None:
    from boxwright.registry.server.auth.users import Users
    from boxwright.registry.server.config import Auth

    users = Users(tmp_path / "htpasswd")
    for user in ("alice", "bob"):
        users.put(user, f"{user}-password", new=True)
    auth = Auth(
        htpasswd=tmp_path / "htpasswd",
        admins=frozenset({"root"}),
        anonymous=("**",),
        private=("alice/secret*",),
    )

    def login(user: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{user}-password".encode()).decode()}

    with serving(tmp_path / "data", auth=auth) as client:
        push_image(client, "alice/secret-sauce", credentials=login("alice"))
        push_image(client, "alice/sauce", credentials=login("alice"))

        def found(**headers: str) -> tuple[list[str], int]:
            answer = client("GET", "/api/search?q=sauce", **headers).json
            return sorted(r["name"] for r in answer["results"]), answer["total"]

        assert found() == (["alice/sauce"], 1)
        assert found(**login("bob")) == (["alice/sauce"], 1)
        assert found(**login("alice")) == (["alice/sauce", "alice/secret-sauce"], 2)
        assert client("GET", "/v1/search?q=secret", **login("bob")).json["results"] == []
        assert client("GET", "/api/repositories/alice/secret-sauce").status == 401
        assert client("GET", "/api/repositories/alice/secret-sauce", **login("bob")).status == 403
        assert client("PUT", "/api/stars/alice/sauce").status == 401
        assert client("PUT", "/api/stars/alice/sauce", **login("bob")).json["stars"] == 1
        assert client("PUT", "/api/stars/alice/secret-sauce", **login("bob")).status == 403
        assert (
            client("PATCH", "/api/repositories/alice/sauce", b'{"description": "x"}', **login("bob")).status
            == 403
        )


@pytest.mark.parametrize("known", [False, True])
def test_pulls_that_are_counted_while_it_is_described_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    from boxwright.registry.server.api import search as search_handlers
    from boxwright.registry.server.store.describe import Reader
    from boxwright.registry.server.store.search import Search

    monkeypatch.setattr(search_handlers, "_PAUSE", 3600)
    with serving(tmp_path) as client:
        assert client("GET", "/healthz").status == 200  # so the indexer has looked, and sleeps
        catalog, search = client.service.catalog, Search(client.service.catalog, client.service.blobs)
        with catalog.write() as sql:
            id = catalog.make(sql, "a/b")
        if known:
            search.refresh()
            with catalog.write() as sql:
                sql.execute("UPDATE repositories SET updated = 5 WHERE id = ?", (id,))
        about = Reader.about

        def meanwhile(reader: Reader) -> object:
            catalog.count_pulls({("a/b", "sha256:0"): 3})
            return about(reader)

        monkeypatch.setattr(Reader, "about", meanwhile)
        assert search.refresh() == 1
        monkeypatch.undo()
        row = catalog.connection().execute("SELECT pulls, updated FROM search WHERE name = 'a/b'").fetchone()
        assert row[0] == 3 and (row[1] == 5 or not known)
