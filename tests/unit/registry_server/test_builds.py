"""Automated images: links, webhooks, the queue, logs; the building program is a stand-in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.images_pushed import push_image
from support.server import Answer, Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")
STANDIN = (
    "import sys, time; print('building', *sys.argv[1:]); time.sleep(0.3); sys.exit('broken' in sys.argv[3])"
)
COMMAND = [sys.executable, "-c", STANDIN, "{image}", "{dockerfile}", "{url}"]
LINK = {
    "url": "https://git.example/web.git#main",
    "dockerfile": "deploy/Dockerfile",
    "tag": "edge",
    "secret": "shared",
}


def settings(command: list[str] = COMMAND) -> dict[str, Any]:
    return {"other": {"build": {"enabled": True, "command": command}}}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path, **settings()) as client:
        yield client


def link(client: Client, name: str, **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return client("PUT", f"/api/builds/{name}", json.dumps({**LINK, **more}), **headers)


def ended(client: Client, name: str, count: int = 1, **headers: str) -> list[dict[str, Any]]:
    for _ in range(200):
        builds: list[dict[str, Any]] = client("GET", f"/api/builds/{name}", **headers).json["builds"]
        if len([b for b in builds if b["ended"]]) >= count:
            return builds
        time.sleep(0.05)
    raise AssertionError(builds)


def test_from_a_webhook_to_a_log(registry: Client) -> None:
    assert link(registry, "acme/web").json["secret"] == "shared"
    body = b'{"ref": "refs/heads/main"}'
    signature = "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    answer = registry("POST", "/api/builds/acme/web", body, X_Hub_Signature_256=signature)
    assert answer.status == 202
    (build,) = ended(registry, "acme/web")
    assert build["state"] == "done" and build["reason"] == "webhook" and build["id"] == answer.json["build"]
    log = registry("GET", f"/api/builds/acme/web?log={build['id']}")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert (
        log.body.decode()
        == "building 127.0.0.1:5000/acme/web:edge deploy/Dockerfile https://git.example/web.git#main\n"
    )


def test_a_failing_build_says_so(registry: Client) -> None:
    link(registry, "acme/web", url="https://git.example/broken.git")
    registry("POST", "/api/builds/acme/web?secret=shared", b"")
    assert ended(registry, "acme/web")[0]["state"] == "failed"


def test_many_webhooks_make_one_more_build(registry: Client) -> None:
    link(registry, "acme/web")
    for _ in range(10):
        assert registry("POST", "/api/builds/acme/web", b"{}", X_Gitlab_Token="shared").status == 202
    time.sleep(2)
    assert len(ended(registry, "acme/web")) <= 3


def test_wrong_secrets_and_wrong_links(registry: Client) -> None:
    link(registry, "acme/web")
    assert registry("POST", "/api/builds/acme/web?secret=wrong", b"").status == 403
    assert registry("POST", "/api/builds/acme/web", b"{}", X_Hub_Signature_256="sha256=00").status == 403
    assert registry("POST", "/api/builds/no/such?secret=shared", b"").status == 404
    for wrong in (
        {"url": "file:///etc"},
        {"url": "--upload-pack=x"},
        {"url": "ext::sh -c id"},
        {"dockerfile": "../../x"},
        {"dockerfile": "-f"},
        {"tag": "a b"},
        {"url": ""},
    ):
        assert link(registry, "acme/web", **wrong).status == 400, wrong
    assert registry("DELETE", "/api/builds/acme/web").status == 204
    assert registry("POST", "/api/builds/acme/web?secret=shared", b"").status == 404


def test_secrets_are_not_guessed_for_long(registry: Client) -> None:
    link(registry, "acme/web")
    link(registry, "acme/api")

    def guess(name: str, secret: str) -> int:
        return registry("POST", f"/api/builds/{name}?secret={secret}", b"").status

    assert {guess("acme/web", "shared") for _ in range(30)} == {202}, "the right one as often as it comes"
    codes = [guess("acme/web", f"{n}") for n in range(30)]
    assert codes[0] == 403 and codes[-1] == 429 and guess("acme/api", "shared") == 202


def test_search_shows_what_is_automated(registry: Client) -> None:
    push_image(registry, "acme/web")
    link(registry, "acme/web")
    link(registry, "acme/new")

    def automated() -> dict[str, bool]:
        return {r["name"]: r["automated"] for r in registry("GET", "/api/search").json["results"]}

    assert automated() == {"acme/web": True, "acme/new": True}
    registry("DELETE", "/api/builds/acme/web")
    assert automated() == {"acme/web": False, "acme/new": True}


def test_a_build_outlives_the_registry(tmp_path: Path) -> None:
    slow = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(60)"]
    with serving(tmp_path, **settings(slow)) as client:
        link(client, "acme/web")
        client("POST", "/api/builds/acme/web?secret=shared", b"")
        build = client("GET", "/api/builds/acme/web").json["builds"][0]["id"]
        eventually(
            lambda: client("GET", f"/api/builds/acme/web?log={build}").body == b"started\n"
        )  # while it runs
        assert client("GET", "/api/builds/acme/web").json["builds"][0]["state"] == "running"
        page = client("GET", f"/r/acme/web/_builds/{build}").body.decode()
        assert ">started\n<" in page and 'http-equiv="refresh"' in page
        began = time.monotonic()
    assert time.monotonic() - began < 10
    with serving(tmp_path, **settings()) as client:
        assert ended(client, "acme/web")[0]["state"] == "done"


def test_pages_show_builds(registry: Client) -> None:
    push_image(registry, "acme/web")
    assert "_builds" not in registry("GET", "/r/acme/web").body.decode()
    assert registry("GET", "/r/acme/web/_builds").status == 404
    link(registry, "acme/web", url="https://me:s3cr3t@git.example/<b>.git#main")
    assert 'href="/r/acme/web/_builds"' in registry("GET", "/r/acme/web").body.decode()
    assert registry("POST", "/build", "name=acme/web", Origin="https://elsewhere.example").status == 403
    answer = registry("POST", "/build", "name=acme/web")
    assert (answer.status, answer.headers["Location"]) == (303, "/r/acme/web/_builds")
    (build,) = ended(registry, "acme/web")
    page = registry("GET", "/r/acme/web/_builds").body.decode()
    assert "https://git.example/&lt;b&gt;.git#main" in page and "s3cr3t" not in page and "refresh" not in page
    assert (
        f'href="/r/acme/web/_builds/{build["id"]}"' in page
        and ">done<" in page
        and "asked by an anonymous client" in page
    )
    log = registry("GET", f"/r/acme/web/_builds/{build['id']}").body.decode()
    assert "building 127.0.0.1:5000/acme/web:edge" in log and "&lt;b&gt;" in log and "refresh" not in log
    assert "s3cr3t" not in registry("GET", "/api/builds/acme/web").body.decode()
    for path in (
        "/r/acme/web/_builds/99",
        "/r/acme/web/_builds/x",
        "/r/acme/none/_builds",
        "/r/acme/none/_builds/1",
    ):
        assert registry("GET", path).status == 404, path


def test_switched_off_by_default(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        assert link(client, "acme/web").status in (404, 405)


def test_who_may_link_ask_and_read(tmp_path: Path) -> None:
    from boxwright.registry.server.auth.users import Users
    from boxwright.registry.server.config import Auth

    def login(user: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:password".encode()).decode()}

    for user in ("root", "alice", "bob"):
        Users(tmp_path / "htpasswd").put(user, "password", new=True)
    show = [
        sys.executable,
        "-c",
        "import os, pathlib; print(pathlib.Path(os.environ['DOCKER_CONFIG'], 'config.json').read_text())",
    ]
    with serving(
        tmp_path / "data",
        auth=Auth(htpasswd=tmp_path / "htpasswd", admins=frozenset({"root"})),
        **settings(show),
    ) as client:
        assert link(client, "alice/web").status == 401
        assert link(client, "alice/web", headers=login("alice")).status == 403
        assert link(client, "alice/web", headers=login("root")).status == 201
        assert client("POST", "/api/builds/alice/web", b"", **login("bob")).status == 403
        assert client("POST", "/api/builds/alice/web", b"", **login("alice")).status == 202
        assert client("GET", "/api/builds/alice/web", **login("bob")).status == 403
        (build,) = ended(client, "alice/web", **login("alice"))
        assert client("GET", f"/r/alice/web/_builds/{build['id']}").headers["Location"].startswith("/login")
        assert client("GET", f"/r/alice/web/_builds/{build['id']}", **login("bob")).status == 404
        assert client("POST", "/build", "name=alice/web", **login("bob")).status == 403
        assert build["reason"] == "asked by alice"
        log = client("GET", f"/api/builds/alice/web?log={build['id']}", **login("alice")).json
        used = base64.b64decode(log["auths"]["127.0.0.1:5000"]["auth"]).decode()
        assert used.startswith("root:bwp_")
        header = {"Authorization": "Basic " + base64.b64encode(used.encode()).decode()}
        assert client("GET", "/v2/", **header).status == 401  # the token ended with the build


def test_a_relative_storage_is_the_same_for_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which runs in another directory."""
    monkeypatch.chdir(tmp_path)
    show = [sys.executable, "-c", "import os; print(os.environ['BOXWRIGHT_ROOT'])"]
    with serving(Path("reg"), **settings(show)) as client:
        link(client, "acme/web")
        client("POST", "/api/builds/acme/web?secret=shared", b"")
        (build,) = ended(client, "acme/web")
        log = client("GET", f"/api/builds/acme/web?log={build['id']}").body.decode()
        assert log == f"{tmp_path}/reg/builders/acme\n"


def test_each_namespace_has_a_store_of_its_own(tmp_path: Path) -> None:
    """What one pulled or cached, another would find there."""
    show = [sys.executable, "-c", "import os; print(os.environ['BOXWRIGHT_ROOT'])"]
    roots = {}
    with serving(tmp_path, **settings(show)) as client:
        for name in ("acme/web", "acme/deep/api", "bob/web", "web", "library/web"):
            link(client, name)
            client("POST", f"/api/builds/{name}?secret=shared", b"")
            (build,) = ended(client, name)
            roots[name] = client("GET", f"/api/builds/{name}?log={build['id']}").body
    assert roots["acme/web"] == roots["acme/deep/api"] and roots["web"] == roots["library/web"]
    assert len(set(roots.values())) == 3


def test_a_program_that_cannot_be_started_is_a_failed_build(registry: Client, tmp_path: Path) -> None:
    with serving(tmp_path / "other", **settings(["/no/such/program"])) as client:
        link(client, "acme/web")
        client("POST", "/api/builds/acme/web?secret=shared", b"")
        (build,) = ended(client, "acme/web")
        assert build["state"] == "failed"
        assert "/no/such/program" in client("GET", f"/api/builds/acme/web?log={build['id']}").body.decode()


def test_what_a_build_may_pull(tmp_path: Path) -> None:
    """Its base: of its own namespace, what every account may, and what the configuration names. Not what the
    administrator may who linked it."""
    from boxwright.registry.server.auth.policy import Policy, Principal
    from boxwright.registry.server.auth.tokens import parse_scope
    from boxwright.registry.server.builds.queue import BuildLink, build_scopes
    from boxwright.registry.server.config import Auth

    policy = Policy(
        Auth(
            htpasswd=tmp_path,
            admins=frozenset({"root"}),
            private=("acme/**", "bob/**", "base/**", "library/own"),
        )
    )

    def may(repository: str, *more: str) -> Any:
        limits = tuple(map(parse_scope, build_scopes(BuildLink(repository, "https://x/y.git"), more)))
        return lambda name: "".join(a[:2] for a in sorted(policy.actions(Principal("root", limits), name)))

    web = may("acme/web")
    assert web("acme/web") == "pupu" and web("acme/base") == web("acme/deep/base") == "pu"
    assert web("library/debian") == web("carol/public") == "pu", "any account may"
    assert web("bob/secret") == web("base/python") == web("library/own") == ""
    assert may("acme/web", "base/**")("base/python") == "pu"
    assert may("library/web")("library/own") == may("web")("library/own") == "pu"
    assert not policy.may(
        Principal("root", tuple(map(parse_scope, build_scopes(BuildLink("a/b", ""), ())))), "administer"
    )
