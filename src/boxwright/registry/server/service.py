"""What every handler needs, and the dispatcher: one low-level aiohttp handler, no router on the way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiohttp import web

from boxwright.registry.server.wire import RegistryError, Route, parse_route

if TYPE_CHECKING:
    from boxwright.registry.server.catalog import Catalog, StoredManifest
    from boxwright.registry.server.storage import BlobStorage

T = TypeVar("T")
Handler = Callable[["Service", web.BaseRequest, Route], Awaitable[web.StreamResponse]]
_BASE = {"Docker-Distribution-Api-Version": "registry/2.0"}


class Access(Protocol):
    """Who may do what. `check` returns the principal's name, '' for nobody in particular."""

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        """`action` is pull, push, delete or catalog. Raises Unauthenticated (with a challenge) or Forbidden."""
        ...

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        """The same as a question."""
        ...


class Open:
    """Everybody may do everything: a registry on a developer's own machine."""

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        return ""

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        return True


class HashStates:
    """Hash states of uploads that this worker received so far, so that a next chunk need not read them again."""

    def __init__(self, most: int = 1000) -> None:
        self._states: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._most = most

    def take(self, upload: str, size: int) -> Any | None:
        """The state after `size` bytes, or None."""
        found = self._states.pop(upload, None)
        return found[1] if found and found[0] == size else None

    def keep(self, upload: str, size: int, state: Any) -> None:
        self._states[upload] = (size, state)
        if len(self._states) > self._most:
            self._states.popitem(last=False)


class Manifests:
    """Answers to manifest requests, valid as long as nobody changed the catalog."""

    def __init__(self, most: int = 64 * 1024 * 1024) -> None:
        self._answers: dict[tuple[str, str], tuple[StoredManifest, dict[str, str]]] = {}
        self._version = -1
        self._bytes = 0
        self._most = most

    def get(self, version: int, repository: str, reference: str) -> tuple[StoredManifest, dict[str, str]] | None:
        if version != self._version:
            self._answers.clear()
            self._version, self._bytes = version, 0
            return None
        return self._answers.get((repository, reference))

    def keep(self, repository: str, reference: str, answer: tuple[StoredManifest, dict[str, str]]) -> None:
        if self._bytes > self._most:
            self._answers.clear()
            self._bytes = 0
        self._bytes += len(answer[0].content) + 1000
        self._answers[repository, reference] = answer


class Service:
    """One worker's view of the registry. Stateless but for caches."""

    def __init__(self, catalog: Catalog, blobs: BlobStorage, *, access: Access | None = None, sparse: bool = True, threads: int = 16) -> None:
        self.catalog = catalog
        self.blobs = blobs
        self.access: Access = access or Open()
        self.sparse = sparse
        self.hashes = HashStates()
        self.manifests = Manifests()
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="registry")

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """A blocking call in the pool: writes of the catalog, files, hashing."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    def close(self) -> None:
        """After the last request."""
        self.pool.shutdown()


def query(request: web.BaseRequest) -> Any:
    """The query parameters (a multidict)."""
    return request.rel_url.query


def dispatcher(service: Service, table: dict[tuple[str, str], Handler]) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler of all requests below ``/v2``; `table` maps (method, route kind) to handlers."""
    kinds = {kind for _, kind in table}
    methods = {kind: ", ".join(sorted(m for m, k in table if k == kind)) for kind in kinds}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            route = parse_route(request.path)
            if route is None:
                return web.Response(status=404, text="404 page not found\n", headers=_BASE)
            handler = table.get((request.method, route.kind))
            if handler is None:
                return web.Response(status=405, headers={**_BASE, "Allow": methods.get(route.kind, "")})
            response = await handler(service, request, route)
        except RegistryError as error:
            return failure(request, error)
        if not response.prepared:
            response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        return response

    return handle


def failure(request: web.BaseRequest, error: RegistryError) -> web.Response:
    """The one place that writes an error. A body that was not read ends the connection instead of being drained."""
    body = b"" if request.method == "HEAD" else error.body()
    response = web.Response(status=error.http_status, body=body, content_type="application/json", headers={**_BASE, **error.headers})
    if request.body_exists and not request.content.at_eof():
        response.force_close()
    return response
