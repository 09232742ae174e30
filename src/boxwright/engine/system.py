"""`engine.system`: the root as a whole."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from boxwright.engine.services import EngineServices
    from boxwright.errors import BoxwrightError
    from boxwright.image.collect import Swept
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.image.usage import Usage
    from boxwright.image.validate import Problem


@checked
class SystemAPI:
    """Measuring, checking, emptying."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    def info(self) -> dict[str, Any]:
        """Docker's system information."""
        from boxwright.errors import BoxwrightError
        from boxwright.image.sysinfo import Tried, info

        services = self._services
        try:
            driver = services.snapshots.name, services.snapshots.reason
        except BoxwrightError as error:
            driver = "none", str(error)
        try:
            found = services.runtime
            wanted = services.settings.runtime
            runtime = Tried(
                name=found.name,
                program=found.program,
                version=found.version,
                why=found.why
                or (f"BOXWRIGHT_RUNTIME={wanted}" if wanted else "it was tried first, and works"),
                hidden=found.hidden,
            )
        except BoxwrightError as error:
            runtime = Tried(why=str(error))
        states = list(services.container_states().values())
        return info(services.settings, services.catalog, driver=driver, runtime=runtime, states=states)

    def version(self) -> dict[str, Any]:
        """Docker's version information."""
        from boxwright.errors import BoxwrightError
        from boxwright.image.sysinfo import version

        try:
            return version([(self._services.runtime.name, self._services.runtime.version)])
        except BoxwrightError:
            return version()

    def df(self) -> Usage:
        """Where the disk space is; the parts add up to what `du` sees."""
        return self._services.maintenance.usage()

    def prune(
        self,
        *,
        everything: bool = False,
        volumes: bool = False,
        filters: Filters | None = None,
        done: Callable[[str, Pruned], object] | None = None,
    ) -> Pruned:
        """Remove stopped containers, unused networks, with `volumes` anonymous volumes, unnamed images and build
        cache, in this order; with `everything` all unused images and all cache. `done` hears each kind ('Containers',
        …) as it is done. Filters: until, label, label!. Raises FilterInvalid."""
        from boxwright.image.filters import PRUNE_FILTERS, check_names
        from boxwright.image.maintain import Pruned

        filters = filters or {}
        check_names(filters, PRUNE_FILTERS)
        labels = {key: values for key, values in filters.items() if key != "until"}
        until = {key: values for key, values in filters.items() if key == "until"}
        containers, upkeep = self._services.containers, self._services.maintenance
        kinds: list[tuple[str, Callable[[], Pruned]]] = [
            ("Containers", lambda: containers.prune(filters)),
            ("Networks", lambda: containers.catalog.prune_networks(filters)),
            ("Volumes", lambda: containers.catalog.prune_volumes(labels)),
            ("Images", lambda: upkeep.image_prune(everything=everything, filters=filters)),
            ("build cache objects", lambda: upkeep.builder_prune(everything=everything, filters=until)),
        ]
        parts = []
        for kind, prune in kinds:
            if kind != "Volumes" or volumes:
                parts.append(prune())
                if done:
                    done(kind, parts[-1])
        return Pruned(tuple(line for part in parts for line in part.removed), sum(p.bytes for p in parts))

    def collect(self, *, copies: bool = False) -> Swept:
        """Remove what nothing reaches; `copies` also drops compressed copies of layers."""
        return self._services.maintenance.sweep(copies=copies)

    def fsck(self, *, repair: bool = False) -> Sequence[Problem]:
        """Recompute every claim of the store; `repair` makes again, or drops, what is broken."""
        from boxwright.container.check import check

        problems = self._services.maintenance.fsck(repair=repair)
        return [*problems, *check(self._services, repair=repair)]

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: Filters | None = None,
        ended: int = -1,
    ) -> Iterator[dict[str, Any]]:
        """What happens in this root, as Docker's JSON: from `since` on (unix seconds; None = now) until `until` (None =
        for ever). Several may follow at once; an iterator that waits costs nothing, and ends when the descriptor
        `ended` becomes readable. Raises FilterInvalid."""
        from boxwright.image.filters import check_names
        from boxwright.spec.events import FILTERS

        check_names(filters or {}, FILTERS)
        return self._events(since=since, until=until, filters=filters or {}, ended=ended)

    def _events(
        self, since: float | None, until: float | None, filters: Filters, ended: int
    ) -> Iterator[dict[str, Any]]:
        import json
        import time

        from boxwright.content.journal import lines
        from boxwright.files.places import Places
        from boxwright.spec.events import matches

        now = time.time()
        first = now if since is None else since
        left = None if until is None else max(0.0, until - now)
        for line in lines(
            str(Places(self._services.root).events),
            follow=until is None or until > now,
            seconds=left,
            ended=ended,
        ):
            try:
                value = json.loads(line)
                when = value["timeNano"] / 1e9
                wanted = first <= when and (until is None or when <= until) and matches(value, filters)
            except (ValueError, LookupError, TypeError, AttributeError):  # cut short by a full disk
                continue
            if wanted:
                yield value

    def up(self) -> tuple[Sequence[str], Mapping[str, BoxwrightError]]:
        """After a boot, or after kills: adopt containers that run without a supervisor, and start those whose restart
        policy wants it. Names that were started, and why others could not be."""
        return self._services.containers.up()

    def reset(self) -> Sequence[Path]:
        """Remove everything under the root: containers (also running ones), networks, mounts, images, volumes, cache.

        Only what the store made is removed; the root itself goes when nothing else is in it. Returns what was left
        there. Works on any store, also on one whose database is damaged or newer. Raises DoesNotEnd, StillMounted.
        """
        from boxwright.image.reset import remove_root

        self._services.containers.end_all()
        self._services.db.close()
        return remove_root(self._services.root)
