"""`engine.images`: listing, inspecting, tagging, moving and removing images."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    from boxwright.content.progress import Progress
    from boxwright.engine.services import EngineServices
    from boxwright.errors import BoxwrightError
    from boxwright.image.catalog import ImageRow
    from boxwright.image.describe import HistoryLine, ImageSummary
    from boxwright.image.filters import Filters
    from boxwright.image.load import Loaded
    from boxwright.image.maintain import Pruned
    from boxwright.image.remove import Removed
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.reference import Reference
    from boxwright.transfer.pull import Pulled
    from boxwright.transfer.push import Pushed


@checked
class ImagesAPI:
    """Images by name, ID or digest."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    # --- looking -------------------------------------------------------------------------------

    def list(self, *, all: bool = False, filters: Filters | None = None) -> Sequence[ImageSummary]:
        """Images, newest first; `all` shows intermediate ones too. Raises FilterInvalid."""
        from boxwright.image.describe import summaries

        return summaries(self._services.catalog, filters, show_all=all)

    def get(self, image: str) -> ImageRow:
        """One image. Raises NoSuchImage, AmbiguousId."""
        return self._services.catalog.resolve(image)

    def inspect(self, image: str, *, platform: str | None = None) -> dict[str, Any]:
        """Docker's JSON of an image. Raises NoSuchImage, PlatformAbsent."""
        from boxwright.image.describe import inspect

        images = self._services.images_store
        return inspect(images, images.resolve(image), driver=self._services.driver, platform=platform)

    def history(self, image: str) -> Sequence[HistoryLine]:
        """How an image came to be, newest first. Raises NoSuchImage."""
        from boxwright.image.describe import history

        return history(self._services.catalog, image)

    # --- names, and removal --------------------------------------------------------------------

    def tag(self, source: str, name: str) -> None:
        """Give an image another name. Raises NoSuchImage, ReferenceInvalid."""
        images = self._services.images_store
        images.tag(source, images.checked(name, digest=False))

    def remove(
        self,
        *images: str,
        force: bool = False,
        prune: bool = True,
        failed: Callable[[BoxwrightError], object] | None = None,
    ) -> Sequence[Removed]:
        """Remove names and images, then what nothing reaches any more. All are tried; then the first failure is raised,
        unless `failed` hears each. Raises NoSuchImage, ImageInUse."""
        lines, failures = self._services.maintenance.remove(images, force=force, prune=prune)
        if failures and failed is None:
            raise failures[0]
        for failure in failures:
            assert failed is not None
            failed(failure)
        return lines

    def prune(self, *, everything: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove unnamed images, or all that no container uses. Raises FilterInvalid."""
        return self._services.maintenance.image_prune(everything=everything, filters=filters)

    # --- archives ------------------------------------------------------------------------------

    def save(
        self,
        images: Sequence[str],
        out: Any,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write images as one archive to anything with ``write``. Raises NoSuchImage, PlatformAbsent."""
        from boxwright.image.save import save
        from boxwright.spec.platform import Platform

        wanted = Platform.parse(platform) if platform else None
        save(self._services.images_store, images, out, platform=wanted, progress=progress)
        store = self._services.images_store
        for row in {row.image_id: row for row in map(store.find, images) if row is not None}.values():
            store.tell("save", row)

    def load(
        self,
        source: Path | BinaryIO,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
        done: Callable[[Loaded], None] | None = None,
    ) -> Sequence[Loaded]:
        """Bring in the images of an archive, an OCI layout directory or a stream. Raises ArchiveInvalid, Corrupt."""
        from boxwright.image.load import load
        from boxwright.spec.platform import Platform

        wanted = Platform.parse(platform) if platform else None
        found = load(self._services.images_store, source, platform=wanted, progress=progress, done=done)
        for loaded in found:
            self._services.images_store.tell("load", loaded.row)
        return found

    def import_(
        self,
        source: str | BinaryIO,
        name: str = "",
        *,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> ImageRow:
        """A root file system tar (a file, URL or stream, any compression) becomes an image. Raises TarInvalid."""
        from contextlib import nullcontext

        from boxwright.image.catalog import familiar
        from boxwright.image.importer import ImportOptions, import_image
        from boxwright.registry.client.fetch import open_source
        from boxwright.spec.platform import Platform

        settings = self._services.settings
        with open_source(settings, source) if isinstance(source, str) else nullcontext(source) as tar:
            wish = ImportOptions(
                name=name,
                changes=changes,
                message=message,
                platform=Platform.parse(platform) if platform else None,
                created=settings.epoch,
                source=source if isinstance(source, str) else "-",
            )
            row = import_image(self._services.images_store, tar, wish)
        images = self._services.images_store
        if name:
            images.tell("tag", row, familiar(images.checked(name)))
        images.tell("import", row)
        return row

    # --- registries ----------------------------------------------------------------------------

    def pull(
        self,
        name: str,
        *,
        platform: str = "",
        all_tags: bool = False,
        progress: Progress | None = None,
        resolved: Callable[[Reference, Descriptor, bool], None] | None = None,
    ) -> Sequence[Pulled]:
        """Bring an image, or every tag of a repository, ready to run. `platform` may name several, with commas.

        `resolved` hears what each name points at before anything is fetched, and whether it did so here before. What
        a failed or interrupted pull fetched is kept, and the next one goes on from there. Raises PullRefused,
        UnknownToRegistry, PlatformMissing, Corrupt, Unavailable.
        """
        found = self._services.transfers.pull(
            name, platform=platform, all_tags=all_tags, progress=progress, resolved=resolved
        )
        for pulled in found:
            self._moved("pull", pulled.reference)
        return found

    def _moved(self, action: str, reference: Reference) -> None:
        images = self._services.images_store
        row = images.find(reference.familiar)
        if row is not None:  # else another process has removed it already
            images.tell(action, row, reference.familiar_name, identity=reference.familiar)

    def push(
        self,
        name: str,
        *,
        all_tags: bool = False,
        platform: str = "",
        compression: str = "gzip",
        level: int | None = None,
        progress: Progress | None = None,
    ) -> Sequence[Pushed]:
        """Bring an image to its registry. Pulled images keep their bytes; layers made here are compressed once.

        Raises NotFound, AccessDenied, Unavailable.
        """
        found = self._services.transfers.push(
            name,
            all_tags=all_tags,
            platform=platform,
            compression=compression,
            level=level,
            progress=progress,
        )
        for pushed in found:
            self._moved("push", pushed.reference)
        return found
