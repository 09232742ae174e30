"""What refers to a manifest: the referrers API, or an index under the fallback tag where a registry has no API
(distribution-spec, listing referrers)."""

from __future__ import annotations

from boxwright.registry.client.errors import RegistryRefused, next_link
from boxwright.registry.client.session import HttpRequest, manifest_document
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index, Manifest, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.client.session import RegistrySession
    from boxwright.spec.digest import Digest

_MOST = 4096
_MOST_PAGES = 100


class Referrers:
    """Those of one repository. Remembers whether its registry has the API."""

    def __init__(self) -> None:
        self._api: bool | None = None

    def of(
        self,
        session: RegistrySession,
        repository: str,
        scopes: tuple[str, ...],
        *,
        digest: Digest,
        tags: frozenset[str] | None = None,
    ) -> list[Descriptor]:
        """`tags` are all that the repository has, when they are known: a fallback tag that is not there is not asked
        for. Raises RegistryRefused beyond 4096 of them, ManifestInvalid, and what RegistrySession.document raises."""
        found: list[Descriptor] = []
        if self._api is not False:
            url = session.url(f"/{repository}/referrers/{digest}")
            for _ in range(_MOST_PAGES):
                reply, raw = manifest_document(
                    session,
                    url,
                    scopes=scopes,
                    headers={"Accept": mt.OCI_INDEX},
                    ok=(200, 400, 404, 405, 501),
                    what=f"referrers of {digest}",
                )
                kind = reply.header("Content-Type").partition(";")[0].strip()
                if reply.status != 200 or kind != mt.OCI_INDEX:
                    self._api = False
                    break
                self._api = True
                following = next_link(reply)
                found += parse(raw, mt.OCI_INDEX).references()
                if len(found) > _MOST:
                    raise RegistryRefused(f"referrers of {digest}: there are more than {_MOST}")
                if not following:
                    return found
                url = following
        if tags is not None and _fallback_tag(digest) not in tags:
            return found
        fallback = _fallback(session, repository, scopes, digest=digest)
        return list(fallback[1].manifests) if fallback else found

    def note(
        self,
        session: RegistrySession,
        repository: str,
        scopes: tuple[str, ...],
        *,
        desc: Descriptor,
        content: Manifest | Index,
    ) -> None:
        """Keep the fallback tag of the subject of `content`, since the registry did not say that it keeps referrers
        itself. `session` is that of the origin."""
        assert content.subject is not None
        subject = content.subject.digest
        known = _fallback(session, repository, scopes, digest=subject)
        entries = list(known[1].manifests) if known else []
        if any(e.digest == desc.digest for e in entries):
            return
        kind = content.artifact_type or (content.config.media_type if isinstance(content, Manifest) else "")
        entries.append(
            Descriptor(
                media_type=desc.media_type,
                digest=desc.digest,
                size=desc.size,
                annotations=content.annotations,
                artifact_type=kind,
            )
        )
        raw = Index.compose(entries).raw
        headers = {"Content-Type": mt.OCI_INDEX, **({"If-Match": known[0]} if known and known[0] else {})}
        session.request(
            HttpRequest("PUT", _fallback_url(session, repository, subject), headers=headers, body=raw),
            scopes=scopes,
            ok=(200, 201, 202),
            what=f"referrers of {subject}",
        ).release()


def _fallback(
    session: RegistrySession, repository: str, scopes: tuple[str, ...], *, digest: Digest
) -> tuple[str, Index] | None:
    """The index under the fallback tag with its ETag; None when there is none."""
    reply, raw = manifest_document(
        session,
        _fallback_url(session, repository, digest),
        scopes=scopes,
        headers={"Accept": mt.OCI_INDEX},
        ok=(200, 400, 404),
        what=f"referrers of {digest}",
    )
    if reply.status != 200:
        return None
    content = parse(raw, reply.header("Content-Type"))
    return (reply.header("ETag"), content) if isinstance(content, Index) else None


def _fallback_url(session: RegistrySession, repository: str, digest: Digest) -> str:
    return session.url(f"/{repository}/manifests/{_fallback_tag(digest)}")


def _fallback_tag(digest: Digest) -> str:
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"
