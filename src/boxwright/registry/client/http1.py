"""HTTP/1.1 (RFC 9112) for small requests: no library has to be loaded, which takes longer than most of them.

Peers may be hostile: heads are read strictly, every length is bounded, what contradicts itself is refused, and an
answer has to come within a time altogether.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, quote

from boxwright.errors import Invalid, Unavailable
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.peers import (
    NotHttp,
    PeerAbsent,
    PeerUnreachable,
    Tls,
    no_such_name,
    tls_context,
    tls_failure,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    Headers = list[tuple[str, str]]
    Key = tuple[str, str, int, Tls]

_LONGEST_HEAD = 64 << 10  # bytes
_MOST_FIELDS = 256
_MOST_HINTS = 8  # 1xx answers before the real one
_LONGEST_LINE = 1024  # bytes of a chunk's size with its extensions
_LONGEST_TRAILER = 16 << 10
_BLOCK = 64 << 10
_MOST_IDLE = 8  # connections kept for one host
_ALTOGETHER = 10  # times the patience, for a whole answer
# Sets of bytes for `translate`: to compile patterns takes longer than a request.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONTROL = bytes(set(range(32)) - {9}) + b"\x7f"
_HEX = b"0123456789abcdefABCDEF"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


# --- parsing: pure, over a function that gives bytes --------------------------------------------------


class Stream:
    """What a peer sends, from `more`, which gives b'' at the end."""

    def __init__(self, more: Callable[[int], bytes], host: str = "the peer") -> None:
        self._more, self.host = more, host
        self._held = b""

    @property
    def idle(self) -> bool:
        """Whether nothing is here that was not asked for."""
        return not self._held

    def begun(self) -> bool:
        """Whether the peer has said anything; waits for it."""
        self._held = self._held or self._more(_BLOCK)
        return bool(self._held)

    def line(self, mark: bytes, most: int) -> bytes:
        """What comes before `mark`, which is taken too. Raises NotHttp beyond `most` bytes, PeerUnreachable at the
        end."""
        at = self._held.find(mark)
        while at < 0:
            if len(self._held) > most:
                raise NotHttp("the answer has a head without an end")
            start, more = max(0, len(self._held) - len(mark) + 1), self._more(_BLOCK)
            if not more:
                raise PeerUnreachable(f"{self.host} hung up in the middle of its answer")
            self._held += more
            at = self._held.find(mark, start)
        if at > most:
            raise NotHttp("the answer has a head that is too long")
        out, self._held = self._held[:at], self._held[at + len(mark) :]
        return out

    def some(self, size: int) -> bytes:
        """Up to `size` bytes, b'' at the end."""
        data = self._held or self._more(min(max(size, _BLOCK), 1 << 20))
        self._held = data[size:]
        return data[:size]


def parse_head(raw: bytes) -> tuple[int, int, Headers]:
    """Minor version, status and fields of an answer's head without its empty line. Raises NotHttp."""
    first, *lines = raw.split(b"\r\n")
    code = first[9:12]
    if (
        first[:9] not in (b"HTTP/1.0 ", b"HTTP/1.1 ")
        or not (len(code) == 3 and code.isdigit() and b"1" <= code[:1] <= b"5")
        or first[12:13] not in (b"", b" ")
        or _controls(first)
    ):
        raise NotHttp(f"the answer begins with {first[:40]!r}")
    if len(lines) > _MOST_FIELDS:
        raise NotHttp(f"the answer has more than {_MOST_FIELDS} header fields")
    fields: Headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, _TOKEN) or _controls(value):
            raise NotHttp(f"the answer has the header field {line[:40]!r}")
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return int(first[7:8]), int(code), fields


def _controls(line: bytes) -> bool:
    """Whether there are control characters in it, other than tabs."""
    return len(line.translate(None, _CONTROL)) < len(line)


def read_head(stream: Stream) -> tuple[int, int, Headers]:
    """The head of the answer, hints before it passed over. Raises NotHttp, PeerUnreachable."""
    for _ in range(_MOST_HINTS):
        minor, status, fields = parse_head(stream.line(b"\r\n\r\n", _LONGEST_HEAD))
        if status >= 200:
            return minor, status, fields
        if status == 101:
            break
    raise NotHttp("the answer is to another protocol, or never comes")


def framing(method: str, status: int, fields: Headers) -> int | None:
    """How long the body is: bytes, -1 for chunked, None for up to the end of the connection. Raises NotHttp for an
    answer that contradicts itself, since two readers could see two different ones (RFC 9112, 6.3)."""
    codings = [value.lower() for name, value in fields if name.lower() == "transfer-encoding"]
    lengths = {value for name, value in fields if name.lower() == "content-length"}
    if codings and (codings != ["chunked"] or lengths):
        raise NotHttp(f"the answer is framed as {', '.join(codings)[:60]!r} with {len(lengths)} lengths")
    if len(lengths) > 1 or any(not (v.isascii() and v.isdigit() and len(v) < 19) for v in lengths):
        raise NotHttp("the answer has several lengths, or one that is no number")
    if method == "HEAD" or status in (204, 304):
        return 0
    if codings:
        return -1
    return int(lengths.pop()) if lengths else None


class BodyStream:
    """The body of one answer, out of its frames."""

    def __init__(self, stream: Stream, length: int | None) -> None:
        self._stream = stream
        self._chunked = length == -1
        self._left = 0 if self._chunked else length  # of the body or of the chunk; None = up to the end
        self._within = False  # a chunk
        self.ended = length == 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, b'' at the end. Raises NotHttp, PeerUnreachable."""
        if self.ended or size <= 0:
            return b""
        if self._chunked and not self._left and not self._next_chunk():
            return b""
        data = self._stream.some(size if self._left is None else min(size, self._left))
        if self._left is None:
            self.ended = not data
            return data
        if not data:
            raise PeerUnreachable(f"{self._stream.host} hung up in the middle of its answer")
        self._left -= len(data)
        self.ended = not self._left and not self._chunked
        return data

    def _next_chunk(self) -> bool:
        if self._within and self._stream.line(b"\r\n", _LONGEST_LINE):
            raise NotHttp("the answer has a chunk that is longer than it says")
        line = self._stream.line(b"\r\n", _LONGEST_LINE)
        size = line.partition(b";")[0].strip(b" \t")
        if not 0 < len(size) < 16 or size.translate(None, _HEX):
            raise NotHttp(f"the answer has a chunk of the size {line[:40]!r}")
        self._left = int(size, 16)
        self._within = True
        if self._left:
            return True
        budget = _LONGEST_TRAILER
        while line := self._stream.line(b"\r\n", budget):
            budget -= len(line) + 2
        self.ended = True
        return False


# --- connections ---------------------------------------------------------------------------------------


def serves(url: SplitResult, body: object) -> bool:
    """Whether a request is for this module: a plain host, and a body that is at hand."""
    host = url.hostname or ""
    return (
        url.scheme in ("http", "https")
        and host.isascii()
        and "%" not in host
        and isinstance(body, bytes | None)
    )


class Connection:
    """One socket and whose turn it is. Every wait ends at `deadline` of the monotonic clock or after `patience`
    seconds."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._sock, self._host = sock, host
        self.stream = Stream(self._receive, host)
        self.patience = self.deadline = 0.0
        self.used = False

    def send(self, data: bytes) -> None:
        with _failing(self._host):
            self._sock.settimeout(_ALTOGETHER * self.patience)
            self._sock.sendall(data)

    def _receive(self, size: int) -> bytes:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise PeerUnreachable(f"{self._host} takes too long to answer")
        with _failing(self._host):
            self._sock.settimeout(min(self.patience, left))
            return self._sock.recv(size)

    @property
    def usable(self) -> bool:
        """Whether an idle connection is still open and quiet, as far as this side knows."""
        try:
            self._sock.setblocking(False)
            self._sock.recv(1)
        except OSError as error:
            # TLS has its own word for it, and its tickets may come between two answers.
            return isinstance(error, BlockingIOError) or type(error).__name__ == "SSLWantReadError"
        return False  # closed, or something that was not asked for

    def close(self) -> None:
        self._sock.close()


class SmallBody:
    """See http.Body."""

    def __init__(
        self, pool: Small, key: Key, connection: Connection, content: BodyStream, *, lasting: bool
    ) -> None:
        self._pool, self._key, self._connection, self._content = pool, key, connection, content
        self._lasting = lasting
        self._over = False

    def read(self, size: int) -> bytes:
        with _failing(self._key[1]):
            return self._content.read(size)

    def keep(self) -> None:
        if self._over:
            return
        try:
            while self.read(_BLOCK):
                pass
        except Unavailable:
            return self.drop()
        if not self._lasting or not self._content.ended or not self._connection.stream.idle:
            return self.drop()
        self._over = True
        self._pool.take_back(self._key, self._connection)

    def drop(self) -> None:
        if not self._over:
            self._over = True
            self._connection.close()


class Small:
    """Connections to many hosts, shared by threads."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._idle: dict[Key, list[Connection]] = {}
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: SplitResult,
        headers: Mapping[str, str],
        body: bytes | None,
        tls: Tls,
        timeouts: tuple[float, float],
    ) -> tuple[int, Headers, SmallBody]:
        """Status, headers and body; `timeouts` are those for the connection and for silence. Raises as
        http.Http.send."""
        host, secure = url.hostname or "", url.scheme == "https"
        key = (url.scheme, host, url.port or (443 if secure else 80), tls if secure else Tls())
        request = _request(method=method, url=url, headers=headers, body=body)
        while True:
            connection = self._idle_one(key) or self._connect(key, timeouts[0])
            connection.patience = timeouts[1]
            connection.deadline = time.monotonic() + timeouts[1]
            answered = False
            try:
                with _failing(host):
                    connection.send(request)
                    answered = connection.stream.begun()
                    minor, status, fields = read_head(connection.stream)
                    content = BodyStream(connection.stream, framing(method, status, fields))
            except PeerUnreachable as error:
                connection.close()
                # The peer closed an idle connection just now: it answered nothing, so nothing is lost.
                stale = connection.used and not answered and not isinstance(error.__cause__, TimeoutError)
                if stale and method in ("GET", "HEAD"):
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            connection.deadline += _ALTOGETHER * timeouts[1]
            said = ",".join(v.lower() for n, v in fields if n.lower() == "connection")
            lasting = "close" not in said if minor else "keep-alive" in said
            return (
                status,
                fields,
                SmallBody(pool=self, key=key, connection=connection, content=content, lasting=lasting),
            )

    def take_back(self, key: Key, connection: Connection) -> None:
        """Keep an idle connection."""
        connection.used = True
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if len(idle) < _MOST_IDLE:
                return idle.append(connection)
        connection.close()

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()

    def _idle_one(self, key: Key) -> Connection | None:
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                connection = idle.pop()
            if connection.usable:
                return connection
            connection.close()

    def _connect(self, key: Key, seconds: float) -> Connection:
        scheme, host, port, tls = key
        shown = f"[{host}]" if ":" in host else host
        shown = shown if port == (443 if scheme == "https" else 80) else f"{shown}:{port}"
        sock = _dial(host=host, port=port, shown=shown, deadline=time.monotonic() + seconds)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                context = self._context(tls)
                with _failing(shown):
                    sock = context.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return Connection(sock, shown)

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            if tls not in self._contexts:
                self._contexts[tls] = tls_context(tls, self._config)
            return self._contexts[tls]


def _dial(host: str, port: int, shown: str, deadline: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes it. Raises PeerAbsent, PeerUnreachable."""
    try:
        found = socket.getaddrinfo(host.encode(), port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise no_such_name(shown) from error
    last: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            # An address that does not answer leaves time for the others.
            sock.settimeout(max((deadline - time.monotonic()) / (len(found) - number), 0.001))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            last = error
    if isinstance(last, TimeoutError) and last.errno is None:
        raise PeerUnreachable(f"cannot reach {shown}: no connection within the time allowed") from last
    raise PeerAbsent(f"cannot reach {shown}: {_words(last)}") from last


def _request(method: str, url: SplitResult, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The bytes of a request. Raises Invalid for what cannot stand in one."""
    target = quote(url.path or "/", safe=_VISIBLE) + (
        "?" + quote(url.query, safe=_VISIBLE) if url.query else ""
    )
    host = url.netloc.rpartition("@")[2]
    host = host.removesuffix(":443" if url.scheme == "https" else ":80")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    named = {name.lower() for name in headers}
    if "content-length" not in named and (body is not None or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body or b'')}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return b"\r\n".join([*_lines(lines, host), b"", body or b""])


def check_headers(headers: Mapping[str, str], host: str) -> None:
    """Refuse headers that would be others as well, on either way of sending. Raises Invalid."""
    _lines([f"{name}: {value}" for name, value in headers.items()], host)


def _lines(lines: list[str], host: str) -> list[bytes]:
    try:
        raw = [line.encode("latin-1") for line in lines]
    except UnicodeEncodeError as error:
        raise Invalid(f"the request to {host} has a header that is not text of HTTP") from error
    if any(map(_controls, raw)):
        raise Invalid(f"the request to {host} has a header with a control character")
    return raw


class _failing:
    """What sockets raise, as ours; and whose answer it was that the parser did not take."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotHttp) and error.__cause__ is None:
            raise NotHttp(f"{self._host} does not speak HTTP/1.1: {error}") from error
        if not isinstance(error, (OSError, ValueError)):
            return
        if type(error).__module__ == "ssl" and (failure := tls_failure(error, self._host)) is not None:
            raise failure from error
        if isinstance(error, TimeoutError):
            raise PeerUnreachable(f"{self._host} stopped answering") from error
        raise PeerUnreachable(f"cannot talk to {self._host}: {_words(error)}") from error


def _words(error: Any) -> str:
    return error.strerror.lower() if getattr(error, "strerror", None) else str(error) or type(error).__name__
