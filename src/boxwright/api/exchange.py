"""One request and its answer, for a handler that blocks in a thread of its own while the loop serves others."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
from urllib.parse import unquote

from aiohttp import web

from boxwright.api.asked import Fields, Query, RequestRefused, parsed
from boxwright.errors import Unavailable
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    from boxwright.api.following import Followers

MOST_JSON = 8 << 20  # bytes of a body that is held in memory
_PIECE = 256 << 10
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


class ApiReply(NamedTuple):
    """What a handler returns that did not stream: a JSON value, or nothing but a status."""

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] | None = None


class ClientGone(Unavailable):
    """The client does not read the answer any more."""


class _Early:
    """Bytes that the client sent before the connection was taken out of the loop's hands."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        return None

    def set_exception(self, *_: object) -> None:
        return None


class Hijacked:
    """A connection that belongs to the handler: `early` was read already, the rest is read from `socket`."""

    def __init__(self, sock: socket.socket, early: bytes) -> None:
        self.socket, self.early = sock, early

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client was faster
            pass
        self.socket.close()


class Exchange:
    """`path` has no version; `gone` is a descriptor that becomes readable when the client has left."""

    def __init__(
        self, request: web.BaseRequest, path: str, *, version: tuple[int, int], followers: Followers
    ) -> None:
        """Raises RequestRefused."""
        self._request = request
        self._loop = asyncio.get_running_loop()
        self.method, self.path, self.version = request.method, path, version
        self.query = Query(request.rel_url.raw_query_string)
        self.headers = request.headers
        self.followers = followers
        self.response: web.StreamResponse | None = None
        self.gone = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.streams_json = False

    def close(self) -> None:
        os.close(self.gone)

    def leave(self) -> None:
        """The client has left: handlers that wait are woken."""
        os.eventfd_write(self.gone, 1)

    def left(self) -> bool:
        """Whether the client has left."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (ConnectionError, asyncio.CancelledError, RuntimeError) as error:
            raise ClientGone("the client has left") from error

    def has_unread(self) -> bool:
        """Whether some of the body was not read, which ends the connection after the answer."""
        return self._request.body_exists and not self._request.content.at_eof()

    # --- what came -----------------------------------------------------------------------------

    def read(self, most: int = _PIECE) -> bytes:
        """The next piece of the body, b'' at its end. Raises ClientGone."""
        found: bytes = self._await(self._read(most))
        return found

    async def _read(self, most: int) -> bytes:
        if self._request.headers.get("Expect", "").lower() == "100-continue" and not self._continued:
            self._continued = True
            if self._request.transport is not None:
                self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._request.content.read(most)

    _continued = False

    def body(self) -> io.BufferedReader:
        """The body as a file."""
        return io.BufferedReader(_RequestBody(self), _PIECE)

    def whole_body(self) -> bytes:
        """A small body. Raises RequestRefused."""
        out = bytearray()
        while data := self.read():
            out += data
            if len(out) > MOST_JSON:
                raise RequestRefused(f"the body is larger than {MOST_JSON >> 20} MiB")
        return bytes(out)

    def json(self) -> Fields:
        """A body that is an object; an empty one has no fields. Raises RequestRefused."""
        raw = self.whole_body()
        return Fields(parsed(raw, "the body") if raw.strip() else None)

    # --- what goes -----------------------------------------------------------------------------

    def begin(
        self, content_type: str = "application/json", *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the head of an answer that is streamed. Raises ClientGone."""
        self.streams_json = content_type == "application/json"
        self.response = web.StreamResponse(headers={**(headers or {}), "Content-Type": content_type})
        self._await(self.response.prepare(self._request))

    def write(self, data: bytes) -> None:
        """Send, and wait as long as the client is slow. Raises ClientGone."""
        assert self.response is not None
        if data:
            self._await(self.response.write(data))

    def tell(self, value: Any) -> None:
        """A line of a stream of JSON. Raises ClientGone."""
        self.write(json.dumps(value, separators=(",", ":")).encode() + b"\r\n")

    def hijack(self, content_type: str) -> Hijacked:
        """The connection itself, upgraded. Raises RequestRefused, ClientGone."""
        if self.headers.get("Upgrade", "").lower() != "tcp":
            raise RequestRefused(
                "this stream needs the connection for itself: send Connection: Upgrade and Upgrade: tcp"
            )
        taken: Hijacked = self._await(self._hijack(content_type))
        return taken

    async def _hijack(self, content_type: str) -> Hijacked:
        request = self._request
        response = web.StreamResponse(
            status=101,
            reason="UPGRADED",
            headers={"Content-Type": content_type, "Connection": "Upgrade", "Upgrade": "tcp"},
        )
        response.force_close()
        await response.prepare(request)
        self.response = response
        early, transport = _Early(), request.transport
        if transport is None:
            raise ConnectionResetError
        request.protocol.set_parser(early)  # type: ignore[arg-type]  # it only feeds it
        transport.pause_reading()
        found = transport.get_extra_info("socket")
        return Hijacked(
            socket.socket(found.family, found.type, fileno=os.dup(found.fileno())), bytes(early.data)
        )


class _RequestBody(io.RawIOBase):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._exchange.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decoded(path: str) -> str:
    """A part of a path as text. Raises RequestRefused."""
    try:
        text = unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise RequestRefused("the path is not UTF-8") from error
    if any(not c.isprintable() for c in text):
        raise RequestRefused("the path has a control character")
    return text
