"""A repository on a registry, as Source and Sink of `content.copy` (distribution-spec, pull and push).

Reading goes to the mirrors first and to the origin last; writing goes to the origin.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from urllib.parse import quote

from boxwright.content.verify import ContentMismatch, read_verified
from boxwright.errors import BoxwrightError, Denied, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from boxwright.registry.client.addresses import may_be_sent_to, split
from boxwright.registry.client.auth import scope_for
from boxwright.registry.client.endpoint import RegistryEndpoint
from boxwright.registry.client.errors import RegistryRefused
from boxwright.registry.client.http import Reply
from boxwright.registry.client.session import HttpRequest, RegistrySession, manifest_document, one_page, paged
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, ManifestInvalid, parse
from boxwright.spec.reference import Reference, is_tag
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, TypeVar

    from boxwright.registry.client.referrers import Referrers
    from boxwright.registry.client.sessions import RegistrySessions

    T = TypeVar("T")

ACCEPT = ", ".join((mt.OCI_INDEX, mt.OCI_MANIFEST, mt.DOCKER_LIST, mt.DOCKER_MANIFEST, "*/*"))
_KNOWN = mt.INDEXES | mt.MANIFESTS | {mt.DOCKER_SCHEMA1, mt.DOCKER_SCHEMA1_SIGNED}
_TRY_NEXT = (NotFound, Unavailable, Unauthorized, Denied, Unsupported, RegistryRefused)


class Remote:
    """One repository. Names given to it are references of this repository."""

    def __init__(
        self, client: RegistrySessions, reference: Reference, *, push: bool = False, insecure: bool = False
    ) -> None:
        self._client = client
        self._config = client.config
        self.reference = Reference(reference.domain, reference.path)
        self.name = self.reference.name
        *mirrors, origin = client.hosts.endpoints(reference.domain, reference.path)
        if insecure:
            origin = replace(origin, host=origin.host.made_insecure())
        self._endpoints = (*mirrors, origin)
        self._actions = ("pull", "push") if push else ("pull",)
        self._talks: dict[RegistryEndpoint, RegistrySession] = {}
        self._down: set[RegistryEndpoint] = set()
        self._manifests: dict[Digest, bytes] = {}
        self._sessions: dict[Digest, str] = {}  # upload locations that a mount was answered with
        self._known_referrers: Referrers | None = None
        self._all_tags: frozenset[str] | None = None  # of the origin, once they are known

    # --- source --------------------------------------------------------------------------------

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver: HEAD, and GET where HEAD does not say enough.

        Raises UnknownToRegistry, AccessNeeded, AccessDenied, Unavailable, ManifestInvalid.
        """
        reference = self._own(name)
        wanted = Digest.parse(reference.digest) if reference.digest else None
        target = reference.digest or reference.tag
        return self._read(
            "resolve",
            wanted is not None,
            lambda e, s, again: self._resolve(
                endpoint=e,
                session=s,
                target=target,
                wanted=wanted,
                what=f"manifest for {reference.familiar}",
                again=again,
            ),
        )

    def fetch(self, name: str) -> Descriptor:
        """As `resolve`, by one request that brings the manifest along, for callers that will read it."""
        reference = self._own(name)
        wanted = Digest.parse(reference.digest) if reference.digest else None
        what = f"manifest for {reference.familiar}"

        def ask(endpoint: RegistryEndpoint, session: RegistrySession, again: bool) -> Descriptor:
            url = session.url(
                f"/{endpoint.repository}/manifests/{quote(reference.digest or reference.tag, safe=':')}"
            )
            return self._resolve_by_get(
                session=session, url=url, endpoint=endpoint, wanted=wanted, what=what, again=again
            )

        return self._read("resolve", wanted is not None, ask)

    def measured(self, desc: Descriptor) -> Descriptor:
        """What `resolve` gave with the size that the manifest really has: an answer without a body may tell another."""
        return replace(desc, size=len(self._manifest(desc)))

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher. Blobs resume and are requested at the first read."""
        if (
            desc.data is not None
            and len(desc.data) == desc.size
            and Digest.of(desc.data, desc.digest.algorithm) == desc.digest
        ):
            return io.BytesIO(desc.data)
        if desc.media_type in _KNOWN:
            return io.BytesIO(self._manifest(desc))
        from boxwright.registry.client.download import RemoteBlob

        return cast(
            "BinaryIO",
            RemoteBlob(
                fetch=self._fetcher(desc),
                desc=desc,
                config=self._config,
                pause=self._pause,
                helpers=self._client.helpers,
            ),
        )

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated: a blob of this repository can be had from it."""
        return (self.name,)

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See content.store.Referring: the API, or the fallback tag ``sha256-<hex>`` where there is none."""
        return self._read(
            "referrers",
            True,
            lambda e, s, again: self._referrers.of(
                s, e.repository, self._scopes(e), digest=digest, tags=self._all_tags if e.origin else None
            ),
        )

    def tags(self) -> list[str]:
        """Every tag, in the registry's order. Raises UnknownToRegistry and what access raises."""

        def ask(endpoint: RegistryEndpoint, session: RegistrySession, again: bool) -> list[str]:
            url = session.url(f"/{endpoint.repository}/tags/list", [("n", "1000")])
            what = f"tags of {self.reference.familiar_name}"
            tags = list(paged(session=session, url=url, key="tags", scopes=self._scopes(endpoint), what=what))
            if odd := [tag for tag in tags if not is_tag(tag)]:
                raise RegistryRefused(f"{what}: {session.host.name} lists {odd[0][:100]!a}, which is no tag")
            return tags

        return self._read("resolve", False, ask, mirrors=False)

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """See content.store.AttachedByTag: one request, however many tags there are."""
        endpoint, session = self._origin()
        url = session.url(f"/{endpoint.repository}/tags/list", [("n", "1000")])
        tags, following = one_page(
            session=session,
            url=url,
            key="tags",
            scopes=self._scopes(endpoint),
            what=f"tags of {self.reference.familiar_name}",
        )
        found = [tag for tag in tags if is_tag(tag)]
        if not following:
            self._all_tags = frozenset(found)
        return found, not following

    def beside(self, tag: str) -> str:
        """See content.store.AttachedByTag."""
        return str(self.reference.with_tag(tag))

    def manifest(self, name: str) -> tuple[Descriptor, Manifest | Index]:
        """What a name points at, read. Raises what `resolve` and `spec.manifest.parse` raise."""
        desc = self.fetch(name)
        return desc, parse(self._manifest(desc), desc.media_type)

    # --- sink ----------------------------------------------------------------------------------

    def exists(self, desc: Descriptor) -> bool:
        """See content.store.Pusher. Foreign layers count as there: registries may not hold them."""
        if mt.is_foreign(desc.media_type) and desc.urls:
            return True
        endpoint, session = self._origin()
        kind = "manifests" if desc.media_type in _KNOWN else "blobs"
        headers = {"Accept": desc.media_type} if kind == "manifests" else {}
        url = session.url(f"/{endpoint.repository}/{kind}/{desc.digest}")
        reply = session.request(
            HttpRequest("HEAD", url, headers=headers),
            scopes=self._scopes(endpoint),
            ok=(200, 404),
            what=f"{desc.digest} in {self.name}",
        )
        reply.release()
        return reply.status == 200

    def names(self, name: str, desc: Descriptor) -> bool:
        """Whether the name points at just this manifest, at the origin. Raises AccessNeeded, AccessDenied,
        Unavailable."""
        reference = self._own(name)
        endpoint, session = self._origin()
        target = quote(reference.tag or reference.digest, safe=":")
        reply = session.request(
            HttpRequest(
                "HEAD",
                session.url(f"/{endpoint.repository}/manifests/{target}"),
                headers={"Accept": desc.media_type},
            ),
            scopes=self._scopes(endpoint),
            ok=(200, 400, 404, 405, 501),
            what=f"{reference.familiar} in {self.name}",
        )
        reply.release()
        kind = reply.header("Content-Type").partition(";")[0].strip()
        said = reply.header("Docker-Content-Digest")
        return reply.status == 200 and kind == desc.media_type and said == str(desc.digest)

    def mount(self, desc: Descriptor, origins: Sequence[str]) -> bool:
        """See content.store.Mounter: a blob of another repository of this registry (distribution-spec end-11)."""
        endpoint, session = self._origin()
        for origin in origins:
            domain, _, path = origin.partition("/")
            if (
                domain != self.reference.domain
                or not path
                or path == self.reference.path
                or desc.digest in self._sessions
            ):
                continue
            theirs = self._client.hosts.origin(domain, path)
            if theirs.host != endpoint.host:
                continue
            query = [("mount", str(desc.digest)), ("from", theirs.repository)]
            scopes = (*self._scopes(endpoint), scope_for(theirs.repository, "pull"))
            try:
                reply = session.request(
                    HttpRequest(
                        "POST",
                        session.url(f"/{endpoint.repository}/blobs/uploads/", query),
                        headers={"Content-Length": "0"},
                    ),
                    scopes=scopes,
                    ok=(201, 202),
                    what=f"mount of {desc.digest}",
                )
            except (Unauthorized, Denied, NotFound, Invalid):
                continue  # no right to read there: an ordinary push needs none
            location = reply.header("Location")
            reply.release()
            if reply.status == 201:
                return True
            if location:  # not mounted, but a session was opened: push into it
                self._sessions[desc.digest] = session.checked(location, reply.url)
        return False

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """See content.store.Pusher."""
        if desc.media_type in mt.INDEXES | mt.MANIFESTS:
            self._put_manifest(str(desc.digest), desc, read_verified(body, desc, limit=MAX_SIZE))
            return
        from boxwright.registry.client.upload import BlobUpload, upload_note

        endpoint, session = self._origin()
        note = upload_note(
            folder=self._config.uploads, host=endpoint.host.name, repository=endpoint.repository, desc=desc
        )
        BlobUpload(
            session=session,
            repository=endpoint.repository,
            desc=desc,
            scopes=self._scopes(endpoint),
            tries=self._config.tries,
            location=self._sessions.pop(desc.digest, ""),
            note=note,
        ).send(body)

    def push_unknown(self, body: BinaryIO) -> Callable[[Descriptor], None]:
        """Send a blob whose digest is known only at its end; calling what is returned with the descriptor stores it."""
        from boxwright.registry.client.upload import BlobUpload

        endpoint, session = self._origin()
        unknown = Descriptor("application/octet-stream", Digest.of(b""), 0)
        upload = BlobUpload(
            session=session,
            repository=endpoint.repository,
            desc=unknown,
            scopes=self._scopes(endpoint),
            tries=1,
        )
        upload.stream(body)
        return upload.finish

    def push_named(self, name: str, desc: Descriptor, raw: bytes) -> None:
        """See content.store.NamedPusher."""
        reference = self._own(name)
        self._put_manifest(reference.tag or reference.digest, desc, raw)

    def tag(self, name: str, desc: Descriptor) -> None:
        """See content.store.Tagger."""
        self.push_named(name, desc, self._manifest(desc))

    def delete(self, name: str) -> None:
        """Remove a tag, which leaves the manifest, or by digest a manifest with all its tags (distribution-spec end-9).

        Raises UnknownToRegistry, RegistryCannot (not every registry does this, or not for tags), and what access
        raises.
        """
        reference = self._own(name)
        endpoint, session = self._origin()
        url = session.url(
            f"/{endpoint.repository}/manifests/{quote(reference.digest or reference.tag, safe=':')}"
        )
        what = f"deletion of {reference.familiar}"
        session.request(
            HttpRequest("DELETE", url),
            scopes=(scope_for(endpoint.repository, "pull", "delete"),),
            ok=(200, 202, 204),
            what=what,
        ).release()

    # --- parts ---------------------------------------------------------------------------------

    def _own(self, name: str) -> Reference:
        reference = Reference.parse(name).with_default_tag()
        if (reference.domain, reference.path) != (self.reference.domain, self.reference.path):
            raise Invalid(f"{name} is not in the repository {self.name}")
        return reference.with_digest(Digest.parse(reference.digest)) if reference.digest else reference

    def _scopes(self, endpoint: RegistryEndpoint) -> tuple[str, ...]:
        return (scope_for(endpoint.repository, *(self._actions if endpoint.origin else ("pull",))),)

    @property
    def _referrers(self) -> Referrers:
        if self._known_referrers is None:
            from boxwright.registry.client.referrers import Referrers

            self._known_referrers = Referrers()
        return self._known_referrers

    def _origin(self) -> tuple[RegistryEndpoint, RegistrySession]:
        return self._endpoints[-1], self._session(self._endpoints[-1])

    def _session(self, endpoint: RegistryEndpoint) -> RegistrySession:
        """Asked for once: whose account counts is read from the files of credentials."""
        if endpoint not in self._talks:
            self._talks[endpoint] = self._client.session(endpoint)
        return self._talks[endpoint]

    def _pause(self, attempt: int) -> None:
        self._origin()[1].pause(attempt)

    def _read(
        self,
        what: str,
        by_digest: bool,
        ask: Callable[[RegistryEndpoint, RegistrySession, bool], T],
        *,
        mirrors: bool = True,
    ) -> T:
        """Ask the mirrors, each once, then the origin; a mirror that cannot be reached is not asked again."""
        for endpoint in self._endpoints[:-1] if mirrors else ():
            if endpoint in self._down or not endpoint.serves(what, by_digest=by_digest):
                continue
            try:
                return ask(endpoint, self._session(endpoint), False)
            except _TRY_NEXT as error:
                if isinstance(error, Unavailable):
                    self._down.add(endpoint)
        return ask(*self._origin(), True)

    def _resolve(
        self,
        endpoint: RegistryEndpoint,
        session: RegistrySession,
        target: str,
        wanted: Digest | None,
        what: str,
        again: bool,
    ) -> Descriptor:
        url = session.url(f"/{endpoint.repository}/manifests/{quote(target, safe=':')}")
        reply = session.request(
            HttpRequest("HEAD", url, headers={"Accept": ACCEPT}),
            scopes=self._scopes(endpoint),
            ok=(200, 400, 401, 403, 404, 405, 501),
            what=what,
            again=again,
        )
        reply.release()
        if reply.status == 200:
            kind = reply.header("Content-Type").partition(";")[0].strip()
            said = reply.header("Docker-Content-Digest")
            length = reply.length
            if kind in _KNOWN and (said or wanted) and length:
                digest = Digest.parse(said) if said else cast("Digest", wanted)
                if wanted is None or digest == wanted:
                    return self._sized(Descriptor(kind, digest, length), what)
                raise ContentMismatch(f"{what}: the registry answers with {digest}")
        return self._resolve_by_get(
            session=session, url=url, endpoint=endpoint, wanted=wanted, what=what, again=again
        )

    def _resolve_by_get(
        self,
        session: RegistrySession,
        url: str,
        endpoint: RegistryEndpoint,
        wanted: Digest | None,
        what: str,
        again: bool,
    ) -> Descriptor:
        reply, raw = manifest_document(
            session, url, scopes=self._scopes(endpoint), headers={"Accept": ACCEPT}, what=what, again=again
        )
        digest = Digest.of(raw, wanted.algorithm if wanted else "sha256")
        said = reply.header("Docker-Content-Digest")
        if wanted is not None and digest != wanted:
            raise ContentMismatch(f"{what}: the registry sent other bytes, their digest is {digest}")
        if said.startswith("sha256:") and digest.algorithm == "sha256" and said != str(digest):
            raise ContentMismatch(f"{what}: the registry says its digest is {said[:100]}, but it is {digest}")
        kind = reply.header("Content-Type").partition(";")[0].strip()
        try:
            content = parse(raw, kind)
        except ManifestInvalid as error:
            raise error.__class__(f"{what}: {error}", hint=error.hint) from error
        self._manifests[digest] = raw
        return Descriptor(content.media_type, digest, len(raw))

    def _sized(self, desc: Descriptor, what: str) -> Descriptor:
        if desc.size > MAX_SIZE:
            raise ManifestInvalid(
                f"{what}: the registry announces {desc.size} bytes; at most {MAX_SIZE} are accepted"
            )
        return desc

    def _manifest(self, desc: Descriptor) -> bytes:
        """A manifest's bytes; its digest decides, whatever size was told."""
        known = self._manifests.get(desc.digest)
        if known is not None:
            return known
        what = f"manifest {desc.digest} of {self.reference.familiar_name}"

        def ask(endpoint: RegistryEndpoint, session: RegistrySession, again: bool) -> bytes:
            url = session.url(f"/{endpoint.repository}/manifests/{desc.digest}")
            _, raw = manifest_document(
                session,
                url,
                scopes=self._scopes(endpoint),
                headers={"Accept": f"{desc.media_type}, {ACCEPT}"},
                what=what,
                again=again,
            )
            actual = Digest.of(raw, desc.digest.algorithm)
            if actual != desc.digest:
                raise ContentMismatch(f"{what}: the registry sent other bytes, their digest is {actual}")
            return raw

        raw = self._read("pull", True, ask)
        self._manifests[desc.digest] = raw
        return raw

    def _fetcher(self, desc: Descriptor) -> Callable[[int, int | None], Reply]:
        """GETs of a blob or a part of it. The endpoint that answered first keeps the rest of the blob."""
        chosen: list[Callable[[int, int | None], Reply]] = []

        def fetch(first: int, last: int | None) -> Reply:
            if chosen:
                return chosen[0](first, last)
            if desc.urls and mt.is_foreign(desc.media_type):
                reply = self._foreign(desc, first, last)
                if reply is not None:
                    return reply

            def ask(endpoint: RegistryEndpoint, session: RegistrySession, again: bool) -> Reply:
                reply = self._get_blob(
                    endpoint=endpoint, session=session, desc=desc, first=first, last=last, again=again
                )
                chosen.append(
                    lambda f, t: self._get_blob(
                        endpoint=endpoint, session=session, desc=desc, first=f, last=t, again=True
                    )
                )
                return reply

            return self._read("pull", True, ask)

        return fetch

    def _get_blob(
        self,
        endpoint: RegistryEndpoint,
        session: RegistrySession,
        desc: Descriptor,
        first: int,
        last: int | None,
        again: bool,
    ) -> Reply:
        url = session.url(f"/{endpoint.repository}/blobs/{desc.digest}")
        what = f"blob {desc.digest} of {self.reference.familiar_name}"
        return session.request(
            HttpRequest("GET", url, headers=_range(first, last), flows=True),
            scopes=self._scopes(endpoint),
            ok=(200, 206),
            what=what,
            again=again,
        )

    def _foreign(self, desc: Descriptor, first: int, last: int | None) -> Reply | None:
        """The first of a foreign layer's URLs that answers; nothing of ours is sent there."""
        home = self._endpoints[-1].host.name.rpartition(":")[0] or self._endpoints[-1].host.name
        for url in desc.urls:
            parts = split(url)
            if (
                parts is None
                or parts.scheme not in ("http", "https")
                or not parts.hostname
                or not may_be_sent_to(parts.hostname, home)
            ):
                continue
            try:
                reply = self._client.http.send("GET", url, headers=_range(first, last), flows=True)
            except BoxwrightError:
                continue
            if reply.status in (200, 206):
                return reply
            reply.close()
        return None

    def _put_manifest(self, target: str, desc: Descriptor, raw: bytes) -> None:
        endpoint, session = self._origin()
        url = session.url(f"/{endpoint.repository}/manifests/{quote(target, safe=':')}")
        headers = {"Content-Type": desc.media_type}
        what = (
            f"push of {self.reference.familiar_name}:{target}"
            if ":" not in target
            else f"push of {self.reference.familiar_name}@{target}"
        )
        reply = session.request(
            HttpRequest("PUT", url, headers=headers, body=raw),
            scopes=self._scopes(endpoint),
            ok=(200, 201, 202),
            what=what,
        )
        stored, subject = reply.header("Docker-Content-Digest"), reply.header("OCI-Subject")
        reply.release()
        if stored and stored != str(desc.digest) and stored.startswith(desc.digest.algorithm):
            raise ContentMismatch(f"{what}: the registry stored {stored[:100]} instead of {desc.digest}")
        self._manifests[desc.digest] = raw
        content = parse(raw, desc.media_type)
        if content.subject is not None and not subject:
            self._referrers.note(
                session, endpoint.repository, self._scopes(endpoint), desc=desc, content=content
            )


def _range(first: int, last: int | None) -> dict[str, str]:
    if not first and last is None:
        return {}
    return {"Range": f"bytes={first}-{'' if last is None else last}"}
