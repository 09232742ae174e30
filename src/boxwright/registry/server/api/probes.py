"""What monitoring asks for: metrics, and whether a worker lives and can work."""

from __future__ import annotations

import os
import sqlite3

from aiohttp import web

from boxwright.registry.server.api.service import Service
from boxwright.registry.server.errors import RegistryError


async def metrics(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /metrics``, for accounts that may see the catalogue, where there are accounts."""
    service.access.check(request, "", "catalog")
    if service.observer.metrics is None:
        return web.Response(status=404, text="metrics are switched off\n")
    text = await service.run(service.observer.metrics.text, service.catalog, service.config.storage)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def healthy(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /healthz``: the process answers."""
    return web.Response(text="ok\n")


async def ready(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /readyz``: the catalog can be read and the storage written. 503 names what fails."""

    def probe() -> str:
        try:
            service.catalog.repositories(limit=1)
        except (sqlite3.Error, RegistryError) as error:
            return f"the catalog cannot be read: {error}"
        place = os.statvfs(service.config.storage)
        if not service.read_only and place.f_bavail * place.f_frsize < 1 << 20:
            return "the storage is full"
        if not service.read_only and not os.access(service.config.storage, os.W_OK):
            return "the storage cannot be written"
        return ""

    problem = await service.run(probe)
    return web.Response(status=503 if problem else 200, text=(problem or "ready") + "\n")
