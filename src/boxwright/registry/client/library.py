"""The HTTP library, for bodies that flow and for proxies: its pools, and its exceptions as ours. No retries,
redirects or credentials here."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions as e

from boxwright.errors import Invalid, Unavailable
from boxwright.registry.client.addresses import split
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.peers import (
    PeerAbsent,
    PeerUnreachable,
    Tls,
    no_such_name,
    tls_context,
    tls_failure,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_BLOCK = 1 << 20  # bytes a send; http.client's 16 KiB costs a third of the upload rate on loopback


class LibraryBody:
    """See http.Body."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, host: str) -> None:
        self._raw, self._host = raw, host

    def read(self, size: int) -> bytes:
        with translated(self._host):
            return self._raw.read(size, decode_content=False) or b""

    def keep(self) -> None:
        try:
            with translated(self._host):
                self._raw.drain_conn()
        except Unavailable:  # the connection is beyond use, which is all that matters here
            self._raw.close()
            return
        self._raw.release_conn()

    def drop(self) -> None:
        self._raw.close()


class Library:
    """Connections to many hosts, shared by threads."""

    def __init__(self, config: ClientConfig, *, guarded: bool = False) -> None:
        self._config = config
        self._guarded = guarded
        self._pools: dict[tuple[Tls, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        tls: Tls,
        proxy: str,
        timeouts: tuple[float, float],
    ) -> tuple[int, list[tuple[str, str]], LibraryBody]:
        """Status, headers and body; `timeouts` are those for the connection and for silence. Raises as
        http.Http.send."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        pool = self._pool(parts.scheme, tls, proxy)
        connect, patience = timeouts
        with translated(host):
            raw = pool.request(
                method,
                url,
                headers=headers,
                body=body,
                timeout=urllib3.Timeout(connect=connect, read=patience),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        return raw.status, list(raw.headers.iteritems()), LibraryBody(raw, host)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            for manager in self._pools.values():
                for key in manager.pools.keys():  # noqa: SIM118 - it is no dict
                    pool = manager.pools.get(key)
                    if pool is not None:
                        pool.close()
                manager.clear()
            self._pools.clear()

    def _pool(self, scheme: str, tls: Tls, proxy: str) -> urllib3.PoolManager:
        key = (tls if scheme == "https" else Tls(), proxy)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                more: dict[str, Any] = {"num_pools": 16, "maxsize": 16, "blocksize": _BLOCK}
                if scheme == "https":
                    more["ssl_context"] = tls_context(tls, self._config)
                    if not tls.verify:
                        more["cert_reqs"] = "CERT_NONE"
                pool = _proxied(proxy, more) if proxy else urllib3.PoolManager(**more)
                if self._guarded and not proxy:
                    from boxwright.registry.client.guard import guard

                    guard(pool)
                self._pools[key] = pool
            return pool


def _proxied(proxy: str, more: dict[str, Any]) -> urllib3.PoolManager:
    parts = split(proxy if "://" in proxy else "http://" + proxy)
    if parts is None:
        raise Invalid("the proxy's URL is none", hint="look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY")
    if parts.scheme not in ("http", "https"):
        raise Invalid(
            f"the proxy {parts.scheme}://{parts.hostname} is of a kind that is not spoken here",
            hint="use an http:// or https:// proxy",
        )
    headers = None
    if parts.username:
        headers = urllib3.make_headers(
            proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        )
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urllib3.ProxyManager(f"{parts.scheme}://{host}{port}", proxy_headers=headers, **more)


class translated:  # a class: this stands around every read of a body, and a generator would cost there
    """The library's exceptions as ours."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, (Unavailable, Invalid)) or not isinstance(error, Exception):
            return
        import http.client

        host = self._host
        if (failure := tls_failure(error, host)) is not None:
            raise failure from error
        if isinstance(error, e.NameResolutionError):
            raise no_such_name(host) from error
        if isinstance(error, e.NewConnectionError):
            raise PeerAbsent(f"cannot reach {host}: {_plain(error)}") from error
        if isinstance(error, e.ConnectTimeoutError):
            raise PeerUnreachable(f"cannot reach {host}: no connection within the time allowed") from error
        if isinstance(error, e.ReadTimeoutError):
            raise PeerUnreachable(f"{host} stopped answering") from error
        if isinstance(error, e.ProtocolError) and any(
            isinstance(a, http.client.IncompleteRead) for a in (error, *error.args)
        ):
            raise PeerUnreachable(f"{host} hung up in the middle of its answer") from error
        if isinstance(error, (e.HTTPError, http.client.HTTPException, OSError)):
            raise PeerUnreachable(f"cannot talk to {host}: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    """What went wrong at the bottom, without the object addresses in urllib3's texts."""
    seen = error
    while (deeper := seen.__cause__ or seen.__context__) is not None and deeper is not seen:
        seen = deeper
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror.lower()
    return str(seen).rpartition(": ")[2] or type(seen).__name__
