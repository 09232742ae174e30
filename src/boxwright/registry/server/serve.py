"""Serving: a listening socket, worker processes that share it, a graceful stop."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from boxwright.errors import Unavailable
from boxwright.files import syscalls
from boxwright.registry.server.api.service import Service, dispatcher
from boxwright.registry.server.app import API, open_service, routes, tasks
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.config import RegistryConfig, RegistryConfigInvalid
from boxwright.registry.server.events import logs
from boxwright.registry.server.events.metrics import Metrics, counted
from boxwright.registry.server.pages.handlers import missing
from boxwright.registry.server.store.scratch import sweep

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_READ = 1 << 20  # bytes that may wait in a connection's buffer before the peer is slowed down
_LINGER = 3.0  # seconds in which a client whose body was refused may read why
_TCP_USER_TIMEOUT = 18
_PR_SET_PDEATHSIG = 1
_MOST_DESCRIPTORS = 65_536
_OWN_DESCRIPTORS = 192  # of a worker: the catalog's connections, locks, logs, uploads
_AGAIN = 5.0  # seconds until a task that failed runs again


class AddressUnusable(Unavailable):
    """The listening address cannot be had."""


def listen(address: str) -> socket.socket:
    """Bind ``host:port`` (``:5000`` = all addresses). Raises AddressUnusable."""
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    try:
        return socket.create_server(
            (bare or "0.0.0.0", int(port)),
            family=socket.AF_INET6 if ":" in bare else socket.AF_INET,
            backlog=1024,
        )
    except (OSError, ValueError, OverflowError) as error:
        raise AddressUnusable(
            f"cannot listen on {address}: {error}", hint="choose another with --addr host:port"
        ) from error


def tls_context(config: RegistryConfig) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises RegistryConfigInvalid."""
    if config.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(*config.tls)
    except (OSError, ssl.SSLError) as error:
        raise RegistryConfigInvalid(
            f"cannot use the certificate {config.tls[0]} with the key {config.tls[1]}: {error}"
        ) from error
    return context


class _Request(web.BaseRequest):
    """A request whose answers, the parser's own included, all say this."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers["Server"] = "boxwright"  # no versions: they tell what to try
        response.headers["X-Content-Type-Options"] = "nosniff"


class _Server(web.Server):
    """Connections beyond the limit are closed at once; a peer that takes nothing for long is given up by the kernel."""

    def __init__(self, handler: Handle, *, most: int, silence: int, **options: Any) -> None:
        """`most` connections at a time; `silence` seconds (0: no limit) for which a peer may take nothing."""
        super().__init__(handler, **options)
        self._most, self._silence = most, silence

    def connection_made(self, handler: object, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)  # type: ignore[arg-type]
        if len(self.connections) > self._most:
            # Not now: the handler's task has not begun, and a connection that is lost before is a fault to it.
            asyncio.get_running_loop().call_later(0, transport.abort)
            logs.crowded.warning("more than %d connections: some are closed at once", self._most)
            return
        sock = transport.get_extra_info("socket")
        if self._silence and sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, self._silence * 1000)


def more_descriptors() -> None:
    """As many as the process may have: a connection takes one, and one more while a blob is sent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def affordable_connections() -> int:
    """How many connections the descriptors are enough for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return max(8, (soft - _OWN_DESCRIPTORS) // 2)


async def serve_until(
    service: Service,
    sock: socket.socket,
    stop: asyncio.Event,
    *,
    grace: float = 30,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve until `stop` is set, then let requests under way finish for `grace` seconds, and the tasks end."""
    limits, loop = service.config.limits, asyncio.get_running_loop()
    handle = dispatcher(service=service, table=API, extra=routes(service), otherwise=missing)
    server = _Server(
        handle,
        most=limits.connections or affordable_connections(),
        silence=limits.body_timeout,
        keepalive_timeout=limits.header_timeout or 3600,
        access_log=None,
        logger=logs.requests,
        auto_decompress=False,
        request_factory=lambda message, payload, protocol, writer, task: _Request(
            message, payload, protocol, writer, task, loop
        ),
        read_bufsize=_READ,
        tcp_keepalive=True,
        lingering_time=_LINGER,
    )
    loop.set_exception_handler(logs.in_loop)
    listener = await loop.create_server(server, sock=sock, backlog=1024, ssl=tls)
    running = [asyncio.ensure_future(_kept_up(task, service)) for task in tasks(service.config)]
    try:
        await stop.wait()
    finally:
        listener.close()
        server.pre_shutdown()
        await server.shutdown(grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _kept_up(task: Callable[[Service], Awaitable[None]], service: Service) -> None:
    """A task that fails is logged and begins anew: a worker that serves on without it would never notice."""
    me = asyncio.current_task()
    while me is not None and not me.cancelling():
        try:
            await task(service)
        except Exception:
            logging.getLogger("boxwright.registry").exception("%s failed and starts again", task.__qualname__)
        await asyncio.sleep(_AGAIN)


def run_worker(config: RegistryConfig, sock: socket.socket, buckets: Buckets, metrics: Path | None) -> None:
    """One worker, until SIGTERM or SIGINT."""
    tls = tls_context(config)

    async def main() -> None:
        service = open_service(config, buckets, Metrics(metrics) if metrics is not None else None)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve_until(service, sock, stop, grace=config.limits.grace, tls=tls)
        service.close()

    asyncio.run(main())


class WorkerSupervisor:
    """Forks workers over one socket; a worker that dies is replaced."""

    def __init__(self, config: RegistryConfig, sock: socket.socket, metrics: Path | None) -> None:
        self._config, self._sock, self._metrics = config, sock, metrics
        self._buckets = Buckets()
        self._started: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code: 1 when workers do not even start."""
        if self._config.workers <= 1:
            run_worker(config=self._config, sock=self._sock, buckets=self._buckets, metrics=self._metrics)
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        early = 0
        while not self._stopping or self._started:
            while not self._stopping and len(self._started) < self._config.workers:
                self._fork()
            try:
                pid, _ = os.wait()
            except (InterruptedError, ChildProcessError):
                continue
            early = early + 1 if time.monotonic() - self._started.pop(pid, 0) < 1 else 0
            if early > 5 * self._config.workers and not self._stopping:
                self._stop(0, None)
                return 1
        return 0

    def _fork(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
            return
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            # A worker that outlived the supervisor would hold the address, and no process would end it.
            syscalls.libc("prctl", _PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(code)
            run_worker(config=self._config, sock=self._sock, buckets=self._buckets, metrics=self._metrics)
            code = 0
        finally:
            os._exit(code)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        for pid in list(self._started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _ready(config: RegistryConfig) -> None:
    """Make the storage once, before workers race for it, and refuse what no worker could serve."""
    tls_context(config)
    open_service(config).close()
    sweep(config.storage / "tmp")


def serve(config: RegistryConfig, *, listening: Callable[[str], object]) -> int:
    """Serve a configuration until a signal; `listening` is told the URL once nothing stands in the way. Returns the
    exit code.

    Raises AddressUnusable, RegistryConfigInvalid, SchemaNewer.
    """
    more_descriptors()
    with listen(config.addr) as sock:
        _ready(config)
        host, port = sock.getsockname()[:2]
        listening(f"{'https' if config.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
        with counted(config.storage) if config.metrics else nullcontext() as metrics:
            return WorkerSupervisor(config, sock, metrics).run()
