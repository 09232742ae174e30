"""`import`: a root file system tar becomes an image of one layer, ready to run when its last byte has arrived."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from boxwright.content.lease import Lease
from boxwright.errors import Invalid, NotFound, Unavailable
from boxwright.image.catalog import ImageRow
from boxwright.image.changes import apply_changes
from boxwright.image.compose import blank, timestamp, with_layer, with_values
from boxwright.image.store import ImageStore
from boxwright.spec.config import HistoryEntry
from boxwright.spec.platform import Platform

if TYPE_CHECKING:
    from boxwright.settings import Settings


class SourceMissing(NotFound):
    """The file or URL to import does not exist."""


class SourceUnreachable(Unavailable):
    """A URL cannot be read now."""


def import_image(
    images: ImageStore, tar: BinaryIO, *, name: str = "", changes: Iterable[str] = (), message: str = "",
    platform: Platform | None = None, source: str = "-", created: float | None = None,
) -> ImageRow:  # fmt: skip
    """Store the tar (any compression) as a one-layer image. `source` is what the history names; `created` is unix
    seconds, now when None. Raises TarInvalid, Corrupt, DiskFull, ChangeInvalid, ReferenceInvalid."""
    # Everything that can be refused is looked at before the first byte is taken.
    values = apply_changes({}, changes)
    names = [images.checked(name, digest=False)] if name else []
    with Lease(images.db, "import"):
        layer = images.layers.ingest(tar)
        when = timestamp(created)
        comment = message or f"Imported from {source}"
        config = with_values(blank(platform or images.default_platform, created=when), values)
        config = with_layer(config, layer.diff_id, HistoryEntry(created=when, comment=comment))
        return images.create(config, names=names)


def open_source(text: str, settings: Settings) -> BinaryIO:
    """A file or an http(s) URL as a stream. Raises SourceMissing, SourceUnreachable, Invalid."""
    if text.startswith(("http://", "https://")):
        return _open_url(text, settings)
    try:
        path = Path(text)
        if path.is_dir():
            raise Invalid(f"{text} is a directory; a tar archive is wanted", hint=f"tar -C {text} -c . | boxwright import -")
        return open(path, "rb", buffering=0)
    except FileNotFoundError as error:
        raise SourceMissing(f"there is no file {text}") from error
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot open {text!r}: {getattr(error, 'strerror', '') or error}") from error


def _bottom(error: BaseException) -> str:
    """What went wrong in the end, without the object names in urllib3's texts."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).rpartition(": ")[2] or type(error).__name__


def _open_url(url: str, settings: Settings) -> BinaryIO:
    import urllib3

    authorities = str(settings.host_ca_bundle) if settings.host_ca_bundle else None
    proxy = settings.proxies.get("https_proxy" if url.startswith("https") else "http_proxy") or settings.proxies.get(
        "HTTPS_PROXY" if url.startswith("https") else "HTTP_PROXY"
    )
    timeout = urllib3.Timeout(connect=30, read=120)
    try:
        if proxy and not _bypassed(url, settings):
            pool: urllib3.PoolManager = urllib3.ProxyManager(proxy, timeout=timeout, ca_certs=authorities)
        else:
            pool = urllib3.PoolManager(timeout=timeout, ca_certs=authorities)
        response = pool.request("GET", url, preload_content=False, decode_content=False, headers={"User-Agent": "boxwright", "Accept-Encoding": "identity"})
    except urllib3.exceptions.LocationParseError as error:
        raise Invalid(f"invalid URL {url!r}") from error
    except urllib3.exceptions.HTTPError as error:
        raise SourceUnreachable(f"cannot fetch {url}: {_bottom(error)}") from error
    if response.status == 404:
        raise SourceMissing(f"cannot fetch {url}: not found (404)")
    if response.status != 200:
        raise SourceUnreachable(f"cannot fetch {url}: the server answers {response.status} {response.reason or ''}".rstrip())
    return cast(BinaryIO, _Body(response, url))


class _Body:
    """A response whose failures are ours."""

    def __init__(self, response: object, url: str) -> None:
        self._response: BinaryIO = cast(BinaryIO, response)
        self._url = url

    def read(self, size: int = -1) -> bytes:
        """The next bytes; b'' at the end. Raises SourceUnreachable when the transfer breaks off."""
        from urllib3.exceptions import HTTPError

        try:
            return self._response.read(size if size >= 0 else None)  # type: ignore[arg-type]
        except HTTPError as error:
            raise SourceUnreachable(f"the transfer of {self._url} broke off: {error}", hint="try again") from error

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bypassed(url: str, settings: Settings) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    rules = (settings.proxies.get("no_proxy") or settings.proxies.get("NO_PROXY") or "").split(",")
    return any(rule == "*" or host == rule or host.endswith("." + rule.lstrip(".")) for r in rules if (rule := r.strip()))
