"""`boxwright serve` on a socket of a test's own, and what speaks to it byte by byte."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxwright.api.listening import Listener, listen
from boxwright.api.server import serve_until
from boxwright.engine import Engine
from support.containers import Root


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class ApiClient:
    """One request a connection; `text` and `json` are of the last answer."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body (JSON where it says so) and headers."""
        connection = UnixConnection(self.path)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        value: Any = data
        if answer.headers.get_content_type() == "application/json" and data:
            try:
                value = json.loads(data)
            except ValueError:
                value = [json.loads(line) for line in data.splitlines()]
        return answer.status, value, answer.headers

    def raw(self, data: bytes) -> bytes:
        """Whatever comes back to these bytes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.path))
            connection.sendall(data)
            out = b""
            while more := connection.recv(65536):
                out += more
            return out


@contextmanager
def served(engine: Engine, *, listener: Listener | None = None) -> Iterator[ApiClient]:
    """The API in this process, on a thread."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are too long for a socket's path
        path = Path(folder) / "s" / "d.sock"
        where = listener or listen(f"unix://{path}", {})
        loop, stop = asyncio.new_event_loop(), asyncio.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(serve_until(engine, where, stop))
            loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield ApiClient(path)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            assert not thread.is_alive()
            where.close()


@contextmanager
def serving(root: Root, sock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command `serve` as a process."""
    log = root.path / "serve.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "boxwright", "serve", "-H", f"unix://{sock}"],
            env=root.environ,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 30
        while b"listening on" not in log.read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()
