"""Our own HTTP/1.1: what answers mean, which are refused, and how connections live and die."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from boxwright.errors import Invalid
from boxwright.registry.client.http import Http, Reply, Timeouts
from boxwright.registry.client.http1 import BodyStream, Stream, framing, parse_head, read_head, serves
from boxwright.registry.client.peers import (
    NotHttp,
    PeerAbsent,
    PeerUnreachable,
    ResponseTooLarge,
    UntrustedPeer,
)
from support.registry import client_config, running

trustme = pytest.importorskip("trustme")


def stream(data: bytes, step: int = 1 << 20) -> Stream:
    pieces = [data[at : at + step] for at in range(0, len(data), step)][::-1]
    return Stream(lambda size: pieces.pop() if pieces else b"")


def body(data: bytes, length: int | None, size: int = 1 << 16, step: int = 1 << 20) -> bytes:
    content = BodyStream(stream(data, step), length)
    out = b""
    while piece := content.read(size):
        out += piece
    assert content.ended
    return out


# --- heads ---------------------------------------------------------------------------------------------


def test_a_head() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: a/b; c=d\r\nLink:\t</x>; rel=next \r\nEmpty:\r\nName: \xe9"
    fields = [("Content-Type", "a/b; c=d"), ("Link", "</x>; rel=next"), ("Empty", ""), ("Name", "é")]
    assert parse_head(head) == (1, 200, fields)
    assert parse_head(b"HTTP/1.0 404") == (0, 404, [])
    assert parse_head(b"HTTP/1.1 404 ") == (1, 404, [])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x15\x03\x01\x00\x02\x02\x16",  # an alert of TLS
        b"SSH-2.0-OpenSSH",
        b"HTTP/2 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 0200 OK",
        b"HTTP/1.1 600 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200 O\nK",
        b"HTTP/1.1 200 O\x1b[2JK",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: nameless",
        b"HTTP/1.1 200 OK\r\nName : value",
        b"HTTP/1.1 200 OK\r\n folded: value",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c",
        b"HTTP/1.1 200 OK\r\nA: b\nEvil: c",
        b"HTTP/1.1 200 OK\r\nA: b\rEvil: c",
        b"HTTP/1.1 200 OK\r\nA: b\0c",
        b"HTTP/1.1 200 OK\r\nA: b\x1b[2J",
        b"HTTP/1.1 200 OK\nA: b",
        b"HTTP/1.1 200 OK" + b"\r\nA: b" * 257,
    ],
)
def test_heads_that_are_refused(head: bytes) -> None:
    with pytest.raises(NotHttp):
        parse_head(head)


def test_hints_are_passed_over_but_not_for_ever() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    assert read_head(stream(b"HTTP/1.1 100 Continue\r\n\r\n" + hint + b"HTTP/1.1 204 No\r\n\r\n"))[1] == 204
    with pytest.raises(NotHttp):
        read_head(stream(hint * 99))
    with pytest.raises(NotHttp):
        read_head(stream(b"HTTP/1.1 101 Switching\r\n\r\n"))


def test_a_head_has_an_end() -> None:
    with pytest.raises(NotHttp):
        read_head(Stream(lambda size: b"HTTP/1.1 200 OK\r\n" + b"x" * 4096))
    with pytest.raises(PeerUnreachable, match="hung up"):
        read_head(stream(b"HTTP/1.1 200 OK\r\nA: b\r\n"))


# --- bodies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "fields", "length"),
    [
        ("GET", 200, [("Content-Length", "5")], 5),
        ("GET", 200, [("Content-Length", "5"), ("content-length", "5")], 5),
        ("GET", 200, [("Transfer-Encoding", "Chunked")], -1),
        ("GET", 200, [], None),
        ("HEAD", 200, [("Content-Length", "5")], 0),
        ("HEAD", 200, [("Transfer-Encoding", "chunked")], 0),
        ("GET", 204, [], 0),
        ("GET", 304, [("Content-Length", "5")], 0),
    ],
)
def test_framing(method: str, status: int, fields: list[tuple[str, str]], length: int | None) -> None:
    assert framing(method, status, fields) == length


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "5, 5")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", "0x5")],
        [("Content-Length", "1_0")],
        [("Content-Length", "²")],
        [("Content-Length", "")],
        [("Content-Length", "9" * 19)],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "identity")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_framings_that_contradict_themselves(fields: list[tuple[str, str]], method: str) -> None:
    with pytest.raises(NotHttp):
        framing(method, 200, fields)


CHUNKED = b"5;ext=1\r\nhello\r\n1 \r\n \r\n0006\r\nworld!\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_chunks(step: int, size: int) -> None:
    assert body(CHUNKED, -1, size, step) == b"hello world!"


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\nhello\r\n",
        b"\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\nhello",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"F" * 16 + b"\r\n",
        b"5;" + b"x" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
    ],
)
def test_chunks_that_are_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        body(data, -1)


@pytest.mark.parametrize(
    ("data", "length"), [(b"hell", 5), (b"", 1), (b"5\r\nhel", -1), (b"5\r\nhello\r\n", -1), (b"0\r\n", -1)]
)
def test_bodies_that_are_cut_off(data: bytes, length: int) -> None:
    with pytest.raises(PeerUnreachable, match="hung up"):
        body(data, length)


def test_a_body_ends_where_it_says() -> None:
    source = stream(b"hello" + b"HTTP/1.1 200")
    content = BodyStream(source, 5)
    assert content.read(99) == b"hello" and content.read(99) == b"" and content.ended
    assert not source.idle
    assert body(b"up to the end", None) == b"up to the end"


# --- connections ---------------------------------------------------------------------------------------


class Peer:
    """Answers each connection by a script: for each request, bytes; None hangs up."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self._scripts = scripts
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                for answer in script:
                    if answer is None:
                        break
                    head = b""
                    while not head.endswith(b"\r\n\r\n") and (piece := connection.recv(1)):
                        head += piece
                    if not head:
                        break
                    self.asked.append(head)
                    connection.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(*scripts: list[bytes | None]) -> Peer:
        made.append(Peer(*scripts))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Http]:
    made = Http(client_config(tmp_path, read_timeout=0.4, connect_timeout=2))
    yield made
    made.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_connection_is_used_again(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([OK, CHUNKED_OK, OK])
    for path in ("/1?q=a b", "/é", "/3"):
        assert http.send("GET", f"http://{there.host}{path}", headers={"X-A": "b"}).read_all(99) == b"ok"
    first = there.asked[0].split(b"\r\n")
    assert first[:2] == [b"GET /1?q=a%20b HTTP/1.1", b"Host: " + there.host.encode()]
    assert b"X-A: b" in first and b"Accept-Encoding: identity" in first
    assert there.asked[1].startswith(b"GET /%C3%A9 HTTP/1.1")


CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"Content", b"Connection: close\r\nContent"),
        OK.replace(b"1.1", b"1.0"),
        OK + b"HTTP/1.1 200 OK\r\n\r\nsmuggled",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
)
def test_a_connection_that_is_not_used_again(peer: Callable[..., Peer], http: Http, answer: bytes) -> None:
    there = peer([answer, None], [OK])
    for _ in range(2):
        assert http.send("GET", f"http://{there.host}/").read_all(99) == b"ok"


def test_an_idle_connection_that_the_peer_closed(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([OK, None], [OK, None], [OK])
    for method in ("GET", "POST", "GET"):
        assert http.send(method, f"http://{there.host}/").read_all(99) == b"ok"
        time.sleep(0.05)


def test_what_was_sent_once_is_not_sent_twice(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([b"", None], [OK])
    with pytest.raises(PeerUnreachable):
        http.send("GET", f"http://{there.host}/")
    assert len(there.asked) == 1


def test_silence_ends(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([b"", b""], [OK[:30], b""])
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(PeerUnreachable, match=r"stopped answering|too long"):
            http.send("GET", f"http://{there.host}/").read_all(99)
        assert time.monotonic() - started < 2
        http.close()


def test_a_drip_ends(http: Http) -> None:
    """A byte now and then would keep a wait for the next byte going for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"H")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        started = time.monotonic()
        with pytest.raises(PeerUnreachable, match=r"stopped answering|takes too long"):
            http.send("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert time.monotonic() - started < 2
        thread.join(5)


def test_an_absent_peer(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PeerAbsent, match="refused"):
        http.send("GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(PeerAbsent, match="does not resolve"):
        http.send("GET", "http://nothing.invalid/")
    with pytest.raises(PeerAbsent):
        http.send("GET", f"http://{'a' * 64}.example/")


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    peer: Callable[..., Peer], http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = peer([OK])
    port = int(there.host.rpartition(":")[2])
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        where = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", a) for a in (deaf.getsockname(), ("127.0.0.1", port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a: where)
        started = time.monotonic()
        assert http.send("GET", "http://two.example/", timeouts=Timeouts(connect=1)).read_all(9) == b"ok"
        assert time.monotonic() - started < 1
        for each in waiting:
            each.close()


@pytest.mark.parametrize("url", ["http://h:99999/", "http://[::1/", "http://h:x/"])
def test_urls_that_are_none(http: Http, url: str) -> None:
    with pytest.raises(Invalid):
        http.send("GET", url)


@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize("value", ["a\r\nEvil: b", "a\nb", "a\0", "\x1b[2J", "€"])
def test_a_header_holds_no_other(peer: Callable[..., Peer], http: Http, value: str, flows: bool) -> None:
    there = peer([OK])
    with pytest.raises(Invalid):
        http.send("GET", f"http://{there.host}/", headers={"Accept": value}, flows=flows)
    assert there.asked == []


def test_control_characters_of_a_url_stay_in_it(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([OK])
    http.send("GET", f"http://{there.host}/a\x0bb").read_all(9)
    assert there.asked[0].startswith(b"GET /a%0Bb HTTP/1.1\r\n")


def test_documents_have_a_limit(peer: Callable[..., Peer], http: Http) -> None:
    there = peer([CHUNKED_OK], [OK])
    for _ in range(2):
        with pytest.raises(ResponseTooLarge):
            http.send("GET", f"http://{there.host}/").read_all(1)


def test_what_it_is_for() -> None:
    assert serves(urlsplit("https://reg.example/v2/"), None)
    assert serves(urlsplit("http://[::1]:5000/v2/"), b"x")
    assert not serves(urlsplit("https://reg.example/v2/"), iter([b"x"]))
    assert not serves(urlsplit("https://bücher.example/"), None)
    assert not serves(urlsplit("http://[fe80::1%25eth0]/"), None)


def test_tls(tmp_path: Path) -> None:
    import ssl

    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with running() as registry:
        registry.server.socket = context.wrap_socket(registry.server.socket, server_side=True)
        url = f"https://localhost:{registry.port}/v2/"
        trusting = Http(client_config(tmp_path, ca_bundle=tmp_path / "ca.pem"))
        for _ in range(3):
            assert trusting.send("GET", url).read_all(99) == b"{}"
        (idle,) = trusting._small._idle.values()
        assert len(idle) == 1
        trusting.close()
        strict = Http(client_config(tmp_path))
        with pytest.raises(UntrustedPeer):
            strict.send("GET", url)


def test_the_library_is_not_loaded_for_small_requests(peer: Callable[..., Peer], tmp_path: Path) -> None:
    import subprocess
    import sys

    there = peer([OK, OK], [OK, OK])
    code = (
        "import sys; from pathlib import Path; from boxwright.registry.client.config import ClientConfig\n"
        "from boxwright.registry.client.http import Http\n"
        f"http = Http(ClientConfig(docker_config=Path({str(tmp_path)!r}), home=Path({str(tmp_path)!r})))\n"
        f"http.send('GET', 'http://{there.host}/').read_all(9)\n"
        "print(sorted({'urllib3', 'http.client', 'email', 'ssl'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- compressed unasked --------------------------------------------------------------------------------


def reply(data: bytes, coding: str) -> Reply:
    class Held:
        def __init__(self) -> None:
            self.left = data

        def read(self, size: int) -> bytes:
            out, self.left = self.left[: min(size, 100)], self.left[min(size, 100) :]
            return out

        def keep(self) -> None: ...
        def drop(self) -> None: ...

    headers = [("Content-Encoding", coding), ("Content-Length", str(len(data)))]
    return Reply(200, headers, Held(), "http://h/x")


def test_what_was_compressed_unasked_is_read(peer: Callable[..., Peer]) -> None:
    import gzip
    import zlib

    text = b"text " * 9000
    for coding, data in (("gzip", gzip.compress(text)), ("deflate", zlib.compress(text)), ("identity", text)):
        assert reply(data, coding).read_all(len(text)) == text
    with pytest.raises(ResponseTooLarge):
        reply(gzip.compress(text), "gzip").read_all(len(text) - 1)
    with pytest.raises(PeerUnreachable):
        reply(gzip.compress(text)[:-20], "gzip").read_all(len(text))
    with pytest.raises(PeerUnreachable):
        reply(b"no gzip", "gzip").read_all(len(text))
    with pytest.raises(NotHttp):
        reply(text, "br").read_all(len(text))


def test_a_bomb_is_opened_piece_by_piece() -> None:
    import gzip

    bomb = reply(gzip.compress(bytes(50 << 20)), "gzip")
    bomb.decode()
    assert len(bomb.read_some(1000)) == 1000
