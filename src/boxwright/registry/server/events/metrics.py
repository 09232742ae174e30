"""Prometheus metrics, added up over all workers.

A worker counts in its own memory, which costs a request a microsecond, and writes its totals to a file of the
metrics directory once a second; whichever worker is asked adds the files up. The files of dead workers stay, so that
counters never fall.
"""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from boxwright.files import whole
from boxwright.registry.server.auth.users import extra
from boxwright.registry.server.store.scratch import scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.store.catalog import RegistryCatalog

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"))
_COUNTERS = {
    "sent_bytes": "Bytes of bodies sent to GETs",
    "received_bytes": "Bytes of bodies announced by requests",
    "events_sent": "Events delivered",
    "events_failed": "Events that no try delivered",
    "events_dropped": "Events that found the queue full",
    "collected_bytes": "Bytes that the collector freed",
}


@contextmanager
def counted(storage: Path) -> Iterator[Path | None]:
    """A metrics directory for the workers of one server, which goes with it; those of servers that were killed go
    first. None, and a warning, where it cannot be made: on a full disk a registry serves on, so that clients can
    delete."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch(storage / "metrics"))
        except OSError as error:
            logging.getLogger("boxwright.registry").warning("no metrics are kept: %s", error)
            folder = None
        yield folder


class Metrics:
    """One worker's counters, and the text of all workers'."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requests: dict[
            tuple[str, str, int], list[float]
        ] = {}  # count, seconds, then a count for each bucket
        self._counters = dict.fromkeys(_COUNTERS, 0)

    def request(self, method: str, route: str, status: int, spent: float, sent: int, received: int) -> None:
        """Count an answer."""
        key = (method, route, status)
        row = self._requests.get(key)
        if row is None:
            key = (method if method in _METHODS else "other", route, status)
            row = self._requests.setdefault(key, [0.0] * (len(_BUCKETS) + 3))
        row[0] += 1
        row[1] += spent
        row[2 + bisect_left(_BUCKETS, spent)] += 1
        self._counters["sent_bytes"] += sent
        self._counters["received_bytes"] += received

    def count(self, name: str, by: int = 1) -> None:
        """One of the other counters."""
        self._counters[name] += by

    def flush(self) -> None:
        """Write the totals down; on a full disk, later."""
        totals = json.dumps([[*key, *row] for key, row in self._requests.items()] + [self._counters])
        with suppress(OSError):
            whole.replace(self._folder / f"{os.getpid()}.json", totals.encode(), sync=False)

    def text(self, catalog: RegistryCatalog, storage: Path) -> bytes:
        """Of all workers, in Prometheus' text format, with the catalog's sizes."""
        prometheus = extra("prometheus_client")
        self.flush()
        registry = prometheus.CollectorRegistry()
        registry.register(_Families(self._folder, catalog, storage))
        out: bytes = prometheus.generate_latest(registry)
        return out


class _Families:
    """What prometheus-client calls a collector."""

    def __init__(self, folder: Path, catalog: RegistryCatalog, storage: Path) -> None:
        self._folder, self._catalog, self._storage = folder, catalog, storage

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> list[Any]:
        core = extra("prometheus_client.core")
        requests: dict[tuple[str, str, int], list[float]] = {}
        counters: dict[str, int] = {}
        for file in self._folder.glob("*.json"):
            *rows, other = json.loads(file.read_text())
            for method, route, status, *row in rows:
                requests[method, route, status] = [
                    a + b
                    for a, b in zip(requests.get((method, route, status), [0.0] * len(row)), row, strict=True)
                ]
            for name, value in other.items():
                counters[name] = counters.get(name, 0) + value
        total = core.CounterMetricFamily(
            "boxwright_http_requests", "Requests answered", labels=("method", "route", "code")
        )
        seconds = core.HistogramMetricFamily(
            "boxwright_http_request_seconds",
            "Time until the answer; of blobs, until the last byte",
            labels=("method", "route"),
        )
        by_route: dict[tuple[str, str], list[float]] = {}
        for (method, route, status), row in sorted(requests.items()):
            total.add_metric((method, route, str(status)), row[0])
            by_route[method, route] = [
                a + b for a, b in zip(by_route.get((method, route), [0.0] * len(row)), row, strict=True)
            ]
        for labels, row in by_route.items():
            sums, buckets = 0.0, []
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), row[2:], strict=True):
                sums += count
                buckets.append((bound, sums))
            seconds.add_metric(labels, buckets, row[1])
        found = [total, seconds]
        found += [
            core.CounterMetricFamily(f"boxwright_{name}", what, value=counters.get(name, 0))
            for name, what in _COUNTERS.items()
        ]
        shown = {"repositories": "Repositories", "uploads": "Uploads under way"}
        found += [
            core.GaugeMetricFamily(f"boxwright_{name}", shown[name], value=count)
            for name, count in self._catalog.counts().items()
        ]
        place = os.statvfs(self._storage)
        found.append(
            core.GaugeMetricFamily(
                "boxwright_storage_free_bytes",
                "Free bytes of the storage's file system",
                value=place.f_bavail * place.f_frsize,
            )
        )
        return found
