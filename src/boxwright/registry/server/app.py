"""The registry as a handler of requests, ready to be served."""

from __future__ import annotations

from boxwright.registry.server import blobs, manifest_handlers
from boxwright.registry.server.service import Handler

API: dict[tuple[str, str], Handler] = {
    ("GET", "base"): manifest_handlers.base,
    ("HEAD", "base"): manifest_handlers.base,
    ("GET", "catalog"): manifest_handlers.catalog,
    ("GET", "discover"): manifest_handlers.discover,
    ("GET", "manifests"): manifest_handlers.get,
    ("HEAD", "manifests"): manifest_handlers.get,
    ("PUT", "manifests"): manifest_handlers.put,
    ("DELETE", "manifests"): manifest_handlers.delete,
    ("GET", "tags"): manifest_handlers.tags,
    ("GET", "referrers"): manifest_handlers.referrers,
    ("GET", "blobs"): blobs.get,
    ("HEAD", "blobs"): blobs.get,
    ("DELETE", "blobs"): blobs.delete,
    ("POST", "uploads"): blobs.start,
    ("GET", "upload"): blobs.status,
    ("PATCH", "upload"): blobs.patch,
    ("PUT", "upload"): blobs.finish,
    ("DELETE", "upload"): blobs.cancel,
}
