"""The registry as a handler of requests, ready to be served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from boxwright.registry.server import tasks as counting
from boxwright.registry.server.api import blobs, probes
from boxwright.registry.server.api import manifests as manifest_handlers
from boxwright.registry.server.api import search as search_handlers
from boxwright.registry.server.api.mirror import Mirror
from boxwright.registry.server.api.service import Access, Extra, Handler, OpenAccess, Service
from boxwright.registry.server.auth.gate import Gate
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.auth.tokens import AccessTokens, Signer
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.builds import handlers as build_handlers
from boxwright.registry.server.builds import queue as builds
from boxwright.registry.server.config import RegistryConfig
from boxwright.registry.server.events.metrics import Metrics
from boxwright.registry.server.events.observe import AccessLog, Observer
from boxwright.registry.server.events.outbox import Outbox
from boxwright.registry.server.events.webhooks import Sender
from boxwright.registry.server.pages import handlers as pages
from boxwright.registry.server.store.blobs import FileBlobs
from boxwright.registry.server.store.catalog import RegistryCatalog

Task = Callable[[Service], Awaitable[None]]

API: dict[tuple[str, str], Handler] = {
    ("GET", "base"): manifest_handlers.base,
    ("GET", "catalog"): manifest_handlers.catalog,
    ("GET", "discover"): manifest_handlers.discover,
    ("GET", "manifests"): manifest_handlers.get,
    ("PUT", "manifests"): manifest_handlers.put,
    ("DELETE", "manifests"): manifest_handlers.delete,
    ("GET", "tags"): manifest_handlers.tags,
    ("GET", "referrers"): manifest_handlers.referrers,
    ("GET", "blobs"): blobs.get,
    ("DELETE", "blobs"): blobs.delete,
    ("POST", "uploads"): blobs.start,
    ("GET", "upload"): blobs.status,
    ("PATCH", "upload"): blobs.patch,
    ("PUT", "upload"): blobs.finish,
    ("DELETE", "upload"): blobs.cancel,
}


def routes(service: Service) -> list[Extra]:
    """What is not below ``/v2``."""
    rows: list[Extra] = [
        Extra(method="GET", path="/healthz", handler=probes.healthy, probe=True),
        Extra(method="GET", path="/readyz", handler=probes.ready, probe=True),
        Extra("GET", "/metrics", probes.metrics),
        *search_handlers.ROUTES,
        *pages.ROUTES,
    ]
    if _builds(service.config):
        rows += build_handlers.ROUTES
    if isinstance(service.access, Gate):
        rows += [Extra(method, "/token", service.access.token) for method in ("GET", "POST")]
    return rows


def tasks(config: RegistryConfig) -> list[Task]:
    """What runs beside the requests until the stop."""
    rows: list[Task] = [counting.flush, search_handlers.indexer]
    if config.auth is not None:
        rows.append(counting.end_tokens)
    if config.webhooks:
        rows.append(Sender(config.webhooks).run)
    if _builds(config) and not config.read_only:
        rows.append(builds.worker)
    if not config.read_only and config.housekeeping.every:
        rows.append(counting.collect)
    return rows


def _builds(config: RegistryConfig) -> bool:
    return config.other.get("build", {}).get("enabled") is True


def open_service(
    config: RegistryConfig, buckets: Buckets | None = None, metrics: Metrics | None = None
) -> Service:
    """One worker's service over the storage, which is made when it is new. Raises ExtraMissing, NoSpace."""
    files = FileBlobs(config.storage)
    catalog = RegistryCatalog(config.storage / "registry.db")
    buckets = buckets or Buckets()
    access: Access = OpenAccess()
    if config.auth is not None:
        access = Gate(
            config,
            config.auth,
            users=Users(config.auth.htpasswd),
            tokens=AccessTokens(catalog),
            signer=Signer(config.storage, config.auth.service),
            buckets=buckets,
        )
    return Service(
        catalog,
        files,
        config=config,
        access=access,
        buckets=buckets,
        observer=Observer(
            log=AccessLog(config.access_log) if config.access_log else None,
            metrics=metrics,
            outbox=Outbox(config.webhooks) if config.webhooks else None,
        ),
        mirror=Mirror(config, files) if config.upstreams else None,
    )
