"""A cache in a bucket of S3, or of what speaks its protocol (docs.docker.com, "Amazon S3 cache").

    PREFIX + MANIFESTS_PREFIX + name     the config, whose layers say what they are
    PREFIX + BLOBS_PREFIX + digest       a layer

Requests sign no Accept-Encoding, which servers in between may change: ``disable_accept_encoding`` asks for what is so.

A layer's digest is the SHA-256 that a signature wants to know of its body, so that the server checks what it stores. A
layer that is larger than a part is sent in parts, each with its own SHA-256: S3 takes at most 5 GiB at once, and what
breaks off is sent again from there. Parts of a write that fails are taken back; those of a process that was killed stay
until the bucket's rule for unfinished uploads removes them."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape, unescape

from boxwright.build.fields import RequestInvalid
from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache import manifest
from boxwright.build.remotecache.config import CacheConfig
from boxwright.build.remotecache.options import CachePlace, seconds
from boxwright.build.remotecache.places import (
    AGAIN,
    CacheCorrupt,
    CacheMissing,
    CacheUnavailable,
    LayerFetcher,
    LoadedCache,
    Reopened,
    no_origins,
    refused,
)
from boxwright.build.remotecache.sigv4 import RequestSigner, escaped
from boxwright.content.parallel import in_parallel
from boxwright.errors import BoxwrightError, Unavailable
from boxwright.registry.client.http import Http, Reply
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast
from boxwright.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_PART = 16 << 20  # bytes, which are in memory while they are sent
_MOST_PARTS = 10_000  # of one object
_COPIED = 5 << 30  # bytes that S3 copies at once
_TRIES = 4  # where `retry_max_attempts` says nothing
_PAUSE = 0.3  # seconds before the second try; doubles
_BUSY = frozenset({429, 503})  # after which the mode `adaptive` holds every request back, not that one alone
_ANSWER = 64 << 10  # bytes
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
_FAILED = re.compile(rb"\A\s*(?:<\?xml[^>]*>\s*)?<Error[\s>]")
_UPLOAD = re.compile(r"<UploadId>([^<]{1,2048})</UploadId>")
_ETAG = re.compile(r"<ETag>([^<]{1,200})</ETag>")


class Bucket:
    """Requests to one bucket. Raises CacheMissing, CacheDenied, CacheUnavailable, PeerUnreachable."""

    def __init__(self, place: CachePlace, http: Http, *, part: int = _PART, copied: int = _COPIED) -> None:
        options, secrets = place.options, place.secrets
        if not secrets.get("access_key_id") or not secrets.get("secret_access_key"):
            raise RequestInvalid(
                "an S3 cache needs credentials",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or access_key_id and secret_access_key",
            )
        self._signer = RequestSigner(
            access_key=secrets["access_key_id"],
            secret_key=secrets["secret_access_key"],
            session_token=secrets.get("session_token", ""),
            region=options["region"],
        )
        self._http = http
        self._part, self._copied = part, copied
        self._tries = place.number("retry_max_attempts", 0) or _TRIES
        self._adaptive = options.get("retry_mode", "").lower() == "adaptive"
        self._quiet_until = 0.0  # of time.monotonic
        self.name = options["bucket"]
        self._base = _base(place)
        prefix = options.get("prefix", "")
        self._blobs = prefix + options.get("blobs_prefix", "blobs/")
        self._manifests = prefix + options.get("manifests_prefix", "manifests/")

    def blob(self, digest: Digest) -> str:
        """The key of a layer."""
        return f"{self._blobs}{digest}"

    def manifest(self, name: str) -> str:
        """The key of a config."""
        return self._manifests + name

    def get(self, key: str, offset: int = 0) -> Reply:
        """An object from a byte on."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return self._request("GET", key, headers=headers, flows=True, ok=(206,) if offset else (200,))

    def age(self, key: str) -> float | None:
        """Seconds since an object was written; None when there is none."""
        from email.utils import parsedate_to_datetime

        try:
            reply = self._request("HEAD", key)
        except CacheMissing:
            return None
        reply.release()
        try:
            return time.time() - parsedate_to_datetime(reply.header("Last-Modified")).timestamp()
        except (TypeError, ValueError):
            return 0.0

    def put(self, key: str, body: Callable[[], BinaryIO], size: int, sha256: str) -> None:
        """Write an object; `body` is opened anew for another try. Raises CacheCorrupt where its bytes have another
        SHA-256."""
        if size > self._part:
            self._put_parts(key, body, size=size, sha256=sha256)
            return
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._request("PUT", key, headers=headers, body=(body, sha256)).release()

    def touch(self, key: str, size: int) -> None:
        """Make an object new, so that rules about old ones leave it: it is copied onto itself."""
        source = {"x-amz-copy-source": f"/{escaped(self.name)}/{escaped(key)}"}
        if size <= self._copied:
            self._ask("PUT", key, headers={**source, "x-amz-metadata-directive": "REPLACE"}, body=b"")
            return
        with self._in_parts(key) as (upload, etags):
            for start in range(0, size, self._copied):
                last = min(start + self._copied, size) - 1
                ranged = {**source, "x-amz-copy-source-range": f"bytes={start}-{last}"}
                query = f"partNumber={len(etags) + 1}&{upload}"
                said = self._ask("PUT", key, query=query, headers=ranged, body=b"")
                etags.append(_found(_ETAG, said, key))

    def _put_parts(self, key: str, body: Callable[[], BinaryIO], size: int, sha256: str) -> None:
        length = max(self._part, -(-size // _MOST_PARTS))
        whole = hashlib.sha256()
        with self._in_parts(key) as (upload, etags), body() as stream:
            while data := _piece(stream, length):
                whole.update(data)
                reply = self._request(
                    "PUT",
                    key,
                    query=f"partNumber={len(etags) + 1}&{upload}",
                    body=data,
                )
                reply.release()
                etags.append(reply.header("ETag"))
            if whole.hexdigest() != sha256:
                raise CacheCorrupt(
                    f"what was to be written as {key} has the digest sha256:{whole.hexdigest()}"
                )

    @contextmanager
    def _in_parts(self, key: str) -> Iterator[tuple[str, list[str]]]:
        """An object whose parts are sent in the block, which appends their ETags: it is there at the end or not at all.
        Given is the part of the query that names it."""
        headers = {"Content-Type": "application/octet-stream"}
        said = self._ask("POST", key, query="uploads=", headers=headers, body=b"")
        upload = f"uploadId={escaped(_found(_UPLOAD, said, key), slash=False)}"
        etags: list[str] = []
        try:
            yield upload, etags
            parts = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
                for number, etag in enumerate(etags, 1)
            )
            raw = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            self._ask("POST", key, query=upload, headers={"Content-Type": "application/xml"}, body=raw)
        except BaseException:
            with suppress(BoxwrightError):
                self._request("DELETE", key, query=upload, ok=(204,)).release()
            raise

    def _ask(self, method: str, key: str, *, query: str = "", headers: Mapping[str, str], body: bytes) -> str:
        """The document that answers. One that begins with status 200 may be an error yet: the server began to answer
        before it knew."""
        for attempt in range(self._tries):
            reply = self._request(method, key, query=query, headers=headers, body=body)
            said = reply.read_all(_ANSWER)
            if not _FAILED.match(said):
                return said.decode(errors="replace")
            time.sleep(_PAUSE * 2**attempt)
        raise refused(500, self._what(key), _code(said))

    def _what(self, key: str) -> str:
        return f"{key} in the bucket {self.name}"

    def _request(
        self,
        method: str,
        key: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: tuple[Callable[[], BinaryIO], str] | bytes = b"",
        flows: bool = False,
        ok: tuple[int, ...] = (200,),
    ) -> Reply:
        url = self._base + escaped(key) + (f"?{query}" if query else "")
        sent = dict(headers or {})
        opener, payload = body if isinstance(body, tuple) else (None, hashlib.sha256(body).hexdigest())
        if opener is None and method in ("PUT", "POST"):
            sent["Content-Length"] = str(len(body))
        for attempt in range(self._tries):
            if self._adaptive:
                time.sleep(max(self._quiet_until - time.monotonic(), 0))
            try:
                signed = self._signer.signed(method, url, headers=sent, payload=payload)
                opened = opener() if opener is not None else None
                try:
                    reply = self._http.send(
                        method,
                        url,
                        headers=signed,
                        body=body or None if opened is None else opened,
                        flows=flows,
                    )
                finally:
                    if opened is not None:
                        opened.close()
            except Unavailable:
                if attempt + 1 == self._tries:
                    raise
            else:
                if reply.status in ok:
                    return reply
                said = reply.read_all(_ANSWER)
                if reply.status in _BUSY:
                    self._quiet_until = time.monotonic() + _PAUSE * 2**attempt
                if reply.status not in AGAIN or attempt + 1 == self._tries:
                    raise refused(reply.status, self._what(key), _code(said))
            time.sleep(_PAUSE * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _piece(stream: BinaryIO, length: int) -> bytes:
    """The next `length` bytes; fewer at the end only, as S3 refuses small parts before the last."""
    parts: list[bytes] = []
    while length > 0 and (data := stream.read(length)):
        parts.append(data)
        length -= len(data)
    return b"".join(parts)


def _code(said: bytes) -> str:
    found = _CODE.search(said)
    return found[1].decode() if found else ""


def _found(pattern: re.Pattern[str], said: str, key: str) -> str:
    found = pattern.search(said)
    if found is None:
        raise CacheUnavailable(f"{key}: the server answers with another document than was asked for")
    return unescape(found[1])


def _base(place: CachePlace) -> str:
    """The URL of the bucket, with a slash behind it."""
    options, bucket = place.options, place.options["bucket"]
    endpoint = options.get("endpoint_url", "").rstrip("/")
    if not endpoint:
        endpoint, styled = f"https://s3.{options['region']}.amazonaws.com", "." in bucket
    else:
        styled = place.flag("use_path_style")
    scheme, separator, host = endpoint.partition("://")
    if scheme not in ("http", "https") or not separator or not host:
        raise RequestInvalid(f"invalid endpoint_url {endpoint[:200]!r}", hint="https://HOST")
    return f"{endpoint}/{escaped(bucket)}/" if styled else f"{scheme}://{bucket}.{host}/"


class S3Source:
    """See places.CacheSource: the first of several names."""

    def __init__(self, place: CachePlace, http: Http) -> None:
        self._bucket = Bucket(place, http)
        self._name = names(place)[0]

    def load(self, platforms: Sequence[Platform]) -> Sequence[LoadedCache]:
        reply = self._bucket.get(self._bucket.manifest(self._name))
        return [manifest.from_layers(cacheconfig.parse(reply.read_all(cacheconfig.MAX_SIZE)))]

    def open(self, desc: Descriptor) -> BinaryIO:
        key = self._bucket.blob(desc.digest)
        return cast(
            "BinaryIO", io.BufferedReader(Reopened(lambda at: self._bucket.get(key, at), desc.size), 1 << 20)
        )

    def origins(self, desc: Descriptor) -> Sequence[str]:
        return no_origins(desc)


class S3Sink:
    """See places.CacheSink. A layer that is there is written again when it is older than ``touch_refresh``."""

    def __init__(self, place: CachePlace, http: Http, *, part: int = _PART, copied: int = _COPIED) -> None:
        self._bucket = Bucket(place, http, part=part, copied=copied)
        self._names = names(place)
        self._refresh = seconds(place.options.get("touch_refresh", ""), 24 * 3600.0)
        self._jobs = place.number("upload_parallelism", 4) or 4

    def write(
        self,
        config: CacheConfig,
        blobs: Sequence[Descriptor],
        source: LayerFetcher,
        told: Callable[[str], None],
    ) -> None:
        bucket = self._bucket

        def send(desc: Descriptor) -> None:
            key = bucket.blob(desc.digest)
            age = bucket.age(key)
            if age is None:
                told(f"writing layer {desc.digest}")
                bucket.put(key, lambda: source.open(desc), size=desc.size, sha256=desc.digest.hex)
            elif age > self._refresh:
                bucket.touch(key, desc.size)

        in_parallel(self._jobs, list({d.digest: d for d in blobs}.values()), send, stop=threading.Event())
        raw = config.to_json(annotated=True)
        for name in self._names:
            told(f"writing cache manifest {name}")
            bucket.put(
                bucket.manifest(name), lambda: io.BytesIO(raw), size=len(raw), sha256=Digest.of(raw).hex
            )


def names(place: CachePlace) -> list[str]:
    """The names of the config: ``name=a;b``."""
    return [name for name in place.options.get("name", "buildkit").split(";") if name] or ["buildkit"]
