"""A reverse proxy between a client and a registry that does to the traffic what networks do."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from support.web import QuietHandler, QuietServer

KINDS = ("reset", "delay", "429", "500", "503", "truncate", "corrupt", "reset-late")


class FaultProxy:
    """Each request meets a fault with probability `rate`; which one is drawn from `kinds`. `met` counts them."""

    def __init__(self, upstream: str, *, rate: float, kinds: tuple[str, ...] = KINDS, seed: int = 1) -> None:
        self.upstream = upstream
        self.rate = rate
        self.kinds = kinds
        self.met: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        self.host = self.server.host

    def draw(self) -> tuple[str, float]:
        """The fault of the next request ('' = none), and a number in [0, 1) to shape it."""
        with self._lock:
            kind = self._random.choice(self.kinds) if self._random.random() < self.rate else ""
            self.met[kind] += 1
            return kind, self._random.random()


@contextmanager
def faulty(
    upstream: str, *, rate: float, kinds: tuple[str, ...] = KINDS, seed: int = 1
) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream, rate=rate, kinds=kinds, seed=seed)
    with proxy.server.running():
        yield proxy


class _Server(QuietServer):
    proxy: FaultProxy


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        kind, shape = self.server.proxy.draw()
        if kind == "reset":
            return self._hang_up()
        body = self.body()
        if kind == "delay":
            time.sleep(0.05 * shape)
        if kind in ("429", "500", "503"):
            return self.reply(int(kind), headers={"Retry-After": "0"} if kind == "429" else {})
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=20)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if kind == "reset-late":  # the request had its effect and the client does not learn of it
            return self._hang_up()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value.replace(self.server.proxy.upstream, self.headers["Host"]))
        if answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if kind == "corrupt" and data:
            at = int(shape * len(data))
            data = data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]
        if kind == "truncate" and data:
            self.wfile.write(data[: int(shape * len(data))])
            self.wfile.flush()
            return self._hang_up(gently=shape < 0.5)
        self.wfile.write(data)
        return None

    def _hang_up(self, *, gently: bool = False) -> None:
        self.close_connection = True
        if not gently:
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # RST, not FIN
        self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any
