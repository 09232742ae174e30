"""Whatever a request carries, the registry answers it: with what was asked for or with a 4xx, never with a fault of its own."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.registry.server.api.requests import content_range, is_text, whole
from boxwright.registry.server.app import API, routes
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.config import Auth
from boxwright.registry.server.errors import RegistryError
from support.images_pushed import push_image
from support.server import Client, serving

pytest.importorskip("aiohttp")

NASTY = [
    "",
    "²",
    "٣",
    "-1",
    "0",
    "1e9",
    "9" * 19,
    "9" * 5000,
    "\0",
    "a\0b",
    "\ud800",
    "\udcff",
    "'",
    '"',
    '" OR "',
    "*",
    "**",
    "%",
    "../..",
    "a/x",
    "latest",
    "sha256:" + "0" * 64,
    "sha256:x",
    "sha512:" + "f" * 128,
    "٠" * 64,
    "\n",
    "\r\nX: y",
    "{}",
    "linux/amd64",
    "name:*",
    "repository:a/x:pull",
    "repository:*:*",
]
TEXT = st.sampled_from(NASTY) | st.text(max_size=12)
PARAMETERS = [
    "n",
    "last",
    "q",
    "page",
    "limit",
    "offset",
    "sort",
    "official",
    "platform",
    "artifactType",
    "digest",
    "mount",
    "from",
    "digest-algorithm",
    "tag",
    "ns",
    "log",
    "secret",
    "scope",
    "offline_token",
    "client_id",
    "next",
    "name",
]
HEADERS = [
    "Range",
    "Content-Range",
    "Accept",
    "If-None-Match",
    "If-Match",
    "Content-Type",
    "Authorization",
    "Cookie",
    "X-Hub-Signature-256",
    "X-Gitlab-Token",
    "X-Forwarded-For",
    "User-Agent",
    "Origin",
    "Host",
    "Expect",
    "Content-Encoding",
    "Sec-Fetch-Site",
]
SHAPES = {
    "Range": ["bytes={}-{}", "bytes=-{}", "{}"],
    "Content-Range": ["{}-{}", "bytes {}-{}/{}"],
    "Authorization": ["Basic {}", "Bearer {}", "Bearer bwp_{}", "Bearer a.{}", "Basic Og==", "{}"],
    "Cookie": ["boxwright-session={}", "boxwright-session=bws_{}", "{}"],
}
KINDS = {
    "base": [""],
    "catalog": ["_catalog"],
    "discover": ["{}/_oci/ext/discover"],
    "manifests": ["{}/manifests/{}"],
    "tags": ["{}/tags/list"],
    "referrers": ["{}/referrers/{}"],
    "blobs": ["{}/blobs/{}"],
    "uploads": ["{}/blobs/uploads/"],
    "upload": ["{}/blobs/uploads/{}"],
}


@pytest.fixture(scope="module", params=["open", "accounts"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("requests")
    more: dict[str, Any] = {}
    if request.param == "accounts":
        Users(folder / "htpasswd").put("ann", "secret", new=True)
        more["auth"] = Auth(htpasswd=folder / "htpasswd", anonymous=("**",))
    build = {"build": {"enabled": True, "command": ["true"]}}
    with serving(folder / "reg", other=build, access_log=str(folder / "log"), **more) as client:
        if request.param == "open":
            push_image(client, "a/x")
            client.blob = client.push_blob("a/x", b"blob")  # type: ignore[attr-defined]
            client("PUT", "/api/builds/a/x", '{"url": "https://git.example/x.git"}')
        else:
            client.blob = "sha256:" + "0" * 64  # type: ignore[attr-defined]
        if "auth" in more:
            client.service.access.passwords._count = lambda *_: 0.0
            client.service.access.users.check = lambda name, password: (
                False
            )  # hashing is not what is looked at
        yield client


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/:")


@st.composite
def asked(draw: st.DrawFn, ways: list[tuple[str, str]]) -> bytes:
    """A request as bytes."""
    method, pattern = draw(st.sampled_from(ways))
    path = re.sub(r"\{\}|\*", lambda _: encoded(draw(TEXT)), pattern)
    path = path.replace("\0", "%00")
    if draw(st.integers(0, 20)) == 0:
        path = "http://host" + path
    pairs = draw(st.lists(st.tuples(st.sampled_from(PARAMETERS), TEXT), max_size=3))
    if pairs:
        path += "?" + "&".join(f"{name}={encoded(value)}" for name, value in pairs)
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Connection: close"]
    names = draw(st.lists(st.sampled_from(HEADERS), max_size=2, unique=True))
    for name in names:
        shape = draw(st.sampled_from(SHAPES.get(name, ["{}"])))
        value = re.sub(r"\{\}", lambda _: draw(TEXT), shape)
        raw = re.sub(rb"[\0\r\n]", b"", value.encode("utf-8", "surrogatepass"))
        lines.append(name.encode() + b": " + raw[:6000])
    if "Host" not in names:
        lines.append(b"Host: localhost")
    body = draw(
        st.sampled_from([b"", b"{}", b"[]", b"\xff", b"[" * 5000, b"name=a/x&on=1", b"name=%00", b"1" * 5000])
        | st.builds(
            lambda d: json.dumps(d).encode(),
            st.dictionaries(st.sampled_from(["description", "url", "tag", "dockerfile", "secret"]), TEXT),
        )
        | st.builds(
            lambda d: "&".join(f"{k}={encoded(v)}" for k, v in d.items()).encode(),
            st.dictionaries(
                st.sampled_from(
                    ["name", "password", "username", "grant_type", "refresh_token", "scope", "next"]
                ),
                TEXT,
            ),
        )
    )
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def ways(client: Client) -> list[tuple[str, str]]:
    """Methods and paths, the application's own; ``{}`` and ``*`` are where a request says something."""
    found = [(row.method, row.path) for row in routes(client.service)]
    for method, kind in API:
        found += [(method, f"/v2/{shape}") for shape in KINDS[kind]]
        found += [(method, f"/v2/{shape.replace('{}', 'a/x', 1)}") for shape in KINDS[kind]]
    return [*found, ("GET", "/{}"), ("GET", "/r/a/x/tags/{}"), ("GET", "/r/a/x/_builds/{}")]


def answer(client: Client, request: bytes) -> http.client.HTTPResponse:
    host, _, port = client.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(request)
        response = http.client.HTTPResponse(sock)
        response.begin()
        return response


PARAMETERS_OF = {
    "/api/search": ["q", "official", "platform", "sort", "limit", "offset"],
    "/v1/search": ["q", "n", "page"],
    "/": ["q", "platform", "offset"],
    "/v2/_catalog": ["n", "last"],
    "/v2/a/x/tags/list": ["n", "last"],
    "/v2/a/x/referrers/sha256:" + "0" * 64: ["artifactType", "last"],
    "/api/repositories/a/x": ["limit", "offset"],
    "/api/builds/a/x": ["log"],
    "/r/a/x": ["offset"],
    "/r/a/x/tags/latest": ["platform"],
    "/token": ["scope", "client_id", "offline_token"],
    "/login": ["next"],
}
BODIES = {  # of JSON with a text in it
    ("PATCH", "/api/repositories/a/x"): '{"description": %s}',
    ("PUT", "/api/builds/a/x"): '{"url": "https://git.example/x.git", "secret": %s}',
    ("PUT", "/v2/a/x/manifests/t"): '{"schemaVersion": 2, "mediaType": %s}',
}


def in_request(method: str, target: str, body: bytes = b"", **headers: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
    lines += [name.replace("_", "-").encode() + b": " + value for name, value in headers.items()]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text)[:24])
def test_each_text_in_each_place(registry: Client, text: str) -> None:
    requests = [
        in_request("GET", f"{path}?{name}={encoded(text)}")
        for path, names in PARAMETERS_OF.items()
        for name in names
    ]
    requests += [
        in_request(method, path, (body % json.dumps(text)).encode())
        for (method, path), body in BODIES.items()
    ]
    for query in ("digest={}", "mount={}", "mount=sha256:" + "0" * 64 + "&from={}", "digest-algorithm={}"):
        requests.append(in_request("POST", f"/v2/a/x/blobs/uploads/?{query.replace('{}', encoded(text))}"))
    value = re.sub(rb"[\0\r\n]", b"", text.encode("utf-8", "surrogatepass"))
    for name in HEADERS:
        for shape in SHAPES.get(name, ["{}"]):
            header = {name: shape.encode().replace(b"{}", value)}
            requests.append(in_request("GET", f"/v2/a/x/blobs/{registry.blob}", **header))
            requests.append(in_request("POST", "/api/builds/a/x", b"", **header))
    upload = registry("POST", "/v2/a/x/blobs/uploads/")
    for shape in SHAPES["Content-Range"] if upload.status == 202 else ():
        header = {"Content-Range": shape.encode().replace(b"{}", value)}
        requests.append(in_request("PATCH", upload.headers["Location"], b"x", **header))
    for request in requests:
        assert answer(registry, request).status < 500, request


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_request_is_a_fault(registry: Client, data: st.DataObject) -> None:
    request = data.draw(asked(ways(registry)))
    assert answer(registry, request).status < 500, request


@given(st.from_regex(r"[0-9]{1,6000}", fullmatch=True) | TEXT)
def test_whole_numbers(text: str) -> None:
    found, digits = whole(text), text.lstrip("0")
    if not re.fullmatch(r"[0-9]+", text):
        assert found is None
    elif len(digits) > 18:
        assert found == 10**18
    else:
        assert found == int(digits or "0")


@given(TEXT, TEXT)
def test_content_ranges(first: str, last: str) -> None:
    try:
        chunk = content_range(f"{first}-{last}")
    except RegistryError as error:
        assert error.http_status == 400
    else:
        assert chunk.first >= 0 and chunk.last >= 0


@given(TEXT)
def test_text_is_what_a_database_can_hold(text: str) -> None:
    import sqlite3

    if is_text(text):
        with closing(sqlite3.connect(":memory:")) as sql:
            assert sql.execute("SELECT ?", (text,)).fetchone() == (text,)
        assert "\0" not in text
