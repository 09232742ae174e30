"""Serving: a listening socket, worker processes that share it, a graceful stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from boxwright.errors import Unavailable
from boxwright.registry.server.app import API
from boxwright.registry.server.catalog import Catalog
from boxwright.registry.server.service import Service, dispatcher
from boxwright.registry.server.storage import FileBlobs

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class AddressUnusable(Unavailable):
    """The listening address cannot be had."""


def open_service(storage: Path) -> Service:
    """The service over a storage directory, made when it is new."""
    blobs = FileBlobs(storage)
    return Service(Catalog(storage / "registry.db"), blobs)


def listen(address: str) -> socket.socket:
    """Bind ``host:port`` (``:5000`` = all addresses). Raises AddressUnusable."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]") or "0.0.0.0", int(port)), backlog=1024, reuse_port=False)
    except (OSError, ValueError) as error:
        raise AddressUnusable(f"cannot listen on {address}: {error}", hint="choose another with --addr host:port") from error


async def serve_until(handle: Handle, sock: socket.socket, stop: asyncio.Event, *, grace: float = 30) -> None:
    """Serve until `stop` is set, then let requests under way finish for `grace` seconds."""
    server = web.Server(handle, keepalive_timeout=75, access_log=None)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(server, sock=sock, backlog=1024)
    try:
        await stop.wait()
    finally:
        listener.close()
        await server.shutdown(grace)


def run_worker(storage: Path, sock: socket.socket) -> None:
    """One worker, until SIGTERM or SIGINT."""

    async def main() -> None:
        service = open_service(storage)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve_until(dispatcher(service, API), sock, stop)
        service.close()

    asyncio.run(main())


def run_workers(storage: Path, address: str, workers: int) -> int:
    """Fork workers over one socket; a worker that dies is replaced. Returns the exit code."""
    sock = listen(address)
    if workers <= 1:
        run_worker(storage, sock)
        return 0
    open_service(storage).close()  # make the storage once, before the workers race for it
    children: set[int] = set()
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping or children:
        while not stopping and len(children) < workers:
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                run_worker(storage, sock)
                os._exit(0)
            children.add(child)
        try:
            ended, _ = os.wait()
        except InterruptedError:
            continue
        children.discard(ended)
    return 0
