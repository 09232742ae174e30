"""Small HTTP servers of a test's own: one that a function answers for, one of files, and what others are made of."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: HTTPMessage
    body: bytes


class Reply(NamedTuple):
    """An answer. `length` is the Content-Length that it claims, when that is not the body's."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    length: int | None = None


class Site(NamedTuple):
    """A server: its URL without a slash at the end, and what it was asked, in order."""

    url: str
    asked: list[Asked]

    @property
    def host(self) -> str:
        """With the port."""
        return self.url.removeprefix("http://")

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    @property
    def paths(self) -> list[str]:
        """Of what was asked."""
        return [asked.path for asked in self.asked]


@contextmanager
def answering(answer: Callable[[Asked], Reply], port: int = 0) -> Iterator[Site]:
    """A server whose every answer the function gives, perhaps in several threads at once."""
    asked: list[Asked] = []

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            asked.append(Asked(self.command, self.path, self.headers, self.body()))
            reply = answer(asked[-1])
            self.close_connection |= reply.length is not None
            length = len(reply.body) if reply.length is None else reply.length
            self.reply(reply.status, reply.body, {"Content-Length": str(length), **reply.headers})

    with web_server(Handler, port) as url:
        yield Site(url, asked)


@contextmanager
def serving_files(directory: Path) -> Iterator[str]:
    """The URL of the files below a directory."""
    with web_server(functools.partial(FileHandler, directory=str(directory))) as url:
        yield url


@contextmanager
def web_server(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Its URL, without a slash at the end, while it serves this machine; a free port, unless one is named."""
    server = QuietServer(("127.0.0.1", port), handler)
    with server.running():
        yield server.url


class QuietServer(ThreadingHTTPServer):
    """On one address, while `running`."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nothing to print."""

    @property
    def host(self) -> str:
        """With the port."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class QuietHandler(BaseHTTPRequestHandler):
    """One that prints nothing."""

    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def body(self) -> bytes:
        """Of the request."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """All of the answer; to HEAD without the body."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class FileHandler(QuietHandler, SimpleHTTPRequestHandler):
    """Files below its `directory`."""
