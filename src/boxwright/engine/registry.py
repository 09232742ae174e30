"""`engine.registry`: accounts with registries, and what lies there."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from boxwright.content.progress import Progress
    from boxwright.engine.services import EngineServices
    from boxwright.registry.client.client import LoggedIn
    from boxwright.registry.client.search import SearchResult
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest
    from boxwright.spec.manifest import Index, Manifest
    from boxwright.spec.platform import Platform
    from boxwright.spec.reference import Reference
    from boxwright.transfer.attestations import Inspected
    from boxwright.transfer.manifest_lists import ManifestLists


@checked
class RegistryAPI:
    """Any registry, by the names of what lies there. `engine.images` pulls and pushes."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    # --- accounts ------------------------------------------------------------------------------

    def login(self, server: str, username: str, password: str) -> LoggedIn:
        """Check an account with a registry ('' = Docker Hub) and keep it. Raises LoginRefused, Unavailable."""
        from boxwright.registry.client.auth import Credential

        return self._services.registry.login(server, Credential(username, password))

    def logout(self, server: str = "") -> bool:
        """Forget the account of a registry; whether there was one."""
        return self._services.registry.logout(server)

    # --- what lies there -----------------------------------------------------------------------

    def search(
        self,
        term: str,
        *,
        limit: int = 0,
        stars: int = 0,
        official: bool | None = None,
        automated: bool = False,
    ) -> list[SearchResult]:
        """Repositories on Docker Hub, or with ``host/term`` elsewhere. Raises Invalid, SearchUnsupported."""
        from boxwright.registry.client.search import search

        return search(
            self._services.registry,
            term,
            limit=limit,
            stars=stars,
            official=official,
            automated=automated,
        )

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository. Raises UnknownToRegistry."""
        from boxwright.spec.reference import Reference

        return self._services.registry.remote(Reference.parse(repository)).tags()

    def delete(self, name: str) -> None:
        """Remove a tag, or with a digest the manifest and all its tags. Raises UnknownToRegistry."""
        from boxwright.spec.reference import Reference

        self._services.registry.remote(Reference.parse(name)).delete(name)

    def copy(
        self,
        source: str,
        target: str,
        *,
        platform: str = "",
        referrers: bool = True,
        jobs: int = 6,
        progress: Progress | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Descriptor:
        """Move an image between any two places (transfer.places; a plain name is a registry's), all platforms unless
        `platform` names some, with its signatures. `note` hears when not all are there. Raises what the two ends
        raise."""
        return self._services.transfers.copy(
            source,
            target,
            platform=platform,
            referrers=referrers,
            jobs=jobs,
            progress=progress,
            note=note,
        )

    # --- images for several platforms ----------------------------------------------------------

    def imagetools_create(
        self,
        tags: Sequence[str],
        sources: Sequence[str],
        *,
        append: bool = False,
        annotations: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Index | Manifest:
        """Join images in registries into one with several platforms. `annotations` are those of the index by key;
        before a key may stand where it is for: ``index:``, ``manifest-descriptor:`` or ``manifest-descriptor[arm64]:``.
        Raises Invalid, Unsupported, what registries raise."""
        from boxwright.build.annotations import index_notes
        from boxwright.transfer.manifest_lists import create

        return create(
            self._services.registry,
            tags,
            sources,
            append=append,
            notes=index_notes(annotations or {}),
            dry_run=dry_run,
        )

    def imagetools_inspect(
        self, name: str
    ) -> tuple[Reference, Descriptor, Manifest | Index, dict[Digest, Platform | None]]:
        """What a name is: reference, descriptor, content, and the platform of each image. Raises what registries
        raise."""
        from boxwright.transfer.manifest_lists import inspect

        return inspect(self._services.registry, name)

    def attestations(self, name: str) -> Inspected:
        """What a name is, with what is said of it: provenance and bills of materials by platform. Raises what
        registries raise."""
        from boxwright.transfer.attestations import Inspected

        reference, desc, content, _ = self.imagetools_inspect(name)
        return Inspected(self._services.registry.remote(reference), reference, desc, content=content)

    @property
    def manifests(self) -> ManifestLists:
        """Manifest lists under work: create, annotate, index, push, remove."""
        return self._services.manifest_lists
