"""`engine.builds`: the history of builds and their cache. `engine.build` makes one."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from boxwright.engine.services import EngineServices
    from boxwright.image.attachments import BuildAttachment
    from boxwright.image.builds import BuildRecord, BuildRecords
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.image.usage import CacheUsage


@checked
class BuildsAPI:
    """The history of builds, and their cache: records of steps, and cache mounts of RUN."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    def cache(self, *, filters: Filters | None = None) -> Sequence[CacheUsage]:
        """What is kept, with its size. Raises FilterInvalid."""
        from boxwright.image.buildcache import matcher

        matches = matcher(filters or {})
        return [item for item in self._services.maintenance.usage().cache if matches(item.entry)]

    # --- history -------------------------------------------------------------------------------------

    @property
    def _records(self) -> BuildRecords:
        from boxwright.image.builds import BuildRecords

        return BuildRecords(self._services.root, self._services.db)

    def list(self, *, filters: Sequence[str] = ()) -> Sequence[BuildRecord]:
        """Every build that is kept, the latest first. `filters` are buildx's: ``status=error``, ``ref!=…``,
        ``repository=…``, ``startedAt>24h``, ``completedAt<2026-01-01T00:00:00Z``, ``duration>=1m``. Raises
        FilterInvalid."""
        from boxwright.image.buildfilters import chosen

        return [self._records.counted(one) for one in chosen(self._records.all(), filters)]

    def get(self, ref: str = "") -> BuildRecord:
        """A build by its ID, the beginning of one, or its ref (``default/default/ID``); '' is the latest, ``^1`` the
        one before. Raises NoSuchBuild."""
        return self._records.counted(self._records.get(ref))

    def logs(self, ref: str = "") -> Iterator[Mapping[str, Any]]:
        """Everything that a build told, in order, whole: objects with ``kind`` (started, log, status, cached, missed,
        done, failed, warning), ``at`` (unix seconds) and the number of the ``step``. Raises NoSuchBuild."""
        return self._records.events(self.get(ref).id)

    def attachments(self, ref: str = "") -> Sequence[BuildAttachment]:
        """Images, and what is said of them, that a build made and that are still in the store. Raises NoSuchBuild."""
        from boxwright.image.attachments import attachments

        return attachments(self._services.images_store, self.get(ref))

    def remove(self, *refs: str) -> Sequence[str]:
        """Forget builds; their IDs. The images that they made stay. Raises NoSuchBuild, BuildRuns."""
        found = [self.get(ref) for ref in refs]
        self._records.remove(found)
        return [one.id for one in found]

    # --- cache ---------------------------------------------------------------------------------------

    def prune(
        self,
        *,
        everything: bool = False,
        filters: Filters | None = None,
        keep: int = 0,
        most: int = 0,
        free: int = 0,
    ) -> Pruned:
        """Forget build steps: those that no image contains, or all; `keep` bytes of the latest stay. With `most` or
        `free` only the oldest go, until the cache has at most so many bytes, or the disk so many to spare. Of the
        history what is older than a week goes but for the latest 50 builds, with `everything` all that is over; a
        filter other than ``until`` leaves it alone. Raises FilterInvalid."""
        from boxwright.image.filters import moment

        pruned = self._services.maintenance.builder_prune(
            everything=everything, filters=filters, keep=keep, most=most, free=free
        )
        times = [moment(text) for text in (filters or {}).get("until", ())]
        others = set(filters or {}) - {"until"}
        self._records.prune(
            everything=everything,
            before=min(times, default=None),
            keep=bool(others) or bool(keep or most or free),
        )
        return pruned
