"""Builds that share nothing but a cache: each in a root of its own, with a base from a registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boxwright import Engine
from boxwright.build.progress import BuildWarning, StepCached, StepFailure, StepStarted, StepStatus
from boxwright.build.remotecache.options import parse_all
from boxwright.build.request import BuildResult
from boxwright.layer.view import LayersView
from support.image import engine as make_engine
from support.registry import FakeRegistry, make_image

DOCKERFILE = """\
FROM {base} AS build
WORKDIR /src
COPY a.txt more/ ./
FROM {base}
ENV X=1
COPY --from=build /src/a.txt /out.txt
WORKDIR /deep/er
COPY --link b.txt /linked.txt
"""
FILES: Mapping[str, str] = {"a.txt": "a\n", "b.txt": "b\n", "more/c.txt": "c\n"}


def put_base(registry: FakeRegistry, name: str = "base") -> str:
    """A base image; its reference."""
    registry.add_image(
        name, "1", make_image({"etc/passwd": b"root:x:0:0::/:/bin/sh\n"}, {"lib/x": b"x" * 500})
    )
    return f"{registry.host}/{name}:1"


def lay_out(folder: Path, base: str, files: Mapping[str, str] = FILES, text: str = DOCKERFILE) -> Path:
    """A build context."""
    for name, content in {**files, "Dockerfile": text.format(base=base)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@dataclass
class Built:
    """A result with all that was said on the way."""

    engine: Engine
    result: BuildResult
    events: list[Any] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def cached(self) -> list[str]:
        names = {event.step: event.name for event in self.of(StepStarted)}
        return sorted(names[event.step] for event in self.of(StepCached))

    @property
    def ran(self) -> list[str]:
        """The names of the steps that were run."""
        return [step.name for step in self.result.steps if not step.cached]

    @property
    def failed(self) -> list[str]:
        return [event.message for event in self.of(StepFailure)]

    @property
    def warned(self) -> list[str]:
        return [event.message for event in self.of(BuildWarning)]

    @property
    def said(self) -> list[str]:
        return [event.id for event in self.of(StepStatus)]

    def files(self, name: str) -> dict[str, bytes]:
        """The content of the image's regular files."""
        found = self.engine.services.images_store.resolve_platform(name)
        layers = [self.engine.services.layers.get(diff_id) for diff_id in found.layers]
        with LayersView(layers) as view:
            found_files = {path: view.read(path) for path in ("/out.txt", "/linked.txt", "/lib/x")}
        return {path: data for path, data in found_files.items() if data is not None}


class Machines:
    """Makes a new root for every build."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._engines = folder, list[Engine]()

    def engine(self, **environ: str) -> Engine:
        made = make_engine(self._folder / f"root{len(self._engines)}", **environ)
        self._engines.append(made)
        return made

    def build(
        self,
        context: Path,
        *,
        cache_from: Sequence[str] = (),
        cache_to: Sequence[str] = (),
        engine: Engine | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Built:
        """One build on a machine that knows nothing, or on one that does."""
        engine, events = engine or self.engine(), list[Any]()
        result = engine.build(
            context,
            cache_from=parse_all(cache_from, environ or {}),
            cache_to=parse_all(cache_to, environ or {}, to=True),
            progress=events.append,
            **options,
        )
        return Built(engine, result, events)

    def close(self) -> None:
        for engine in self._engines:
            engine.services.registry.http.close()
            engine.services.db.close()


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    made = Machines(folder)
    try:
        yield made
    finally:
        made.close()
