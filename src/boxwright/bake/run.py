"""Several targets built at once: those that others use first, each step of two equal ones once.

Builds meet at the locks of their steps (build.step_locks): what two targets have in common is done by one of them and
is on record for the other."""

from __future__ import annotations

import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from boxwright.bake.requests import links, request_of
from boxwright.build.builder import Building
from boxwright.build.progress import BuildWarning, StepStarted
from boxwright.errors import BoxwrightError, Cancelled
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from boxwright.bake.linked import LinkedImages
    from boxwright.bake.remote import BakeSource
    from boxwright.bake.target import BakeTarget
    from boxwright.build.bases import Registries
    from boxwright.build.progress import Emit, Event
    from boxwright.build.request import BuildResult
    from boxwright.image.services import Services

_AT_ONCE = 2  # builds for each processor: most wait for others, for networks and for locks


class TargetFailed(BoxwrightError):
    """A target could not be built; `cause` is why."""

    def __init__(self, target: str, cause: BoxwrightError) -> None:
        super().__init__(f"target {target}: {cause}", hint=cause.hint)
        self.target, self.cause = target, cause
        self.exit_code = cause.exit_code

    @property
    def http_status(self) -> int:  # type: ignore[override]
        """That of the cause."""
        return self.cause.http_status

    def render(self) -> str:
        """What the cause shows above its sentence."""
        render = getattr(self.cause, "render", None)
        return str(render()) if render is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildGround:
    """Where targets are built: the services of a root and registries, the directory and the environment that paths and
    variables are of; `source` is where the definition lies, if not there; `linked` are the images that targets are for
    each other."""

    services: Services
    registries: Registries
    cwd: Path
    environ: Mapping[str, str]
    linked: LinkedImages
    source: BakeSource | None = None
    jobs: int = 0
    tell_provenance: str = ""


def build_all(around: BuildGround, targets: Mapping[str, BakeTarget], emit: Emit) -> dict[str, BuildResult]:
    """The results by target. Raises TargetFailed for the first that fails, after all others were stopped,
    or for one whose options cannot be, before any is built."""
    run = _Run(around, targets, emit)
    run.check()
    try:
        if run.used:
            around.linked.begin()
        return run.run(around.jobs)
    finally:
        around.linked.release()


class _Run:
    def __init__(self, around: BuildGround, targets: Mapping[str, BakeTarget], emit: Emit) -> None:
        self._around, self._targets, self._emit = around, targets, emit
        self._uses = {name: set(links(target).values()) for name, target in targets.items()}
        self.used = {used for uses in self._uses.values() for used in uses}
        self._results: dict[str, BuildResult] = {}
        self._running: set[Building] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Read every target's options, so that none is built or pushed beside one that cannot be."""
        for name, uses in self._uses.items():
            with self._telling(name):
                self._building(name, dict.fromkeys(uses, ""))

    def run(self, jobs: int) -> dict[str, BuildResult]:
        pool = ThreadPoolExecutor(jobs or _AT_ONCE * (os.cpu_count() or 1))
        waiting = dict(self._uses)
        running: dict[Future[BuildResult], str] = {}
        try:
            while waiting or running:
                for name in [name for name, uses in waiting.items() if uses <= self._results.keys()]:
                    del waiting[name]
                    running[pool.submit(self._build, name)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: isinstance(one.exception(), Cancelled)):
                    self._results[running.pop(future)] = future.result()
        finally:
            self._stop()  # what still runs when one has failed
            pool.shutdown(wait=True, cancel_futures=True)
        return {name: self._results[name] for name in self._targets}

    def _build(self, name: str) -> BuildResult:
        linked = self._around.linked
        try:
            with self._telling(name):
                result = self._built(name)
                while name in self.used and not linked.keep(result.stored, made=self._targets[name].linked):
                    result = self._built(name)  # another process took the image away in between
                return result
        finally:
            self._around.services.db.close()  # this thread's connection

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Say which of several targets it was."""
        try:
            yield
        except Cancelled:
            raise
        except BoxwrightError as error:
            if len(self._targets) == 1:
                raise
            raise TargetFailed(name, error) from error

    def _building(self, name: str, images: Mapping[str, str]) -> Building:
        """The build of a target; `images` are those of the targets that it uses."""
        request = request_of(
            self._targets[name],
            self._around.cwd,
            environ=self._around.environ,
            results=images,
            used=name in self.used,
            source=self._around.source,
        )
        return Building(
            services=self._around.services,
            registries=self._around.registries,
            request=replace(request, linked=name in self.used, tell_provenance=self._around.tell_provenance),
            emit=prefixed(self._emit, name) if len(self._targets) > 1 else self._emit,
        )

    def _built(self, name: str) -> BuildResult:
        building = self._building(name, {used: self._results[used].stored for used in self._uses[name]})
        with self._lock:
            self._running.add(building)
            if self._stopped:
                building.cancel.set()
        try:
            return building.run()
        finally:
            with self._lock:
                self._running.discard(building)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for building in self._running:
                building.cancel.set()


def prefixed(emit: Emit, target: str) -> Emit:
    """A callback that hears of one target's steps under its name."""

    def tell(event: Event) -> None:
        if isinstance(event, BuildWarning):
            emit(event)
            return
        step = f"{target}\0{event.step}"
        if isinstance(event, StepStarted):
            name = event.name
            shown = f"[{target} {name[1:]}" if name.startswith("[") else f"[{target}] {name}"
            emit(StepStarted(step, shown))
        else:
            emit(replace(event, step=step))

    return tell
