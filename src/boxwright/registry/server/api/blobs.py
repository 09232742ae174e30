"""Blobs: GET and HEAD with ranges, DELETE, and uploads whole, streamed, in chunks, or by mount."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from boxwright.registry.server.api.intake import Intake
from boxwright.registry.server.api.requests import check_range, content_range, query
from boxwright.registry.server.api.service import Service
from boxwright.registry.server.errors import (
    BlobTooLarge,
    BlobUnknown,
    DigestWrong,
    NoSpace,
    QuotaExceeded,
    RangeInvalid,
    SizeWrong,
    UploadUnknown,
)
from boxwright.registry.server.routes import Route, check_digest, check_name, check_upload
from boxwright.registry.server.store.blobs import UploadWriter
from boxwright.registry.server.store.catalog import UploadRow
from boxwright.spec.digest import Digest

_BATCH = 1 << 20  # bytes hashed and written by one call in the pool
_TURN = (
    1 << 20
)  # bytes sent before another request may be served; much more, and client and server take turns on one CPU
_STRIDE = 32 << 20  # bytes after which an upload asks again whether its namespace may hold more
_YOUNG = 600  # seconds; less than any sensible grace of the collector


class _BlobFile(web.FileResponse):
    """A file that may be sent ahead of the server's own turn, by the access log, which wants to know how long that
    takes."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)

    async def _sendfile(
        self, request: web.BaseRequest, fobj: IO[Any], offset: int, count: int
    ) -> AbstractStreamWriter:
        """In turns: a client that reads as fast as we send would have the worker to itself until its blob's end."""
        writer = await super(web.FileResponse, self).prepare(request)
        loop = asyncio.get_running_loop()
        if writer is None or request.transport is None:
            raise ConnectionResetError("the connection is lost")
        end = offset + count
        while offset < end:
            sent = await loop.sendfile(request.transport, fobj, offset, min(_TURN, end - offset))
            if not sent:
                raise ConnectionResetError("the blob's file was cut short")
            offset += sent
        await self.write_eof()
        return writer


async def get(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-2. The bytes leave by sendfile."""
    service.access.check(request, route.name, "pull")
    digest = check_digest(route.reference)
    size = service.catalog.blob(route.name, str(digest))
    if size is None and service.mirror is not None:
        streamed = await service.mirror.blob(storage=service, request=request, route=route, digest=digest)
        if streamed is not None:
            return streamed
        size = service.catalog.blob(route.name, str(digest))
    if size is None:
        raise BlobUnknown("blob unknown to registry", detail={"digest": str(digest)})
    headers = {
        "Docker-Content-Digest": str(digest),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }
    wanted = request.headers.get("Range")
    if wanted is not None:
        check_range(wanted, size)
    if request.method == "HEAD" and wanted is None:
        # The client wants to leave this blob out of a push: it must live until the manifest comes.
        if not service.read_only and not await service.run(
            service.catalog.touch_blob, route.name, str(digest), time.time() - _YOUNG
        ):
            raise BlobUnknown("blob unknown to registry", detail={"digest": str(digest)})
        return web.Response(headers={**headers, "Content-Length": str(size)})
    path = service.blobs.path(digest)
    if path is None:
        raise BlobUnknown("blob unknown to registry", detail={"digest": str(digest)})
    return _BlobFile(path, chunk_size=_BATCH, headers=headers)


async def delete(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-10. The repository lets go; the collector frees the bytes when no repository holds them."""
    service.access.check(request, route.name, "delete")
    digest = check_digest(route.reference)
    if not await service.run(service.catalog.remove_blob, route.name, str(digest)):
        raise BlobUnknown("blob unknown to registry", detail={"digest": str(digest)})
    return web.Response(status=202)


async def start(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-4a, end-4b, end-4c and end-11: an upload session, a whole blob at once, or a mount."""
    service.access.check(request, route.name, "push")
    if service.mirror is not None:
        service.mirror.refuse_push(route.name)
    arguments = query(request)
    if "mount" in arguments:
        mounted = await _mount(
            service=service,
            request=request,
            name=route.name,
            digest=check_digest(arguments["mount"]),
            source=arguments.get("from"),
        )
        if mounted is not None:
            return mounted
    algorithm = arguments.get("digest-algorithm", "sha256")
    wanted = check_digest(arguments["digest"]) if "digest" in arguments else None
    if wanted is not None:
        algorithm = wanted.algorithm
    if algorithm not in ("sha256", "sha512"):
        raise DigestWrong(f"unsupported digest algorithm {algorithm[:40]!r}: wanted sha256 or sha512")
    service.blobs.check_room()
    upload = UploadRow(
        id=uuid.uuid4().hex,
        repository=route.name,
        algorithm=algorithm,
        size=0,
        digest=hashlib.new(algorithm).hexdigest(),
    )
    await service.run(_quota(service, upload, wanted), request.content_length or 0 if wanted else 0)
    await service.run(service.catalog.start_upload, upload.id, route.name, algorithm, upload.digest)
    if wanted is None:
        return web.Response(status=202, headers=_session(upload))
    try:
        return await _finish(service=service, request=request, upload=upload, wanted=wanted)
    except BaseException:
        await service.run(_abandon, service, upload)
        raise


def _abandon(service: Service, upload: UploadRow) -> None:
    with suppress(UploadUnknown):
        service.catalog.end_upload(upload.id, upload.repository)
    service.blobs.discard(upload.id)


async def _mount(
    service: Service, request: web.BaseRequest, name: str, digest: Digest, source: str | None
) -> web.Response | None:
    """None when it cannot be mounted: the caller opens an ordinary session, as the specification asks."""
    text = str(digest)
    holders = [check_name(source)] if source else service.catalog.blob_holders(text)
    for holder in holders:
        # Knowing a digest is no right to its bytes: only from where the caller may pull.
        if not service.access.allows(request, holder, "pull"):
            continue
        size = service.catalog.blob(holder, text)
        if size is not None and service.blobs.size(digest) == size:
            if not await service.run(_adopt, service, name, digest, size):
                continue
            return web.Response(status=201, headers=_created(name, digest))
    return None


def _adopt(service: Service, name: str, digest: Digest, size: int) -> bool:
    def present() -> None:
        if service.blobs.size(digest) != size:
            raise BlobUnknown("the blob was just collected")
        service.quota.check(sql=service.catalog.connection(), repository=name, digest=str(digest), size=size)

    try:
        service.catalog.add_blob(name, str(digest), size, present=present)
    except BlobUnknown:
        return False
    return True


async def status(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-13."""
    service.access.check(request, route.name, "push")
    return web.Response(
        status=204, headers=_session(service.catalog.upload(check_upload(route.reference), route.name))
    )


async def cancel(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-14."""
    service.access.check(request, route.name, "push")
    upload = check_upload(route.reference)
    await service.run(service.catalog.end_upload, upload, route.name)
    await service.run(service.blobs.discard, upload)
    return web.Response(status=204)


async def patch(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-5: one chunk, or a stream of unknown length."""
    service.access.check(request, route.name, "push")
    upload = service.catalog.upload(check_upload(route.reference), route.name)
    _check_position(request, upload)
    writer = service.blobs.writer(upload.id)
    try:
        upload = await _receive(service=service, request=request, upload=upload, writer=writer)
    except QuotaExceeded:  # what is left of it would count until it is given up
        await service.run(_abandon, service, upload)
        raise
    finally:
        writer.close()
    return web.Response(status=202, headers=_session(upload))


async def finish(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-6: the digest, perhaps with the last chunk or all of the blob."""
    service.access.check(request, route.name, "push")
    upload = service.catalog.upload(check_upload(route.reference), route.name)
    digest = query(request).get("digest")
    if not digest:
        raise DigestWrong("the parameter digest is missing")
    wanted = check_digest(digest)
    _check_position(request, upload)
    return await _finish(service=service, request=request, upload=upload, wanted=wanted)


async def _finish(
    service: Service, request: web.BaseRequest, upload: UploadRow, wanted: Digest
) -> web.Response:
    writer = service.blobs.writer(upload.id)
    try:
        upload = await _receive(
            service=service,
            request=request,
            upload=upload,
            writer=writer,
            wanted=wanted,
        )
        found = upload.digest if upload.algorithm == wanted.algorithm else ""
        if not found:
            found = await service.run(service.blobs.digest_of, upload.id, upload.size, wanted.algorithm)
        if found != wanted.hex:
            await service.run(_abandon, service, upload)
            raise DigestWrong(
                f"the uploaded bytes have digest {wanted.algorithm}:{found}, not {wanted}",
                detail={"digest": str(wanted)},
            )
        await service.run(_publish, service, upload, wanted)
    except QuotaExceeded:
        await service.run(_abandon, service, upload)
        raise
    finally:
        writer.close()
    return web.Response(status=201, headers=_created(upload.repository, wanted))


def _publish(service: Service, upload: UploadRow, digest: Digest) -> None:
    service.blobs.publish(upload.id, digest, upload.size)

    def present() -> None:
        service.blobs.ensure(upload.id, digest, upload.size)
        service.quota.check(
            sql=service.catalog.connection(),
            repository=upload.repository,
            digest=str(digest),
            size=upload.size,
        )

    service.catalog.add_blob(upload.repository, str(digest), upload.size, upload=upload.id, present=present)
    service.blobs.discard(upload.id)


def _quota(service: Service, upload: UploadRow, wanted: Digest | None) -> Callable[[int], int | None]:
    """Asks whether the upload may become so long; the answer is how much longer, None = any. It blocks, and raises
    QuotaExceeded."""

    def check(size: int) -> int | None:
        return service.quota.check_upload(
            sql=service.catalog.connection(),
            repository=upload.repository,
            digest=str(wanted or ""),
            size=size,
            upload=upload.id,
        )

    return check


class _Sink:
    """Where a body goes: the file, the hash state (None = unknown), and how far it got. `quota` is asked now and then:
    others bring something at the same time."""

    def __init__(
        self, writer: UploadWriter, size: int, state: Any, quota: Callable[[int], int | None]
    ) -> None:
        self._writer, self.size, self.state = writer, size, state
        self._quota, self._asked_up_to = quota, size

    def take(self, *pieces: bytes | memoryview) -> None:
        """Blocks. Raises QuotaExceeded, NoSpace, UploadInvalid."""
        for data in pieces:
            if self.size + len(data) > self._asked_up_to:
                left = self._quota(self.size + len(data))
                stride = _STRIDE if left is None else min(_STRIDE, left // 4)
                self._asked_up_to = self.size + len(data) + stride
            self._writer.append(self.size, data)
            if self.state is not None:
                self.state.update(data)
            self.size += len(data)

    def give_up(self, size: int) -> None:
        """Back to where it was; the hash state cannot go back."""
        self._writer.truncate(size)
        self.size, self.state = size, None

    @property
    def digest(self) -> str:
        return self.state.hexdigest() if self.state is not None else ""


async def _receive(
    service: Service,
    request: web.BaseRequest,
    upload: UploadRow,
    writer: UploadWriter,
    *,
    wanted: Digest | None = None,
) -> UploadRow:
    """Append the body. What arrived before a broken connection counts: the client can go on from there."""
    algorithm = wanted.algorithm if wanted is not None and upload.size == 0 else upload.algorithm
    quota = _quota(service, upload, wanted)
    sink = _Sink(
        writer=writer,
        size=upload.size,
        state=hashlib.new(algorithm) if upload.size == 0 else service.hashes.take(upload.id, upload.size),
        quota=quota,
    )
    most, expected = service.config.limits.max_blob, request.content_length
    if most and upload.size + (expected or 0) > most:
        raise BlobTooLarge(f"a blob may have {most} bytes")
    if expected:
        await service.run(quota, upload.size + expected)
        writer.expect(upload.size + expected)
    try:
        service.proceed(request)
        held, rest = Intake.of(request)
        if rest is not None:
            try:
                await service.run(sink.take, held)
                await rest.pour(service.bodies, sink.take, service.config.limits.body_timeout)
            finally:
                rest.close()
        else:
            await _parsed(service=service, request=request, sink=sink, held=held, most=most)
    except (NoSpace, QuotaExceeded):
        sink.give_up(upload.size)  # else it could not even be cancelled: that needs some space in the catalog
        raise
    finally:
        if sink.size != upload.size:
            await service.run(_advance, service, upload, sink, writer if wanted is None else None)
        if sink.state is not None:
            service.hashes.keep(upload.id, sink.size, sink.state)
    if expected is not None and sink.size - upload.size != expected:
        raise SizeWrong(
            f"the body has {sink.size - upload.size} bytes, not the {expected} of its Content-Length"
        )
    if sink.size == upload.size and sink.size:
        return upload
    return UploadRow(
        id=upload.id, repository=upload.repository, algorithm=algorithm, size=sink.size, digest=sink.digest
    )


def _advance(service: Service, upload: UploadRow, sink: _Sink, writer: UploadWriter | None) -> None:
    """Record how far an upload is. With a `writer` that is told to the client, so its bytes are made durable first: the
    digest in the row is believed later, and by another worker. Without, the blob is about to be published."""
    if writer is not None:
        writer.sync()
    digest = sink.digest if writer is not None else ""
    service.catalog.advance_upload(upload=upload.id, before=upload.size, size=sink.size, digest=digest)


async def _parsed(service: Service, request: web.BaseRequest, sink: _Sink, held: bytes, most: int) -> None:
    """A body that the parser unwraps: the next pieces are received while the last ones are hashed and written."""
    pending: asyncio.Future[None] | None = None
    batch, waiting, arrived = [held], len(held), sink.size + len(held)
    try:
        while True:
            chunk = await service.read(request)
            arrived += len(chunk)
            if most and arrived > most:
                raise BlobTooLarge(f"a blob may have {most} bytes")
            batch.append(chunk)
            waiting += len(chunk)
            if chunk and waiting < _BATCH:
                continue
            if pending is not None:
                await pending
            pending = asyncio.ensure_future(service.run(sink.take, *batch)) if waiting else None
            batch, waiting = [], 0
            if not chunk:
                break
    finally:
        if pending is not None:
            await pending
        if waiting:
            await service.run(sink.take, *batch)


def _check_position(request: web.BaseRequest, upload: UploadRow) -> None:
    text = request.headers.get("Content-Range")
    if text is None:
        return
    first, last = content_range(text)
    if first != upload.size:
        raise RangeInvalid(
            f"the chunk starts at {first}, the upload is at {upload.size}", headers=_session(upload)
        )
    length = request.content_length
    if last < first or (length is not None and length != last - first + 1):
        raise SizeWrong(f"Content-Range {text[:80]} and Content-Length {length} contradict each other")


def _session(upload: UploadRow) -> dict[str, str]:
    return {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "Docker-Upload-UUID": upload.id,
        "Range": f"0-{max(upload.size - 1, 0)}",
    }


def _created(name: str, digest: Digest) -> dict[str, str]:
    return {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
