"""The pages' handlers: home and search, a repository, an image, login and logout, stars."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from boxwright.registry.server.api.bodies import form
from boxwright.registry.server.api.requests import host, number, query, whole
from boxwright.registry.server.api.search import find, look_up, question_of, starrer
from boxwright.registry.server.api.service import Extra, Service
from boxwright.registry.server.api.service import missing as plainly_missing
from boxwright.registry.server.auth.gate import Gate
from boxwright.registry.server.builds.queue import Queue
from boxwright.registry.server.errors import (
    Forbidden,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    Unauthenticated,
)
from boxwright.registry.server.pages import look
from boxwright.registry.server.pages.views import view
from boxwright.registry.server.routes import check_name
from boxwright.registry.server.store.describe import Reader
from boxwright.registry.server.store.search import SORTS, Search

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

COOKIE = "boxwright-session"
_SESSION = 7 * 86_400  # seconds
_PAGE = 20
_TAGS = 50
_MOST_FORM = 16_384
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(
    handler: Callable[[Service, web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[Service, web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Sessions before, errors as pages after."""

    async def wrapped(service: Service, request: web.BaseRequest) -> web.StreamResponse:
        gate = service.access
        cookie = request.cookies.get(COOKIE, "")
        if cookie and isinstance(gate, Gate):
            await gate.resume(service, request, cookie)
        try:
            if request.method == "POST":
                _same_origin(service, request)
            return await handler(service, request)
        except Unauthenticated:
            there = request.path_qs if request.method == "GET" else "/"
            return _redirect("/login?" + urlencode({"next": there}))
        except RegistryError as error:
            status = 404 if isinstance(error, Forbidden) and request.method == "GET" else error.http_status
            text = "There is nothing here, or nothing that you may see." if status == 404 else str(error)
            return render(service, request, "error.html", status=status, message=text, headers=error.headers)

    return wrapped


def render(
    service: Service,
    request: web.BaseRequest,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> web.Response:
    """A page, with what its frame needs."""
    user = service.access.principal(request).name
    text = (
        look.environment()
        .get_template(template)
        .render(
            user=user,
            accounts=isinstance(service.access, Gate),
            here=request.path_qs,
            host=_host(service, request),
            status=status,
            q=values.pop("q", ""),
            **values,
        )
    )
    return web.Response(
        status=status,
        body=text.encode(),
        content_type="text/html",
        charset="utf-8",
        headers={**_SECURITY, **(headers or {})},
    )


def _host(service: Service, request: web.BaseRequest) -> str:
    """How clients name this registry."""
    if service.config.base_url:
        return urlsplit(service.config.base_url).netloc
    return host(request) or "localhost"


def _redirect(where: str, cookie: str | None = None, *, secure: bool = False) -> web.Response:
    response = web.Response(status=303, headers={**_SECURITY, "Location": where})
    if cookie is not None:
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=_SESSION if cookie else 0,
            httponly=True,
            samesite="Lax",
            secure=secure,
            path="/",
        )
    return response


def _same_origin(service: Service, request: web.BaseRequest) -> None:
    """Another site's form must not speak for the user. Raises Forbidden."""
    site, origin = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Origin", "")
    if site not in ("", "same-origin", "none") or (
        origin and urlsplit(origin).netloc not in (request.host, _host(service, request))
    ):
        raise Forbidden("this form was sent from another site")


def _local(text: str) -> str:
    """A path of this site; anything else is the home page."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() else "/"


# --- home --------------------------------------------------------------------------------------------


@page
async def home(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``/``: search, and the repositories."""
    service.access.check(request, "", "search")
    question = question_of(request, limit=_PAGE)
    found = await find(service, request, question)
    arguments = {k: v for k, v in query(request).items() if k in ("q", "official", "platform", "sort") and v}

    def to(offset: int) -> str:
        return "/?" + urlencode({**arguments, **({"offset": str(offset)} if offset else {})})

    before = to(max(0, question.offset - question.limit)) if question.offset else ""
    after = to(question.offset + question.limit) if found.total > question.offset + question.limit else ""
    return render(
        service,
        request,
        "home.html",
        q=query(request).get("q", ""),
        question=question,
        found=found,
        sorts=list(SORTS),
        before=before,
        after=after,
    )


# --- a repository, an image --------------------------------------------------------------------------


@page
async def repository_or_image(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``/r/<repo>``, ``/r/<repo>/tags/<tag>``, ``/r/<repo>/manifests/<digest>``, ``/r/<repo>/_builds[/<id>]``."""
    rest = request.path.removeprefix("/r/").rstrip("/")
    name, found, build = (rest + "/").rpartition("/_builds/")
    if found:
        return await _builds(
            service=service, request=request, name=check_name(name), wanted=build.rstrip("/")
        )
    for middle in ("/tags/", "/manifests/"):
        name, found, reference = rest.rpartition(middle)
        if (
            found
            and "/" not in reference
            and (service.catalog.repository(name) is not None or service.catalog.repository(rest) is None)
        ):
            return await _image(service=service, request=request, name=check_name(name), reference=reference)
    return await _repository(service, request, check_name(rest))


async def _repository(service: Service, request: web.BaseRequest, name: str) -> web.StreamResponse:
    who = service.access.check(request, name, "pull")
    hit = await look_up(service, name)
    search, reader = Search(service.catalog, service.blobs), Reader(service.catalog, service.blobs, name)
    offset = number(request, "offset", 0, least=0, most=10_000_000)
    about = await service.run(reader.about)
    tags = await service.run(lambda: reader.tags(limit=_TAGS, offset=offset))
    total = await service.run(search.tag_count, name)
    starred = await service.run(search.starred, name, who)
    builds = hit.automated and service.access.allows(request, name, "push")
    path = "/r/" + quote(name)
    return render(
        service,
        request,
        "repository.html",
        name=name,
        hit=hit,
        about=about,
        tags=tags,
        total=total,
        starred=starred,
        path=path,
        builds=builds,
        links=[
            (word, url) for word in ("url", "source", "documentation") if (url := _web(about.label(word)))
        ],
        before=f"{path}?offset={max(0, offset - _TAGS)}" if offset else "",
        after=f"{path}?offset={offset + _TAGS}" if total > offset + _TAGS else "",
    )


async def _image(service: Service, request: web.BaseRequest, name: str, reference: str) -> web.StreamResponse:
    service.access.check(request, name, "pull")
    reader = Reader(service.catalog, service.blobs, name)
    image = await service.run(view, service.catalog, reader, reference, query(request).get("platform", ""))
    if image is None:
        raise ManifestUnknown(f"{reference[:200]} is not known in {name}")
    pull = f"{_host(service, request)}/{name}" + (f"@{reference}" if ":" in reference else f":{reference}")
    return render(
        service,
        request,
        "image.html",
        name=name,
        reference=reference,
        image=image,
        pull=pull,
        path="/r/" + quote(name),
    )


async def _builds(service: Service, request: web.BaseRequest, name: str, wanted: str) -> web.StreamResponse:
    """How builds went, or what one said; for accounts that may push, as through the API."""
    service.access.check(request, name, "push")
    queue, path = Queue(service.catalog), "/r/" + quote(name)
    if wanted:
        build, log = await service.run(queue.build, name, whole(wanted) or 0)
        return render(service, request, "build.html", name=name, path=path, build=build, log=log)
    link = await service.run(queue.get, name)
    return render(
        service,
        request,
        "builds.html",
        name=name,
        path=path,
        link=link,
        builds=await service.run(queue.builds, name),
    )


@page
async def build_now(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /build`` with `name`, for accounts that may push."""
    name = check_name((await form(service, request, _MOST_FORM)).get("name", ""))
    who = service.access.check(request, name, "push")
    await service.run(Queue(service.catalog).ask, name, f"asked by {who or 'an anonymous client'}")
    return _redirect(f"/r/{quote(name)}/_builds")


def _web(url: str) -> str:
    """A link that is safe to follow, or ''."""
    return url if url.startswith(("https://", "http://")) and url.isprintable() else ""


# --- login, stars ------------------------------------------------------------------------------------


@page
async def login_form(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /login``."""
    if not isinstance(service.access, Gate):
        return _redirect("/")
    return render(
        service, request, "login.html", next=_local(query(request).get("next", "/")), wrong="", name=""
    )


@page
async def login(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /login``: name and password (or access token) for a cookie."""
    gate = service.access
    if not isinstance(gate, Gate):
        return _redirect("/")
    said = await form(service, request, _MOST_FORM)
    there = _local(said.get("next", "/"))
    principal = await gate.login(
        service=service, request=request, name=said.get("name", ""), password=said.get("password", "")
    )
    if principal is None or principal.limits is not None:  # a token with limits is no key to everything
        wrong = (
            "The name or the password is wrong."
            if principal is None
            else "This token is limited; log in with the password."
        )
        return render(
            service,
            request,
            "login.html",
            status=401,
            next=there,
            wrong=wrong,
            name=said.get("name", "")[:100],
        )
    secure = request.secure or service.config.base_url.startswith("https://")
    return _redirect(there, await gate.open_session(service, principal.name, _SESSION), secure=secure)


@page
async def logout(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /logout``: the session is over, wherever its cookie may be."""
    cookie = request.cookies.get(COOKIE, "")
    if cookie and isinstance(service.access, Gate):
        await service.access.end_session(service, cookie)
    return _redirect("/", "")


@page
async def star(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /star`` with `name` and `on`."""
    said = await form(service, request, _MOST_FORM)
    name = check_name(said.get("name", ""))
    user = starrer(service, request, name)
    await look_up(service, name)
    await service.run(Search(service.catalog, service.blobs).star, name, user, said.get("on") == "1")
    return _redirect("/r/" + quote(name))


async def static(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """``/static/<file>``: for ever, since the address changes with the bytes."""
    found = look.static().get(request.path.removeprefix("/static/"))
    if found is None:
        return web.Response(status=404, text="404 page not found\n")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return web.Response(body=found[0], content_type=found[1], charset="utf-8", headers=headers)


async def favicon(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """Browsers ask for it unasked."""
    return web.Response(status=302, headers={"Location": look.address("icon.svg")})


@page
async def missing(service: Service, request: web.BaseRequest) -> web.StreamResponse:
    """What fits no route: a page for people, a line for programs."""
    if "text/html" not in request.headers.get("Accept", ""):
        return await plainly_missing(service, request)
    raise NameUnknown(f"{request.path[:200]} is not here")


ROUTES: tuple[Extra, ...] = (
    Extra("GET", "/", home),
    Extra("GET", "/r/*", repository_or_image),
    Extra("GET", "/login", login_form),
    Extra("POST", "/login", login),
    Extra("POST", "/logout", logout),
    Extra(method="POST", path="/star", handler=star, changes=True),
    Extra(method="POST", path="/build", handler=build_now, changes=True),
    Extra("GET", "/static/*", static),
    Extra("GET", "/favicon.ico", favicon),
)
