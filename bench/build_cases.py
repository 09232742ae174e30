"""The comparisons of builds: nothing changed, little changed, many steps, stages beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Command, Figure, compare

if TYPE_CHECKING:
    from bench.cases import Setup

Row = tuple[str, dict[str, Figure], str]

TEN_STEPS = """\
FROM bench-busybox
ENV STAGE=bench
WORKDIR /app
COPY src/0000 /app/first
RUN echo one > /one
COPY src /app/src
RUN echo two > /two
ENV MODE=fast
RUN cat /one /two > /three
LABEL bench=yes
CMD ["true"]
"""
COPY_ALL = "FROM bench-busybox\nCOPY src /src\n"
_SPIN = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo $i"


def builders(
    setup: Setup, path: Path, tag: str, before: Callable[[], None] | None = None, *, podman: bool = False
) -> list[Command]:
    """`build` of a context by each builder; podman takes several times as long, and so only part where asked."""
    commands = []
    for name, prefix in setup.everybody().items():
        if name == "podman" and not podman:
            continue
        argv = [*prefix, "build", *(["--layers"] if name == "podman" else []), "-t", tag, str(path)]
        env = {"DOCKER_BUILDKIT": "1"} if name == "docker" else {}
        commands.append(Command("buildkit" if name == "docker" else name, argv, before=before, env=env))
    return commands


def cached(setup: Setup) -> Iterator[Row]:
    """Rebuilds with nothing changed, of contexts of three sizes."""
    setup.busybox()
    for files, total, goal in (
        (2_000, 20_000_000, "under 0.05 s, 1/4 of buildkit"),
        (20_000, 120_000_000, "under 0.12 s"),
        (100_000, 200_000_000, "under 0.5 s, under 120 MB"),
    ):
        path = setup.context(f"cached-{files}", files, total, TEN_STEPS)
        commands = builders(setup, path, f"bench-cached-{files}", podman=files == 2_000)
        yield f"cached rebuild, 10 steps, {files:,} files", compare(commands), goal


def changed(setup: Setup) -> Iterator[Row]:
    """A rebuild after one of many files changed."""
    setup.busybox()
    path = setup.context("changed", 20_000, 120_000_000, COPY_ALL)
    numbers = count()

    def change() -> None:
        (path / "src/0050/file5000.txt").write_text(f"run {next(numbers)}\n")

    commands = builders(setup, path, "bench-changed", change)
    yield "one of 20,000 files changed (120 MB)", compare(commands), "under 0.35 s, 1/8 of buildkit"


def steps(setup: Setup) -> Iterator[Row]:
    """RUN steps that do nothing and never ran before; the second row shows that a later step costs no more."""
    setup.busybox()
    numbers = count()
    for amount in (10, 50, 120):
        path = setup.work / f"steps-{amount}"
        path.mkdir(exist_ok=True)

        def fresh(path: Path = path, amount: int = amount) -> None:
            lines = [f"RUN echo {number} $RUN > /f{number}" for number in range(amount)]
            (path / "Dockerfile").write_text(
                "\n".join(["FROM bench-busybox", f"ENV RUN={next(numbers)}", *lines, ""])
            )

        fresh()
        commands = builders(setup, path, "bench-steps", fresh)
        goal = "under 20 ms a step, 1/4 of buildkit" if amount == 50 else "as much for a step as with 50"
        yield f"{amount} trivial RUN steps, cold", compare(commands), goal


def stages(setup: Setup) -> Iterator[Row]:
    """Four stages that only compute and do not need each other."""
    setup.busybox()
    path = setup.work / "stages"
    path.mkdir(exist_ok=True)
    numbers = count()

    def fresh() -> None:
        number = next(numbers)
        lines = [
            f"FROM bench-busybox AS s{stage}\nRUN : {number}; {_SPIN} > /out{stage}" for stage in range(4)
        ]
        lines += ["FROM bench-busybox", *(f"COPY --from=s{stage} /out{stage} /" for stage in range(4)), ""]
        (path / "Dockerfile").write_text("\n".join(lines))

    fresh()
    yield "four stages that compute", compare(builders(setup, path, "bench-stages", fresh)), "0.7 of buildkit"
