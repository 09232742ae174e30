"""What listens as an SSH agent does, and says again what it hears."""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path
from types import TracebackType


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        owner = self.server.owner  # type: ignore[attr-defined]
        owner.enter(1)
        try:
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)
        except OSError:
            pass  # it went away
        finally:
            owner.enter(-1)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class EchoAgent:
    """At `path` while it is entered; `most` is how many connections there were at a time."""

    def __init__(self, path: Path) -> None:
        self.path, self.most = path, 0
        self._now, self._lock = 0, threading.Lock()
        self._server = _Server(str(path), _Echo)
        self._server.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def enter(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.most = max(self.most, self._now)

    def __enter__(self) -> EchoAgent:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
