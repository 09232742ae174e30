"""The way of a large body into a file, past the HTTP parser.

A body of known length on a plain connection needs no parsing: a thread reads the socket into a buffer, hashes and
writes it, and all three calls leave the interpreter free. What the event loop and the parser would do to it costs
more than the digest. A thread is held only while bytes come; a slow client waits in the event loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Self

from aiohttp import web

from boxwright.registry.server.errors import BodyTimeout, SizeWrong

LEAST = 1 << 20  # bytes still to come that are worth a connection of their own: it ends with the request
_PIECE = 1 << 20  # bytes read, hashed and written at once
_TURN = 32 << 20  # bytes after which the thread serves another upload
_IDLE = 0.02  # seconds for which a thread waits for more
TAKEN = web.RequestKey("taken", bool)  # on a request: its connection cannot be used again


class Intake:
    """The rest of a request's body, read from the socket itself. `close` it, whatever happened."""

    def __init__(self, request: web.BaseRequest, sock: socket.socket, left: int) -> None:
        self._request, self._sock, self.left = request, sock, left
        sock.settimeout(_IDLE)

    @classmethod
    def of(cls, request: web.BaseRequest) -> tuple[bytes, Self | None]:
        """What the parser has read already, and the rest; None where the parser must go on (TLS, bodies that are
        chunked, encoded or small). With a rest, the parser sees nothing more of this connection."""
        length, transport = request.content_length, request.transport
        if length is None or length < LEAST or transport is None or "Content-Encoding" in request.headers:
            return b"", None
        shared = transport.get_extra_info("socket")
        if shared is None or transport.get_extra_info("sslcontext") is not None:
            return b"", None
        held = bytearray()
        while (
            piece := request.content.read_nowait()
        ):  # each may have the parser hand out more of what it kept
            held += piece
        left = length - len(held)
        if left < LEAST:
            return bytes(held), None
        transport.pause_reading()
        request.protocol.close()  # not now: after the answer
        request[TAKEN] = True
        return bytes(held), cls(request, shared.dup(), left)

    async def pour(self, pool: Executor, take: Callable[[memoryview], None], patience: float) -> None:
        """Call `take` in the pool with piece after piece. Raises BodyTimeout, SizeWrong, and what `take`
        raises; afterwards no thread is at it any more."""
        loop = asyncio.get_running_loop()
        while self.left:
            turn = loop.run_in_executor(pool, self._turn, take)
            try:
                moved = await asyncio.shield(turn)
            except asyncio.CancelledError:
                await asyncio.wait([turn])
                raise
            if not moved:
                await self._readable(loop, patience)

    def _turn(self, take: Callable[[memoryview], None]) -> int:
        """As long as bytes come; how many did."""
        buffer, moved, filled = memoryview(bytearray(min(_PIECE, self.left))), 0, 1
        while filled and self.left and moved < _TURN:
            filled = self._fill(buffer[: self.left])
            if filled:
                take(buffer[:filled])
                self.left -= filled
                moved += filled
        return moved

    def _fill(self, buffer: memoryview) -> int:
        """As much as there is now. Raises SizeWrong when nothing more can come."""
        filled = 0
        while filled < len(buffer):
            try:
                count = self._sock.recv_into(buffer[filled:])
            except (TimeoutError, BlockingIOError):
                break
            except OSError:
                count = 0  # reset
            if not count:
                if filled:
                    break  # said again by the next call
                raise SizeWrong("the client ended within the body")
            filled += count
        return filled

    async def _readable(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        ready = asyncio.Event()
        loop.add_reader(self._sock.fileno(), ready.set)
        try:
            async with asyncio.timeout(patience or None):
                await ready.wait()
        except TimeoutError as error:
            raise BodyTimeout(f"no byte came for {patience:g} seconds") from error
        finally:
            loop.remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Give the connection back for the answer; what else comes is dropped."""
        self._sock.close()
        if not self.left:
            self._request.content.feed_eof()
        elif self._request.transport is not None:
            self._request.transport.resume_reading()
