"""Serving: connections on the loop, each request in a thread of its own, a clean end at SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sqlite3
import threading
from contextlib import suppress

from aiohttp import web

from boxwright.api.asked import RequestRefused
from boxwright.api.exchange import ApiReply, ClientGone, Exchange
from boxwright.api.following import Followers
from boxwright.api.routes import Router
from boxwright.errors import BoxwrightError, NotFound, Unavailable
from boxwright.image.sysinfo import API_VERSION, MIN_API_VERSION
from boxwright.registry.server.events import logs
from boxwright.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.api.listening import Listener
    from boxwright.engine import Engine

_LONGEST_LINE = 64 << 10  # bytes of a request's first line, and of each header (X-Registry-Config is one)
_MOST_REQUESTS = 1000  # at a time, each with a thread of its own
_GRACE = 5.0  # seconds in which requests under way may finish
_log = logging.getLogger("boxwright.api")


class ApiBusy(Unavailable):
    """No more requests are served at a time."""


def numbers(version: str) -> tuple[int, int]:
    """``1.50`` as (1, 50)."""
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def unversioned(path: str) -> tuple[str, tuple[int, int]]:
    """The path without ``/v1.NN``, and the version that the client speaks: ours when it names none. Raises
    RequestRefused."""
    first, slash, rest = path[1:].partition("/")
    said = first.removeprefix("v").split(".")
    if not first.startswith("v") or len(said) != 2 or not all(n.isascii() and n.isdecimal() for n in said):
        return path, numbers(API_VERSION)
    if any(len(n) > 4 for n in said):
        raise RequestRefused(f"{first[:40]} is no version of the API")
    version = int(said[0]), int(said[1])
    shown = f"{version[0]}.{version[1]}"
    if version > numbers(API_VERSION):
        raise RequestRefused(
            f"client version {shown} is too new. Maximum supported API version is {API_VERSION}"
        )
    if version < numbers(MIN_API_VERSION):
        raise RequestRefused(
            f"client version {shown} is too old. Minimum supported API version is {MIN_API_VERSION}, please "
            "upgrade your client to a newer version"
        )
    return slash + rest, version


class _EngineRequest(web.BaseRequest):
    """A request whose answers, the parser's own included, say what answers."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(
            {
                "Api-Version": API_VERSION,
                "Docker-Experimental": "false",
                "Ostype": "linux",
                "Builder-Version": "1",
                "Swarm": "inactive",
                "Server": f"Boxwright/{__version__} (linux)",
            }
        )


class EngineService:
    """Requests of one listener; `local` = no browser reaches it."""

    def __init__(self, engine: Engine, *, local: bool) -> None:
        self._engine, self._local = engine, local
        self._router, self._followers = Router(), Followers()
        self._open: set[Exchange] = set()

    def leave(self) -> None:
        """Wake whatever waits: the server ends."""
        for exchange in list(self._open):
            exchange.leave()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        exchange = None
        try:
            if len(self._open) >= _MOST_REQUESTS:
                raise ApiBusy(f"{_MOST_REQUESTS} requests are under way", hint="try again later")
            self._check_sender(request)
            path, version = unversioned(request.rel_url.raw_path)
            exchange = Exchange(request, path, version=version, followers=self._followers)
            self._open.add(exchange)
            return await self._in_thread(exchange)
        except BoxwrightError as error:
            return refusal(error, exchange)
        finally:
            if exchange is not None:
                self._open.discard(exchange)

    def _check_sender(self, request: web.BaseRequest) -> None:
        """A page in a browser may send requests to loopback; it cannot leave out who it is."""
        if "Origin" in request.headers:
            raise RequestRefused("requests of web pages are not served")
        host = request.headers.get("Host", "").rpartition(":")[0] or request.headers.get("Host", "")
        if not self._local and host.strip("[]") not in ("127.0.0.1", "::1", "localhost"):
            raise RequestRefused(f"requests for {host[:80]!r} are not served: wanted localhost")

    async def _in_thread(self, exchange: Exchange) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[web.StreamResponse] = loop.create_future()

        def deliver(response: web.StreamResponse) -> None:
            exchange.close()
            if not done.cancelled():
                done.set_result(response)

        def work() -> None:
            response = self._answer(exchange)
            self._engine.services.db.leave()  # else a connection stays open until a cycle is collected
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(deliver, response)

        threading.Thread(target=work, daemon=True, name=f"{exchange.method} {exchange.path[:40]}").start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                exchange.leave()
            raise

    def _answer(self, exchange: Exchange) -> web.StreamResponse:
        try:
            handler, name = self._router.find(exchange.method, exchange.path)
            answer = handler(exchange, self._engine, name)
            if exchange.response is not None:
                return exchange.response
            return written(answer or ApiReply(status=204))
        except ClientGone:
            return exchange.response or web.Response(status=499)
        except BoxwrightError as error:
            return refusal(error, exchange)
        except sqlite3.OperationalError as error:
            return refusal(BoxwrightError(f"the store cannot be used now: {error}"), exchange)
        except Exception as error:  # noqa: BLE001 - the outermost border of a request
            _log.exception("%s %s", exchange.method, exchange.path[:200])
            return refusal(BoxwrightError(f"a bug of Boxwright's: {type(error).__name__}: {error}"), exchange)


def written(answer: ApiReply) -> web.Response:
    """An answer as one body."""
    if answer.value is None:
        return web.Response(status=answer.status, headers=answer.headers)
    if isinstance(answer.value, str):
        return web.Response(status=answer.status, headers=answer.headers, text=answer.value)
    body = json.dumps(answer.value, separators=(",", ":")).encode() + b"\n"
    return web.Response(
        status=answer.status, headers=answer.headers, body=body, content_type="application/json"
    )


def refusal(error: BoxwrightError, exchange: Exchange | None) -> web.StreamResponse:
    """The one place that writes an error: as Docker's JSON, or in the stream that has begun."""
    # What is missing Docker says in one sentence, and hints there are the command line's.
    said = f"{error} ({error.hint})" if error.hint and not isinstance(error, NotFound) else str(error)
    if exchange is not None and exchange.response is not None:
        if exchange.streams_json:
            with suppress(BoxwrightError):
                exchange.tell({"errorDetail": {"message": said}, "error": said})
        else:
            exchange.response.force_close()
        return exchange.response
    response = written(ApiReply({"message": said}, status=error.http_status))
    if exchange is None or exchange.has_unread():
        response.force_close()
    return response


async def serve_until(engine: Engine, listener: Listener, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let requests under way finish for a while."""
    loop = asyncio.get_running_loop()
    service = EngineService(engine, local=listener.local)

    server = web.Server(
        service.handle,
        request_factory=lambda message, payload, protocol, writer, task: _EngineRequest(
            message, payload, protocol, payload_writer=writer, task=task, loop=loop
        ),
        access_log=None,
        logger=logs.requests,
        handler_cancellation=True,
        auto_decompress=False,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        keepalive_timeout=3600,
    )
    loop.set_exception_handler(logs.in_loop)
    opened = await loop.create_server(server, sock=listener.socket, backlog=128)
    try:
        await stop.wait()
    finally:
        opened.close()
        server.pre_shutdown()
        service.leave()
        await server.shutdown(_GRACE)


def serve(engine: Engine, listener: Listener, *, listening: Callable[[str], object]) -> int:
    """Serve until SIGTERM or SIGINT; `listening` is told the address once requests are answered. Returns the exit
    code."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        listening(listener.shown)
        await serve_until(engine, listener, stop)

    try:
        asyncio.run(main())
    finally:
        listener.close()
    return 0
