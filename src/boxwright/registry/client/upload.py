"""A blob's way to a registry: one PUT for small ones, a streamed PATCH for others, going on where a break left it.

A broken PATCH asks the registry how far it came (GET on the upload, distribution-spec end-13) and goes on from
there; a registry that does not say so gets the blob from its start. Where a large blob's upload was begun is noted, so
that after a kill the next command goes on with it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from boxwright.content.store import Rewindable
from boxwright.content.verify import ContentMismatch
from boxwright.errors import BoxwrightError, Unavailable, Unsupported
from boxwright.files import locks
from boxwright.files.disk import disk_errors
from boxwright.files.locks import Lock
from boxwright.registry.client.errors import RateLimited, RegistryRefused, UnknownToRegistry
from boxwright.registry.client.http import Reply
from boxwright.registry.client.session import HttpRequest, RedirectRefused, RegistrySession
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


_NOTED = 8 << 20  # bytes from which an upload is worth a note
SMALL = 1 << 20  # bytes up to which a blob is held in memory and sent with one PUT
_PATIENCE = 600.0  # seconds: a registry on object storage copies a large blob before it answers
_OCTETS = {"Content-Type": "application/octet-stream"}


class UploadLost(Unsupported):
    """The registry does not say where an upload goes on."""


def upload_note(folder: Path | None, host: str, repository: str, desc: Descriptor) -> Path | None:
    """The file that says where an upload of this blob was begun; None when it is not worth one."""
    if folder is None or desc.size < _NOTED:
        return None
    return folder / f"upload-{hashlib.sha256(f'{host}/{repository}@{desc.digest}'.encode()).hexdigest()}"


@dataclass(slots=True, kw_only=True)
class BlobUpload:
    """One blob on its way. `location` may come from a mount that was answered with a session."""

    session: RegistrySession
    repository: str
    desc: Descriptor
    scopes: Sequence[str]
    tries: int
    location: str = ""
    note: Path | None = None  # where the location is kept for another command, should this one be killed
    _noted: Lock | None = field(default=None, init=False)
    _what: str = field(init=False)

    def __post_init__(self) -> None:
        self._what = f"push of {self.desc.digest} to {self.repository}"

    def send(self, body: BinaryIO) -> None:
        """Bring the blob over. `body` is verified (content.store.Pusher). Raises ContentMismatch for a small one of
        another size, and what the registry says."""
        if self.desc.size <= SMALL:
            self._small(body)
        else:
            try:
                self._large(body)
            finally:
                self._put_down()

    def stream(self, body: BinaryIO) -> None:
        """Send a body whose size and digest are not known yet; `close` says them. Not tried again."""
        self.location = self.location or self._begin()
        reply = self.session.request(
            HttpRequest("PATCH", self.location, headers=_OCTETS, body=body, patience=_PATIENCE),
            scopes=self.scopes,
            ok=(202, 204),
            what=self._what,
            again=False,
        )
        self.location = self._located(reply)

    def finish(self, desc: Descriptor) -> None:
        """End what `stream` sent."""
        self.desc = desc
        self._end(b"")

    def _small(self, body: BinaryIO) -> None:
        data = b""
        while len(data) <= self.desc.size and (more := body.read(self.desc.size + 1 - len(data))):
            data += more
        if len(data) != self.desc.size:
            raise ContentMismatch(f"{self.desc.digest} has {len(data)} bytes, not {self.desc.size}")
        for attempt in range(1, self.tries + 1):
            try:
                self.location = self.location or self._begin()
                return self._end(data)
            except (Unavailable, UnknownToRegistry):
                if attempt == self.tries:
                    raise
                self.session.pause(attempt)
                self.location = ""

    def _large(self, body: BinaryIO) -> None:
        offset = self._take_up(body)
        for attempt in range(1, self.tries + 1):
            try:
                if not self.location:
                    self.location = self._begin()
                    self._remember()
                if offset < self.desc.size:
                    self._patch(body, offset)
                self._end(b"")
                if self._noted is not None and self.note is not None:
                    self.note.unlink(missing_ok=True)
                return
            except (Unavailable, UnknownToRegistry, RegistryRefused) as error:
                # A refusal may be about a session that the break spoilt: once more from the start, then believe it.
                if (
                    attempt == self.tries
                    or not isinstance(body, Rewindable)
                    or (isinstance(error, RegistryRefused) and attempt > 1)
                ):
                    raise
                self.session.pause(attempt)
                offset = 0 if isinstance(error, (RegistryRefused, UnknownToRegistry)) else self._reached()
                if not offset:
                    self.location = ""
                body.rewind(offset)

    # --- across commands -----------------------------------------------------------------------

    def _take_up(self, body: BinaryIO) -> int:
        """Go on with what a command that was killed began; how many bytes of it the registry has."""
        if (
            self.note is None
            or self.location
            or not isinstance(body, Rewindable)
            or not self.note.parent.is_dir()
        ):
            return 0
        with disk_errors(str(self.note)):
            try:
                self._noted = Lock.at(locks.UPLOAD, self.note, wait=False)
            except BlockingIOError:  # another process is sending the same
                return 0
        try:
            self.location = self.session.checked(
                os.pread(self._noted.fd, 1 << 16, 0).decode(), f"{self.session.origin}/"
            )
        except (ValueError, RedirectRefused):
            return 0
        offset = self._reached()
        if offset:
            body.rewind(offset)
        else:
            self.location = ""
        return offset

    def _remember(self) -> None:
        if (
            self._noted is not None
        ):  # not synced: after a crash of the machine the blob is sent from its start
            with disk_errors(str(self.note)):
                os.ftruncate(self._noted.fd, 0)
                os.pwrite(self._noted.fd, self.location.encode(), 0)

    def _put_down(self) -> None:
        if self._noted is not None:
            self._noted.close()
            self._noted = None

    # --- requests ------------------------------------------------------------------------------

    def _begin(self) -> str:
        url = self.session.url(f"/{self.repository}/blobs/uploads/")
        reply = self.session.request(
            HttpRequest("POST", url, headers={"Content-Length": "0"}),
            scopes=self.scopes,
            ok=(202,),
            what=self._what,
        )
        named = reply.header("Docker-Upload-UUID")
        self.location = ""
        if location := self._located(reply):
            return location
        if re.fullmatch(r"[A-Za-z0-9._=-]{1,200}", named):
            return self.session.url(f"/{self.repository}/blobs/uploads/{named}")
        raise UploadLost(
            f"{self._what}: {self.session.host.name} begins an upload without saying where it goes on"
        )

    def _patch(self, body: BinaryIO, offset: int) -> None:
        size = self.desc.size
        headers = {**_OCTETS, "Content-Length": str(size - offset), "Content-Range": f"{offset}-{size - 1}"}
        first = True

        def fresh() -> BinaryIO:
            nonlocal first
            if not first:  # the token ran out: the same request again
                if not isinstance(body, Rewindable):
                    raise Unavailable(
                        f"{self._what}: the registry wants other credentials in the middle of it"
                    )
                body.rewind(offset)
            first = False
            return body

        reply = self.session.request(
            HttpRequest("PATCH", self.location, headers=headers, body=fresh, patience=_PATIENCE),
            scopes=self.scopes,
            ok=(201, 202, 204),
            what=self._what,
            again=False,
        )
        self.location = self._located(reply)

    def _end(self, data: bytes) -> None:
        url = self.location + ("&" if "?" in self.location else "?") + f"digest={self.desc.digest}"
        headers = {**_OCTETS, "Content-Length": str(len(data))}
        reply = self.session.request(
            HttpRequest("PUT", url, headers=headers, body=data, patience=_PATIENCE),
            scopes=self.scopes,
            ok=(201, 204),
            what=self._what,
            again=False,
        )
        stored = reply.header("Docker-Content-Digest")
        reply.release()
        if stored and stored != str(self.desc.digest):
            raise ContentMismatch(
                f"{self.session.host.name} stored {stored[:100]} instead of {self.desc.digest}"
            )

    def _reached(self) -> int:
        """How many bytes the registry has; 0 when it cannot say."""
        try:
            reply = self.session.request(
                HttpRequest("GET", self.location),
                scopes=self.scopes,
                ok=(204, 202, 200),
                what=self._what,
                again=False,
            )
        except RateLimited:
            raise
        except BoxwrightError:
            return 0
        match = re.match(r"(?:bytes=)?0-(\d{1,18})\s*\Z", reply.header("Range"))
        self.location = self._located(reply)
        reached = int(match[1]) + 1 if match else 0
        # "0-0" is what an empty session says, and one byte is not worth telling the two apart.
        return reached if 1 < reached <= self.desc.size else 0

    def _located(self, reply: Reply) -> str:
        given = reply.header("Location")
        reply.release()
        if not given:
            return self.location
        return self.session.checked(given, reply.url)
