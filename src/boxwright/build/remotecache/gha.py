"""A cache in GitHub's cache service, version 2: twirp requests to the service, blobs in Azure's storage.

    buildkit-blob-1-DIGEST                a layer
    index-SCOPE-1-HASH#N                  the config; entries never change, so each is a new one, and the newest counts

What a job may read and write is in its token: a list of scopes (branches), each of which has its own config.
https://github.com/actions/toolkit (packages/cache) and github.com/tonistiigi/go-actions-cache are its description.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache import manifest
from boxwright.build.remotecache.config import CacheConfig, CacheInvalid
from boxwright.build.remotecache.options import CachePlace, seconds
from boxwright.build.remotecache.places import (
    AGAIN,
    CacheDenied,
    CacheMissing,
    CacheUnavailable,
    LayerFetcher,
    LoadedCache,
    Reopened,
    no_origins,
    refused,
)
from boxwright.errors import Conflict, Unavailable
from boxwright.registry.client.http import Http, Reply
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

_SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"
_VERSION = hashlib.sha256(b"|go-actionscache-1.0").hexdigest()  # which BuildKit's entries have
_BLOCK = 8 << 20  # bytes; what is larger is sent in blocks
_AZURE = {"x-ms-version": "2021-12-02"}
_READ, _WRITE = 1, 2
_ANSWER = 64 << 10  # bytes
_MOST_PAGES = 100  # of the list of caches


class CacheBusy(Conflict):
    """Another job writes the entry, or wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobToken:
    """What a job's token says of itself; who checks it is the service."""

    text: str = field(repr=False)
    scopes: tuple[tuple[str, int], ...] = ()  # scope, permissions

    @classmethod
    def parse(cls, text: str) -> JobToken:
        """Raises CacheDenied."""
        try:
            payload = text.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            scopes = json.loads(claims["ac"])
            found = tuple((str(one["Scope"]), int(one["Permission"])) for one in scopes)
            expires = float(claims["exp"])
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CacheDenied("the token of GitHub's cache service cannot be read") from error
        if time.time() > expires:
            raise CacheDenied("the token of GitHub's cache service has expired")
        return cls(text=text, scopes=found)


class CacheService:
    """Requests to the service. Raises CacheDenied, CacheUnavailable, PeerUnreachable."""

    def __init__(self, place: CachePlace, http: Http, api: str) -> None:
        options = place.options
        url = options.get("url_v2") or options.get("url", "")
        if not url.startswith(("http://", "https://")):
            raise CacheDenied(f"{url[:200]!r} is no URL of GitHub's cache service", hint="set url_v2")
        self.token = JobToken.parse(place.secrets["token"])
        self._url = url.rstrip("/") + _SERVICE
        self._http = http
        self._patience = seconds(options.get("timeout", ""), 600.0)
        self._repository, self._ghtoken = options.get("repository", ""), place.secrets.get("ghtoken", "")
        self._api = api.rstrip("/")

    # --- entries -------------------------------------------------------------------------------

    def find(self, key: str) -> tuple[str, str] | None:
        """The entry of this key, or the newest whose key begins with it: its key and where it is."""
        said = self._ask("GetCacheEntryDownloadURL", {"key": key, "restore_keys": [key], "version": _VERSION})
        matched, url = str(said.get("matched_key", "")), str(said.get("signed_download_url", ""))
        return (matched, url) if said.get("ok") and url and matched.startswith(key) else None

    def open(self, url: str, offset: int) -> Reply:
        """The bytes of an entry from one on."""
        headers = {**_AZURE, **({"x-ms-range": f"bytes={offset}-"} if offset else {})}
        reply = self._http.send("GET", url, headers=headers, flows=True)
        if reply.status != (206 if offset else 200):
            reply.close()
            raise refused(reply.status, "an entry of GitHub's cache")
        return reply

    def save(self, key: str, size: int, body: Callable[[], BinaryIO]) -> None:
        """A new entry. Raises CacheBusy when there is one of this key."""
        said = self._ask("CreateCacheEntry", {"key": key, "version": _VERSION})
        url = str(said.get("signed_upload_url", ""))
        if not said.get("ok") or not url:
            raise CacheUnavailable(f"GitHub's cache service reserves no entry for {key}")
        with body() as stream:
            self._upload(url, stream, size)
        done = {"key": key, "size_bytes": size, "version": _VERSION}
        if not self._ask("FinalizeCacheEntryUpload", done).get("ok"):
            raise CacheUnavailable(f"GitHub's cache service does not keep {key}")

    def keys(self, prefix: str) -> set[str] | None:
        """The keys of the entries that begin so, by GitHub's REST API; None without ``repository`` and ``ghtoken``."""
        if not self._repository or not self._ghtoken:
            return None
        found: set[str] = set()
        for scope, _ in self.token.scopes:
            for page in range(1, _MOST_PAGES):
                query = urlencode({"per_page": 100, "page": page, "key": prefix, "ref": scope})
                url = f"{self._api}/repos/{quote(self._repository)}/actions/caches?{query}"
                said = self._json("GET", url, body=None, token=self._ghtoken)
                entries = said.get("actions_caches")
                entries = entries if isinstance(entries, list) else []
                found.update(str(one.get("key")) for one in entries if isinstance(one, dict))
                total = said.get("total_count")
                if not entries or not isinstance(total, int) or total <= page * 100:
                    break
        return found

    # --- requests ------------------------------------------------------------------------------

    def _ask(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._json("POST", self._url + method, body=json.dumps(body).encode(), token=self.token.text)

    def _json(self, method: str, url: str, body: bytes | None, token: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        reply = self._until_told(lambda: self._http.send(method, url, headers=headers, body=body))
        raw = reply.read_all(_ANSWER if method == "POST" else 4 << 20)
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            said = {}
        said = said if isinstance(said, dict) else {}
        if reply.status == 409 or said.get("code") == "already_exists":
            raise CacheBusy("GitHub's cache service has the entry already")
        if reply.status != 200:
            raise refused(reply.status, "GitHub's cache service", str(said.get("code", "")))
        return said

    def _until_told(self, send: Callable[[], Reply]) -> Reply:
        """Ask again while the service is busy."""
        until, pause = time.monotonic() + self._patience, 0.5
        while True:
            try:
                reply = send()
            except Unavailable:
                if time.monotonic() + pause > until or pause > 8:
                    raise
            else:
                if reply.status not in AGAIN or time.monotonic() + pause > until or pause > 8:
                    return reply
                reply.close()
            time.sleep(pause)
            pause *= 2

    def _upload(self, url: str, stream: BinaryIO, size: int) -> None:
        if size <= _BLOCK:
            self._put(url, stream.read(), {"x-ms-blob-type": "BlockBlob"})
            return
        blocks: list[str] = []
        while data := stream.read(_BLOCK):
            name = base64.b64encode(f"{len(blocks):032d}".encode()).decode()
            self._put(f"{url}{'&' if '?' in url else '?'}comp=block&blockid={quote(name, safe='')}", data, {})
            blocks.append(f"<Latest>{name}</Latest>")
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{"".join(blocks)}</BlockList>'
        self._put(f"{url}{'&' if '?' in url else '?'}comp=blocklist", body.encode(), {})

    def _put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        sent = {
            **_AZURE,
            **headers,
            "Content-Length": str(len(data)),
            "Content-Type": "application/octet-stream",
        }
        reply = self._until_told(lambda: self._http.send("PUT", url, headers=sent, body=data))
        reply.release()
        if reply.status != 201:
            raise refused(reply.status, "writing to GitHub's cache")


def blob_key(digest: Digest) -> str:
    """The key of a layer's entry."""
    return f"buildkit-blob-1-{digest}"


def index_key(place: CachePlace, scope: str) -> str:
    """The beginning of the keys of a scope's configs."""
    return (
        f"index-{place.options.get('scope', 'buildkit')}-1-{hashlib.sha256(scope.encode()).hexdigest()[:8]}#"
    )


class GhaSource:
    """See places.CacheSource: every scope that the token may read."""

    def __init__(self, place: CachePlace, http: Http, api: str) -> None:
        self._place, self._service = place, CacheService(place, http, api)

    def load(self, platforms: Sequence[Platform]) -> Sequence[LoadedCache]:
        found: list[LoadedCache] = []
        for scope, permission in self._service.token.scopes:
            entry = self._service.find(index_key(self._place, scope)) if permission & _READ else None
            if entry is not None:
                raw = self._service.open(entry[1], 0).read_all(cacheconfig.MAX_SIZE)
                found.append(manifest.from_layers(cacheconfig.parse(raw)))
        if not found:
            raise CacheMissing(
                f"GitHub's cache has nothing in the scope {self._place.shown.partition(':')[2]}"
            )
        return found

    def open(self, desc: Descriptor) -> BinaryIO:
        key, service = blob_key(desc.digest), self._service

        def reply(offset: int) -> Reply:
            found = service.find(key)  # asked each time: the URL is good for a short time only
            if found is None or found[0] != key:
                raise CacheMissing(f"GitHub's cache has no layer {desc.digest} any more")
            return service.open(found[1], offset)

        return cast("BinaryIO", io.BufferedReader(Reopened(reply, desc.size), 1 << 20))

    def origins(self, desc: Descriptor) -> Sequence[str]:
        return no_origins(desc)


class GhaSink:
    """See places.CacheSink: the scope that the token may write."""

    def __init__(self, place: CachePlace, http: Http, api: str) -> None:
        self._place, self._service = place, CacheService(place, http, api)

    def write(
        self,
        config: CacheConfig,
        blobs: Sequence[Descriptor],
        source: LayerFetcher,
        told: Callable[[str], None],
    ) -> None:
        service = self._service
        scope = next((scope for scope, may in reversed(service.token.scopes) if may & _WRITE), None)
        if scope is None:
            raise CacheDenied("the token of GitHub's cache service may write no scope")
        known = service.keys("buildkit-blob-1-")
        for desc in {d.digest: d for d in blobs}.values():
            key = blob_key(desc.digest)
            if key in known if known is not None else _has(service, key):
                continue
            told(f"writing layer {desc.digest}")
            self._send(key, desc, source)
        raw = config.to_json(annotated=True)
        self._save(index_key(self._place, scope), raw, told)

    def _send(self, key: str, desc: Descriptor, source: LayerFetcher) -> None:
        try:
            self._service.save(key, desc.size, lambda: source.open(desc))
        except CacheBusy:  # another job wrote the same layer
            pass

    def _save(self, prefix: str, raw: bytes, told: Callable[[str], None]) -> None:
        """The next number of the config's entries; one that another job holds is passed over."""
        found = self._service.find(prefix)
        number = found[0].removeprefix(prefix) if found is not None else "0"
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise CacheInvalid(
                f"GitHub's cache has an entry {prefix}{number[:40]}, which is none of a cache's"
            )
        for following in range(int(number) + 1, int(number) + 9):
            try:
                told(f"writing cache manifest {prefix}{following}")
                self._service.save(f"{prefix}{following}", len(raw), lambda: io.BytesIO(raw))
                return
            except CacheBusy:
                continue
        raise CacheBusy(f"other jobs hold the entries {prefix}{int(number) + 1} and following")


def _has(service: CacheService, key: str) -> bool:
    found = service.find(key)
    return found is not None and found[0] == key
