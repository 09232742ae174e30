"""HTTP over urllib3: pools, TLS, proxies, and its exceptions as ours. No retries, redirects or credentials here."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from boxwright.errors import Invalid, Unavailable
from boxwright.registry.client.config import ClientConfig
from boxwright.spec.values import dataclass

if TYPE_CHECKING:
    import ssl

    import urllib3

_SHORT = 64 << 10  # bytes of a body that are read to keep its connection
_BLOCK = 1 << 20  # bytes a send; http.client's 16 KiB costs a third of the upload rate on loopback


class PeerUnreachable(Unavailable):
    """The connection could not be made, or broke."""


class NobodyThere(PeerUnreachable):
    """No connection at all: refused, no route, or no such name."""


class NotTls(PeerUnreachable):
    """The peer does not speak TLS on this port."""


class UntrustedPeer(Unavailable):
    """The peer's certificate does not check out. Trying again would not help."""


class ResponseTooLarge(Invalid):
    """A document is larger than anything sensible."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust one host. `authorities` are PEM files; `client` is a certificate and its key."""

    verify: bool = True
    authorities: tuple[str, ...] = ()
    client: tuple[str, str] | None = None


_ORDINARY = Tls()


class Reply:
    """A response whose body has not been read."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, method: str = "GET") -> None:
        self._raw = raw
        self.url = url
        self.status = raw.status
        self._read = 0
        self._ended = method == "HEAD"  # whatever length its answer speaks of

    def header(self, name: str) -> str:
        """The first value; '' when absent."""
        values = self._raw.headers.getlist(name)
        return values[0] if values else ""

    def headers(self, name: str) -> list[str]:
        """Every value of a header that may repeat."""
        return list(self._raw.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """Content-Length, when it is given and a number."""
        value = self.header("Content-Length")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None

    def read_some(self, size: int) -> bytes:
        """Up to `size` bytes of the body, b'' at its end. Raises PeerUnreachable."""
        with _translated(self.url):
            data = self._raw.read(size, decode_content=False) or b""
        self._read += len(data)
        self._ended = self._ended or not data
        return data

    def read_all(self, limit: int) -> bytes:
        """The whole body of a document. Raises ResponseTooLarge beyond `limit` bytes."""
        if (self.length or 0) > limit:
            self.close()
            raise ResponseTooLarge(
                f"{self.url} answers with {self.length} bytes; at most {limit} are accepted"
            )
        parts: list[bytes] = []
        total = 0
        while data := self.read_some(min(_BLOCK, limit + 1 - total)):
            parts.append(data)
            total += len(data)
            if total > limit:
                self.close()
                raise ResponseTooLarge(f"{self.url} answers with more than {limit} bytes")
        self.release()
        return b"".join(parts)

    def release(self) -> None:
        """Give the connection back; what is left of a short body is read first, a long one is not waited for."""
        left = 0 if self._ended else (self.length or 0) - self._read if self.length is not None else None
        if left is None or left > _SHORT:
            self._raw.close()
            return
        try:
            self._raw.drain_conn()
        except Exception:  # the connection is beyond use, which is all that matters here
            self._raw.close()
            return
        self._raw.release_conn()

    def close(self) -> None:
        """Drop the connection with whatever is still on its way."""
        self._raw.close()


class Http:
    """Connections to many hosts, shared by threads."""

    def __init__(self, config: ClientConfig, *, guarded: bool = False) -> None:
        """`guarded`: connect to no address of this machine or its link (registry.client.guard)."""
        self._config = config
        self._guarded = guarded
        self._pools: dict[tuple[Tls, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        tls: Tls = _ORDINARY,
        patience: float = 0,
        connect: float = 0,
    ) -> Reply:
        """One request, one response, redirects not followed; `patience` = seconds of silence, `connect` = seconds for a
        connection. Raises PeerUnreachable, NotTls, UntrustedPeer."""
        import urllib3

        pool = self._pool(url, tls)
        timeout = urllib3.Timeout(
            connect=connect or self._config.connect_timeout, read=patience or self._config.read_timeout
        )
        all_headers = {
            "User-Agent": self._config.user_agent,
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        with _translated(url):
            raw = pool.request(
                method,
                url,
                headers=all_headers,
                body=body,
                timeout=timeout,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        return Reply(raw, url, method)

    def __del__(self) -> None:  # sockets are closed here rather than with a ResourceWarning of each
        self.close()

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

    def _pool(self, url: str, tls: Tls) -> urllib3.PoolManager:
        import urllib3

        parts = urlsplit(url)
        proxy = proxy_for(parts.scheme, parts.hostname or "", parts.port, self._config.proxies)
        key = (tls if parts.scheme == "https" else Tls(), proxy)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                more: dict[str, Any] = {"num_pools": 16, "maxsize": 16, "blocksize": _BLOCK}
                if parts.scheme == "https":
                    more["ssl_context"] = _context(tls, self._config)
                    if not tls.verify:
                        more["cert_reqs"] = "CERT_NONE"
                if proxy:
                    pool = _proxied(proxy, more)
                else:
                    pool = urllib3.PoolManager(**more)
                    if self._guarded:
                        from boxwright.registry.client.guard import guard

                        guard(pool)
                self._pools[key] = pool
            return pool


def _proxied(proxy: str, more: dict[str, Any]) -> urllib3.PoolManager:
    import urllib3

    parts = urlsplit(proxy if "://" in proxy else "http://" + proxy)
    if parts.scheme not in ("http", "https"):
        raise Invalid(
            f"the proxy {parts.scheme}://{parts.hostname} is of a kind that is not spoken here",
            hint="use an http:// or https:// proxy",
        )
    headers = None
    if parts.username:
        from urllib.parse import unquote

        headers = urllib3.make_headers(
            proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        )
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urllib3.ProxyManager(f"{parts.scheme}://{host}{port}", proxy_headers=headers, **more)


def _context(tls: Tls, config: ClientConfig) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
        if config.ca_bundle is not None:
            _load(context, str(config.ca_bundle))
        for path in tls.authorities:
            _load(context, path)
    if tls.client is not None:
        try:
            context.load_cert_chain(*tls.client)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"cannot use the client certificate {tls.client[0]}: {error}") from error
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise Invalid(f"cannot use the certificate authorities in {path}: {error}") from error


class _translated:  # a class: this stands around every read of a body, and a generator would cost there
    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (Unavailable, Invalid)) or not isinstance(error, Exception):
            return
        import http.client
        import ssl

        from urllib3 import exceptions as e

        host = urlsplit(self._url).netloc.rpartition("@")[2]
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = (
                cause.__cause__
                or cause.__context__
                or next((a for a in cause.args if isinstance(a, BaseException)), None)
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UntrustedPeer(
                f"cannot trust {host}: {cause.verify_message}",
                hint=f"put its authority into /etc/docker/certs.d/{host}/ca.crt, or name the host under insecure-registries",
            ) from error
        if isinstance(cause, ssl.SSLError) and cause.reason in (
            "WRONG_VERSION_NUMBER",
            "HTTP_REQUEST",
            "RECORD_LAYER_FAILURE",
            "PACKET_LENGTH_TOO_LONG",
            "UNEXPECTED_MESSAGE",
        ):
            raise NotTls(
                f"{host} does not speak TLS",
                hint=f"if {host} is to be spoken to in plain text, name it under insecure-registries",
            ) from error
        if isinstance(error, e.NameResolutionError):
            raise NobodyThere(
                f"cannot reach {host}: the name does not resolve",
                hint="check the name, the network and the proxy settings",
            ) from error
        if isinstance(error, e.NewConnectionError):
            raise NobodyThere(f"cannot reach {host}: {_plain(error)}") from error
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


def proxy_for(scheme: str, host: str, port: int | None, proxies: Mapping[str, str]) -> str:
    """The proxy's URL for a host, '' for none, by Go's rules: NO_PROXY takes domains, addresses, CIDRs and host:port,
    and loopback never goes through a proxy."""

    def value(name: str) -> str:
        return proxies.get(name) or proxies.get(name.lower()) or ""

    proxy = value(f"{scheme.upper()}_PROXY") or value("ALL_PROXY")
    if not proxy or is_loopback(host) or _excluded(host.lower(), port, value("NO_PROXY").lower().split(",")):
        return ""
    return proxy


def _excluded(host: str, port: int | None, rules: Iterable[str]) -> bool:
    address = address_of(host)
    for rule in (r.strip() for r in rules):
        if not rule:
            continue
        if rule == "*":
            return True
        name, colon, number = rule.rpartition(":")
        if colon and number.isdigit() and "]" not in number and (":" not in name or name.startswith("[")):
            if number != str(port):
                continue
            rule = name.strip("[]")
        try:
            if address is not None and address in ipaddress.ip_network(rule, strict=False):
                return True
        except (ValueError, TypeError):
            pass
        if host == rule.lstrip(".") or host.endswith("." + rule.lstrip("*").lstrip(".")):
            return True
    return False


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host literally is; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very spelling."""
    address = address_of(host)
    return (
        host.lower() == "localhost"
        or host.lower().endswith(".localhost")
        or (address is not None and address.is_loopback)
    )


def may_be_sent_to(target: str, from_host: str) -> bool:
    """Whether a peer may send us on to `target` (a host without port): by redirect, upload location or token realm.

    A public registry must not make us call addresses inside our own network (server-side request forgery);
    link-local addresses, where clouds keep their secrets, are never called on anybody's word.
    """
    if target.lower() == from_host.lower():
        return True
    address = address_of(target)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        return False
    if is_loopback(target):
        return is_loopback(from_host)
    if address is not None and not address.is_global:
        return is_loopback(from_host) or _is_inside(from_host)
    return True


def _is_inside(host: str) -> bool:
    """Whether a host is on a private network; a name is looked up."""
    address = address_of(host)
    if address is not None:
        return not address.is_global
    import socket

    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    addresses = [a for text in found if (a := address_of(str(text))) is not None]
    return bool(addresses) and not any(a.is_global for a in addresses)
