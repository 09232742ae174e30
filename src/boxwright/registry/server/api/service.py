"""What every handler needs, and the dispatcher: one low-level aiohttp handler, no router on the way."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from boxwright.registry.server.api import requests as asked
from boxwright.registry.server.api.intake import TAKEN
from boxwright.registry.server.api.storage import THREADS, Storage
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.auth.policy import ANONYMOUS, Principal
from boxwright.registry.server.errors import (
    BodyTimeout,
    EncodingUnsupported,
    MethodUnsupported,
    ReadOnly,
    RegistryError,
    SizeWrong,
    TooManyRequests,
)
from boxwright.registry.server.events.event import Event
from boxwright.registry.server.events.observe import Observer
from boxwright.registry.server.proxies import client_address, neighbourhood
from boxwright.registry.server.routes import Route, parse_route
from boxwright.registry.server.store.catalog import unusable
from boxwright.registry.server.store.quota import Quota

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.api.mirror import Mirror
    from boxwright.registry.server.config import RegistryConfig
    from boxwright.registry.server.store.blobs import BlobStorage
    from boxwright.registry.server.store.catalog import Also, RegistryCatalog, StoredManifest

Handler = Callable[["Service", web.BaseRequest, Route], Awaitable[web.StreamResponse]]
CONTINUED = web.RequestKey("continued", bool)  # on a request: its client was told to send the body
_BASE = {"Docker-Distribution-Api-Version": "registry/2.0"}


class Access(Protocol):
    """Who may do what. `check` returns the principal's name, '' for an anonymous client."""

    async def prepare(self, service: Service, request: web.BaseRequest) -> None:
        """Before any question about a request with credentials. Raises Unauthenticated."""
        ...

    def principal(self, request: web.BaseRequest) -> Principal:
        """The principal that a request comes from."""
        ...

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        """`action` is one of `policy.Policy.may`. Raises Unauthenticated (with a challenge) or Forbidden."""
        ...

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        """The same as a question."""
        ...

    def close(self) -> None:
        """After the last request."""
        ...


class OpenAccess:
    """Every client may do everything: a registry on a developer's own machine."""

    def check(self, request: web.BaseRequest, repository: str, action: str) -> str:
        return ""

    def allows(self, request: web.BaseRequest, repository: str, action: str) -> bool:
        return True

    async def prepare(self, service: Service, request: web.BaseRequest) -> None:
        return None

    def principal(self, request: web.BaseRequest) -> Principal:
        return ANONYMOUS

    def close(self) -> None:
        return None


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
    """Answers to manifest requests, valid as long as the catalog did not change."""

    def __init__(self, most: int = 64 * 1024 * 1024) -> None:
        self._answers: dict[tuple[str, str], tuple[StoredManifest, dict[str, str]]] = {}
        self._version = (-1, -1)
        self._bytes = 0
        self._most = most

    def get(
        self, version: tuple[int, int], repository: str, reference: str
    ) -> tuple[StoredManifest, dict[str, str]] | None:
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


class Service(Storage):
    """One worker's view of the registry. Stateless but for caches."""

    def __init__(
        self,
        catalog: RegistryCatalog,
        blobs: BlobStorage,
        *,
        config: RegistryConfig,
        access: Access,
        buckets: Buckets,
        observer: Observer,
        mirror: Mirror | None,
    ) -> None:
        super().__init__(catalog, blobs)
        self.config = config
        self.access = access
        self.read_only = config.read_only
        self.quota = Quota(config.quotas, blobs.uploaded)
        self.buckets = buckets
        self.hashes = HashStates()
        self.manifests = Manifests()
        self.observer = observer
        self.mirror = mirror
        self.bodies = ThreadPoolExecutor(
            THREADS // 2, thread_name_prefix="bodies"
        )  # so that nothing short waits for them

    def proceed(self, request: web.BaseRequest) -> None:
        """The body is wanted: tell a client that waits to hear so (RFC 9110, 10.1.1). One that asked in vain sends
        nothing for a second; one that is refused before never sends its body."""
        if (
            request.headers.get("Expect", "").lower() == "100-continue"
            and CONTINUED not in request
            and request.transport is not None
        ):
            request[CONTINUED] = True
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def read(self, request: web.BaseRequest) -> bytes:
        """The next piece of a body, b'' at its end. Raises BodyTimeout."""
        self.proceed(request)
        try:
            async with asyncio.timeout(self.config.limits.body_timeout or None):
                return await request.content.readany()
        except TimeoutError as error:
            raise BodyTimeout(f"no byte came for {self.config.limits.body_timeout:g} seconds") from error
        except ConnectionError as error:  # no client hears the answer; the access log has it
            raise SizeWrong("the client ended within the body") from error

    def address(self, request: web.BaseRequest) -> str:
        """The client's address: what connected, or what trusted proxies say connected to them."""
        peer, trusted = request.remote or "", self.config.trusted_proxies
        if not trusted:
            return peer
        return client_address(peer, request.headers.getall("X-Forwarded-For", ()), trusted)

    def client(self, request: web.BaseRequest) -> tuple[str, str]:
        """Whose request it is ('' for an anonymous client's), and from where."""
        return self.access.principal(request).name, self.address(request)

    def event(
        self,
        action: str,
        request: web.BaseRequest,
        repository: str,
        digest: str,
        *,
        tag: str = "",
        size: int = 0,
        media_type: str = "",
    ) -> Event:
        """Something that others want to know of: push, pull or delete."""
        user, remote = self.client(request)
        return Event(
            action=action,
            repository=repository,
            digest=digest,
            tag=tag,
            size=size,
            media_type=media_type,
            user=user,
            remote=remote,
        )

    def telling(self, event: Event) -> Also:
        """What the transaction that makes the event true writes also."""
        outbox = self.observer.outbox
        return (lambda sql: outbox.record(sql, event)) if outbox is not None else _nothing

    def close(self) -> None:
        """After the last request."""
        if self.mirror is not None:
            self.mirror.close()
        self.bodies.shutdown()
        self.pool.shutdown()
        self.access.close()
        if self.observer.log is not None:
            self.observer.log.close()


def _nothing(sql: sqlite3.Connection) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Extra:
    """A way in that is not below ``/v2``. `path` is all of it, or with ``*`` at its end how it begins.

    `changes` = it does what a read-only registry refuses. `probe` = monitoring asks there: it counts for no limit.
    """

    method: str
    path: str
    handler: Callable[[Service, web.BaseRequest], Awaitable[web.StreamResponse]]
    changes: bool = False
    probe: bool = False

    def fits(self, path: str) -> bool:
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path


async def missing(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """What fits no route, where no pages are."""
    return web.Response(status=404, text="404 page not found\n", headers=_BASE)


def dispatcher(
    service: Service,
    table: dict[tuple[str, str], Handler],
    extra: Sequence[Extra] = (),
    otherwise: Callable[[Service, web.BaseRequest], Awaitable[web.StreamResponse]] = missing,
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler of all requests. `table` maps (method, route kind) below ``/v2``; `extra` has the rest, `otherwise`
    answers where nothing fits. GET serves HEAD."""
    kinds = {kind for _, kind in table}
    methods = {kind: ", ".join(sorted(m for m, k in table if k == kind)) for kind in kinds}
    limits, observer, clock = service.config.limits, service.observer, time.perf_counter

    async def answer(request: web.BaseRequest, path: str, route: Route | None) -> web.StreamResponse:
        there = [row for row in extra if row.fits(path)] if route is None else []
        if limits.rate and not any(row.probe for row in there):
            _limit(service, request)
        coding = request.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            # What is small may unpack to anything, and no client of a registry packs its bodies.
            raise EncodingUnsupported(f"bodies with Content-Encoding {coding[:40]!r} are not accepted")
        if "Authorization" in request.headers:
            await service.access.prepare(service, request)
        if route is None:
            return await _other(service=service, request=request, there=there, otherwise=otherwise)
        if service.read_only and request.method not in ("GET", "HEAD"):
            raise ReadOnly("the registry is read-only")
        if service.mirror is not None and route.name:
            route = service.mirror.renamed(request, route)
        handler = table.get((request.method, route.kind)) or (
            table.get(("GET", route.kind)) if request.method == "HEAD" else None
        )
        if handler is None:
            raise MethodUnsupported(
                f"{request.method} is not supported here", headers={"Allow": methods.get(route.kind, "")}
            )
        return await handler(service, request, route)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        started = clock()
        route = None
        try:
            path = asked.path(request)
            route = parse_route(path)
            response = await answer(request, path, route)
        except RegistryError as error:
            response = failure(request, error)
        except sqlite3.OperationalError as error:
            response = failure(request, unusable(error))
        if not response.prepared:
            response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
            if request.body_exists and TAKEN in request:
                response.force_close()
        if observer.watches:
            await observer.request(request, response, route, started=started, client=service.client)
        return response

    return handle


def _limit(service: Service, request: web.BaseRequest) -> None:
    limits = service.config.limits
    wait = service.buckets.take(neighbourhood(service.address(request)), limits.rate, limits.burst)
    if wait:
        raise TooManyRequests(
            f"more than {limits.rate:g} requests a second", headers={"Retry-After": str(int(wait) + 1)}
        )


async def _other(
    service: Service,
    request: web.BaseRequest,
    there: Sequence[Extra],
    otherwise: Callable[[Service, web.BaseRequest], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    for row in there:
        if request.method == row.method or (request.method == "HEAD" and row.method == "GET"):
            if row.changes and service.read_only:
                raise ReadOnly("the registry is read-only")
            return await row.handler(service, request)
    if there:
        raise MethodUnsupported(
            f"{request.method} is not supported here",
            headers={"Allow": ", ".join(sorted({row.method for row in there}))},
        )
    return await otherwise(service, request)


def failure(request: web.BaseRequest, error: RegistryError) -> web.Response:
    """The one place that writes an error. A body that was not read ends the connection instead of being drained."""
    body = b"" if request.method == "HEAD" else error.body()
    response = web.Response(
        status=error.http_status,
        body=body,
        content_type="application/json",
        headers={**_BASE, **error.headers},
    )
    if request.body_exists and not request.content.at_eof():
        response.force_close()
    return response
