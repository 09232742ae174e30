"""The comparisons that need a registry: Debian's docker-registry on loopback, the same for everybody."""

from __future__ import annotations

import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench import inputs
from bench.measure import Command, Figure, RunFailed, compare

if TYPE_CHECKING:
    from bench.cases import Setup

Row = tuple[str, dict[str, Figure], str]


def _insecure(name: str) -> list[str]:
    return ["--tls-verify=false"] if name == "podman" else []


def _registry(setup: Setup) -> str:
    if setup.peers.registry is None:
        raise RunFailed("docker-registry is not installed")
    return setup.peers.registry


def _forget(prefix: Sequence[str], name: str) -> Callable[[], None]:
    return lambda: subprocess.run([*prefix, "rmi", "-f", name], check=False, capture_output=True) and None


def _pulls(setup: Setup, name: str) -> dict[str, Figure]:
    return compare(
        [
            Command(n, [*p, "pull", "-q", *_insecure(n), name], before=_forget(p, name))
            for n, p in setup.everybody().items()
        ]
    )


def pull(setup: Setup) -> Iterator[Row]:
    """`pull` of Debian minbase, one layer, to ready to run."""
    name = f"{_registry(setup)}/bench/debian:1"
    setup.run("import", str(inputs.debian()), name)
    setup.run("push", "-q", name)
    yield "pull debian minbase (170 MB)", _pulls(setup, name), "1/5 of docker, 1/4 of podman"


def small(setup: Setup) -> Iterator[Row]:
    """Commands that only ask: all that they would move is there already."""
    registry = _registry(setup)
    setup.busybox()
    names = {name: f"{registry}/bench/small-{name}:1" for name in setup.everybody()}
    pulls, pushes = [], []
    for name, prefix in setup.everybody().items():
        push = [*prefix, "push", "-q", *_insecure(name), names[name]]
        pull = [*prefix, "pull", "-q", *_insecure(name), names[name]]
        for argv in ([*prefix, "tag", "bench-busybox:latest", names[name]], push, pull):
            subprocess.run(argv, check=True, capture_output=True)
        pulls.append(Command(name, pull))
        pushes.append(Command(name, push))
    yield "pull, up to date", compare(pulls), "as docker"
    yield "push, all there", compare(pushes), "as docker"
    source, target = names["boxwright"], f"{registry}/bench/small-copied:1"
    setup.run("copy", "-q", source, target)
    yield "copy in a registry, all there", compare(_copies(setup, source, target)), "4 times crane"
    listings = [Command("boxwright", [*setup.boxwright, "tags", "ls", source.rpartition(":")[0]])]
    if crane := setup.peers.program("crane"):
        listings.append(Command("crane", [*crane, "ls", "--insecure", source.rpartition(":")[0]]))
    yield "tags ls", compare(listings), "4 times crane"


def pull_big(setup: Setup) -> Iterator[Row]:
    """`pull` of ten layers of 100 MB: of very many small files, and of few big ones."""
    for title, files, middle in (("67,000 files", 6700, 8.3), ("1,500 files", 150, 13.25)):
        name = f"{_registry(setup)}/bench/big-{files}:1"
        folder = setup.work / f"big-{files}"
        _layers(folder, files, middle)
        # On another root: here the records of the build's steps would keep the layers, and nothing would be pulled.
        builder = [setup.boxwright[0], "--root", str(setup.work / f"builder-{files}")]
        for argv in (
            ["build", "-q", "-t", name, str(folder)],
            ["push", "-q", name],
            ["system", "reset", "--force"],
        ):
            subprocess.run([*builder, *argv], check=True, capture_output=True)
        shutil.rmtree(folder)
        yield f"pull 10 layers (1 GB, {title})", _pulls(setup, name), "1/4 of docker, under 120 MB"


def _layers(folder: Path, files: int, middle: float) -> None:
    """Ten tars of `files` files each, pieces of a real root file system; `middle` is the logarithm of their median size
    in bytes."""
    with inputs.debian().open("rb") as file:
        material = file.read(20_000_000)
    dice = random.Random(10)
    folder.mkdir()
    for layer in range(10):
        with tarfile.open(folder / f"{layer}.tar", "w") as tar:
            for number in range(files):
                size = min(int(dice.lognormvariate(middle, 1.5 if files > 1000 else 0.6)) + 1, 5_000_000)
                at = dice.randrange(len(material) - size)
                entry = tarfile.TarInfo(f"data/{layer}/{number // 100}/{number}")
                entry.size = size
                with (folder / "piece").open("wb+") as piece:
                    piece.write(dice.randbytes(8)[:size] + material[at : at + size][8:])
                    piece.seek(0)
                    tar.addfile(entry, piece)
    (folder / "piece").unlink()
    (folder / "Dockerfile").write_text(
        "FROM scratch\n" + "".join(f"ADD {n}.tar /\n" for n in range(10)) + 'CMD ["true"]\n'
    )


def push(setup: Setup) -> Iterator[Row]:
    """`push` of a layer that neither side has compressed or seen before."""
    registry = _registry(setup)
    tar = setup.work / "fresh.tar"
    count = iter(range(10_000))

    def fresh(prefix: Sequence[str], name: str) -> Callable[[], None]:
        def make() -> None:
            shutil.copyfile(inputs.debian(), tar)  # not through memory: children's peak would begin with ours
            with tarfile.open(tar, "a") as archive:
                archive.addfile(tarfile.TarInfo(f"fresh-{next(count)}"))
            subprocess.run([*prefix, "import", str(tar), name], check=True, capture_output=True)

        return make

    commands = []
    for name, prefix in setup.everybody().items():
        target = f"{registry}/bench/push-{name}:1"
        commands.append(
            Command(name, [*prefix, "push", "-q", *_insecure(name), target], before=fresh(prefix, target))
        )
    yield "push a fresh layer (170 MB)", compare(commands), "1/4 of docker"


def registry_copy(setup: Setup) -> Iterator[Row]:
    """`copy` inside a registry of blobs that it has already, and of blobs that it has not."""
    registry = _registry(setup)
    source, target = f"{registry}/bench/copied:1", f"{registry}/bench/copied-on:1"
    setup.run("import", str(inputs.debian()), source)
    setup.run("push", "-q", source)
    yield "copy of 170 MB, all there", compare(_copies(setup, source, target)), "one round trip a blob"


def _copies(setup: Setup, source: str, target: str) -> list[Command]:
    commands = [Command("boxwright", [*setup.boxwright, "copy", "-q", source, target])]
    if skopeo := setup.peers.program("skopeo"):
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        words = ["copy", "-q", *plain, f"docker://{source}", f"docker://{target}"]
        commands.append(Command("skopeo", [*skopeo, *words]))
    if crane := setup.peers.program("crane"):
        commands.append(Command("crane", [*crane, "copy", "--insecure", source, target]))
    return commands


CI = """\
FROM {base} AS build
WORKDIR /app
COPY src /app/src
RUN head -c 20000000 /dev/urandom > /app/made
FROM {base}
RUN echo tools > /tools
COPY --from=build /app/made /app/made
CMD ["true"]
"""


def ci(setup: Setup) -> Iterator[Row]:
    """A job on a machine that knows nothing, with a cache in the registry in which every step is: build and push. The
    cache is ours, whose records both read."""
    registry = _registry(setup)
    setup.busybox()
    base, cache = f"{registry}/bench/base:1", f"{registry}/bench/ci:cache"
    setup.run("tag", "bench-busybox", base)
    setup.run("push", base)
    path = setup.context("ci", 2_000, 20_000_000, CI.format(base=base))
    setup.run("build", "--cache-to", f"type=registry,ref={cache},mode=max", str(path))
    roots = count()
    ours = [setup.boxwright[0], "--root", str(setup.work / "ci-root")]

    def new_root() -> None:
        subprocess.run([*ours, "system", "reset", "--force"], check=False, capture_output=True)

    def forget() -> None:
        docker = setup.peers.docker
        assert docker is not None
        for words in (["builder", "prune", "-af"], ["image", "prune", "-af"]):
            subprocess.run([*docker, *words], check=False, capture_output=True)

    def job(prefix: Sequence[str]) -> list[str]:
        name = f"{registry}/bench/ci-{next(roots)}:1"
        return [
            *prefix,
            "build",
            "--push",
            "--provenance=false",
            "-t",
            name,
            "--cache-from",
            cache,
            str(path),
        ]

    commands = [Command("boxwright", job(ours), before=new_root)]
    if setup.peers.docker:
        env = {"DOCKER_BUILDKIT": "1"}
        commands.append(Command("buildkit", job([*setup.peers.docker, "buildx"]), before=forget, env=env))
    yield "CI job, all steps in the registry's cache", compare(commands), "1/3 of buildx, no layer moved"
    new_root()
    setup.forget_busybox()  # the peer's was pruned
