"""Challenges and tokens: the protocol without a socket, then with a token server in this process."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from boxwright.errors import BoxwrightError
from boxwright.registry.client.addresses import may_be_sent_to
from boxwright.registry.client.auth import (
    Ask,
    AuthAnswer,
    Challenge,
    Credential,
    LoginRefused,
    RealmRefused,
    check_realm,
    covers,
    merged,
    parse_challenges,
    scope_for,
    token_flow,
)
from boxwright.registry.client.errors import AccessNeeded
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.reference import Reference
from boxwright.transfer.pull import PullRefused
from support.registry import FakeRegistry, Response, TokenServer, client, make_image, running

IMAGE = make_image({"a": b"A" * 5000})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'],
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        (
            ['Basic realm="x", Bearer realm="https://a", error="y"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "https://a", "error": "y"})],
        ),
        (["Negotiate", "BASIC realm=plain"], [("negotiate", {}), ("basic", {"realm": "plain"})]),
        ([r'Basic realm="a \"quoted\", b"'], [("basic", {"realm": 'a "quoted", b'})]),
        (['Negotiate, Basic realm="x"'], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (['Bearer realm="unended'], [("bearer", {})]),
        ([""], []),
    ],
)
def test_challenges(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(c.scheme, dict(c.parameters)) for c in parse_challenges(headers)] == expected


def test_scopes() -> None:
    assert merged(["repository:a:pull", "repository:b/c:pull", "repository:a:push,pull"]) == (
        "repository:a:pull,push",
        "repository:b/c:pull",
    )
    assert covers(["repository:a:pull,push"], [scope_for("a", "pull")])
    assert not covers(["repository:a:pull"], [scope_for("a", "pull", "push")])
    assert not covers([], [scope_for("a", "pull")]) and covers([], [])


CHALLENGE = Challenge("bearer", {"realm": "https://auth.example/token?x=1", "service": "reg"})


def drive(
    credential: Credential | None, *answers: AuthAnswer, offline: bool = False
) -> tuple[list[Ask], object]:
    flow = token_flow(CHALLENGE, ["repository:a:pull"], credential, now=lambda: 1000.0, offline=offline)
    asks = [next(flow)]
    for answer in answers:
        try:
            asks.append(flow.send(answer))
        except StopIteration as end:
            return asks, end.value
    raise AssertionError("the flow did not end")


def good(**more: object) -> AuthAnswer:
    return AuthAnswer(200, json.dumps({"token": "T", **more}).encode())


def test_anonymous_token() -> None:
    asks, token = drive(None, good())
    assert asks[0].method == "GET" and "Authorization" not in asks[0].headers
    assert parse_qs(urlsplit(asks[0].url).query) == {
        "x": ["1"],
        "service": ["reg"],
        "scope": ["repository:a:pull"],
    }
    assert (token.value, token.expires) == ("T", 1060.0)  # type: ignore[attr-defined]


def test_password_token_and_life_time() -> None:
    asks, token = drive(Credential("bob", "pw"), good(expires_in=600, refresh_token="R"), offline=True)
    assert asks[0].headers["Authorization"].startswith("Basic ")
    assert parse_qs(urlsplit(asks[0].url).query)["offline_token"] == ["true"]
    assert (token.expires, token.refresh) == (1600.0, "R")  # type: ignore[attr-defined]


def test_post_where_there_is_no_get() -> None:
    asks, token = drive(
        Credential("bob", "p&w"), AuthAnswer(405, b""), AuthAnswer(200, b'{"access_token":"T2"}')
    )
    assert [a.method for a in asks] == ["GET", "POST"]
    assert parse_qs((asks[1].body or b"").decode())["password"] == ["p&w"]
    assert token.value == "T2"  # type: ignore[attr-defined]


def test_identity_token_goes_by_post() -> None:
    asks, _ = drive(Credential(identity_token="ID"), good())
    form = parse_qs((asks[0].body or b"").decode())
    assert (
        asks[0].method == "POST"
        and form["grant_type"] == ["refresh_token"]
        and form["refresh_token"] == ["ID"]
    )


@pytest.mark.parametrize(
    "answer",
    [
        AuthAnswer(401, b'{"details":"incorrect username or password"}'),
        AuthAnswer(403, b""),
        AuthAnswer(400, b"nonsense"),
    ],
)
def test_refused(answer: AuthAnswer) -> None:
    with pytest.raises(LoginRefused):
        drive(Credential("bob", "pw"), answer)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 5}', b'{"token": "a\\nb"}', b"not json"])
def test_no_token_in_the_answer(body: bytes) -> None:
    with pytest.raises(BoxwrightError, match="gives no token"):
        drive(None, AuthAnswer(200, body))


@pytest.mark.parametrize(
    ("realm", "registry", "allowed"),
    [
        ("https://auth.docker.io/token", "https://registry-1.docker.io", True),
        ("http://auth.docker.io/token", "https://registry-1.docker.io", False),
        ("http://evil.example/token", "http://127.0.0.1:5000", False),
        ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000", True),
        ("http://reg:5001/token", "http://reg:5000", True),
        ("https://169.254.169.254/token", "https://reg.example", False),
        ("https://10.0.0.1/token", "https://8.8.8.8", False),
        ("https://10.0.0.1/token", "https://10.0.0.1:5000", True),
        ("https://127.0.0.1/token", "https://8.8.8.8", False),
        ("https://user:pw@auth.example/token", "https://auth.example", False),
        ("ftp://auth.example/token", "https://auth.example", False),
        ("", "https://auth.example", False),
    ],
)
def test_realm(realm: str, registry: str, allowed: bool) -> None:
    if allowed:
        check_realm(realm, registry)
    else:
        with pytest.raises(RealmRefused):
            check_realm(realm, registry)


def test_may_be_sent_to() -> None:
    assert may_be_sent_to("cdn.example", "8.8.8.8")
    assert not may_be_sent_to("::ffff:169.254.169.254", "127.0.0.1")
    assert not may_be_sent_to("localhost", "8.8.8.8") and may_be_sent_to("localhost", "127.0.0.1")
    assert may_be_sent_to("10.1.2.3", "192.168.0.1") and not may_be_sent_to("192.168.0.1", "8.8.8.8")


@pytest.mark.parametrize(
    "target",
    (
        "127.1 2130706433 0x7f000001 0177.0.0.1 LOCALHOST. a.localhost. 0 0.0.0.0 [::] "
        "0xa9fea9fe 2852039166 ::ffff:a9fe:a9fe fe80::1%25eth0 ff02::1"
    ).split(),
)
def test_no_spelling_leads_to_this_machine_or_its_link(target: str) -> None:
    assert not may_be_sent_to(target, "8.8.8.8")
    assert not may_be_sent_to(target, "registry.example.invalid")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("127.0.0.1", False), ("169.254.169.254", False), ("::1", False), ("8.8.8.8", True), ("10.0.0.1", True)],
)
def test_a_name_leads_no_further_than_its_address(
    monkeypatch: pytest.MonkeyPatch, address: str, allowed: bool
) -> None:
    names = {b"there.example": address, b"outside.example": "8.8.4.4", b"here.example": "127.0.0.1"}

    def look_up(host: bytes, *rest: object, **more: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (names[host], 0))]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    assert may_be_sent_to("there.example", "outside.example") is allowed
    assert may_be_sent_to("there.example", "here.example") is (address != "169.254.169.254")


# --- with a token server ----------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        fake.tokens = TokenServer(f"http://{fake.host}/token", accounts={"bob": "pw"})
        yield fake


def with_account(tmp_path: Path, host: str, password: str = "pw", **entry: str) -> Path:
    import base64

    (tmp_path / "docker").mkdir(exist_ok=True)
    auth = base64.b64encode(f"bob:{password}".encode()).decode()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth, **entry}}}))
    return tmp_path


def resolve(registry: FakeRegistry, tmp_path: Path) -> object:
    name = f"{registry.host}/a/b:1"
    return client(tmp_path).remote(Reference.parse(name)).resolve(name)


def test_bearer(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)
    assert resolve(registry, with_account(tmp_path, registry.host)) == put
    assert len(registry.requests("GET", "/token")) == 1


def test_anonymous_is_refused_with_a_hint(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    with pytest.raises(LoginRefused) as caught:
        resolve(registry, tmp_path)
    assert "login" in caught.value.hint


def test_wrong_password_asks_once(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    with pytest.raises(LoginRefused, match="incorrect username or password"):
        resolve(registry, with_account(tmp_path, registry.host, "wrong"))
    assert len(registry.requests("GET", "/token")) == 1


def test_identity_token(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)
    assert resolve(registry, with_account(tmp_path, registry.host, "", identitytoken="identity-token")) == put
    assert registry.requests("POST", "/token")


def test_expired_token_is_fetched_again(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    remote = client(with_account(tmp_path, registry.host)).remote(Reference.parse(f"{registry.host}/a/b"))
    remote.resolve(f"{registry.host}/a/b:1")
    assert registry.tokens is not None
    registry.tokens.issued.clear()  # the registry forgot them
    remote.resolve(f"{registry.host}/a/b:1")
    assert len(registry.requests("GET", "/token")) == 2


def test_scope_widens_for_a_push_and_a_mount(registry: FakeRegistry, tmp_path: Path) -> None:
    from boxwright.content.copy import copy

    registry.add_image("a/b", "1", IMAGE)
    speaker = client(with_account(tmp_path, registry.host))
    source, target = f"{registry.host}/a/b:1", f"{registry.host}/c/d:2"
    copy(
        speaker.remote(Reference.parse(source)),
        source,
        speaker.remote(Reference.parse(target), push=True),
        target,
    )
    assert registry.manifests["c/d"]["2"][1] == IMAGE.manifest.raw
    assert not registry.requests("PUT", "/blobs/uploads")  # all were mounted, which needs both scopes


def test_credentials_never_leave_their_host(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    with running() as other:
        other.hook = lambda r: Response(200, {}, IMAGE.layers[0]) if r.path == "/cdn" else None
        registry.hook = lambda r: (
            Response(307, {"Location": f"http://{other.host}/cdn"})
            if "/blobs/" in r.path and "authorization" in r.headers
            else None
        )
        remote = client(with_account(tmp_path, registry.host)).remote(Reference.parse(f"{registry.host}/a/b"))
        with remote.open(IMAGE.manifest.layers[0]) as body:
            assert body.read() == IMAGE.layers[0]
        assert other.log and all("authorization" not in r.headers for r in other.log)
        assert any("authorization" in r.headers for r in registry.log)


def test_an_upload_that_goes_elsewhere_takes_no_credential_along(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    """Registries on object storage answer with a Location on another host."""
    data = IMAGE.layers[0]
    with running() as store:
        store.hook = lambda r: (
            Response(201, {"Docker-Content-Digest": str(Digest.of(data))}) if r.path == "/bucket" else None
        )
        registry.hook = lambda r: (
            Response(202, {"Location": f"http://{store.host}/bucket?signed=1"})
            if r.method == "POST" and "authorization" in r.headers
            else None
        )
        remote = client(with_account(tmp_path, registry.host)).remote(
            Reference.parse(f"{registry.host}/a/b"), push=True
        )
        remote.push(Descriptor.of(data, mt.OCI_LAYER_GZIP), io.BytesIO(data))
        (put,) = store.log
        assert (
            put.method == "PUT"
            and put.body == data
            and put.query["signed"] == ["1"]
            and put.query["digest"] == [str(Digest.of(data))]
        )
        assert "authorization" not in put.headers and any("authorization" in r.headers for r in registry.log)


def test_a_401_from_another_host_is_no_challenge(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    with running() as other:
        other.hook = lambda r: Response(
            401, {"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'}
        )
        registry.hook = lambda r: (
            Response(307, {"Location": f"http://{other.host}/cdn"}) if "/blobs/" in r.path else None
        )
        remote = client(with_account(tmp_path, registry.host)).remote(Reference.parse(f"{registry.host}/a/b"))
        with pytest.raises(AccessNeeded), remote.open(IMAGE.manifest.layers[0]) as body:
            body.read()
        assert not other.requests("GET", "/token")


def test_a_realm_elsewhere_over_plain_http_gets_nothing(tmp_path: Path) -> None:
    with running() as fake:
        fake.hook = lambda r: Response(401, {"WWW-Authenticate": 'Bearer realm="http://auth.example/token"'})
        with pytest.raises(RealmRefused):
            resolve(fake, with_account(tmp_path, fake.host))


def test_basic(tmp_path: Path) -> None:
    with running() as fake:
        put = fake.add_image("a/b", "1", IMAGE)
        fake.basic = ("bob", "pw")
        assert resolve(fake, with_account(tmp_path, fake.host)) == put
        with pytest.raises(LoginRefused):
            resolve(fake, with_account(tmp_path, fake.host, "wrong"))


def test_login_and_logout(registry: FakeRegistry, tmp_path: Path) -> None:
    speaker = client(tmp_path)
    with pytest.raises(LoginRefused):
        speaker.login(registry.host, Credential("bob", "wrong"))
    assert not (tmp_path / "docker/config.json").exists()
    done = speaker.login(registry.host, Credential("bob", "pw"))
    assert done.stored.plain
    saved = json.loads((tmp_path / "docker/config.json").read_text())["auths"][registry.host]
    assert (
        saved["identitytoken"] == "identity-token"
    )  # the token server offered one: the password is not kept
    registry.add_image("a/b", "1", IMAGE)
    resolve(registry, tmp_path)
    assert speaker.logout(registry.host) and not speaker.logout(registry.host)


def test_login_basic(tmp_path: Path) -> None:
    with running() as fake:
        fake.basic = ("bob", "p:w")
        speaker = client(tmp_path)
        with pytest.raises(LoginRefused):
            speaker.login(fake.host, Credential("bob", "no"))
        speaker.login(fake.host, Credential("bob", "p:w"))
        assert speaker.credentials.get(fake.host) == Credential("bob", "p:w")


def test_denied_reads_like_docker(tmp_path: Path) -> None:
    from boxwright.registry.client.errors import AccessDenied
    from boxwright.transfer.pull import _refused

    error = _refused(
        Reference.parse("nobody/nothing:1"),
        AccessDenied("manifest for x: requested access to the resource is denied"),
    )
    assert isinstance(error, PullRefused)
    assert str(error).startswith(
        "pull access denied for nobody/nothing, repository does not exist or may require 'docker login': requested access"
    )


def test_retry_after_and_rate_limits(tmp_path: Path) -> None:
    from boxwright.registry.client.errors import RateLimited

    with running() as fake:
        put = fake.add_image("a/b", "1", IMAGE)
        answers = [Response(429, {"Retry-After": "0"}), Response(503), Response(500)]
        fake.hook = lambda r: answers.pop() if "manifests" in r.path and answers else None
        assert resolve(fake, tmp_path) == put
        fake.hook = lambda r: Response(429, {"Retry-After": "3600"}) if "manifests" in r.path else None
        with pytest.raises(RateLimited, match="wait 3600 seconds"):
            resolve(fake, tmp_path)
        assert len(fake.requests("HEAD")) == 5
        soon = formatdate(time.time() + 2, usegmt=True)
        answers = [Response(503, {"Retry-After": soon})]
        fake.hook = lambda r: answers.pop() if "manifests" in r.path and answers else None
        begin = time.time()
        assert resolve(fake, tmp_path) == put
        assert time.time() - begin > 0.5  # a date is waited for as well, to its second


def test_hub_names_use_the_hubs_host(tmp_path: Path) -> None:
    from boxwright.registry.client.client import server_name

    speaker = client(tmp_path)
    origin = speaker.hosts.origin("docker.io", "library/alpine")
    assert (origin.host.name, origin.host.domain, origin.repository) == (
        "registry-1.docker.io",
        "docker.io",
        "library/alpine",
    )
    assert [
        server_name(t)
        for t in ("", "https://index.docker.io/v1/", "docker.io", "localhost:5000", "https://r.example/v2/")
    ] == [
        "docker.io",
        "docker.io",
        "docker.io",
        "localhost:5000",
        "r.example",
    ]
