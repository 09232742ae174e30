"""A cache in a bucket of S3, or of what speaks its protocol (dockerfile.md 2.3).

    PREFIX + MANIFESTS_PREFIX + name     the config, whose layers say what they are
    PREFIX + BLOBS_PREFIX + digest       a layer

A layer's digest is the SHA-256 that a signature wants to know of its body, so that the server checks what it stores.
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.fields import RequestInvalid
from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache import manifest
from boxwright.build.remotecache.config import CacheConfig
from boxwright.build.remotecache.options import CachePlace, seconds
from boxwright.build.remotecache.places import (
    AGAIN,
    CacheMissing,
    LayerFetcher,
    LoadedCache,
    Reopened,
    no_origins,
    refused,
)
from boxwright.build.remotecache.sigv4 import EMPTY, RequestSigner, escaped
from boxwright.content.copy import in_parallel
from boxwright.errors import Unavailable
from boxwright.registry.client.http import Http, Reply
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast
from boxwright.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_LARGEST = 5 << 30  # bytes that S3 takes in one piece
_TRIES = 4
_PAUSE = 0.3  # seconds before the second try; doubles
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")


class Bucket:
    """Requests to one bucket. Raises CacheMissing, CacheDenied, CacheUnavailable, PeerUnreachable."""

    def __init__(self, place: CachePlace, http: Http) -> None:
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
        """Write an object; `body` is opened anew for another try."""
        if size > _LARGEST:
            raise RequestInvalid(
                f"a layer of {size} bytes is larger than the {_LARGEST} that S3 takes at once"
            )
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._request("PUT", key, headers=headers, body=body, payload=sha256).release()

    def touch(self, key: str) -> None:
        """Make an object new, so that rules about old ones leave it: it is copied onto itself."""
        headers = {
            "x-amz-copy-source": f"/{escaped(self.name)}/{escaped(key)}",
            "x-amz-metadata-directive": "REPLACE",
            "Content-Length": "0",
        }
        self._request("PUT", key, headers=headers).release()

    def _request(
        self,
        method: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], BinaryIO] | None = None,
        payload: str = EMPTY,
        flows: bool = False,
        ok: tuple[int, ...] = (200,),
    ) -> Reply:
        url = self._base + escaped(key)
        what = f"{key} in the bucket {self.name}"
        for attempt in range(_TRIES):
            try:
                signed = self._signer.signed(method, url, headers=headers, payload=payload)
                opened = body() if body is not None else None
                try:
                    reply = self._http.send(method, url, headers=signed, body=opened, flows=flows)
                finally:
                    if opened is not None:
                        opened.close()
            except Unavailable:
                if attempt + 1 == _TRIES:
                    raise
            else:
                if reply.status in ok:
                    return reply
                found = _CODE.search(reply.read_all(64 << 10))
                if reply.status not in AGAIN or attempt + 1 == _TRIES:
                    raise refused(reply.status, what, found[1].decode() if found else "")
            time.sleep(_PAUSE * 2**attempt)
        raise AssertionError("the last try returns or raises")


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

    def __init__(self, place: CachePlace, http: Http) -> None:
        self._bucket = Bucket(place, http)
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
                bucket.put(key, lambda: source.open(desc), desc.size, desc.digest.hex)
            elif age > self._refresh:
                bucket.touch(key)

        in_parallel(self._jobs, list({d.digest: d for d in blobs}.values()), send, stop=threading.Event())
        raw = config.to_json(annotated=True)
        for name in self._names:
            told(f"writing cache manifest {name}")
            bucket.put(bucket.manifest(name), lambda: io.BytesIO(raw), len(raw), Digest.of(raw).hex)


def names(place: CachePlace) -> list[str]:
    """The names of the config: ``name=a;b``."""
    return [name for name in place.options.get("name", "buildkit").split(";") if name] or ["buildkit"]
