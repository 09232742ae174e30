"""A forward proxy that knows two things: CONNECT, and where in this process each host's name leads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from support.web import QuietHandler, QuietServer


class ConnectProxy:
    """Tunnels ``CONNECT name:port`` to `routes[name]` (host:port); what it was asked is in `asked`, with the credentials."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self.routes = dict(routes)
        self.asked: list[tuple[str, str]] = []
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        self.host = self.server.host


@contextmanager
def connecting(routes: Mapping[str, str]) -> Iterator[ConnectProxy]:
    proxy = ConnectProxy(routes)
    with proxy.server.running():
        yield proxy


class _Server(QuietServer):
    proxy: ConnectProxy


class _Handler(QuietHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        self.close_connection = True
        self.server.proxy.asked.append((self.path, self.headers.get("Proxy-Authorization", "")))
        target = self.server.proxy.routes.get(self.path.rpartition(":")[0])
        if target is None:
            self.send_error(502)
            return
        name, _, port = target.rpartition(":")
        with socket.create_connection((name, int(port)), 10) as there:
            self.send_response_only(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
            back.start()
            _pour(self.connection, there)
            back.join(10)


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
