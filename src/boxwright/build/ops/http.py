"""ADD of a URL: the download becomes a tree with one file in it, which is then copied like any other."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from boxwright.build.graph import BaseOp, Outcome, Reads, Selection
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.errors import Corrupt
from boxwright.files.places import Places
from boxwright.spec.digest import Digest
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, ClassVar

    from boxwright.registry.client.http import Reply

_UNNAMED = "__unnamed__"
_CHUNK = 1 << 20


class ChecksumMismatch(Corrupt):
    """A download is not what the Dockerfile says."""


def file_name(url: str) -> str:
    """What the file is called in a destination that is a directory."""
    return unquote(urlsplit(url).path.rpartition("/")[2]).replace("/", "_") or _UNNAMED


@dataclass(frozen=True, slots=True)
class HttpOp(BaseOp):
    """Fetches `url`. With a checksum the key needs no network; without, the server is asked whether it changed."""

    kind: ClassVar[str] = "http/2"  # of kind 1 are records whose checksum was never compared

    url: str
    checksum: str = ""
    epoch: int | None = None

    @property
    def reads(self) -> Reads:
        return "none" if self.checksum else "remote"

    def definition(self) -> Mapping[str, object]:
        # The same content from elsewhere is the same; what the file is called decides.
        where = file_name(self.url) if self.checksum else public(self.url)
        return {"where": where, "checksum": self.checksum, "epoch": self.epoch}


def select_download(op: HttpOp, ctx: StepContext) -> Selection:
    """What the URL has now, by which the step is keyed. Raises DownloadFailed, ChecksumMismatch."""
    found = _Fetch(op, ctx).ask()
    return Selection(
        f"{found['digest']} {found['mtime']}", {public(op.url): f"0600 {found['digest']}"}, found
    )


def download(op: HttpOp, selection: Selection | None, ctx: StepContext) -> Outcome:
    """The layer of the file. Raises DownloadFailed, ChecksumMismatch, DiskFull."""
    from boxwright.build.ops.target import LayerBuilder, Planned

    fetch = _Fetch(op, ctx)
    found = selection.payload if selection is not None else fetch.ask()
    digest = Digest.parse(found["digest"])
    builder = LayerBuilder(None, layer_time(op.epoch, 0))
    mtime = builder.mtime if op.epoch is not None or not found["mtime"] else found["mtime"] * 1_000_000_000
    builder.other(
        file_name(op.url),
        Planned(
            type="file",
            mode=0o600,
            uid=0,
            gid=0,
            mtime_ns=mtime,
            size=found["size"],
            content=_Blob(ctx, digest),
        ),
    )
    return builder.write(ctx)


def time_of(op: HttpOp, ctx: StepContext) -> int | None:
    """When what the URL has now was made, in unix seconds: as the server says it, else the newest file of an archive;
    None when neither is known. Raises DownloadFailed, ChecksumMismatch."""
    from boxwright.build.context.archive import newest_file

    found = _Fetch(op, ctx).ask()
    if found["mtime"]:
        return int(found["mtime"])
    with ctx.services.store.open_raw(Digest.parse(found["digest"])) as file:
        return newest_file(file)


class _Blob:
    def __init__(self, ctx: StepContext, digest: Digest) -> None:
        self._ctx, self._digest = ctx, digest

    def open(self) -> BinaryIO | bytes:
        return self._ctx.services.store.open_raw(self._digest)

    def xattrs(self) -> Mapping[str, bytes]:
        return {}

    def origin(self) -> object:
        return self._digest

    def digest(self) -> str:
        from boxwright.build.ops.target import hashed

        return hashed(self.open())


class _Fetch:
    """One download, with what was remembered of the last one under ROOT/cache/http."""

    def __init__(self, op: HttpOp, ctx: StepContext) -> None:
        self._op, self._ctx = op, ctx
        name = hashlib.sha256(op.url.encode()).hexdigest()[:32]
        self._memory = Places(ctx.services.root).downloads / f"{name}.json"

    def ask(self) -> dict[str, Any]:
        """digest, size and mtime (unix seconds, 0 = unknown) of what the URL has now. Raises DownloadFailed,
        ChecksumMismatch."""
        known = self._remembered()
        if known and not self._held(known):
            known = {}
        if self._op.checksum:
            # "Not modified" does not compare a checksum: either the content at hand has it, or all of it comes again.
            return known if known.get("digest") == self._op.checksum else self._download({}, {})
        conditions = {
            k: v
            for k, v in (
                ("If-None-Match", known.get("etag")),
                ("If-Modified-Since", known.get("modified")),
            )
            if v
        }
        return self._download(conditions, known)

    def _held(self, known: dict[str, Any]) -> bool:
        digest = Digest.parse(known["digest"])
        assert self._ctx.lease is not None
        self._ctx.lease.hold("blob", digest)
        return bool(self._ctx.services.store.size(digest) == known["size"])

    def _download(self, conditions: Mapping[str, str], known: dict[str, Any]) -> dict[str, Any]:
        """Fetch, unless the server answers the conditions with "not modified": then it is what was `known`."""
        reply = self._request(conditions)
        if reply.status == 304:
            reply.release()
            return known
        try:
            found = self._take(reply)
        finally:
            reply.close()
        self._remember(found)
        return found

    def _take(self, reply: Reply) -> dict[str, Any]:
        from boxwright.registry.client.fetch import last_modified

        store, ctx, total = self._ctx.services.store, self._ctx, reply.length or 0
        key = f"http-{os.urandom(8).hex()}"
        wanted = Digest.parse(self._op.checksum) if self._op.checksum else None
        with store.ingest(key, algorithm=wanted.algorithm if wanted else "sha256") as ingest:
            try:
                while data := reply.read_some(_CHUNK):
                    ctx.check()
                    ingest.write(data)
                    ctx.status("downloading", ingest.offset, total)
                with store.committing():
                    desc = ingest.commit("application/octet-stream")
                    assert ctx.lease is not None
                    ctx.lease.hold("blob", desc.digest)
            except BaseException:
                ingest.discard()
                raise
        ctx.status("downloading", desc.size, desc.size, done=True)
        if wanted is not None and desc.digest != wanted:
            raise ChecksumMismatch(
                f"digest mismatch {desc.digest}: {wanted}",
                hint=f"{public(self._op.url)} is not what the Dockerfile's --checksum says",
            )
        return {
            "digest": str(desc.digest),
            "size": desc.size,
            "mtime": last_modified(reply) or 0,
            "etag": reply.header("ETag"),
            "modified": reply.header("Last-Modified"),
        }

    def _request(self, conditions: Mapping[str, str]) -> Reply:
        from boxwright.registry.client.fetch import DownloadRefused, fetch

        try:
            return fetch(
                self._ctx.services.settings,
                self._op.url,
                lambda host: {**conditions, **self._account(host)},
                guarded=self._ctx.sandbox.untrusted,
            )
        except DownloadRefused as error:
            host = urlsplit(self._op.url).hostname
            raise DownloadRefused(
                str(error), hint=f"give a secret HTTP_AUTH_TOKEN_{host} or HTTP_AUTH_HEADER_{host}"
            ) from error

    def _account(self, host: str) -> dict[str, str]:
        secrets = self._ctx.sandbox.secrets
        for name, form in ((f"HTTP_AUTH_HEADER_{host}", "{}"), (f"HTTP_AUTH_TOKEN_{host}", "Bearer {}")):
            if (secret := secrets.get(name)) is not None:
                return {"Authorization": form.format(secret.read().decode("utf-8", "replace").strip())}
        return {}

    def _remembered(self) -> dict[str, Any]:
        try:
            body = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return (
            body
            if isinstance(body, dict) and {"digest", "size", "mtime", "etag", "modified"} <= set(body)
            else {}
        )

    def _remember(self, found: dict[str, Any]) -> None:
        from boxwright.files.disk import write_atomic

        self._memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._memory, json.dumps(found).encode())
