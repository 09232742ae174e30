"""`engine.builds`: what builds left. `engine.build` makes one."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.engine.services import EngineServices
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.image.usage import CacheUsage


@checked
class BuildsAPI:
    """The cache of builds: records of steps, and cache mounts of RUN."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    def cache(self, *, filters: Filters | None = None) -> Sequence[CacheUsage]:
        """What is kept, with its size. Raises FilterInvalid."""
        from boxwright.image.buildcache import matcher

        matches = matcher(filters or {})
        return [item for item in self._services.maintenance.usage().cache if matches(item.entry)]

    def prune(self, *, everything: bool = False, filters: Filters | None = None, keep: int = 0) -> Pruned:
        """Forget build steps: those that no image contains, or all; `keep` bytes of the latest stay. Raises
        FilterInvalid."""
        return self._services.maintenance.builder_prune(everything=everything, filters=filters, keep=keep)
