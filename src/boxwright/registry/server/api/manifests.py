"""Manifests, tags, referrers, the catalogue of repositories, extension discovery."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode

from aiohttp import web

from boxwright.registry.server.api.mirror import STALE
from boxwright.registry.server.api.requests import number, query
from boxwright.registry.server.api.service import Service
from boxwright.registry.server.errors import (
    ManifestChanged,
    ManifestTooLarge,
    ManifestUnknown,
    ManifestWrong,
    NameUnknown,
    TooManyTags,
)
from boxwright.registry.server.routes import Route, check_digest, check_tag, is_digest
from boxwright.registry.server.store import manifests
from boxwright.registry.server.store.catalog import ManifestRow
from boxwright.spec import mediatypes as mt
from boxwright.spec.manifest import MAX_SIZE

_KINDS = mt.INDEXES | mt.MANIFESTS
_PAGE = 10_000  # entries of one answer at most; more are behind its Link
_REFERRERS_PAGE = 1000


async def base(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-1."""
    service.access.check(request, "", "base")
    return web.Response(body=b"{}", content_type="application/json")


async def get(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-3. The bytes and type as they were pushed; never converted."""
    service.access.check(request, route.name, "pull")
    if service.mirror is not None:
        await service.mirror.manifest(service, request, route)
    version = service.catalog.version()
    answer = service.manifests.get(version, route.name, route.reference)
    if answer is None:
        if is_digest(route.reference):
            check_digest(route.reference)
        found = service.catalog.manifest(route.name, route.reference)
        if found is None:
            if service.catalog.repository(route.name) is None:
                raise NameUnknown(
                    f"repository {route.name} is not known to the registry", detail={"name": route.name}
                )
            raise ManifestUnknown(
                f"manifest {route.reference[:200]} is not known in {route.name}",
                detail={"reference": route.reference[:200]},
            )
        headers = {
            "Content-Type": found.media_type,
            "Docker-Content-Digest": found.digest,
            "Docker-Distribution-Api-Version": "registry/2.0",
            "ETag": f'"{found.digest}"',
        }
        answer = (found, headers)
        service.manifests.keep(route.name, route.reference, answer)
    manifest, headers = answer
    if service.mirror is not None and request.get(STALE):
        headers = {**headers, "Warning": '110 - "Response is Stale"'}
    accepted = request.headers.getall("Accept", ())
    if accepted and ":" not in route.reference:
        _check_accepted(", ".join(accepted), manifest.media_type)
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(manifest.content))})
    service.observer.pulled(route.name, manifest.digest)
    outbox = service.observer.outbox
    if outbox is not None and outbox.wants_pulls:
        tag = "" if is_digest(route.reference) else route.reference
        outbox.pulled(
            service.event(
                action="pull",
                request=request,
                repository=route.name,
                digest=manifest.digest,
                tag=tag,
                size=len(manifest.content),
                media_type=manifest.media_type,
            )
        )
    return web.Response(body=manifest.content, headers=headers)


def _check_accepted(accepted: str, media_type: str) -> None:
    """What was pushed is never converted; a client that says which manifests it knows, and not this one, is told
    why."""
    if media_type not in accepted and "*/*" not in accepted and any(kind in accepted for kind in _KINDS):
        raise ManifestUnknown(
            f"the manifest is a {media_type}, which the request's Accept header does not name"
        )


def _unchanged(request: web.BaseRequest, tag: str) -> Callable[[str | None], None]:
    """``If-Match`` and ``If-None-Match: *`` on a push by tag: what the tag must be, asked in the transaction that
    changes it."""
    wanted, none = request.headers.get("If-Match", ""), request.headers.get("If-None-Match", "")

    def check(found: str | None) -> None:
        if (none == "*" and found) or (
            wanted and (not found or (wanted != "*" and f'"{found}"' not in wanted))
        ):
            raise ManifestChanged(
                f"the tag {tag} is {found or 'not there'}, which is not what the request expects",
                detail={"digest": found},
            )

    return check


async def put(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-7a and end-7b (several tags at once on a push by digest)."""
    service.access.check(request, route.name, "push")
    if service.mirror is not None:
        service.mirror.refuse_push(route.name)
    tags = [check_tag(t) for t in query(request).getall("tag", [])]
    if len(tags) > manifests.MAX_TAGS:
        raise TooManyTags(f"{len(tags)} tags in one request; at most {manifests.MAX_TAGS} are accepted")
    wanted = check_digest(route.reference) if is_digest(route.reference) else None
    if wanted is None:
        tags.insert(0, check_tag(route.reference))
    service.blobs.check_room()
    content = await _body(service, request)
    media_type = (request.headers.get("Content-Type") or "").partition(";")[0].strip()

    def store() -> ManifestRow:
        row = manifests.examine(
            content,
            media_type,
            wanted,
            has_blob=lambda d: (
                service.catalog.blob(route.name, d) is not None or service.catalog.has_manifest(route.name, d)
            ),
            has_manifest=lambda d: service.catalog.has_manifest(route.name, d),
            sparse=service.config.sparse,
            sparse_images=service.config.sparse_images,
        )
        service.quota.check(
            sql=service.catalog.connection(), repository=route.name, digest=row.digest, size=len(content)
        )
        event = service.event(
            action="push",
            request=request,
            repository=route.name,
            digest=row.digest,
            tag=tags[0] if tags else "",
            size=len(content),
            media_type=row.media_type,
        )
        service.catalog.put_manifest(
            route.name,
            row,
            tags,
            also=service.telling(event),
            expect=_unchanged(request, route.reference) if wanted is None else None,
        )
        return row

    row = await service.run(store)
    headers = {"Location": f"/v2/{route.name}/manifests/{row.digest}", "Docker-Content-Digest": row.digest}
    if row.subject:
        headers["OCI-Subject"] = row.subject
    if wanted is not None and tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return web.Response(status=201, headers=headers)


async def _body(service: Service, request: web.BaseRequest) -> bytes:
    if (request.content_length or 0) > MAX_SIZE:
        raise ManifestTooLarge(
            f"the manifest has {request.content_length} bytes; at most {MAX_SIZE} are accepted"
        )
    body = bytearray()
    while chunk := await service.read(request):
        body += chunk
        if len(body) > MAX_SIZE:
            raise ManifestTooLarge(f"the manifest has more than {MAX_SIZE} bytes")
    if not body:
        raise ManifestWrong("the manifest is empty")
    return bytes(body)


async def delete(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-9: by digest with all its tags, or one tag alone."""
    service.access.check(request, route.name, "delete")
    catalog = service.catalog
    if is_digest(route.reference):
        digest = str(check_digest(route.reference))
        also = service.telling(
            service.event(action="delete", request=request, repository=route.name, digest=digest)
        )
        gone = await service.run(lambda: catalog.delete_manifest(route.name, digest, also=also))
    else:
        tag = check_tag(route.reference)
        also = service.telling(
            service.event(action="delete", request=request, repository=route.name, digest="", tag=tag)
        )
        gone = await service.run(lambda: catalog.delete_tag(route.name, tag, also=also))
    if not gone:
        raise ManifestUnknown(f"manifest {route.reference[:200]} is not known in {route.name}")
    return web.Response(status=202)


async def tags(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-8."""
    service.access.check(request, route.name, "pull")
    limit, last = _page(request)
    upstream = await service.mirror.tags(route.name) if service.mirror is not None else None
    if upstream is not None:
        found = [t for t in upstream if t > last][: limit + 1]
    else:
        found = service.catalog.tags(route.name, after=last, limit=limit + 1)
    headers = _next(f"/v2/{route.name}/tags/list", limit, found)
    return web.Response(
        body=json.dumps({"name": route.name, "tags": found[:limit]}).encode(),
        content_type="application/json",
        headers=headers,
    )


async def catalog(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """``_catalog``: the repositories that the caller may pull."""
    service.access.check(request, "", "catalog")
    limit, last = _page(request)

    def visible() -> list[str]:
        """A page is full, however many lie between that the caller may not see."""
        found, after, size = list[str](), last, limit + 1
        while len(found) <= limit:
            names = service.catalog.repositories(after=after, limit=size)
            found += [n for n in names if service.access.allows(request, n, "see")]
            if len(names) < size:
                break
            after, size = names[-1], _PAGE
        return found[: limit + 1]

    found = await service.run(visible)
    headers = _next("/v2/_catalog", limit, found)
    return web.Response(
        body=json.dumps({"repositories": found[:limit]}).encode(),
        content_type="application/json",
        headers=headers,
    )


async def referrers(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """end-12: always 200 with an index, also for what is not known."""
    service.access.check(request, route.name, "pull")
    digest = check_digest(route.reference)
    arguments = query(request)
    kind, last = arguments.get("artifactType"), arguments.get("last", "")
    upstream = await service.mirror.referrers(route.name, digest) if service.mirror is not None else None
    if upstream is not None:
        found = [d for d in upstream if d["digest"] > last and kind in (None, d.get("artifactType", ""))][
            : _REFERRERS_PAGE + 1
        ]
    else:
        found = service.catalog.referrers(
            route.name, str(digest), artifact_type=kind, after=last, limit=_REFERRERS_PAGE + 1
        )
    headers = {}
    if kind is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    if len(found) > _REFERRERS_PAGE:
        found.pop()
        more = {**({"artifactType": kind} if kind is not None else {}), "last": found[-1]["digest"]}
        headers["Link"] = f'</v2/{route.name}/referrers/{digest}?{urlencode(more)}>; rel="next"'
    body = {"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": found}
    return web.Response(body=json.dumps(body).encode(), content_type=mt.OCI_INDEX, headers=headers)


async def discover(service: Service, request: web.BaseRequest, route: Route) -> web.StreamResponse:
    """Which extensions there are: search."""
    service.access.check(request, route.name, "pull" if route.name else "base")
    extension = {
        "name": "_boxwright",
        "description": "search over repositories",
        "url": "/api/search",
        "endpoints": ["/api/search"],
    }
    return web.Response(
        body=json.dumps({"extensions": [extension]}).encode(), content_type="application/json"
    )


def _page(request: web.BaseRequest) -> tuple[int, str]:
    return number(request, "n", _PAGE, least=0, most=_PAGE), query(request).get("last", "")


def _next(path: str, limit: int, found: list[str]) -> dict[str, str]:
    if limit and len(found) > limit:
        return {"Link": f'<{path}?{urlencode({"n": limit, "last": found[limit - 1]})}>; rel="next"'}
    return {}
