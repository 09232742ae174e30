"""Accounts, tokens, namespaces and rules, and that no account reads through a mount what it may not pull."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import bcrypt
import pytest

from boxwright.registry.server.auth.policy import Policy, Principal, fits
from boxwright.registry.server.auth.tokens import AccessTokens
from boxwright.registry.server.auth.users import Users, parse
from boxwright.registry.server.config import Auth, Rule
from boxwright.registry.server.store.catalog import RegistryCatalog
from support.server import Answer, Client, serving

USERS = ("root", "alice", "bob", "carol")
AUTH = {
    "anonymous": ("**",),
    "admins": frozenset({"root"}),
    "organisations": {"acme": ("alice", "bob")},
    "private": ("alice/secret/**", "acme/**"),
    "rules": (
        Rule("shared/**", ("*",), ("pull", "push")),
        Rule("acme/open", ("anonymous", "*"), ("pull",)),
        Rule("alice/barred", ("bob",), ("pull",), False),
    ),
}


def htpasswd(path: Path) -> Path:
    path.write_bytes(
        b"".join(
            u.encode() + b":" + bcrypt.hashpw(f"pw-{u}".encode(), bcrypt.gensalt(4)) + b"\n" for u in USERS
        )
    )
    return path


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("access")
    with serving(folder / "reg", auth=Auth(htpasswd=htpasswd(folder / "htpasswd"), **AUTH)) as served:
        yield served


def basic(user: str, password: str = "") -> dict[str, str]:
    return {
        "Authorization": "Basic " + base64.b64encode(f"{user}:{password or 'pw-' + user}".encode()).decode()
    }


def token(client: Client, user: str, *scopes: str, **more: str) -> Answer:
    query = urlencode([("service", "boxwright-registry"), *(("scope", s) for s in scopes), *more.items()])
    return client("GET", f"/token?{query}", **(basic(user) if user else {}))


def bearer(client: Client, user: str, *scopes: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token(client, user, *scopes).json["token"]}


def claims(answer: Answer) -> Any:
    body = answer.json["token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def start(client: Client, name: str, user: str = "", query: str = "") -> Answer:
    return client("POST", f"/v2/{name}/blobs/uploads/{query}", **(basic(user) if user else {}))


def push_blob(client: Client, name: str, data: bytes, user: str) -> str:
    import hashlib

    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    assert client("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data, **basic(user)).status == 201
    return digest


def test_globs() -> None:
    assert fits("a/b/c", ["a/**"]) and fits("a", ["a/**"]) and not fits("ab", ["a/**"])
    assert (
        fits("a/b", ["a/*"])
        and not fits("a/b/c", ["a/*"])
        and fits("x/y-1", ["*/y-?"])
        and fits("deep/er/x", ["**/x"])
    )
    assert not fits("a.b", ["a?c"]) and not fits("axb", ["a.b"])


def test_namespaces() -> None:
    policy = Policy(Auth(htpasswd=Path("x"), **AUTH))
    may = lambda user, name: "".join(sorted(a[:2] for a in policy.actions(Principal(user), name)))  # noqa: E731
    assert may("root", "busybox") == may("root", "library/x") == "depupu"
    assert may("alice", "busybox") == may("alice", "library/x") == may("", "busybox") == "pu"
    assert may("alice", "alice/x") == "depupu" and may("bob", "alice/x") == "pu"
    assert may("bob", "acme/x") == "depupu" and may("carol", "acme/x") == may("", "acme/x") == ""
    assert may("carol", "acme/open") == may("", "acme/open") == "pu"
    assert may("carol", "shared/x") == "pupu" and may("", "shared/x") == "pu"
    assert (
        may("bob", "alice/barred") == may("carol", "alice/secret/x") == ""
        and may("carol", "alice/barred") == "pu"
    )


def test_the_base_asks_for_credentials_with_a_bearer_challenge(client: Client) -> None:
    answer = client("GET", "/v2/")
    assert answer.status == 401 and answer.code == "UNAUTHORIZED"
    assert (
        answer.headers["WWW-Authenticate"]
        == f'Bearer realm="http://{client.host}/token",service="boxwright-registry"'
    )
    assert client("GET", "/v2/", **basic("alice")).status == 200
    assert client("GET", "/v2/", **basic("alice", "wrong")).status == 401
    assert client("GET", "/v2/", **basic("nobody", "pw-alice")).status == 401
    assert (
        client("GET", "/v2/", Authorization="Basic !!!").status
        == client("GET", "/v2/", Authorization="Digest x").status
        == 401
    )
    assert client("GET", "/v2/", **bearer(client, "alice")).status == 200
    assert client("GET", "/v2/", **bearer(client, "")).status == 200, (
        "an anonymous token passes, as Docker needs it"
    )


def test_scopes_are_intersected(client: Client) -> None:
    got = claims(
        token(
            client,
            "alice",
            "repository:alice/x:pull,push",
            "repository:bob/x:pull,push repository:acme/x:*",
            "registry:catalog:*",
            "nonsense",
        )
    )
    assert got["sub"] == "alice"
    assert got["access"] == [
        {"type": "repository", "name": "alice/x", "actions": ["pull", "push"]},
        {"type": "repository", "name": "bob/x", "actions": ["pull"]},
        {"type": "repository", "name": "acme/x", "actions": ["delete", "pull", "push"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]
    assert claims(token(client, "", "repository:acme/x:pull"))["access"] == []
    assert claims(token(client, "bob"))["access"] == []
    assert client("GET", "/token", **basic("alice", "no")).status == 401


def test_a_token_is_good_for_what_it_says_only(client: Client) -> None:
    mine = bearer(client, "alice", "repository:alice/x:pull,push")
    assert client("POST", "/v2/alice/x/blobs/uploads/", **mine).status == 202
    answer = client("POST", "/v2/alice/y/blobs/uploads/", **mine)
    assert answer.status == 401
    assert (
        'scope="repository:alice/y:pull,push"' in answer.headers["WWW-Authenticate"]
        and 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    )
    assert client("POST", "/v2/bob/y/blobs/uploads/", **mine).status == 403, "no other token would help"
    forged = mine["Authorization"][:-4] + "AAAA"
    assert client("GET", "/v2/", Authorization=forged).status == 401
    assert client("GET", "/token", **mine).status == 401


def test_oauth_and_refresh_tokens(client: Client) -> None:
    def post(**form: str) -> Answer:
        return client("POST", "/token", urlencode(form), Content_Type="application/x-www-form-urlencoded")

    answer = post(
        grant_type="password",
        username="alice",
        password="pw-alice",
        service="boxwright-registry",
        client_id="t",
        access_type="offline",
        scope="repository:alice/x:pull,push repository:acme/y:pull",
    )
    assert answer.status == 200 and len(claims(answer)["access"]) == 2
    again = post(
        grant_type="refresh_token",
        refresh_token=answer.json["refresh_token"],
        scope="repository:alice/x:pull",
    )
    assert claims(again)["access"] == [{"type": "repository", "name": "alice/x", "actions": ["pull"]}]
    assert post(grant_type="refresh_token", refresh_token="bwr_wrong").status == 401
    assert post(grant_type="password", username="alice", password="x").status == 401
    by_get = token(client, "bob", offline_token="true").json["refresh_token"]
    assert claims(post(grant_type="refresh_token", refresh_token=by_get))["sub"] == "bob"
    assert client("GET", "/v2/", Authorization=f"Bearer {by_get}").status == 401, (
        "a refresh token gives no access itself"
    )


def test_lasting_tokens(client: Client) -> None:
    tokens = AccessTokens(client.service.catalog)
    secret = tokens.create("alice", "ci", ["alice/**:pull,push"])
    everything = tokens.create("alice", "all")
    expired = tokens.create("alice", "old", ttl=-10)
    assert start(client, "alice/x").status == 401
    for headers in (basic("alice", secret), {"Authorization": f"Bearer {secret}"}):
        assert client("POST", "/v2/alice/x/blobs/uploads/", **headers).status == 202
        assert client("POST", "/v2/acme/x/blobs/uploads/", **headers).status == 403
        assert client("DELETE", "/v2/alice/x/manifests/t", **headers).status == 403
    assert client("POST", "/v2/acme/x/blobs/uploads/", **basic("alice", everything)).status == 202
    assert (
        client("GET", "/v2/", **basic("bob", secret)).status
        == client("GET", "/v2/", **basic("alice", expired)).status
        == 401
    )
    got = claims(
        client(
            "GET", "/token?scope=repository:alice/x:*&scope=repository:acme/x:pull", **basic("alice", secret)
        )
    )
    assert got["access"] == [{"type": "repository", "name": "alice/x", "actions": ["pull", "push"]}]
    row = next(t for t in tokens.all("alice") if t.name == "ci")
    assert secret not in json.dumps(
        [list(r) for r in client.service.catalog.connection().execute("SELECT * FROM tokens")]
    )
    tokens.remove(row.id)
    assert client("GET", "/v2/", **basic("alice", secret)).status == 401


def test_an_account_that_is_added_has_no_token_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when an editor took the earlier one out of the file, and no server ran meanwhile."""
    from boxwright.cli.main import main

    file, storage = tmp_path / "htpasswd", tmp_path / "reg"
    storage.mkdir()
    catalog = RegistryCatalog(storage / "registry.db")
    tokens = AccessTokens(catalog)

    def user(verb: str, *more: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO("a password\n"))
        words = ["registry", "user", verb, "--storage", str(storage), "--htpasswd", str(file), *more, "ann"]
        return main(words)

    assert user("add", "--password-stdin") == 0
    secret = tokens.create("ann", "ci")
    assert user("passwd", "--password-stdin") == 0 and tokens.find(secret) is not None
    assert user("add", "--password-stdin") != 0 and tokens.find(secret) is not None
    file.write_text("")
    assert user("add", "--password-stdin") == 0
    assert tokens.find(secret) is None
    catalog.close()


def test_mounts_do_not_leak(client: Client) -> None:
    """Who knows the digest of a private blob gets a session, not the blob."""
    digest = push_blob(client, "acme/vault", b"the plans", "alice")
    for query in (f"?mount={digest}&from=acme/vault", f"?mount={digest}"):
        assert start(client, "carol/loot", "carol", query).status == 202
        narrow = bearer(
            client, "alice", "repository:alice/loot:pull,push"
        )  # its owner may, this token may not
        assert client("POST", f"/v2/alice/loot/blobs/uploads/{query}", **narrow).status == 202
    assert client("GET", f"/v2/carol/loot/blobs/{digest}", **basic("carol")).status == 404
    wide = bearer(client, "alice", "repository:alice/loot:pull,push", "repository:acme/vault:pull")
    assert (
        client("POST", f"/v2/alice/loot/blobs/uploads/?mount={digest}&from=acme/vault", **wide).status == 201
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/x", "digest": digest, "size": 9},
        "layers": [],
    }
    answer = client(
        "PUT",
        "/v2/carol/loot/manifests/x",
        json.dumps(manifest),
        Content_Type=manifest["mediaType"],
        **basic("carol"),
    )
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN"), (
        "a manifest that names it is no way either"
    )


def test_lists_show_what_may_be_pulled(client: Client) -> None:
    push_blob(client, "acme/hidden", b"1", "bob")
    push_blob(client, "shared/seen", b"2", "carol")
    listed = lambda headers: client("GET", "/v2/_catalog", **headers).json["repositories"]  # noqa: E731
    assert "acme/hidden" in listed(basic("alice")) and "acme/hidden" in listed(
        bearer(client, "alice", "registry:catalog:*")
    )
    for headers in ({}, basic("carol"), bearer(client, "carol", "registry:catalog:*")):
        assert "acme/hidden" not in listed(headers) and "shared/seen" in listed(headers)
    pages, path = [], "/v2/_catalog?n=1"
    while path:  # a page of what is hidden is no end of the list
        answer = client("GET", path, **basic("carol"))
        pages += answer.json["repositories"]
        path = answer.headers.get("Link", "<>")[1:].partition(">")[0]
    assert pages == listed(basic("carol")) and "shared/seen" in pages and "acme/hidden" not in pages
    assert client("GET", "/v2/_catalog", **bearer(client, "alice", "repository:alice/x:pull")).status == 401
    assert (
        client("GET", "/v2/acme/hidden/tags/list").status == 401
        and client("GET", "/v2/acme/hidden/tags/list", **basic("carol")).status == 403
    )


def test_a_scope_names_one_repository(client: Client) -> None:
    """Globs are for those who give rights: a token that was fetched for one would be good for more than it was asked."""
    secret = AccessTokens(client.service.catalog).create(
        "alice", "narrow", ["acme/*:pull", "al*/x:pull,push"]
    )
    for name in ("acme/*", "acme/**", "*", "**", "acme/?", "Acme/x", "acme//x"):
        answer = client("GET", f"/token?scope=repository:{quote(name)}:pull", **basic("alice", secret))
        assert (answer.status, answer.code) == (400, "NAME_INVALID"), name
        form = urlencode(
            {
                "grant_type": "password",
                "username": "alice",
                "password": "pw-alice",
                "scope": f"repository:{name}:pull",
            }
        )
        assert client("POST", "/token", form).status == 400, name
    got = claims(
        client(
            "GET",
            "/token?scope=repository:acme/one:pull,push&scope=repository:acme/one/two:pull&scope=repository:alice/x:push",
            **basic("alice", secret),
        )
    )
    assert got["access"] == [
        {"type": "repository", "name": "acme/one", "actions": ["pull"]},
        {"type": "repository", "name": "alice/x", "actions": ["push"]},
    ]


def test_a_limited_token_lists_what_it_may_pull(client: Client) -> None:
    for name in ("acme/seen", "acme/deep/unseen", "alice/secret/unseen"):
        push_blob(client, name, name.encode(), "alice")
    push_blob(client, "carol/public", b"p", "carol")
    secret = AccessTokens(client.service.catalog).create("alice", "lister", ["acme/*:pull"])
    through = client("GET", "/token?scope=registry:catalog:*", **basic("alice", secret)).json["token"]
    for headers in (basic("alice", secret), {"Authorization": f"Bearer {through}"}):
        names = set(client("GET", "/v2/_catalog", **headers).json["repositories"])
        assert {"acme/seen", "carol/public"} <= names, "public ones could be had without any token"
        assert not names & {"acme/deep/unseen", "alice/secret/unseen"}
        found = {r["name"] for r in client("GET", "/api/search?q=seen", **headers).json["results"]}
        assert found & {"acme/seen", "acme/deep/unseen", "alice/secret/unseen"} == {"acme/seen"}


def test_guessing_is_slowed_down(client: Client) -> None:
    codes = [client("GET", "/v2/", **basic("bob", f"guess{n}")).status for n in range(25)]
    assert codes[0] == 401 and codes[-1] == 429
    answer = client("GET", "/v2/", **basic("bob", "another"))
    assert int(answer.headers["Retry-After"]) > 0 and answer.code == "TOOMANYREQUESTS"
    assert client("GET", "/v2/", **basic("alice")).status == 200, "guesses at one account shut no other out"


def test_the_file_of_accounts(tmp_path: Path) -> None:
    users = Users(tmp_path / "x/htpasswd")
    users.put("ann", "secret", new=True)
    assert (
        users.check("ann", "secret")
        and users.known("ann", "secret")
        and not users.check("ann", "Secret")
        and users.known("ann", "Secret") is None
    )
    users.put("ann", "other", new=False)
    assert (
        not users.check("ann", "secret")
        and not users.known("ann", "secret")
        and Users(tmp_path / "x/htpasswd").check("ann", "other")
    )
    for name, password in (("ann", "x"), ("Ann", "x"), ("a/b", "x"), ("b", ""), ("b", "x" * 73)):
        with pytest.raises(Exception, match=r"exists|no user name|72 bytes"):
            users.put(name, password, new=True)
    users.remove("ann")
    assert users.names() == [] and (tmp_path / "x/htpasswd").stat().st_mode & 0o777 == 0o600
    assert parse(b"# c\nplain:text\nsha:{SHA}x\nok:$2y$10$abc\n") == {"ok": b"$2y$10$abc"}
