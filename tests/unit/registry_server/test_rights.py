"""Every way into the registry, for every kind of principal: who passes, who is asked for credentials, who is refused.

The routes are the application's own: one that is new fails here until it has a row.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest

from boxwright.registry.server.app import API, routes
from boxwright.registry.server.auth.tokens import AccessTokens
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.builds.queue import BuildLink, build_scopes
from boxwright.registry.server.config import Auth
from boxwright.registry.server.store.catalog import RegistryCatalog
from support.images_pushed import push_image
from support.server import Answer, Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")
USERS = ("root", "alice", "bob", "gone", "changed")
REPOSITORY = "alice/app"  # private
NOT_THERE = "sha256:" + "0" * 64
UPLOAD = "0" * 32


def basic(user: str, password: str = "") -> dict[str, str]:
    text = f"{user}:{password or 'pw-' + user}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def line(user: str, password: str) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


class House(NamedTuple):
    client: Client
    headers: dict[str, Callable[[], dict[str, str]]]  # of each kind of principal, made anew for each request


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("routes")
    accounts = {user: line(user, f"pw-{user}") for user in USERS}
    (folder / "htpasswd").write_text("".join(accounts.values()))
    auth = Auth(htpasswd=folder / "htpasswd", admins=frozenset({"root"}), private=("alice/**",))
    build = {"build": {"enabled": True, "command": ["true"]}}
    with serving(folder / "reg", auth=auth, other=build) as client:
        push_image(client, REPOSITORY, credentials=basic("alice"))
        tokens, users = AccessTokens(client.service.catalog), client.service.access.users

        def lasting(user: str, *scopes: str, ttl: int = 0) -> Callable[[], dict[str, str]]:
            secret = tokens.create(user, "test", scopes, ttl=ttl)
            return lambda: basic(user, secret)

        def signed(*scopes: str, **headers: str) -> Callable[[], dict[str, str]]:
            query = "&".join(f"scope={scope}" for scope in scopes)
            token = client("GET", f"/token?{query}", **headers).json["token"]
            return lambda: {"Authorization": f"Bearer {token}"}

        def session(user: str) -> dict[str, str]:
            secret = tokens.create(user, "", ttl=60, kind="session", account=users.mark(user))
            return {"Cookie": f"boxwright-session={secret}"}

        def ended_session() -> dict[str, str]:
            headers = session("alice")
            assert client("POST", "/logout", "", **headers).status == 303
            return headers

        of_repository = f"repository:{REPOSITORY}:pull,push"
        changed_session, gone_session = session("changed"), session("gone")
        headers: dict[str, Callable[[], dict[str, str]]] = {
            "anonymous": dict,
            "unnamed signed": signed(of_repository),
            "owner": lambda: basic("alice"),
            "other": lambda: basic("bob"),
            "administrator": lambda: basic("root"),
            "owner's session": lambda: session("alice"),
            "other's session": lambda: session("bob"),
            "administrator's session": lambda: session("root"),
            "ended session": ended_session,
            "session of an old password": lambda: changed_session,
            "session of a removed account": lambda: gone_session,
            "owner's read": lasting("alice", "alice/**:pull"),
            "owner's write": lasting("alice", "alice/*:pull,push"),
            "owner's elsewhere": lasting("alice", "alice/other:pull,push,delete"),
            "owner's whole": lasting("alice"),
            "administrator's read": lasting("root", "**:pull"),
            "administrator's write": lasting("root", "alice/**:pull,push"),
            "administrator's all actions": lasting("root", "**:*"),
            "administrator's whole": lasting("root"),
            "owner's signed": signed(of_repository, **basic("alice")),
            "other's signed": signed(of_repository, **basic("bob")),
            "administrator's signed": signed(of_repository, "registry:catalog:*", **basic("root")),
            "administrator's read, signed": signed(of_repository, **lasting("root", "**:pull")()),
            "build": lasting("root", *build_scopes(BuildLink(REPOSITORY, "https://git.example/x.git"), ())),
            "build of another": lasting(
                "root", *build_scopes(BuildLink("bob/app", "https://git.example/x.git"), ())
            ),
            "expired": lasting("alice", ttl=-10),
            "wrong password": lambda: basic("alice", "wrong"),
            "removed account": lambda: basic("gone"),
            "token of a removed account": lasting("gone"),
            "signed, of a removed account": signed(**basic("gone")),
            "signed, of an old password": signed(**basic("changed")),
        }
        del accounts["gone"]
        accounts["changed"] = line("changed", "another")
        (folder / "htpasswd").write_text("".join(accounts.values()))
        users._looked = 0.0
        client.service.access.passwords._count = lambda *_: 0.0  # how often one may guess is another test
        yield House(client, headers)


VOID = {
    "expired",
    "wrong password",
    "removed account",
    "token of a removed account",
    "signed, of a removed account",
    "signed, of an old password",
}
COOKIES = {  # count on pages alone
    "owner's session",
    "other's session",
    "administrator's session",
    "ended session",
    "session of an old password",
    "session of a removed account",
}
NO_SESSION = {"ended session", "session of an old password", "session of a removed account"}
UNNAMED = {"anonymous", "unnamed signed", *NO_SESSION}
ALL = {
    "owner",
    "other",
    "administrator",
    "owner's read",
    "owner's write",
    "owner's elsewhere",
    "owner's whole",
    "administrator's read",
    "administrator's write",
    "administrator's all actions",
    "administrator's whole",
    "owner's signed",
    "other's signed",
    "administrator's signed",
    "administrator's read, signed",
    "build",
    "build of another",
    *UNNAMED,
    *COOKIES,
    *VOID,
}
OWNERS = {"owner", "owner's whole", "administrator", "administrator's whole"}
SESSIONS = {"owner's session", "administrator's session"}
PUSH = OWNERS | {
    "owner's write",
    "administrator's write",
    "administrator's all actions",
    "owner's signed",
    "administrator's signed",
    "build",
}
PULL = PUSH | {"owner's read", "administrator's read", "administrator's read, signed"}
SIGNED = {"owner's signed", "other's signed", "administrator's signed", "administrator's read, signed"}
LISTS = ALL - UNNAMED - COOKIES - VOID - SIGNED | {"administrator's signed"}
EVERY = ALL - VOID
NAMED = ALL - VOID - COOKIES - {"anonymous"}
WIDER = {
    "owner's signed",
    "administrator's signed",
}  # another signed token would do: they are asked to fetch it


class Route(NamedTuple):
    path: str
    passes: set[str]
    asked: set[str]  # for credentials, besides those whose credentials are void
    body: str = ""


def v2(path: str, passes: set[str], again: set[str] = frozenset(), body: str = "") -> Route:  # type: ignore[assignment]
    return Route(f"/v2/{path}", passes, UNNAMED | COOKIES | again, body)


def page(path: str, passes: set[str], again: set[str] = frozenset(), body: str = "") -> Route:  # type: ignore[assignment]
    return Route(path, passes, UNNAMED | again, body)


FORM = f"name={REPOSITORY}&on=1"
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "base"): Route("/v2/", NAMED, COOKIES | {"anonymous"}),
    ("GET", "catalog"): v2("_catalog", LISTS, SIGNED),
    ("GET", "discover"): v2(f"{REPOSITORY}/_oci/ext/discover", PULL),
    ("GET", "manifests"): v2(f"{REPOSITORY}/manifests/latest", PULL),
    ("PUT", "manifests"): v2(f"{REPOSITORY}/manifests/x", PUSH, body="no manifest"),
    ("DELETE", "manifests"): v2(
        f"{REPOSITORY}/manifests/none", OWNERS | {"administrator's all actions"}, WIDER
    ),
    ("GET", "tags"): v2(f"{REPOSITORY}/tags/list", PULL),
    ("GET", "referrers"): v2(f"{REPOSITORY}/referrers/{NOT_THERE}", PULL),
    ("GET", "blobs"): v2(f"{REPOSITORY}/blobs/{NOT_THERE}", PULL),
    ("DELETE", "blobs"): v2(
        f"{REPOSITORY}/blobs/{NOT_THERE}", OWNERS | {"administrator's all actions"}, WIDER
    ),
    ("POST", "uploads"): v2(f"{REPOSITORY}/blobs/uploads/", PUSH),
    ("GET", "upload"): v2(f"{REPOSITORY}/blobs/uploads/{UPLOAD}", PUSH),
    ("PATCH", "upload"): v2(f"{REPOSITORY}/blobs/uploads/{UPLOAD}", PUSH, body="x"),
    ("PUT", "upload"): v2(f"{REPOSITORY}/blobs/uploads/{UPLOAD}?digest={NOT_THERE}", PUSH),
    ("DELETE", "upload"): v2(f"{REPOSITORY}/blobs/uploads/{UPLOAD}", PUSH),
    ("GET", "/healthz"): Route("/healthz", EVERY, set()),
    ("GET", "/readyz"): Route("/readyz", EVERY, set()),
    ("GET", "/metrics"): Route("/metrics", LISTS, UNNAMED | COOKIES | SIGNED),
    ("GET", "/v1/_ping"): Route("/v1/_ping", EVERY, set()),
    ("GET", "/v1/search"): Route("/v1/search?q=a", LISTS, UNNAMED | COOKIES | SIGNED),
    ("GET", "/api/search"): Route("/api/search?q=a", LISTS, UNNAMED | COOKIES | SIGNED),
    ("PUT", "/api/stars/*"): Route(f"/api/stars/{REPOSITORY}", OWNERS, UNNAMED | COOKIES | WIDER),
    ("DELETE", "/api/stars/*"): Route(f"/api/stars/{REPOSITORY}", OWNERS, UNNAMED | COOKIES | WIDER),
    ("GET", "/api/repositories/*"): Route(f"/api/repositories/{REPOSITORY}", PULL, UNNAMED | COOKIES),
    ("PATCH", "/api/repositories/*"): Route(
        f"/api/repositories/{REPOSITORY}", PUSH, UNNAMED | COOKIES, "no json"
    ),
    ("GET", "/"): page("/", LISTS | COOKIES - NO_SESSION, SIGNED),
    ("GET", "/r/*"): page(f"/r/{REPOSITORY}", PULL | SESSIONS),
    ("GET", "/login"): Route("/login", EVERY, set()),
    ("POST", "/login"): Route("/login", set(), EVERY, "name=alice&password=wrong"),
    ("POST", "/logout"): Route("/logout", EVERY, set()),
    ("POST", "/star"): page("/star", OWNERS | SESSIONS, WIDER, FORM),
    ("POST", "/build"): page("/build", PUSH | SESSIONS, body=FORM),
    ("GET", "/static/*"): Route("/static/none.css", EVERY, set()),
    ("GET", "/favicon.ico"): Route("/favicon.ico", EVERY, set()),
    ("PUT", "/api/builds/*"): Route(
        f"/api/builds/{REPOSITORY}",
        {"administrator", "administrator's whole"},
        UNNAMED | COOKIES | {"administrator's signed"},
        "no json",
    ),
    ("DELETE", "/api/builds/*"): Route(
        f"/api/builds/{REPOSITORY}",
        {"administrator", "administrator's whole"},
        UNNAMED | COOKIES | {"administrator's signed"},
    ),
    ("POST", "/api/builds/*"): Route(f"/api/builds/{REPOSITORY}", PUSH, UNNAMED | COOKIES),
    ("GET", "/api/builds/*"): Route(f"/api/builds/{REPOSITORY}", PUSH, UNNAMED | COOKIES),
    ("GET", "/token"): Route("/token", EVERY - SIGNED - {"unnamed signed"}, SIGNED | {"unnamed signed"}),
    ("POST", "/token"): Route("/token", set(), EVERY, "grant_type=refresh_token&refresh_token=bwr_wrong"),
}


def outcome(answer: Answer, method: str, path: str) -> str:
    if answer.status == 401 or answer.headers.get("Location", "").startswith("/login"):
        return "asked"
    hidden = method == "GET" and path.startswith("/r/") and answer.status == 404
    if answer.status == 403 or hidden:
        return "refused"
    assert answer.status < 500, answer
    return "passes"


def test_every_route_has_a_row(house: House) -> None:
    there = {*API, *((row.method, row.path) for row in routes(house.client.service))}
    assert there == set(ROUTES)


def test_every_kind_of_principal_is_in_the_table(house: House) -> None:
    assert set(house.headers) == ALL
    for entry in ROUTES.values():
        assert entry.passes <= ALL and entry.asked <= ALL and not entry.passes & VOID


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=lambda text: text)
def test_who_passes(house: House, method: str, route: str) -> None:
    entry = ROUTES[method, route]
    wanted = {
        kind: "passes" if kind in entry.passes else "asked" if kind in entry.asked | VOID else "refused"
        for kind in ALL
    }
    found = {
        kind: outcome(house.client(method, entry.path, entry.body or None, **make()), method, entry.path)
        for kind, make in house.headers.items()
    }
    assert found == wanted


def test_no_token_may_link_builds_or_star_without_its_account(house: House) -> None:
    """What the table says of statuses, said of effects."""
    link: dict[str, Any] = {"url": "https://git.example/x.git"}
    for kind in ("administrator's all actions", "administrator's signed", "build", "owner"):
        answer = house.client("PUT", f"/api/builds/{REPOSITORY}", json.dumps(link), **house.headers[kind]())
        assert answer.status in (401, 403), kind
        assert house.client("GET", f"/api/builds/{REPOSITORY}", **basic("root")).status == 404
    house.client("DELETE", f"/api/stars/{REPOSITORY}", **basic("alice"))
    for kind in ("owner's read", "owner's write", "build", "unnamed signed", "other"):
        house.client("PUT", f"/api/stars/{REPOSITORY}", **house.headers[kind]())
    assert house.client("GET", f"/api/repositories/{REPOSITORY}", **basic("root")).json["stars"] in (0, 1)


def test_who_comes_later_under_a_name_inherits_nothing(house: House, tmp_path: Path) -> None:
    auth = Auth(htpasswd=tmp_path / "htpasswd", anonymous=("**",))
    (tmp_path / "htpasswd").write_text(line("eve", "pw-eve"))
    with serving(tmp_path / "reg", auth=auth) as client:
        answer = client("POST", "/login", "name=eve&password=pw-eve")
        cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        offline = client("GET", "/token?offline_token=true", **basic("eve")).json
        bearer = {"Authorization": f"Bearer {offline['token']}"}
        form = f"grant_type=refresh_token&refresh_token={offline['refresh_token']}"
        assert client("POST", "/token", form).status == client("GET", "/v2/", **bearer).status == 200
        assert "eve" in client("GET", "/", **cookie).body.decode()
        (tmp_path / "htpasswd").write_text(line("eve", "pw-eve"))  # the same password, another account
        client.service.access.users._looked = 0.0
        assert client("POST", "/token", form).status == client("GET", "/v2/", **bearer).status == 401
        assert "eve" not in client("GET", "/", **cookie).body.decode()


def test_a_removed_account_takes_its_tokens_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another program edits the file, and adds the name again later."""
    monkeypatch.setattr("boxwright.registry.server.tasks._ACCOUNTS", 0.02)
    monkeypatch.setattr("boxwright.registry.server.auth.users._SETTLED", 0.2)
    file, eve, ann = tmp_path / "htpasswd", line("eve", "pw-eve"), line("ann", "pw-ann")
    file.write_text(eve + ann)
    with serving(tmp_path / "reg", auth=Auth(htpasswd=file), read_only=True) as client:
        users, tokens = client.service.access.users, AccessTokens(client.service.catalog)
        of_eve, of_ann = (basic(user, tokens.create(user, "ci")) for user in ("eve", "ann"))
        file.unlink()  # no file says of any account that it is gone
        eventually(lambda: client("GET", "/v2/", **of_eve).status == 401)
        time.sleep(0.5)
        file.write_text(eve + ann)
        eventually(lambda: client("GET", "/v2/", **of_eve).status == 200)
        file.write_text(ann)
        eventually(lambda: [token.user for token in tokens.all()] == ["ann"])
        file.write_text(line("eve", "another") + ann)
        users._looked = 0.0
        assert client("GET", "/v2/", **basic("eve", "another")).status == 200
        assert client("GET", "/v2/", **of_eve).status == 401
        assert client("GET", "/v2/", **of_ann).status == 200


def test_a_file_that_is_being_written_ends_no_token(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(line("eve", "pw"))
    users = Users(tmp_path / "htpasswd")
    assert users.settled() is None
    users._changed -= 3
    assert users.settled() == ["eve"]
    (tmp_path / "htpasswd").write_text("")
    assert users.settled() is None and users.names() == []
    users._changed -= 3
    assert users.settled() == []
    (tmp_path / "htpasswd").unlink()
    users._changed -= 3
    assert users.settled() is None


def test_a_token_of_an_account_that_was_just_added_stays(tmp_path: Path) -> None:
    catalog = RegistryCatalog(tmp_path / "registry.db")
    tokens = AccessTokens(catalog)
    before = time.time()
    tokens.create("new", "ci")
    tokens.retain([], before)
    assert [token.user for token in tokens.all()] == ["new"]
    tokens.retain(["new"], time.time() + 1)
    assert tokens.all()
    tokens.retain([], time.time() + 1)
    assert not tokens.all()


def test_a_session_ends_with_logout_password_and_account(house: House) -> None:
    for kind in NO_SESSION:
        answer = house.client("GET", f"/r/{REPOSITORY}", **house.headers[kind]())
        assert answer.headers["Location"].startswith("/login"), kind
