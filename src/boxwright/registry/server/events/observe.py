"""What is known of requests afterwards: an access log, metrics, counted pulls, events. Nothing here delays a
request."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress

from boxwright.spec.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from boxwright.registry.server.events.metrics import Metrics
    from boxwright.registry.server.events.outbox import Outbox
    from boxwright.registry.server.routes import Route
    from boxwright.registry.server.store.catalog import RegistryCatalog

_SECRET = re.compile(r"(?<=[?&])(secret)=[^&]*")  # of a webhook: more people read a log than may build


class Observer:
    """Of one worker. `outbox` takes events, `log` and `metrics` requests."""

    def __init__(
        self, *, log: AccessLog | None = None, metrics: Metrics | None = None, outbox: Outbox | None = None
    ) -> None:
        self.log, self.metrics, self.outbox = log, metrics, outbox
        self._pulls: dict[tuple[str, str], int] = {}

    @property
    def watches(self) -> bool:
        """Whether requests are looked at one by one."""
        return self.log is not None or self.metrics is not None

    def pulled(self, repository: str, digest: str) -> None:
        """Count a pull; the catalog learns of it with `flush`."""
        key = (repository, digest)
        self._pulls[key] = self._pulls.get(key, 0) + 1

    async def request(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        route: Route | None,
        *,
        started: float,
        client: Callable[[web.BaseRequest], tuple[str, str]],
    ) -> None:
        """After the handler. A file is sent first, so that its time and outcome are the transfer's. `client` tells the
        user's name and the address."""
        if (
            route is not None
            and route.kind == "blobs"
            and request.method == "GET"
            and not response.prepared
            and response.status == 200
        ):
            await response.prepare(request)
        spent = time.perf_counter() - started
        kind = route.kind if route is not None else "other"
        size = response.content_length or 0
        if self.metrics is not None:
            self.metrics.request(
                method=request.method,
                route=kind,
                status=response.status,
                spent=spent,
                sent=size if request.method == "GET" else 0,
                received=request.content_length or 0,
            )
        if self.log is not None:
            user, remote = client(request)
            self.log.write(
                request=request,
                status=response.status,
                size=size,
                spent=spent,
                user=user,
                remote=remote,
                repository=route.name if route is not None else "",
            )

    def flush(self, catalog: RegistryCatalog) -> None:
        """Write the counted pulls down, in one transaction."""
        pulls, self._pulls = self._pulls, {}
        if pulls:
            catalog.count_pulls(pulls)

    def tell(self, catalog: RegistryCatalog) -> None:
        """Events of pulls become rows; what could not be told is counted."""
        if self.outbox is None:
            return
        if self.outbox.pulls:
            with catalog.write() as sql:
                self.outbox.record_pulls(sql)
        dropped, self.outbox.dropped = self.outbox.dropped, 0
        if dropped and self.metrics is not None:
            self.metrics.count("events_dropped", dropped)


class AccessLog:
    """One JSON object a line: time, remote, user, method, path, status, bytes, duration (seconds), agent."""

    def __init__(self, path: str) -> None:
        self._fd = (
            sys.stderr.fileno()
            if path == "-"
            else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )
        self._lines: list[str] = []

    def write(
        self,
        request: web.BaseRequest,
        status: int,
        size: int,
        spent: float,
        **more: str,
    ) -> None:
        """A line, with `more` of what is known."""
        now = time.time()
        entry = {
            "time": rfc3339(now, digits=3),
            "method": request.method,
            "path": _SECRET.sub(r"\1=***", request.raw_path),
            "status": status,
            "bytes": size,
            "received": request.content_length or 0,
            "duration": round(spent, 6),
            "agent": request.headers.get("User-Agent", ""),
            **more,
            "worker": os.getpid(),
        }
        self._lines.append(json.dumps(entry))
        if len(self._lines) >= 100:
            self.flush()

    def close(self) -> None:
        """Write the rest."""
        self.flush()
        if self._fd != sys.stderr.fileno():
            os.close(self._fd)

    def flush(self) -> None:
        """Whole lines at once, so that workers may share a file. Where they cannot be written they are lost: a full
        disk must not end the requests."""
        lines, self._lines = self._lines, []
        if lines:
            with suppress(OSError):
                os.write(self._fd, ("\n".join(lines) + "\n").encode())
