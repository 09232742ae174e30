"""Requests that want too much: packed bodies, more than a quota, more connections than there are, what cannot be read."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import hashlib
import http.client
import json
import logging
import os
import socket
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from boxwright.registry.server.app import API, routes
from boxwright.registry.server.config import RequestLimits
from boxwright.registry.server.events import logs
from boxwright.registry.server.serve import affordable_connections
from support.images_pushed import push_image
from support.server import Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")
BUILD = {"build": {"enabled": True, "command": ["true"]}}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def raw(client: Client, text: bytes) -> bytes:
    host, _, port = client.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(text)
        answer = b""
        while piece := sock.recv(65_536):
            answer += piece
    return answer


def test_packed_bodies_are_refused_and_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (16 << 20))
    with serving(tmp_path, other=BUILD) as client:
        for row in routes(client.service):
            for coding in ("gzip", "deflate", "br", "zstd", "GZIP, gzip", "x"):
                path = row.path.replace("*", "a/x")
                assert client("POST", path, bomb, Content_Encoding=coding).status == 415, (path, coding)
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        answer = client("PATCH", location, bomb, Content_Encoding="gzip")
        assert (answer.status, answer.code) == (415, "UNSUPPORTED")
        assert client("GET", location).headers["Range"] == "0-0"
        small = client("PUT", f"{location}?digest={digest_of(bomb)}", bomb, Content_Encoding="identity")
        assert small.status == 201, "packed bytes are bytes, when no header says that they are packed"


def test_every_answer_names_no_version_and_no_other_type(tmp_path: Path) -> None:
    with serving(tmp_path, other=BUILD) as client:
        push_image(client, "a/x")
        blob = client.push_blob("a/x", b"blob")
        paths = [row.path.replace("*", "a/x") for row in routes(client.service)]
        paths += [
            f"/v2/a/x/{p}" for p in ("manifests/latest", "tags/list", "manifests/none", f"blobs/{blob}")
        ]
        for path in (*paths, "/nothing", "/static/style.css"):
            for method in ("GET", "HEAD", "PUT", "POST", "BREW"):
                answer = client(method, path)
                assert answer.headers["Server"] == "boxwright", (method, path)
                assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"], (method, path)
        for broken in (
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01 no HTTP\r\n\r\n",
            b"GET / HTTP/1.1\r\nx\r\n\r\n",
        ):
            head = raw(client, broken).lower()
            assert head.startswith(b"http/1.") and b"server: boxwright\r\n" in head and b"nosniff" in head
            assert b"python" not in head and b"aiohttp" not in head
    assert API


def test_the_absolute_form_is_the_same_request(tmp_path: Path) -> None:
    """RFC 9112, 3.2.2."""
    with serving(tmp_path) as client:
        push_image(client, "a/x")
        for path in ("/v2/", "/v2/a/x/manifests/latest", "/v2/a/x/tags/list?n=1", "/healthz", "/r/a/x", "/"):
            head = (
                f"GET http://{client.host}{path} HTTP/1.1\r\nHost: {client.host}\r\nConnection: close\r\n\r\n"
            )
            assert raw(client, head.encode()).startswith(b"HTTP/1.1 200"), path


def test_bad_requests_are_a_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(tmp_path) as client, caplog.at_level(logging.DEBUG):
        for _ in range(5):
            raw(client, b"GET / HTTP/1.1\r\nBad Header\x1b[2J: x\r\n\r\n")
        eventually(lambda: len([r for r in caplog.records if r.name.startswith("boxwright")]) >= 5)
    lines = [r for r in caplog.records if r.name.startswith("boxwright")]
    assert len(lines) == 5
    for record in lines:
        text = logging.Formatter().format(record)
        assert "\n" not in text and "\x1b" not in text and "Traceback" not in text and len(text) < 400


def test_a_fault_of_ours_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("ours")
    except RuntimeError:
        logs.requests.exception("Error handling request")
    assert caplog.records[-1].exc_info


def test_without_descriptors_one_line_is_said(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    try:
        for _ in range(1000):
            logs.in_loop(
                loop, {"message": "accept", "exception": OSError(errno.EMFILE, "too many open files")}
            )
    finally:
        loop.close()
    assert len(caplog.records) == 1 and caplog.records[0].exc_info is None


def test_connections_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert 8 <= affordable_connections() <= 65_536 // 2
    with serving(tmp_path, limits=RequestLimits(connections=5)) as client:
        host, _, port = client.host.partition(":")
        held = [socket.create_connection((host, int(port))) for _ in range(50)]
        try:
            eventually(lambda: refused(client))
        finally:
            for sock in held:
                sock.close()
        eventually(lambda: not refused(client))
    gc.collect()  # which is when tasks that failed are told of
    assert [
        r.getMessage() for r in caplog.records if r.name == "asyncio" and r.levelno >= logging.WARNING
    ] == []


def refused(client: Client) -> bool:
    try:
        return client("GET", "/healthz").status != 200
    except (OSError, http.client.HTTPException):
        return True


# --- quotas ------------------------------------------------------------------------------------------


def test_uploads_under_way_count(tmp_path: Path) -> None:
    with serving(tmp_path, quotas={"small": 1000}) as client:
        first = client("POST", "/v2/small/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", first, b"a" * 700).status == 202
        second = client("POST", "/v2/small/y/blobs/uploads/").headers["Location"]
        answer = client("PATCH", second, b"b" * 700)
        assert (answer.status, answer.code) == (403, "DENIED")
        assert answer.json["errors"][0]["detail"]["uploads"] == 700
        assert client("GET", second).status == 404, "what is refused does not count on"
        for body in (b"c" * 400, iter([b"c" * 200, b"c" * 200])):  # of known length, and chunked
            location = client("POST", "/v2/small/z/blobs/uploads/").headers["Location"]
            assert client("PATCH", location, body).status == 403
        assert client("PUT", f"{first}?digest={digest_of(b'a' * 700)}", b"").status == 201
        assert (
            client("POST", f"/v2/small/y/blobs/uploads/?digest={digest_of(b'a' * 700)}", b"a" * 700).status
            == 201
        )
        lie = client("POST", f"/v2/small/y/blobs/uploads/?digest={digest_of(b'a' * 700)}", b"x" * 900)
        assert lie.status == 403, "more than the blob that is there is no blob that is there"
        assert (
            client("POST", f"/v2/small/y/blobs/uploads/?digest={digest_of(b'd' * 300)}", b"d" * 300).status
            == 201
        )
        assert sum(f.stat().st_size for f in (tmp_path / "uploads").iterdir()) == 0


def test_manifests_count(tmp_path: Path) -> None:
    with serving(tmp_path, quotas={"small": 1000}) as client:
        index: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
            "annotations": {"fill": "x" * 400},
        }
        assert client.push_manifest("small/x", "1", index).status == 201
        assert client.push_manifest("small/x", "2", index).status == 201, "the same bytes count once"
        answer = client.push_manifest("small/x", "3", {**index, "annotations": {"fill": "y" * 400}})
        assert (answer.status, answer.code) == (403, "DENIED")


def test_a_refused_upload_is_no_handle_on_a_blob(tmp_path: Path) -> None:
    """Once published, an upload's file is the blob's: bytes that are sent to it afterwards would change what everybody
    pulls."""
    data = b"shared by all"
    with serving(tmp_path) as client:
        digest = client.push_blob("other/x", data)
        location = client("POST", "/v2/me/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, data).status == 202
        service = client.service
        upload = service.catalog.upload(location.rpartition("/")[2], "me/x")
        from boxwright.spec.digest import Digest

        service.blobs.publish(upload.id, Digest.parse(digest), upload.size)  # and then a crash, or a refusal
        assert client("PATCH", location, b" and changed").status == 400
        assert client("GET", f"/v2/other/x/blobs/{digest}").body == data
        assert client("PUT", f"{location}?digest={digest}", b"").status == 201
        assert client("GET", f"/v2/me/x/blobs/{digest}").body == data


# --- the storage is the registry's alone ----------------------------------------------------------------


def modes(top: Path) -> dict[str, int]:
    return {str(p.relative_to(top)): stat.S_IMODE(p.lstat().st_mode) for p in top.rglob("*")}


def test_nothing_in_the_storage_is_for_others(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with serving(tmp_path / "new/reg", other=BUILD) as client:
            push_image(client, "a/x")
            client("POST", "/v2/a/x/blobs/uploads/")
            link = {"url": "https://git.example/x.git", "secret": "s"}
            assert client("PUT", "/api/builds/a/x", json.dumps(link)).status == 201
            found = modes(tmp_path / "new/reg")
            assert [p for p, mode in found.items() if mode & 0o077] == []
            # A publication that is made again opens its file again, and the server is an ordinary user.
            assert [p for p, mode in found.items() if mode & 0o600 != 0o600] == []
        assert stat.S_IMODE((tmp_path / "new/reg").stat().st_mode) == 0o700
    finally:
        os.umask(old)


def test_an_older_storage_is_closed_and_its_neighbours_are_not_touched(tmp_path: Path) -> None:
    with serving(tmp_path / "reg") as client:
        push_image(client, "a/x")
    for path in (
        tmp_path / "reg/registry.db",
        tmp_path / "reg/blobs",
        tmp_path / "reg/uploads",
        tmp_path / "reg",
    ):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "reg/mine").write_text("of another program")
    (tmp_path / "reg/mine").chmod(0o644)
    with serving(tmp_path / "reg") as client:
        assert client("GET", "/v2/a/x/manifests/latest").status == 200
    found = modes(tmp_path / "reg")
    assert found["registry.db"] == 0o600 and found["blobs"] == found["uploads"] == 0o700
    assert found["mine"] == 0o644 and stat.S_IMODE((tmp_path / "reg").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (sqlite3.SQLITE_FULL, "the registry's storage is full"),
        (sqlite3.SQLITE_IOERR_WRITE, "the registry's storage is on a disk that fails"),
        (sqlite3.SQLITE_IOERR_FSYNC, "the registry's storage is on a disk that fails"),
        (sqlite3.SQLITE_BUSY, "the catalog cannot be used now: disk I/O error"),
    ],
)
def test_trouble_of_the_catalogs_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    """As what it is, and without a path of the server's."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    with serving(tmp_path) as client:
        catalog = client.service.catalog

        def start(*words: object) -> None:
            with catalog.write():
                raise error

        monkeypatch.setattr(catalog, "start_upload", start)
        answer = client("POST", "/v2/a/x/blobs/uploads/")
    assert answer.status == 503 and answer.code == "UNAVAILABLE"
    assert answer.json["errors"][0]["message"] == told


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EIO, "is on a disk that fails"),
        (errno.EROFS, "is mounted read-only"),
    ],
)
def test_trouble_of_the_blobs_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    """Of a chunk that was not made durable, too: it is not acknowledged, and the upload is where it was."""

    def fails(descriptor: int) -> None:
        raise OSError(code, "as the kernel words it")

    with serving(tmp_path) as client:
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        with monkeypatch.context() as patched:
            patched.setattr("boxwright.registry.server.store.blobs.os.fsync", fails)
            answer = client("PATCH", location, b"bytes")
        assert answer.status == 503, answer
        assert answer.json["errors"][0]["message"] == f"the registry's storage {told}"
        assert client("GET", location).headers["Range"] == "0-0"


def test_a_digest_is_remembered_of_bytes_that_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk was synced before it was acknowledged. What a PUT brought that failed was not, so that its digest is not believed."""

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "as the kernel words it")

    with serving(tmp_path) as client:
        catalog, digest = client.service.catalog, hashlib.sha256(b"bytes").hexdigest()
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, b"bytes").status == 202
        kept = catalog.upload(location.rpartition("/")[2], "a/x")
        assert (kept.size, kept.digest) == (5, digest)

        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        monkeypatch.setattr("boxwright.registry.server.store.blobs.os.fsync", fails)
        assert client("PUT", f"{location}?digest=sha256:{digest}", b"bytes").status == 503
        kept = catalog.upload(location.rpartition("/")[2], "a/x")
        assert (kept.size, kept.digest) == (5, "")
