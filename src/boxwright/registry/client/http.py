"""HTTP: one request, one answer. No retries, redirects or credentials here.

Small requests go by `http1`, which costs nothing to load; bodies that flow, and everything that goes through a proxy,
by `library` (urllib3).
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from boxwright.errors import Invalid
from boxwright.registry.client.addresses import proxy_for, split
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.http1 import Small, check_headers, serves
from boxwright.registry.client.peers import ORDINARY, NotHttp, PeerUnreachable, ResponseTooLarge, Tls
from boxwright.spec.hints import Protocol
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.registry.client.library import Library

_SHORT = 64 << 10  # bytes of a body that are read to keep its connection
_BLOCK = 1 << 20
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 47}  # zlib's words for what a coding looks like


class Body(Protocol):
    """The bytes of an answer, as they are on the wire, and what becomes of its connection."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, b'' at the end. Raises PeerUnreachable."""

    def keep(self) -> None:
        """Read what is left and let the connection be used again."""

    def drop(self) -> None:
        """Close the connection."""


class Reply:
    """A response whose body has not been read."""

    def __init__(
        self, status: int, headers: Sequence[tuple[str, str]], body: Body, url: str, method: str = "GET"
    ) -> None:
        self._headers: dict[str, list[str]] = {}
        for name, value in headers:
            self._headers.setdefault(name.lower(), []).append(value)
        self._body = body
        self.url = url
        self.status = status
        self._read = 0
        self._ended = method == "HEAD"  # whatever length its answer speaks of
        self._inflating: Any = None

    def header(self, name: str) -> str:
        """The first value; '' when absent."""
        values = self._headers.get(name.lower())
        return values[0] if values else ""

    def headers(self, name: str) -> list[str]:
        """Every value of a header that may repeat."""
        return list(self._headers.get(name.lower(), ()))

    @property
    def length(self) -> int | None:
        """Content-Length, when it is given and a number: bytes on the wire."""
        value = self.header("Content-Length")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None

    @property
    def place(self) -> str:
        """The URL for a message: what stands behind the path may be a secret of its own."""
        return self.url.partition("?")[0]

    @property
    def coded(self) -> bool:
        """Whether the peer says that it compressed the body, unasked."""
        return self.header("Content-Encoding").strip().lower() not in ("", "identity")

    def decode(self) -> None:
        """Undo that compression from here on. Raises NotHttp for one that is not known."""
        if not self.coded or self._inflating is not None:
            return
        coding = self.header("Content-Encoding").strip().lower()
        if coding not in _WINDOWS:
            self.close()
            raise NotHttp(f"{urlsplit(self.url).netloc} compresses its answer with {coding[:40]!r} unasked")
        self._inflating = zlib.decompressobj(_WINDOWS[coding])

    def read_some(self, size: int) -> bytes:
        """Up to `size` bytes of the body, b'' at its end. Raises PeerUnreachable."""
        while True:
            tail = self._inflating.unconsumed_tail if self._inflating is not None else b""
            data = tail or self._body.read(size)
            if not tail:
                self._read += len(data)
                self._ended = self._ended or not data
            if self._inflating is None:
                return data
            inflating = self._inflating
            try:
                out: bytes = inflating.decompress(data, size)
            except zlib.error as error:
                raise PeerUnreachable(
                    f"{urlsplit(self.url).netloc} sends a compressed answer that is damaged"
                ) from error
            if out or inflating.eof:
                return out
            if not data:
                raise PeerUnreachable(f"{urlsplit(self.url).netloc} hung up in the middle of its answer")

    def read_all(self, limit: int) -> bytes:
        """The whole body of a document. Raises ResponseTooLarge beyond `limit` bytes."""
        if (self.length or 0) > limit:
            self.close()
            raise ResponseTooLarge(
                f"{self.place} answers with {self.length} bytes; at most {limit} are accepted"
            )
        self.decode()
        parts: list[bytes] = []
        total = 0
        while data := self.read_some(min(_BLOCK, limit + 1 - total)):
            parts.append(data)
            total += len(data)
            if total > limit:
                self.close()
                raise ResponseTooLarge(f"{self.place} answers with more than {limit} bytes")
        self.release()
        return b"".join(parts)

    def release(self) -> None:
        """Give the connection back; what is left of a short body is read first, a long one is not waited for."""
        left = 0 if self._ended else (self.length or 0) - self._read if self.length is not None else None
        if left is None or left > _SHORT:
            self._body.drop()
        else:
            self._body.keep()

    def close(self) -> None:
        """Drop the connection with whatever is still on its way."""
        self._body.drop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for a connection to stand, and for which the peer may be silent; 0 = as configured."""

    connect: float = 0
    silence: float = 0


_CONFIGURED = Timeouts()


class Http:
    """Connections to many hosts, shared by threads."""

    def __init__(self, config: ClientConfig, *, guarded: bool = False) -> None:
        """`guarded`: connect to no address of this machine or its link (registry.client.guard)."""
        self._config = config
        self._guarded = guarded
        self._small = Small(config)
        self._library: Library | None = None
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        tls: Tls = ORDINARY,
        timeouts: Timeouts = _CONFIGURED,
        flows: bool = False,
    ) -> Reply:
        """One request, one response, redirects not followed; `flows` says that the answer may be large. Raises
        PeerUnreachable, NotTls, NotHttp, UntrustedPeer, Invalid."""
        parts = split(url)
        if parts is None:
            raise Invalid(f"invalid URL {url[:200]!r}")
        proxy = proxy_for(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port, proxies=self._config.proxies
        )
        times = (
            timeouts.connect or self._config.connect_timeout,
            timeouts.silence or self._config.read_timeout,
        )
        all_headers = {
            "User-Agent": self._config.user_agent,
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        if flows or proxy or self._guarded or not serves(parts, body):
            check_headers(all_headers, parts.netloc)
            answer = self._flowing().send(
                method=method, url=url, headers=all_headers, body=body, tls=tls, proxy=proxy, timeouts=times
            )
            return Reply(*answer, url, method)
        return Reply(
            *self._small.send(
                method=method, url=parts, headers=all_headers, body=body, tls=tls, timeouts=times
            ),
            url,
            method,
        )

    def _flowing(self) -> Library:
        with self._lock:
            if self._library is None:
                from boxwright.registry.client.library import Library

                self._library = Library(self._config, guarded=self._guarded)
            return self._library

    def __del__(self) -> None:  # sockets are closed here rather than with a ResourceWarning of each
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._small.close()
        if self._library is not None:
            self._library.close()
