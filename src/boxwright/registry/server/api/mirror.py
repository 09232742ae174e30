"""Pull-through: repositories of another registry, fetched when they are first asked for.

A tag is believed for a while, then asked for again; when the upstream does not answer, what is here is served and
said to be stale. A blob is fetched once however many ask: the first request opens its upload, the others read along
from the growing file, in this worker or another one. The last piece is held back until the digest was checked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from boxwright.errors import BoxwrightError, NotFound, Unauthorized
from boxwright.registry.server.api.requests import query
from boxwright.registry.server.api.storage import Storage
from boxwright.registry.server.config import RegistryConfig, Upstream
from boxwright.registry.server.errors import (
    BlobUnknown,
    Forbidden,
    ManifestUnknown,
    UploadInvalid,
    UpstreamFailed,
)
from boxwright.registry.server.routes import Route, check_digest, check_tag, is_digest
from boxwright.registry.server.store import manifests
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.client.client import RegistryClient
    from boxwright.registry.client.remote import Remote
    from boxwright.registry.server.store.blobs import FileBlobs, UploadWriter

T = TypeVar("T")
STALE = web.RequestKey("stale", bool)  # on a request: the upstream could not be asked
_PIECE = 1 << 20
_POLL = 0.02  # seconds between looks at a file that another worker fills
_PATIENCE = 120  # seconds for which such a file may stand still


class UpstreamSource:
    """One upstream: its client and what was asked lately."""

    def __init__(self, upstream: Upstream, home: Path) -> None:
        self.upstream = upstream
        parts = urlsplit(upstream.url)
        self.domain = (
            parts.netloc if parts.netloc not in ("registry-1.docker.io", "index.docker.io") else "docker.io"
        )
        self.namespace = upstream.namespace or self.domain
        self._home = home
        self._client: RegistryClient | None = None
        self.checked: dict[tuple[str, str], float] = {}

    @property
    def client(self) -> RegistryClient:
        if self._client is None:
            from boxwright.registry.client.client import RegistryClient
            from boxwright.registry.client.config import ClientConfig

            auths = {}
            if self.upstream.username:
                key = "https://index.docker.io/v1/" if self.domain == "docker.io" else self.domain
                auths[key] = {
                    "auth": base64.b64encode(
                        f"{self.upstream.username}:{self.upstream.password}".encode()
                    ).decode()
                }
            insecure = (self.domain,) if self.upstream.url.startswith("http://") else ()
            # A home of its own: the accounts that the server's user has logged in to are not the registry's to use.
            self._client = RegistryClient(
                ClientConfig(
                    docker_config=self._home,
                    home=self._home,
                    auth_json=json.dumps({"auths": auths}),
                    insecure=insecure,
                    tries=2,
                    connect_timeout=5,
                )
            )
        return self._client

    def remote(self, path: str) -> Remote:
        return self.client.remote(Reference(self.domain, path))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class Flight:
    """A blob on its way in: how much of its file can be read, and how it ended."""

    def __init__(self, digest: Digest, size: int) -> None:
        self.digest = digest
        self.size = size
        self.there = 0
        self.done = False
        self.error: BoxwrightError | None = None
        self.moved = asyncio.Event()

    @property
    def upload(self) -> str:
        """The upload's id: of all workers, one can open it."""
        return hashlib.sha256(str(self.digest).encode()).hexdigest()[:32]

    def move(self, there: int, *, done: bool = False, error: BoxwrightError | None = None) -> None:
        """From the loop."""
        self.there, self.done, self.error = there, done, error
        self.moved.set()
        self.moved = asyncio.Event()


class Mirror:
    """All upstreams of one worker."""

    def __init__(self, config: RegistryConfig, blobs: FileBlobs) -> None:
        self._sources = [UpstreamSource(u, config.storage / "mirror") for u in config.upstreams]
        self._blobs = blobs
        self._flights: dict[str, Flight] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="mirror")
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """After the last request."""
        self._pool.shutdown(cancel_futures=True)
        for source in self._sources:
            source.close()

    def find(self, name: str) -> tuple[UpstreamSource, str] | None:
        """The upstream of a local repository, and the repository's name there."""
        for source in self._sources:
            prefix = source.upstream.prefix
            if prefix and name.startswith(prefix + "/"):
                return source, name[len(prefix) + 1 :]
        for source in self._sources:
            if not source.upstream.prefix:
                return source, name if "/" in name or source.domain != "docker.io" else f"library/{name}"
        return None

    def renamed(self, request: web.BaseRequest, route: Route) -> Route:
        """``?ns=`` names the upstream: its repositories lie below its prefix here."""
        namespace = query(request).get("ns", "") if "?" in request.raw_path else ""
        for source in self._sources:
            if namespace and source.namespace == namespace and source.upstream.prefix:
                return Route(route.kind, f"{source.upstream.prefix}/{route.name}", route.reference)
        return route

    def refuse_push(self, name: str) -> None:
        """A mirror's names are the upstream's. Raises Forbidden."""
        found = self.find(name)
        if found is not None:
            raise Forbidden(f"{name} is a mirror of {found[0].domain}; push there")

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    # --- manifests -------------------------------------------------------------------------------

    async def manifest(self, storage: Storage, request: web.BaseRequest, route: Route) -> None:
        """Before the catalog is asked: fetch what is not here, ask again for old tags. Marks the request as stale
        when the upstream is down. Raises ManifestUnknown, UpstreamFailed."""
        found = self.find(route.name)
        if found is None:
            return
        source, path = found
        key = (route.name, route.reference)
        here = storage.catalog.manifest(route.name, route.reference)
        if here is not None and (
            is_digest(route.reference)
            or time.monotonic() - source.checked.get(key, -1e9) < source.upstream.ttl
        ):
            return
        (check_digest if is_digest(route.reference) else check_tag)(route.reference)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(
                self._call(self._fetch_manifest, storage, source, route, path, here.digest if here else "")
            )
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            await asyncio.shield(task)
            source.checked[key] = time.monotonic()
        except (NotFound, Unauthorized) as error:
            if here is None or isinstance(error, NotFound):
                raise ManifestUnknown(f"{source.domain} has no {path}:{route.reference}: {error}") from error
            request[STALE] = True
        except BoxwrightError as error:
            if here is None:
                raise UpstreamFailed(f"cannot fetch {path} from {source.domain}: {error}") from error
            request[STALE] = True

    def _fetch_manifest(
        self, storage: Storage, source: UpstreamSource, route: Route, path: str, here: str
    ) -> bool:
        remote = source.remote(path)
        name = f"{source.domain}/{path}" + (
            f"@{route.reference}" if is_digest(route.reference) else f":{route.reference}"
        )
        desc = remote.resolve(name)
        if str(desc.digest) == here:
            return False
        with remote.open(desc) as stream:
            raw = stream.read()
        row = manifests.examine(
            raw,
            desc.media_type,
            desc.digest,
            has_blob=lambda d: True,
            has_manifest=lambda d: True,
            sparse=True,
        )
        storage.catalog.put_manifest(
            route.name, replace(row, needed=()), [] if is_digest(route.reference) else [route.reference]
        )
        return True

    async def tags(self, name: str) -> list[str] | None:
        """The upstream's tags; None when it is not a mirror's name or the upstream is down."""
        found = self.find(name)
        if found is None:
            return None
        with suppress(BoxwrightError):
            tags: list[str] = await self._call(found[0].remote(found[1]).tags)
            return sorted(tags)
        return None

    async def referrers(self, name: str, digest: Digest) -> list[dict[str, Any]] | None:
        """The upstream's descriptors, in digest order; None like `tags`."""
        found = self.find(name)
        if found is None:
            return None
        with suppress(BoxwrightError):
            listed = await self._call(found[0].remote(found[1]).referrers, digest)
            return sorted((d.to_json() for d in listed), key=lambda d: str(d["digest"]))
        return None

    # --- blobs -----------------------------------------------------------------------------------

    async def blob(
        self, storage: Storage, request: web.BaseRequest, route: Route, digest: Digest
    ) -> web.StreamResponse | None:
        """A blob that is not in the repository: None when there is no upstream for it, or when it is whole here now.
        Otherwise the answer, streamed while it comes in. Raises BlobUnknown, UpstreamFailed."""
        found = self.find(route.name)
        if found is None:
            return None
        source, path = found
        try:
            size: int = await self._call(self._size, source, path, digest)
        except NotFound as error:
            raise BlobUnknown(f"{source.domain} has no {digest} in {path}") from error
        except BoxwrightError as error:
            raise UpstreamFailed(f"cannot fetch {digest} from {source.domain}: {error}") from error
        headers = {
            "Docker-Content-Digest": str(digest),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        if request.method == "HEAD":
            return web.Response(headers=headers)
        if (
            self._blobs.size(digest) == size
        ):  # another repository brought the bytes; the upstream just vouched for this one
            await storage.run(storage.catalog.add_blob, route.name, str(digest), size)
            return None
        flight = self._flights.get(str(digest))
        if flight is None:
            flight = self._flights[str(digest)] = Flight(digest, size)
            task = asyncio.ensure_future(
                self._bring(storage=storage, source=source, name=route.name, path=path, flight=flight)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if "Range" in request.headers:
            while not flight.done and flight.error is None:
                await flight.moved.wait()
            if flight.error is not None:
                raise UpstreamFailed(f"cannot fetch {digest}: {flight.error}") from flight.error
            await storage.run(storage.catalog.add_blob, route.name, str(digest), size)
            return None
        return await self._stream(
            storage=storage, request=request, name=route.name, flight=flight, headers=headers
        )

    def _size(self, source: UpstreamSource, path: str, digest: Digest) -> int:
        endpoint = source.client.hosts.origin(source.domain, path)
        session = source.client.session(endpoint)
        from boxwright.registry.client.auth import scope_for
        from boxwright.registry.client.session import HttpRequest

        url = session.url(f"/{endpoint.repository}/blobs/{digest}")
        reply = session.request(
            HttpRequest("HEAD", url), scopes=(scope_for(endpoint.repository, "pull"),), what=f"blob {digest}"
        )
        reply.release()
        if reply.length is None:
            raise UpstreamFailed(f"{source.domain} does not say how large {digest} is")
        return reply.length

    async def _bring(
        self, storage: Storage, source: UpstreamSource, name: str, path: str, flight: Flight
    ) -> None:
        digest, upload = flight.digest, flight.upload
        try:
            try:
                writer = self._blobs.writer(upload)
            except UploadInvalid:
                await self._follow(flight)  # another worker brings it
                writer = None
            if writer is not None:
                try:
                    if self._blobs.size(digest) != flight.size:  # else another worker was done a moment ago
                        await self._call(
                            self._download, source, path, flight, writer, asyncio.get_running_loop()
                        )
                finally:
                    writer.close()
            await storage.run(_record, storage, name, digest, flight.size, upload)
            flight.move(flight.size, done=True)
        except BoxwrightError as error:
            flight.move(flight.there, error=error)
        except (OSError, sqlite3.Error) as error:
            flight.move(flight.there, error=UpstreamFailed(f"{digest} could not be stored: {error}"))
        finally:
            self._flights.pop(str(digest), None)

    async def _follow(self, flight: Flight) -> None:
        """Read along. The file's length says how much is there; that it became a blob says that it is right."""
        last = time.monotonic()
        while self._blobs.size(flight.digest) != flight.size:
            there = self._blobs.uploaded(flight.upload)
            if there > flight.there:
                last = time.monotonic()
                flight.move(min(there, flight.size - 1))
            if time.monotonic() - last > _PATIENCE:
                raise UpstreamFailed("the worker that fetches the blob stands still")
            await asyncio.sleep(_POLL)

    def _download(
        self,
        source: UpstreamSource,
        path: str,
        flight: Flight,
        writer: UploadWriter,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        digest = flight.digest
        there, state = 0, hashlib.new(digest.algorithm)
        with source.remote(path).open(Descriptor("application/octet-stream", digest, flight.size)) as stream:
            while data := stream.read(_PIECE):
                writer.append(there, data)
                state.update(data)
                there += len(data)
                loop.call_soon_threadsafe(flight.move, min(there, flight.size - 1))
        if there != flight.size or state.hexdigest() != digest.hex:
            raise UpstreamFailed(f"{source.domain} sent other bytes than {digest}")
        self._blobs.publish(flight.upload, digest, flight.size)

    async def _stream(
        self,
        storage: Storage,
        request: web.BaseRequest,
        name: str,
        flight: Flight,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        digest = flight.digest
        while not flight.there and not flight.done:
            if flight.error is not None:
                raise UpstreamFailed(f"cannot fetch {digest}: {flight.error}") from flight.error
            await flight.moved.wait()
        fd = self._blobs.open_either(flight.upload, digest)
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
            sent = 0
            while sent < flight.size:
                if sent < flight.there:
                    data = await storage.run(os.pread, fd, min(_PIECE, flight.there - sent), sent)
                    sent += len(data)
                    await response.write(data)
                elif flight.error is not None:
                    # Too late for a status: a connection that breaks tells the client that this is not the blob.
                    if request.transport is not None:
                        request.transport.abort()
                    return response
                else:
                    await flight.moved.wait()
        finally:
            os.close(fd)
        await response.write_eof()
        return response


def _record(storage: Storage, name: str, digest: Digest, size: int, upload: str) -> None:
    storage.catalog.add_blob(
        name, str(digest), size, present=lambda: storage.blobs.ensure(upload, digest, size)
    )
    storage.blobs.discard(upload)
