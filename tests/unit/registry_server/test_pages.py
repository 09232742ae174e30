"""The pages over plain HTTP: headers, sessions, what strangers and forged forms are told, odd images."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support.images_pushed import CONFIG, LAYER, MANIFEST, descriptor, push_image, put
from support.server import Client, serving

pytest.importorskip("aiohttp")
pytest.importorskip("jinja2")
HTML = {"Accept": "text/html"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path) as client:
        yield client


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Client]:
    from boxwright.registry.server.auth.users import Users
    from boxwright.registry.server.config import Auth

    for user in ("alice", "bob"):
        Users(tmp_path / "htpasswd").put(user, "password", new=True)
    with serving(
        tmp_path / "data",
        auth=Auth(htpasswd=tmp_path / "htpasswd", anonymous=("**",), private=("alice/secret",)),
    ) as client:
        push_image(
            client,
            "alice/secret",
            credentials={"Authorization": "Basic " + base64.b64encode(b"alice:password").decode()},
        )
        yield client


def log_in(client: Client, user: str, there: str = "/") -> tuple[str, str]:
    answer = client("POST", "/login", urlencode({"name": user, "password": "password", "next": there}))
    assert answer.status == 303, answer
    return answer.headers["Set-Cookie"].partition(";")[0], answer.headers["Location"]


def test_pages_are_locked_down(registry: Client) -> None:
    push_image(registry, "a/b")
    for path in ("/", "/r/a/b", "/r/a/b/tags/latest", "/?q=%3Cscript%3E"):
        answer = registry("GET", path)
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (
            b"<script>" not in answer.body
            and b" style=" not in answer.body
            and b" onclick" not in answer.body
        )


def test_files_are_kept_for_ever_under_an_address_of_their_own(registry: Client) -> None:
    home = registry("GET", "/").body.decode()
    for name in ("style.css", "copy.js", "icon.svg"):
        address = home[home.index(f"/static/{name}") :].partition('"')[0].partition("#")[0]
        answer = registry("GET", address)
        assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"]
    for path in ("/static/nothing.css", "/static/../handlers.py", "/static/%2e%2e/handlers.py", "/static/"):
        assert registry("GET", path).status == 404, path


@pytest.mark.parametrize(
    "path",
    [
        "/r/no/such",
        "/r/a/b/tags/none",
        "/r/a/b/manifests/sha256:" + "0" * 64,
        "/r/a/b/manifests/nonsense:x",
        "/r/UPPER",
        "/r/",
        "/x",
        "/r/a/b/tags/..%2f",
    ],
)
def test_what_is_not_there(registry: Client, path: str) -> None:
    push_image(registry, "a/b")
    answer = registry("GET", path, **HTML)
    assert answer.status in (400, 404) and b"<h1>" in answer.body


def test_programs_get_no_page_for_a_wrong_path(registry: Client) -> None:
    answer = registry("GET", "/no/such/thing")
    assert answer.status == 404 and b"<" not in answer.body


def test_pages_turn(registry: Client) -> None:
    for number in range(23):
        push_image(registry, f"many/repo-{number:02}")
    first, second = (
        registry("GET", "/?sort=name").body.decode(),
        registry("GET", "/?sort=name&offset=20").body.decode(),
    )
    assert (
        "repo-19" in first and "repo-20" not in first and "offset=20" in first and 'rel="prev"' not in first
    )
    assert "repo-22" in second and "repo-19" not in second and 'rel="next"' not in second


def test_a_session(guarded: Client) -> None:
    assert guarded("GET", "/r/alice/secret").headers["Location"] == "/login?next=%2Fr%2Falice%2Fsecret"
    answer = guarded("POST", "/login", "name=alice&password=wrong")
    assert answer.status == 401 and "Set-Cookie" not in answer.headers
    cookie, there = log_in(guarded, "alice", "/r/alice/secret")
    assert there == "/r/alice/secret"
    assert b"latest" in guarded("GET", there, Cookie=cookie).body
    assert b"alice/" in guarded("GET", "/", Cookie=cookie).body
    bob, _ = log_in(guarded, "bob")
    assert guarded("GET", "/r/alice/secret", Cookie=bob, **HTML).status == 404
    assert b"secret" not in guarded("GET", "/", Cookie=bob).body
    assert guarded("GET", "/r/alice/secret", Cookie=cookie[:-2] + "xx").status == 303
    assert (
        guarded("GET", "/v2/alice/secret/tags/list", Cookie=cookie).status == 401
    )  # the cookie is for pages alone
    assert (
        guarded("POST", "/logout", "", Cookie=cookie)
        .headers["Set-Cookie"]
        .startswith('boxwright-session="";')
    )


def test_the_cookie_is_out_of_reach(guarded: Client) -> None:
    answer = guarded("POST", "/login", "name=alice&password=password")
    assert "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=Lax" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\r\nX-Evil: 1",
    ],
)
def test_login_leads_to_no_other_site(guarded: Client, there: str) -> None:
    assert log_in(guarded, "alice", there)[1] == "/"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
def test_forms_of_other_sites_are_refused(guarded: Client, headers: dict[str, str]) -> None:
    cookie, _ = log_in(guarded, "alice")
    for path, form in (
        ("/star", "name=alice/secret&on=1"),
        ("/logout", ""),
        ("/login", "name=alice&password=password"),
    ):
        assert guarded("POST", path, form, Cookie=cookie, **headers).status == 403, path
    assert (
        guarded(
            "POST", "/star", "name=alice/secret&on=1", Cookie=cookie, Origin=f"http://{guarded.host}"
        ).status
        == 303
    )


def test_stars_need_an_account_and_a_right(guarded: Client) -> None:
    assert guarded("POST", "/star", "name=alice/secret&on=1").headers["Location"].startswith("/login")
    bob, _ = log_in(guarded, "bob")
    assert guarded("POST", "/star", "name=alice/secret&on=1", Cookie=bob).status == 403


def test_a_config_of_another_repository_is_not_shown(guarded: Client) -> None:
    """A manifest may name any digest as foreign; naming one must not show what it holds."""
    stolen = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["TOKEN=stolen"]},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    ).encode()
    alice = {"Authorization": "Basic " + base64.b64encode(b"alice:password").decode()}
    bob = {"Authorization": "Basic " + base64.b64encode(b"bob:password").decode()}
    digest = "sha256:" + hashlib.sha256(stolen).hexdigest()
    location = guarded("POST", "/v2/alice/secret/blobs/uploads/", **alice).headers["Location"]
    assert guarded("PUT", f"{location}?digest={digest}", stolen, **alice).status == 201
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, stolen, urls=["https://x.example/"]),
        "layers": [],
    }
    put(guarded, "bob/thief", "latest", manifest, MANIFEST, bob)
    answer = guarded("GET", "/r/bob/thief/tags/latest")
    assert answer.status == 200 and b"stolen" not in answer.body
    assert guarded("GET", "/api/search?q=stolen").json["results"] == []


def test_histories_that_do_not_fit_their_layers(registry: Client) -> None:
    layers = (b"one", b"two", b"three")
    push_image(registry, "odd/short", layers=layers, history=[{"created_by": "RUN one"}])
    push_image(
        registry, "odd/long", layers=layers[:1], history=[{"created_by": f"RUN {n}"} for n in range(4)]
    )
    push_image(registry, "odd/none", layers=layers, history=[])
    for name, count in (("odd/short", 3), ("odd/long", 1), ("odd/none", 3)):
        text = registry("GET", f"/r/{name}/tags/latest").body.decode()
        assert text.count('class="bytes"') == count, name


@pytest.mark.parametrize(
    "config",
    [
        b"no json",
        b"[]",
        b'{"config": {"Env": 5, "Cmd": {"a": 1}, "ExposedPorts": ["x"], "Labels": 3, "Healthcheck": {"Test": []}}}',
        b'{"history": [1, {"created_by": 5}], "created": 7}',
        b"{}",
    ],
)
def test_odd_configs(registry: Client, config: bytes) -> None:
    registry.push_blob("odd/config", config)
    registry.push_blob("odd/config", b"layer")
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, b"layer")],
    }
    put(registry, "odd/config", "latest", manifest, MANIFEST, {})
    for path in ("/", "/r/odd/config", "/r/odd/config/tags/latest", "/api/repositories/odd/config"):
        assert registry("GET", path).status == 200, path


@pytest.mark.parametrize(
    "made, keyword, text",
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', "CMD", '["sh"]'),
        ("/bin/sh -c apt-get update", "RUN", "apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "RUN", "make"),
        ("|2 A=b C=d /bin/sh -c make", "RUN", "make"),
        ("COPY a b # buildkit", "COPY", "a b"),
        ("bazel build ...", "", "bazel build ..."),
        ("", "", "a comment"),
    ],
)
def test_instructions_as_builders_write_them(made: str, keyword: str, text: str) -> None:
    from boxwright.registry.server.pages.views import instruction
    from boxwright.spec.config import HistoryEntry

    assert instruction(HistoryEntry(created_by=made, comment="a comment")) == (keyword, text)


def test_sizes_and_times_are_those_of_the_command_line() -> None:
    from boxwright.registry.server.pages.look import environment

    def shown(text: str, **values: float) -> str:
        made: str = environment().from_string(text).render(**values)
        return made

    assert shown("{{ count|size }}", count=74_812_345) == "74.8MB"
    assert shown("{{ then|ago }}", then=time.time() - 3 * 86_400) == "3 days ago"
    assert shown("{{ then|ago }}", then=time.time() + 60) == "Less than a second ago"
    assert [shown("{{ took|span }}", took=took) for took in (0.2, 59.6, 3661)] == ["0s", "1m0s", "1h1m1s"]
