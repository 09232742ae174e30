"""GitHub's cache service, version 2, as far as its clients see it: twirp with JSON, and Azure's block blobs behind
signed URLs. Entries never change; a second one of a key is refused; the newest that begins with a key answers for it."""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from support.web import QuietHandler, QuietServer

SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"


def token(scopes: list[tuple[str, int]], *, expires: float = 3600.0) -> str:
    """A job's token: (scope, permission), 1 to read, 2 to write."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    access = json.dumps([{"Scope": scope, "Permission": may} for scope, may in scopes])
    claims = {"ac": access, "exp": int(time.time() + expires), "nbf": int(time.time()) - 10}
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{part('signature')}"


@dataclass
class Entry:
    version: str
    blob: bytes | None = None
    blocks: dict[str, bytes] = field(default_factory=dict)
    size: int = -1
    done: bool = False


class GitHub:
    """The service; `busy` answers so many requests with 429 first."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.entries: dict[str, Entry] = {}
        self.log: list[str] = []
        self.busy = 0
        self.lock = threading.Lock()
        self.server = QuietServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"{self.server.url}/"

    def signed(self, key: str) -> str:
        return f"{self.url}blob/{quote(key, safe='')}?sig={self.signature(key)}&se=2030"

    def signature(self, key: str) -> str:
        return hmac.digest(b"azure", key.encode(), "sha256").hex()

    def options(self, **more: str) -> str:
        """Options of a cache in it."""
        own = {"type": "gha", "url_v2": self.url, "token": self.secret}
        return ",".join(f"{key}={value}" for key, value in {**own, **more}.items())


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    hub: GitHub

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        azure = {"x-ms-request-id": "7", "x-ms-version": "2021-12-02"}  # BuildKit reads it without a look
        given = {**(azure if self.path.startswith("/blob/") else {}), **headers}
        self.reply(status, body, {name.replace("_", "-"): value for name, value in given.items()})

    def say(self, status: int, value: object) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def do_POST(self) -> None:
        body = self.body()
        with self.hub.lock:
            if self.hub.busy:
                self.hub.busy -= 1
                return self.say(429, {"code": "resource_exhausted", "msg": "slow down"})
            if self.headers.get("Authorization") != f"Bearer {self.hub.secret}":
                return self.say(401, {"code": "unauthenticated", "msg": "no"})
            if self.headers.get("Content-Type") != "application/json" or not self.path.startswith(SERVICE):
                return self.say(404, {"code": "bad_route", "msg": self.path})
            asked, method = json.loads(body), self.path.removeprefix(SERVICE)
            self.hub.log.append(f"{method} {asked['key']}")
            status, said = getattr(self, method)(asked)
        self.say(status, said)

    def CreateCacheEntry(self, asked: dict[str, Any]) -> tuple[int, object]:
        if asked["key"] in self.hub.entries:
            return 409, {"code": "already_exists", "msg": "cache entry with the same key exists"}
        self.hub.entries[asked["key"]] = Entry(asked["version"])
        return 200, {"ok": True, "signed_upload_url": self.hub.signed(asked["key"])}

    def FinalizeCacheEntryUpload(self, asked: dict[str, Any]) -> tuple[int, object]:
        entry = self.hub.entries.get(asked["key"])
        if entry is None or entry.version != asked["version"] or entry.blob is None:
            return 404, {"code": "not_found", "msg": "no such upload"}
        if int(asked["size_bytes"]) != len(entry.blob):
            return 400, {"code": "invalid_argument", "msg": "size"}
        entry.done = True
        return 200, {"ok": True, "entry_id": "7"}

    def GetCacheEntryDownloadURL(self, asked: dict[str, Any]) -> tuple[int, object]:
        for wanted in (asked["key"], *asked["restore_keys"]):
            for key, entry in reversed(self.hub.entries.items()):
                if entry.done and key.startswith(wanted) and entry.version == asked["version"]:
                    return 200, {"ok": True, "signed_download_url": self.hub.signed(key), "matched_key": key}
        return 200, {"ok": False, "signed_download_url": "", "matched_key": ""}

    def _blob(self) -> tuple[Entry, dict[str, list[str]]] | None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        key = parts.path.removeprefix("/blob/").replace("%3A", ":").replace("%23", "#")
        entry = self.hub.entries.get(key)
        good = entry is not None and query.get("sig") == [self.hub.signature(key)]
        if not good or self.headers.get("Authorization"):  # Azure refuses both at once
            self.answer(403)
            return None
        assert entry is not None
        self.hub.log.append(f"{self.command} {key}")
        return entry, query

    def do_PUT(self) -> None:
        body = self.body()
        if (found := self._blob()) is None:
            return
        entry, query = found
        kind = query.get("comp", [""])[0]
        if kind == "block":
            name = query["blockid"][0]
            assert len(base64.b64decode(name, validate=True)) <= 64
            entry.blocks[name] = body
        elif kind == "blocklist":
            names = re.findall(r"<Latest>([^<]+)</Latest>", body.decode())
            entry.blob = b"".join(entry.blocks[name] for name in names)
        elif self.headers.get("x-ms-blob-type") == "BlockBlob":
            entry.blob = body
        else:
            return self.answer(400)
        self.answer(201)

    def do_GET(self) -> None:
        if self.path.startswith("/repos/"):
            return self._rest()
        if (found := self._blob()) is None:
            return
        data = found[0].blob or b""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("x-ms-range", ""))
        self.answer(206 if asked else 200, data[int(asked[1]) :] if asked else data)

    def _rest(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != "Bearer ghtoken-marker":
            return self.answer(401)
        keys = [
            key for key, entry in self.hub.entries.items() if entry.done and key.startswith(query["key"][0])
        ]
        page = int(query["page"][0])
        self.hub.log.append(f"list {page}")
        caches = [{"key": key} for key in keys[(page - 1) * 100 : page * 100]]
        self.say(200, {"total_count": len(keys), "actions_caches": caches})


@contextmanager
def github(*scopes: tuple[str, int]) -> Iterator[GitHub]:
    """The service in this process, for a job that may do this (the default: read and write one branch)."""
    hub = GitHub(token(list(scopes) or [("refs/heads/main", 3)]))
    with hub.server.running():
        yield hub
