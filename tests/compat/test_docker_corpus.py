"""The bud corpus, built by dockerd's BuildKit and here: the same outcome, config, history and layers.

Where we differ is said in docs/dockerfile.md, which names the cases in which it shows; no other case may differ, and
those must.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
import support.differences as differences
import support.images
from boxwright import Engine
from boxwright.cli.main import main
from support.built import opened, settings
from support.peers import DOCKERD, dockerd

pytestmark = DOCKERD
BASES = ("busybox", "alpine", "debian:bookworm-slim", "mirror.gcr.io/busybox", "mirror.gcr.io/alpine")


@pytest.fixture(scope="module")
def base() -> bytes:
    return corpus.extended(support.images.busybox_tar())


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, base: bytes) -> Iterator[list[str]]:
    with dockerd(tmp_path_factory.mktemp("docker")) as command:
        said = subprocess.run([*command, "version", "--format", "{{.Server.Version}}"], capture_output=True)
        if int(said.stdout.split(b".")[0]) < 28:
            pytest.skip(f"docker {said.stdout.decode().strip()} is too old: make peers")
        subprocess.run([*command, "import", "-c", 'CMD ["/bin/sh"]', "-", "busybox"], input=base, check=True)
        for name in BASES[1:]:
            subprocess.run([*command, "tag", "busybox", name], check=True)
        yield command


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, base: bytes) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    corpus.provide_bases(engine, base, *BASES)
    yield engine
    corpus.leave(engine)


def without_syntax(dockerfile: Path) -> None:
    """What the peer would fetch from a registry, and what is built in at both, is a comment."""
    text = dockerfile.read_text()
    if text.startswith("# syntax="):
        dockerfile.write_text(text.replace("# syntax=", "# syntax: ", 1))


def words(case: dict[str, Any], context: Path, *, dockerfile: str, tag: str) -> list[str]:
    """The command line of a build of the case."""
    said = ["build", "--network", "none", "-t", tag, "-f", str(context / dockerfile)]
    for name, value in case.get("build_args", {}).items():
        said += ["--build-arg", f"{name}={value}"]
    for name, value in case.get("secrets", {}).items():
        (context.parent / name).write_text(value)
        said += ["--secret", f"id={name},src={context.parent / name}"]
    if case.get("secrets") or "secret" in case["name"]:
        said.append("--no-cache")
    return [*said, str(context)]


@pytest.mark.parametrize("case", corpus.cases(), ids=corpus.title)
def test_same_image(
    case: dict[str, Any], docker: list[str], engine: Engine, base: bytes, tmp_path: Path, capfd: Any
) -> None:
    context = corpus.lay_out(case, tmp_path)
    wanted = [(dockerfile, name) for name, dockerfile in case.get("needs_image", {}).items()]
    for dockerfile, tag in [*wanted, (case["dockerfile"], "case")]:
        without_syntax(context / dockerfile)
        command = words(case, context, dockerfile=dockerfile, tag=tag)
        theirs = subprocess.run(
            [*docker, *command], capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "1"}, timeout=120
        )
        ours = main(["--root", str(engine.root), command[0], "--trust-host-ca=never", *command[1:]])
    said = capfd.readouterr().err
    assert "Traceback" not in said
    if (theirs.returncode == 0) != (ours == 0):
        differences.check(corpus.title(case), [f"{theirs.stderr.decode()}\n{said}"])
    elif ours:
        differences.check(corpus.title(case), unequal(failure(said), failure(theirs.stderr.decode())))
    else:
        with open(tmp_path / "ours.tar", "wb") as file:
            engine.images.save(["case"], file)
        differences.check(corpus.title(case), compared(docker, (tmp_path / "ours.tar").read_bytes()))


def compared(docker: list[str], saved: bytes) -> list[str]:
    """What is not the same in the image `case` of docker and in this archive."""
    ours, our_layers = opened(saved)
    if not ours["rootfs"]["diff_ids"]:  # docker does not save an image without layers
        told = subprocess.run([*docker, "image", "inspect", "case"], capture_output=True, check=True).stdout
        return unequal(json.loads(told)[0]["RootFS"], {"Type": "layers"})
    archive = subprocess.run([*docker, "save", "case"], capture_output=True, check=True).stdout
    theirs, their_layers = opened(archive)
    return [
        *unequal(settings(ours), settings(theirs)),
        *unequal(made(ours), made(theirs)),
        *unequal(our_layers, their_layers),
    ]


def unequal(ours: object, theirs: object) -> list[str]:
    return [] if ours == theirs else [f"here:  {ours}\nthere: {theirs}"]


def failure(said: str) -> str:
    """What ended a build, without how often the layers of the peer say that it failed."""
    last = [line for line in said.splitlines() if line.startswith("ERROR: ")][-1]
    last = re.sub(
        r"^ERROR: (failed to build: )?(failed to solve: )?(failed to run Build function: )?"
        r"(failed to compute cache key: failed to calculate checksum of ref \S+: )?",
        "",
        last,
    )
    last = re.sub(r"(?<=: invalid reference format): .*", "", last)  # which of its parts is told here alone
    return re.sub(
        r'^".*": not found$', "not found", last
    )  # of several that are missing BuildKit names one by chance


def made(config: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [
        (entry.get("created_by", ""), entry.get("comment", ""), bool(entry.get("empty_layer")))
        for entry in config["history"]
    ]
