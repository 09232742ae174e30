"""Large bodies, which pass the HTTP parser by: whole, broken off, slow, refused, and what follows them."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from boxwright.registry.server.api import intake
from boxwright.registry.server.config import RequestLimits
from boxwright.registry.server.store import blobs as storage
from support.server import Client, serving

DATA = os.urandom(5_000_000)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(
        tmp_path_factory.mktemp("registry"), limits=RequestLimits(max_blob=20_000_000, body_timeout=2)
    ) as served:
        yield served


def connect(client: Client) -> socket.socket:
    host, port = client.host.split(":")
    return socket.create_connection((host, int(port)), 20)


def start(client: Client, name: str) -> str:
    location: str = client("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    return location


def head(method: str, path: str, length: int, *more: str) -> bytes:
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *more, "", "")
    ).encode()


def answer(sock: socket.socket) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response


def test_it_is_taken_past_the_parser(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, as the last of two parts, and as one that fills several turns of a thread; the connection ends, and says so."""
    monkeypatch.setattr(intake, "_TURN", 1 << 20)
    with connect(client) as sock:
        sock.sendall(head("PUT", f"{start(client, 'i/whole')}?digest={DIGEST}", len(DATA)) + DATA)
        got = answer(sock)
        assert (got.status, got.headers["Connection"], got.read()) == (201, "close", b"")
        assert sock.recv(1) == b""
    assert client("GET", f"/v2/i/whole/blobs/{DIGEST}").body == DATA
    location = start(client, "i/parts")
    assert client("PATCH", location, DATA[:1_500_000]).headers["Range"] == "0-1499999"
    assert (
        client(
            "PUT", f"{location}?digest={DIGEST}", DATA[1_500_000:], Content_Range=f"1500000-{len(DATA) - 1}"
        ).status
        == 201
    )
    assert client("GET", f"/v2/i/parts/blobs/{DIGEST}").body == DATA
    assert client("GET", f"/v2/i/whole/blobs/{DIGEST}").headers["Content-Length"] == str(len(DATA))


def test_other_bytes_are_refused(client: Client) -> None:
    wrong = "sha256:" + "0" * 64
    with connect(client) as sock:
        sock.sendall(head("PUT", f"{start(client, 'i/wrong')}?digest={wrong}", len(DATA)) + DATA)
        assert answer(sock).status == 400
    assert client("HEAD", f"/v2/i/wrong/blobs/{wrong}").status == 404


def test_what_follows_on_the_connection_is_no_second_request(client: Client) -> None:
    with connect(client) as sock:
        sock.sendall(
            head("PUT", f"{start(client, 'i/next')}?digest={DIGEST}", len(DATA))
            + DATA
            + b"DELETE /v2/i/next/blobs/"
            + DIGEST.encode()
            + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert answer(sock).status == 201
    time.sleep(0.2)
    assert client("GET", f"/v2/i/next/blobs/{DIGEST}").body == DATA


@pytest.mark.parametrize("end", ["gone", "half closed"])
def test_what_arrived_counts(client: Client, end: str) -> None:
    location = start(client, f"i/{end.replace(' ', '')}")
    with connect(client) as sock:
        sock.sendall(head("PUT", f"{location}?digest={DIGEST}", len(DATA)) + DATA[:4_000_000])
        if end == "half closed":
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b"", "half a body is no blob"
    limit = time.monotonic() + 30
    while client("GET", location).headers["Range"] != "0-3999999":
        assert time.monotonic() < limit, client("GET", location).headers["Range"]
        time.sleep(0.02)
    assert client("PUT", f"{location}?digest={DIGEST}", DATA[4_000_000:]).status == 201


def test_slow_clients_hold_no_thread(client: Client) -> None:
    """Of twenty that dawdle, more than there are threads, none keeps another from its work; silence ends them."""
    slow = []
    for number in range(20):
        sock = connect(client)
        sock.sendall(head("PATCH", start(client, f"i/slow{number}"), len(DATA)) + DATA[:1000])
        slow.append(sock)
    began = time.monotonic()
    assert client("PUT", f"{start(client, 'i/fast')}?digest={DIGEST}", DATA).status == 201
    assert time.monotonic() - began < 2
    slow[0].sendall(DATA[1000:])
    assert answer(slow[0]).status == 202
    assert [answer(sock).status for sock in slow[1:]] == [408] * 19
    for sock in slow:
        sock.close()


def test_too_large_is_said_before_the_body(client: Client) -> None:
    with connect(client) as sock:
        sock.sendall(
            head("PUT", f"{start(client, 'i/large')}?digest={DIGEST}", 20_000_001, "Expect: 100-continue")
        )
        assert answer(sock).status == 413
    with connect(client) as sock:
        sock.sendall(
            head("PUT", f"{start(client, 'i/asks')}?digest={DIGEST}", len(DATA), "Expect: 100-continue")
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(DATA)
        assert answer(sock).status == 201


def test_a_small_body_keeps_the_connection(client: Client) -> None:
    data = DATA[:900_000]
    connection = http.client.HTTPConnection(client.host, timeout=20)
    for name in ("a", "b"):
        connection.request(
            "PUT", f"{start(client, f'i/{name}')}?digest=sha256:{hashlib.sha256(data).hexdigest()}", data
        )
        response = connection.getresponse()
        response.read()
        assert response.status == 201 and not response.will_close
    connection.close()


def test_encrypted_bodies_go_through_the_parser(tmp_path: Path) -> None:
    import asyncio

    from boxwright.registry.server.app import open_service
    from boxwright.registry.server.config import RegistryConfig
    from boxwright.registry.server.serve import listen, serve_until, tls_context

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    config = RegistryConfig(storage=tmp_path / "reg", tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))
    sock, state = listen("127.0.0.1:0"), {}

    async def main() -> None:
        service = open_service(config)
        state["stop"], state["loop"] = asyncio.Event(), asyncio.get_running_loop()
        await serve_until(service, sock, state["stop"], grace=1, tls=tls_context(config))
        service.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", sock.getsockname()[1], context=trusting, timeout=20
        )
        connection.request("POST", f"/v2/t/x/blobs/uploads/?digest={DIGEST}", DATA)
        assert connection.getresponse().status == 201
        connection.close()
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(20)


def test_reserved_blocks_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that announces much and brings little holds no disk."""
    files = storage.FileBlobs(tmp_path)
    writer = files.writer("0" * 32)
    writer.expect(64 << 20)
    writer.append(0, b"x" * 5000)
    path = tmp_path / "uploads" / ("0" * 32)
    if path.stat().st_blocks * 512 < 64 << 20:
        pytest.skip("this file system reserves nothing")
    assert path.stat().st_size == 5000, "others read the length"
    writer.close()
    assert path.stat().st_blocks * 512 < 1 << 20
