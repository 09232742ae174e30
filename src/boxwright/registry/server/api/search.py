"""Search on the wire: the old index API that docker and podman speak, and a JSON API of our own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from boxwright.registry.server.api.bodies import json_object
from boxwright.registry.server.api.requests import host, number, query
from boxwright.registry.server.api.service import Extra, Service
from boxwright.registry.server.errors import ManifestWrong, NoSpace, PageInvalid
from boxwright.registry.server.routes import check_name
from boxwright.registry.server.store.blobs import try_exclusive_lock
from boxwright.registry.server.store.describe import Reader, Tag
from boxwright.registry.server.store.search import (
    FEW,
    MOST_OFFSET,
    SORTS,
    Question,
    Search,
    SearchHit,
    SearchPage,
    body,
    to_json,
)
from boxwright.spec.times import rfc3339

_PAUSE = 2.0  # seconds between looks for repositories to describe
_MOST_BODY = 65_536
_MOST_TAGS = 100


async def find(service: Service, request: web.BaseRequest, question: Question) -> SearchPage:
    """Search on behalf of the request, over what was pushed until now."""
    search = Search(service.catalog, service.blobs)

    def work() -> SearchPage:
        _catch_up(service, search)
        return search.find(question, lambda name: service.access.allows(request, name, "see"))

    return await service.run(work)


async def look_up(service: Service, repository: str) -> SearchHit:
    """One repository, as it is now. Raises NameUnknown."""
    search = Search(service.catalog, service.blobs)

    def work() -> SearchHit:
        _catch_up(service, search)
        return search.hit(repository)

    return await service.run(work)


def _catch_up(service: Service, search: Search) -> None:
    """With what was just pushed. Where there is more, the indexer is at it: no search waits for all of a large
    registry. On a full disk the search is as good as it was."""
    if not service.read_only and 0 < search.pending() <= FEW:
        with suppress(NoSpace):
            search.refresh(FEW)


async def indexer(service: Service) -> None:
    """Runs beside the requests, in one worker at a time: describe what changed, for searches to come."""
    search = Search(service.catalog, service.blobs)
    while True:
        if not service.read_only and search.pending():
            with try_exclusive_lock(service.config.storage / "search.lock") as locked, suppress(NoSpace):
                while locked and await service.run(search.refresh) > 0:
                    pass
        await asyncio.sleep(_PAUSE)


# --- the index API (docker search, podman search) ----------------------------------------------------


async def ping(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /v1/_ping``: the daemon asks whether there is an index here."""
    return web.Response(
        body=b'{"standalone":true}',
        content_type="application/json",
        headers={"X-Docker-Registry-Standalone": "true"},
    )


async def v1_search(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /v1/search?q=&n=&page=``. Docker prints names as they are sent, so it gets them with our host, ready for
    a pull; podman writes the host before them itself."""
    service.access.check(request, "", "search")
    arguments = query(request)
    size, page = (
        number(request, "n", 25, least=1, most=100),
        number(request, "page", 1, least=1, most=MOST_OFFSET),
    )
    found = await find(
        service,
        request,
        Question.of(arguments.get("q", ""), limit=size, offset=min((page - 1) * size, MOST_OFFSET)),
    )
    agent = request.headers.get("User-Agent", "").lower()
    prefix = f"{host(request)}/" if agent.startswith("docker") and host(request) else ""
    results = [
        {
            "name": prefix + h.name,
            "description": h.description or h.title,
            "star_count": h.stars,
            "is_official": h.official,
            "is_automated": h.automated,
            "is_trusted": h.automated,
            "pull_count": h.pulls,
        }
        for h in found.hits
    ]
    answer = {
        "query": arguments.get("q", ""),
        "num_results": found.total,
        "num_pages": -(-found.total // size),
        "page": page,
        "page_size": size,
        "results": results,
    }
    return web.Response(body=body(answer), content_type="application/json")


# --- our own API -------------------------------------------------------------------------------------


async def api_search(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /api/search?q=&official=&platform=&sort=&limit=&offset=``."""
    service.access.check(request, "", "search")
    question = question_of(request)
    found = await find(service, request, question)
    answer = {
        "query": " ".join(question.words),
        "total": found.total,
        "exact": found.exact,
        "offset": question.offset,
        "results": [to_json(h) for h in found.hits],
    }
    return web.Response(body=body(answer), content_type="application/json")


def question_of(request: web.BaseRequest, *, limit: int = 25) -> Question:
    """The question in a request's parameters. Raises PageInvalid."""
    arguments = query(request)
    official = {"": None, "true": True, "1": True, "false": False, "0": False}.get(
        arguments.get("official", "").lower(), "wrong"
    )
    sort = arguments.get("sort", "") or "relevance"
    if official == "wrong" or sort not in SORTS:
        raise PageInvalid(f"official is true or false, sort one of {', '.join(SORTS)}")
    return Question.of(
        arguments.get("q", ""),
        official=official,
        platform=arguments.get("platform", "")[:100],
        sort=sort,
        limit=number(request, "limit", limit, least=1, most=100),
        offset=number(request, "offset", 0, least=0, most=MOST_OFFSET),
    )


async def star(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``PUT`` and ``DELETE /api/stars/<repo>``, for accounts that may pull (for every client where there are none)."""
    name = check_name(request.path.removeprefix("/api/stars/"))
    user = starrer(service, request, name)
    await look_up(service, name)
    count = await service.run(
        Search(service.catalog, service.blobs).star, name, user, request.method == "PUT"
    )
    return web.Response(
        body=body({"name": name, "stars": count, "starred": request.method == "PUT"}),
        content_type="application/json",
    )


def starrer(service: Service, request: web.BaseRequest, name: str) -> str:
    """Whose star it is. Raises Unauthenticated, Forbidden."""
    return service.access.check(request, name, "star")


async def repository(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /api/repositories/<repo>?limit=&offset=``: the description and the newest tags."""
    name = check_name(request.path.removeprefix("/api/repositories/"))
    service.access.check(request, name, "pull")
    hit = await look_up(service, name)
    limit = number(request, "limit", 25, least=0, most=_MOST_TAGS)
    offset = number(request, "offset", 0, least=0, most=1_000_000)
    search, reader = Search(service.catalog, service.blobs), Reader(service.catalog, service.blobs, name)
    about = await service.run(reader.about)
    tags = await service.run(lambda: reader.tags(limit=limit, offset=offset))
    answer = {
        **to_json(hit),
        "source": about.label("source"),
        "url": about.label("url"),
        "licenses": about.label("licenses"),
        "labels": dict(about.labels),
        "tags_total": await service.run(search.tag_count, name),
        "tags": [_tag(t) for t in tags],
    }
    return web.Response(body=body(answer), content_type="application/json")


def _tag(tag: Tag) -> dict[str, Any]:
    variants = [{"platform": v.platform, "digest": v.digest, "size": v.size} for v in tag.variants]
    return {
        "name": tag.name,
        "digest": tag.digest,
        "mediaType": tag.media_type,
        "updated": rfc3339(tag.updated, digits=0),
        "size": tag.size,
        "platforms": variants,
    }


async def describe(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``PATCH /api/repositories/<repo>`` with ``{"description": text or null}``, for accounts that may push."""
    name = check_name(request.path.removeprefix("/api/repositories/"))
    service.access.check(request, name, "push")
    form = '{"description": TEXT or null}'
    said = await json_object(service=service, request=request, most=_MOST_BODY, wanted=form)
    wanted = said.get("description")
    if "description" not in said or not (wanted is None or isinstance(wanted, str)):
        raise ManifestWrong(f"the body must be {form}")
    await look_up(service, name)
    await service.run(Search(service.catalog, service.blobs).describe, name, wanted)
    return web.Response(body=body(to_json(await look_up(service, name))), content_type="application/json")


ROUTES: tuple[Extra, ...] = (
    Extra("GET", "/v1/_ping", ping),
    Extra("GET", "/v1/search", v1_search),
    Extra("GET", "/api/search", api_search),
    Extra(method="PUT", path="/api/stars/*", handler=star, changes=True),
    Extra(method="DELETE", path="/api/stars/*", handler=star, changes=True),
    Extra("GET", "/api/repositories/*", repository),
    Extra(method="PATCH", path="/api/repositories/*", handler=describe, changes=True),
)
