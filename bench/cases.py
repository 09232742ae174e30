"""The comparisons. Each yields rows: a title, the figures by name, the goal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import build_cases, container_cases, inputs, registry_cases
from bench.build_cases import COPY_ALL
from bench.measure import Command, Figure, compare
from bench.peers import Peers

Row = tuple[str, dict[str, Figure], str]


@dataclass
class Setup:
    """Private roots of everybody, and the images that several cases need."""

    work: Path
    peers: Peers
    _built: set[str] = field(default_factory=set)

    @cached_property
    def boxwright(self) -> list[str]:
        return [str(Path(sys.executable).with_name("boxwright")), "--root", str(self.work / "root")]

    def close(self) -> None:
        """Take mounts and networks of our root down again."""
        subprocess.run([*self.boxwright, "system", "reset", "--force"], check=False, capture_output=True)

    def run(self, *argv: str) -> None:
        """One of our commands, untimed."""
        subprocess.run([*self.boxwright, *argv], check=True, capture_output=True)

    def everybody(self) -> dict[str, Sequence[str]]:
        """Command prefixes by name, ours first."""
        out: dict[str, Sequence[str]] = {"boxwright": self.boxwright}
        if self.peers.docker:
            out["docker"] = self.peers.docker
        if self.peers.podman:
            out["podman"] = self.peers.podman
        return out

    def busybox(self) -> None:
        """`bench-busybox` in every store."""
        if "busybox" not in self._built:
            tar = inputs.busybox(self.work / "busybox.tar")
            for prefix in self.everybody().values():
                subprocess.run(
                    [*prefix, "import", str(tar), "bench-busybox:latest"], check=True, capture_output=True
                )
            self._built.add("busybox")

    def forget_busybox(self) -> None:
        """Not every store has it any longer: the next case that needs it imports it again."""
        self._built.discard("busybox")

    def context(self, name: str, files: int, total: int, dockerfile: str) -> Path:
        path = self.work / name
        if not path.exists():
            inputs.context(path, files, total=total, dockerfile=dockerfile)
        return path


def import_debian(setup: Setup) -> Iterator[Row]:
    """`import` of a Debian root file system, to ready to run."""
    tar = inputs.debian()

    def forget(prefix: Sequence[str]) -> Callable[[], None]:
        # Removing is not timed: on ext4 it would slow the next import by itself.
        return lambda: (
            subprocess.run([*prefix, "rmi", "-f", "bench-debian"], check=False, capture_output=True) and None
        )

    yield (
        "import debian minbase (170 MB)",
        compare(
            [
                Command(n, [*p, "import", str(tar), "bench-debian"], before=forget(p))
                for n, p in setup.everybody().items()
            ]
        ),
        "1/4 of docker",
    )


def copy_build(setup: Setup) -> Iterator[Row]:
    """COPY of a large context into a new layer."""
    setup.busybox()
    path = setup.context("copy", 20_000, 134_000_000, COPY_ALL)
    marker = path / "src/0000/file0.txt"
    count = iter(range(10_000))

    def change() -> None:
        marker.write_text(f"run {next(count)}\n")

    commands = []
    for name, prefix in setup.everybody().items():
        env = {"DOCKER_BUILDKIT": "1"} if name == "docker" else {}
        commands.append(
            Command(
                "buildkit" if name == "docker" else name,
                [*prefix, "build", "-t", "bench-copy", str(path)],
                before=change,
                env=env,
            )
        )
    buildah = setup.peers.program("buildah")
    if buildah and setup.peers.storage:
        commands.append(
            Command(
                "buildah",
                [
                    *buildah,
                    *setup.peers.storage,
                    "build",
                    "--isolation",
                    "chroot",
                    "-t",
                    "bench-copy",
                    str(path),
                ],
                before=change,
            )
        )
    yield (
        "COPY 20,000 files (134 MB), new layer",
        compare(commands),
        "faster than docker and buildah, under 120 MB",
    )


def listing(setup: Setup) -> Iterator[Row]:
    """`images` and `history` with 1,000 images in the store."""
    setup.busybox()
    if "many" not in setup._built:
        folder = setup.work / "many"
        folder.mkdir()
        for number in range(1000):
            (folder / "Dockerfile").write_text(f"FROM bench-busybox\nLABEL number={number}\n")
            subprocess.run(
                [*setup.boxwright, "build", "-q", "-t", f"bench-many:{number}", str(folder)],
                check=True,
                capture_output=True,
            )
        setup._built.add("many")
    yield (
        "images, 1,000 images",
        compare([Command("boxwright", [*setup.boxwright, "images"])]),
        "under 0.060 s",
    )
    yield (
        "history, 1,000 images",
        compare([Command("boxwright", [*setup.boxwright, "history", "bench-many:500"])]),
        "under 0.060 s",
    )


def run_true(setup: Setup) -> Iterator[Row]:
    """`run --rm busybox true`."""
    setup.busybox()
    for network in ("bridge", "none", "host"):
        commands = [
            Command(n, [*p, "run", "--rm", f"--network={network}", "bench-busybox", "true"])
            for n, p in setup.everybody().items()
        ]
        yield f"run --rm busybox true, {network} network", compare(commands), "under 0.15 s, 1/3 of docker"


def save_load(setup: Setup) -> Iterator[Row]:
    """`save` and `load` of a Debian image."""
    tar = inputs.debian()
    archives: dict[str, Path] = {}
    for name, prefix in setup.everybody().items():
        subprocess.run([*prefix, "import", str(tar), "bench-debian:latest"], check=True, capture_output=True)
        archives[name] = setup.work / f"{name}.tar"

    def save(name: str, prefix: Sequence[str]) -> Command:
        return Command(
            name,
            [*prefix, "save", "-o", str(archives[name]), "bench-debian:latest"],
            before=lambda: archives[name].unlink(missing_ok=True),
        )

    yield "save debian", compare([save(n, p) for n, p in setup.everybody().items()]), "-"

    def load(name: str, prefix: Sequence[str]) -> Command:
        def forget() -> None:
            subprocess.run([*prefix, "rmi", "-f", "bench-debian:latest"], check=False, capture_output=True)

        return Command(name, [*prefix, "load", "-i", str(archives[name])], before=forget)

    yield "load debian", compare([load(n, p) for n, p in setup.everybody().items()]), "-"


CASES: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "import": import_debian,
    "cached-build": build_cases.cached,
    "changed-build": build_cases.changed,
    "steps": build_cases.steps,
    "stages": build_cases.stages,
    "copy": copy_build,
    "listing": listing,
    "run": run_true,
    "containers": container_cases.containers,
    "many": container_cases.many,
    "save-load": save_load,
    "pull": registry_cases.pull,
    "pull-big": registry_cases.pull_big,
    "push": registry_cases.push,
    "registry-copy": registry_cases.registry_copy,
    "registry-small": registry_cases.small,
    "ci": registry_cases.ci,
}
