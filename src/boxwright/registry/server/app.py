"""The registry as a handler of requests, ready to be served."""

from __future__ import annotations

from boxwright.registry.server import tasks
from boxwright.registry.server.api import blobs
from boxwright.registry.server.api import manifests as manifest_handlers
from boxwright.registry.server.api import search as search_handlers
from boxwright.registry.server.api.mirror import Mirror
from boxwright.registry.server.api.service import Extra, Handler, Service
from boxwright.registry.server.auth.gate import Gate
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.auth.tokens import AccessTokens, Signer
from boxwright.registry.server.auth.users import Users
from boxwright.registry.server.builds import handlers as build_handlers
from boxwright.registry.server.builds import queue as builds
from boxwright.registry.server.config import RegistryConfig
from boxwright.registry.server.events import metrics
from boxwright.registry.server.events.observe import AccessLog
from boxwright.registry.server.events.webhooks import Outbox, Sender
from boxwright.registry.server.pages import handlers as pages
from boxwright.registry.server.store.blobs import FileBlobs
from boxwright.registry.server.store.catalog import Catalog

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
        Extra("GET", "/healthz", metrics.healthy, probe=True),
        Extra("GET", "/readyz", metrics.ready, probe=True),
        Extra("GET", "/metrics", metrics.metrics),
        *search_handlers.ROUTES,
        *pages.ROUTES,
    ]
    if service.config.other.get("build", {}).get("enabled") is True:
        rows += build_handlers.ROUTES
    if isinstance(service.access, Gate):
        rows += [Extra(method, "/token", service.access.token) for method in ("GET", "POST")]
    return rows


def open_service(config: RegistryConfig, buckets: Buckets | None = None) -> Service:
    """One worker's service over the storage, which is made when it is new. Raises ExtraMissing, NoSpace."""
    files = FileBlobs(config.storage)
    catalog = Catalog(config.storage / "registry.db")
    buckets = buckets or Buckets()
    gate = None
    if config.auth is not None:
        gate = Gate(
            config,
            config.auth,
            Users(config.auth.htpasswd),
            AccessTokens(catalog),
            Signer(config.storage, config.auth.service),
            buckets,
        )
    service = Service(catalog, files, config=config, access=gate, buckets=buckets)
    if config.upstreams:
        service.mirror = Mirror(config, files)
    if config.access_log:
        service.observer.log = AccessLog(config.access_log)
    if config.webhooks:
        service.observer.outbox = Outbox(config.webhooks)
        service.tasks.append(Sender(config.webhooks).run)
    service.tasks.append(tasks.flush)
    service.tasks.append(search_handlers.indexer)
    if config.other.get("build", {}).get("enabled") is True and not config.read_only:
        service.tasks.append(builds.worker)
    if not config.read_only and config.housekeeping.every:
        service.tasks.append(tasks.collect)
    return service
