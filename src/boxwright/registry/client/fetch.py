"""Files at ordinary URLs: ADD, remote build contexts, `import`, which takes local ones too. No registry's rules apply;
redirects are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from boxwright.errors import Denied, Invalid, NotFound, Unavailable
from boxwright.spec.hints import cast
from boxwright.spec.times import epoch_seconds
from boxwright.spec.urls import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.registry.client.http import Reply
    from boxwright.settings import Settings

_REDIRECTS = 10
_CHUNK = 1 << 20


class ImportFileMissing(NotFound):
    """There is no such file."""


class DownloadMissing(NotFound):
    """The server has nothing at the URL."""


class DownloadRefused(Denied):
    """The server does not give the URL to us."""


class DownloadFailed(Unavailable):
    """The server answers with an error."""


def fetch(
    settings: Settings,
    url: str,
    headers: Callable[[str], Mapping[str, str]] = lambda host: {},
    *,
    guarded: bool = False,
) -> Reply:
    """The answer to a GET, of status 200, or 304 when `headers` have conditions. `headers` is told the host that is
    asked, after every redirect. `guarded`: from no server on this machine or its link. Raises LocalAddress,
    DownloadMissing, DownloadRefused, DownloadFailed, PeerUnreachable, Invalid."""
    from boxwright.registry.client.config import from_settings
    from boxwright.registry.client.http import Http

    http, place = Http(from_settings(settings), guarded=guarded), url
    for _ in range(_REDIRECTS):
        try:
            host = urlsplit(place).hostname
        except ValueError:
            host = None
        if not host:
            raise Invalid(f"invalid URL {public(place)[:200]!r}")
        sent = headers(host)
        reply = http.send("GET", place, headers=sent, flows=True)
        if reply.status not in (301, 302, 303, 307, 308):
            break
        target = reply.header("Location")
        reply.release()
        place = urljoin(place, target)
        if not place.startswith(("http://", "https://")):
            raise DownloadFailed(f"{public(url)} redirects to {public(place)[:200]!r}")
    else:
        raise DownloadFailed(f"{public(url)} redirects more than {_REDIRECTS} times")
    if reply.status == 200 or (reply.status == 304 and any(name.startswith("If-") for name in sent)):
        return reply
    reply.close()
    message = f"invalid response status {reply.status} of {public(url)}"
    if reply.status in (404, 410):
        raise DownloadMissing(message)
    if reply.status in (401, 403):
        raise DownloadRefused(message)
    raise DownloadFailed(message)


def open_source(settings: Settings, text: str) -> BinaryIO:
    """A file or an http(s) URL as a stream. Raises ImportFileMissing, Invalid, and as `fetch`."""
    if text.startswith(("http://", "https://")):
        return open_url(settings, text)
    try:
        path = Path(text)
        if path.is_dir():
            raise Invalid(
                f"{text} is a directory; a tar archive is wanted",
                hint=f"tar -C {text} -c . | boxwright import -",
            )
        return open(path, "rb", buffering=0)
    except FileNotFoundError as error:
        raise ImportFileMissing(f"there is no file {text}") from error
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot open {text!r}: {getattr(error, 'strerror', '') or error}") from error


def open_url(settings: Settings, url: str) -> BinaryIO:
    """What is at a URL as a stream to be read and closed. Raises as `fetch`; `read` raises PeerUnreachable."""
    return cast("BinaryIO", Download(fetch(settings, url)))


def last_modified(reply: Reply) -> int | None:
    """Unix seconds of what the server says was the last change; None when that is no time since 1970."""
    from email.utils import parsedate_to_datetime

    try:
        seconds = int(parsedate_to_datetime(reply.header("Last-Modified")).timestamp())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return epoch_seconds(str(seconds))


class Download:
    """A reply as a stream. `modified` is when the content last changed, in unix seconds, where the server says it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.modified = last_modified(reply)

    def read(self, size: int = -1) -> bytes:
        """As of any stream."""
        return (
            self._reply.read_some(size)
            if size >= 0
            else b"".join(iter(lambda: self._reply.read_some(_CHUNK), b""))
        )

    def close(self) -> None:
        """Give the connection up."""
        self._reply.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
