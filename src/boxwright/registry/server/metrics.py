"""Prometheus metrics, added up over all workers (prometheus-client's multiprocess mode)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from boxwright.registry.server.users import extra

if TYPE_CHECKING:
    from boxwright.registry.server.service import Service

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """One worker's counters. The directory is told to prometheus-client by whoever starts the process, since its
    library looks for it when it is imported."""

    def __init__(self, folder: Path) -> None:
        self._prometheus = extra("prometheus_client")
        self._folder = folder
        p, registry = self._prometheus, self._prometheus.CollectorRegistry()
        self._requests = p.Counter("boxwright_http_requests", "Requests answered", ("method", "route", "code"), registry=registry)
        self._seconds = p.Histogram("boxwright_http_request_seconds", "Time until the answer; of blobs, until the last byte", ("method", "route"), registry=registry, buckets=_BUCKETS)
        self._sent = p.Counter("boxwright_http_sent_bytes", "Bytes of bodies sent to GETs", registry=registry)
        self._received = p.Counter("boxwright_http_received_bytes", "Bytes of bodies announced by requests", registry=registry)
        self.events = p.Counter("boxwright_events", "Events by outcome", ("outcome",), registry=registry)
        self.collected = p.Counter("boxwright_collected_bytes", "Bytes that the collector freed", registry=registry)
        self._children: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def request(self, method: str, route: str, status: int, spent: float, sent: int, received: int) -> None:
        """Count an answer."""
        key = (method if len(method) < 8 else "other", route, status)
        child = self._children.get(key)
        if child is None:
            child = (self._requests.labels(key[0], route, status).inc, self._seconds.labels(key[0], route).observe)
            self._children[key] = child
        child[0]()
        child[1](spent)
        if sent:
            self._sent.inc(sent)
        if received:
            self._received.inc(received)

    def text(self, service: Service) -> bytes:
        """Of all workers, in Prometheus' text format, with the catalog's sizes."""
        p = self._prometheus
        registry = p.CollectorRegistry()
        multiprocess: Any = extra("prometheus_client.multiprocess")
        multiprocess.MultiProcessCollector(registry, path=str(self._folder))
        sizes = p.CollectorRegistry()
        sql = service.catalog.connection()
        for name, what, query in (
            ("repositories", "Repositories", "SELECT count(*) FROM repositories"),
            ("uploads", "Uploads under way", "SELECT count(*) FROM uploads"),
        ):
            p.Gauge(f"boxwright_{name}", what, registry=sizes).set(sql.execute(query).fetchone()[0])
        place = os.statvfs(service.config.storage)
        p.Gauge("boxwright_storage_free_bytes", "Free bytes of the storage's file system", registry=sizes).set(place.f_bavail * place.f_frsize)
        out: bytes = p.generate_latest(registry) + p.generate_latest(sizes)
        return out


async def metrics(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /metrics``, for those who may see the catalogue where there are accounts."""
    service.access.check(request, "", "catalog")
    if service.observer.metrics is None:
        return web.Response(status=404, text="metrics are switched off\n")
    text = await service.run(service.observer.metrics.text, service)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def healthy(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /healthz``: the process answers."""
    return web.Response(text="ok\n")


async def ready(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /readyz``: the catalog can be read and the storage written. 503 names what fails."""

    def probe() -> str:
        import sqlite3

        try:
            service.catalog.connection().execute("SELECT 1 FROM repositories LIMIT 1").fetchone()
        except sqlite3.Error as error:
            return f"the catalog cannot be read: {error}"
        place = os.statvfs(service.config.storage)
        if not service.read_only and place.f_bavail * place.f_frsize < 1 << 20:
            return "the storage is full"
        if not service.read_only and not os.access(service.config.storage, os.W_OK):
            return "the storage cannot be written"
        return ""

    problem = await service.run(probe)
    return web.Response(status=503 if problem else 200, text=(problem or "ready") + "\n")
