"""Automated images over HTTP: ``/api/builds/<repo>``."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from aiohttp import web

from boxwright.registry.server.api import bodies
from boxwright.registry.server.api.bodies import json_object
from boxwright.registry.server.api.requests import query, whole
from boxwright.registry.server.api.service import Extra, Service
from boxwright.registry.server.builds.queue import BuildLink, Queue
from boxwright.registry.server.builds.sources import BuildSource, SourceInvalid
from boxwright.registry.server.errors import Forbidden, ManifestWrong, TooManyRequests
from boxwright.registry.server.proxies import neighbourhood
from boxwright.registry.server.routes import check_name, check_tag
from boxwright.registry.server.store.search import body
from boxwright.spec.times import rfc3339

_PREFIX = "/api/builds/"
_KEYS = {"url", "dockerfile", "tag", "secret"}
_FORM = '{"url": TEXT, "dockerfile": TEXT, "tag": TEXT, "secret": TEXT}, the last three if wanted'
_GUESSES = (0.2, 20)  # a second and at once, of one address for one repository
_MOST_BODY = 4 * 1024 * 1024  # webhooks of large pushes
_URL = re.compile(r"(?:https?|git|ssh)://[^\s-][^\s]*\Z")
_PATH = re.compile(r"(?!-)(?!/)(?!.*\.\.)[\w./ -]{1,200}\Z")


def _name(request: web.BaseRequest) -> str:
    return check_name(request.path.removeprefix(_PREFIX))


async def link(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``PUT`` ``{"url", "dockerfile", "tag", "secret"}``: the answer names the webhook's secret, which is shown
    once."""
    name = _name(request)
    who = service.access.check(request, "", "administer")  # builds run what the repository's Dockerfile says
    wanted = await json_object(service=service, request=request, most=_MOST_BODY, wanted=_FORM)
    if (
        "url" not in wanted
        or not set(wanted) <= _KEYS
        or not all(isinstance(v, str) for v in wanted.values())
    ):
        raise ManifestWrong(f"the body must be {_FORM}")
    url, dockerfile = wanted["url"], wanted.get("dockerfile") or "Dockerfile"
    tag = check_tag(wanted.get("tag") or "latest")
    secret = wanted.get("secret") or secrets.token_urlsafe(24)
    if not _URL.match(url) or not _PATH.match(dockerfile):
        raise ManifestWrong("url must be a Git URL (https://, ssh://, git://), dockerfile a path in it")
    try:
        BuildSource.parse(url)
    except SourceInvalid as error:
        raise ManifestWrong(str(error)) from error
    await service.run(
        Queue(service.catalog).link,
        BuildLink(repository=name, url=url, dockerfile=dockerfile, tag=tag, secret=secret, user=who),
    )
    return web.Response(
        status=201,
        body=body({"name": name, "url": url, "dockerfile": dockerfile, "tag": tag, "secret": secret}),
        content_type="application/json",
    )


async def unlink(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``DELETE``."""
    name = _name(request)
    service.access.check(request, "", "administer")
    await service.run(Queue(service.catalog).unlink, name)
    return web.Response(status=204)


async def ask(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``POST``: by webhook with the secret (GitHub's, Gitea's and GitLab's headers, or ``?secret=``), or by an
    account that may push."""
    name, queue = _name(request), Queue(service.catalog)
    raw = await bodies.body(service, request, _MOST_BODY)
    signature = request.headers.get("X-Hub-Signature-256", "").removeprefix("sha256=")
    given = request.headers.get("X-Gitlab-Token", "") or query(request).get("secret", "")
    if signature or given:
        # A person may have chosen the secret, perhaps a short one: guesses are counted as those of passwords are.
        key = f"secret {neighbourhood(service.address(request))} {name}"
        wait = service.buckets.take(key, *_GUESSES)
        if wait:
            raise TooManyRequests("too many wrong secrets", headers={"Retry-After": str(int(wait) + 1)})
        row = await service.run(queue.get, name)
        right = hmac.new(row.secret.encode(), raw, hashlib.sha256).hexdigest() if signature else row.secret
        said = (signature or given).encode("utf-8", "surrogateescape")  # a header is bytes
        if not hmac.compare_digest(said, right.encode()):
            raise Forbidden("the secret is wrong")
        service.buckets.give(key, _GUESSES[0])
        reason = "webhook"
    else:
        reason = f"asked by {service.access.check(request, name, 'push') or 'an anonymous client'}"
    build = await service.run(queue.ask, name, reason)
    return web.Response(
        status=202, body=body({"name": name, "build": build}), content_type="application/json"
    )


async def show(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET``: the link and its builds; with ``?log=ID`` one log, as text. For accounts that may push."""
    name, queue = _name(request), Queue(service.catalog)
    service.access.check(request, name, "push")
    wanted = query(request).get("log", "")
    if wanted:
        _, text = await service.run(queue.build, name, whole(wanted) or 0)
        return web.Response(text=text, content_type="text/plain")
    row = await service.run(queue.get, name)
    builds = [
        {
            "id": b.id,
            "reason": b.reason,
            "state": b.state,
            "asked": rfc3339(b.asked, digits=0),
            "started": rfc3339(b.started, digits=0) if b.started else None,
            "ended": rfc3339(b.ended, digits=0) if b.ended else None,
        }
        for b in await service.run(queue.builds, name)
    ]
    return web.Response(
        body=body(
            {"name": name, "url": row.shown, "dockerfile": row.dockerfile, "tag": row.tag, "builds": builds}
        ),
        content_type="application/json",
    )


ROUTES: tuple[Extra, ...] = (
    Extra(method="PUT", path=_PREFIX + "*", handler=link, changes=True),
    Extra(method="DELETE", path=_PREFIX + "*", handler=unlink, changes=True),
    Extra(method="POST", path=_PREFIX + "*", handler=ask, changes=True),
    Extra("GET", _PREFIX + "*", show),
)
