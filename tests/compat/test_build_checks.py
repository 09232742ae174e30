"""`build --check` and `--call`, beside buildx and the BuildKit of dockerd: the same warnings, texts and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.images
from boxwright import Engine
from boxwright.cli.main import main
from support import DATA
from support.corpus import leave
from support.peers import DOCKERD, dockerd

pytestmark = DOCKERD
RULES: list[dict[str, Any]] = json.loads((DATA / "vectors/lint-rules.json").read_text())["cases"]
DOCKERFILES: list[dict[str, Any]] = json.loads((DATA / "dockerfiles.json").read_text())
CORPUS = sorted(
    path
    for path in (DATA / "bud-corpus").iterdir()
    if (path / "Dockerfile").is_file() and b"# syntax=" not in (path / "Dockerfile").read_bytes()
)
BASES = ("busybox", "alpine")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with dockerd(tmp_path_factory.mktemp("docker")) as command:
        said = subprocess.run([*command, "buildx", "version"], capture_output=True)
        if said.returncode:
            pytest.skip("there is no buildx: make peers")
        for name in BASES:
            subprocess.run(
                [*command, "import", "-c", "ENV PATH=/usr/bin:/bin", "-", name],
                input=support.images.busybox_tar(),
                check=True,
                capture_output=True,
            )
        yield command


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    import io

    engine = Engine(tmp_path_factory.mktemp("root"))
    for name in BASES:
        engine.images.import_(
            io.BytesIO(support.images.busybox_tar()), name, changes=["ENV PATH=/usr/bin:/bin"]
        )
    yield engine
    leave(engine)


class Pair:
    """One command line, here and there."""

    def __init__(self, docker: list[str], engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
        self.docker, self.engine, self.capfd = docker, engine, capfd

    def __call__(self, context: Path, *words: str) -> tuple[tuple[int, str], tuple[int, str]]:
        """(exit code, standard output) of theirs, and of ours."""
        theirs = subprocess.run(
            [*self.docker, "buildx", "build", *words, str(context)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        )
        self.capfd.readouterr()
        code = main(["--root", str(self.engine.root), "build", *words, str(context)])
        said = self.capfd.readouterr()
        assert "Traceback" not in said.err
        return (theirs.returncode, theirs.stdout), (code, said.out)


@pytest.fixture
def both(docker: list[str], engine: Engine, capfd: pytest.CaptureFixture[str]) -> Pair:
    return Pair(docker, engine, capfd)


def found(text: str) -> tuple[list[str], list[str], bool]:
    """Warnings in an order of their own, the sources, and whether an error ends the build."""
    data = json.loads(text)
    sources = [f"{source['filename']} {source.get('data', '')}" for source in data["sources"]]
    warnings = sorted(json.dumps(one, sort_keys=True) for one in data["warnings"] or ())
    return warnings, sources, "buildError" in data


def blocks(text: str) -> list[str]:
    """The text of each warning; two of one line come in any order."""
    head, *rest = text.split("\nWARNING: ")
    return [head.strip(), *sorted(block.strip() for block in rest)]


def same(both: Pair, context: Path, *words: str) -> None:
    theirs, ours = both(context, "--call=check,format=json", *words)
    assert ours[0] == theirs[0]
    assert found(ours[1]) == found(theirs[1])
    if not found(ours[1])[2]:
        theirs, ours = both(context, "--check", *words)
        assert ours[0] == theirs[0]
        assert blocks(ours[1]) == blocks(theirs[1])


def newer(case: dict[str, Any]) -> bool:
    """Whether the peer's BuildKit does not know it yet: options above an instruction, rules that were experiments."""
    return "\n# check=" in case["dockerfile"] or case["test"].startswith("testCopyIgnored")


@pytest.mark.parametrize("number", range(len(RULES)), ids=lambda n: f"{n}-{RULES[n]['test']}")
def test_rules(number: int, both: Pair, tmp_path: Path) -> None:
    case = RULES[number]
    if newer(case) or case["test"] == "testBaseImagePlatformMismatch":
        pytest.skip("the peer does not know it, or has no such image")
    (tmp_path / "Dockerfile").write_text(case["dockerfile"])
    if "dockerignore" in case:
        (tmp_path / ".dockerignore").write_text(case["dockerignore"])
    words = [f"--{key.replace(':', '=', 1)}={value}" for key, value in case.get("options", {}).items()]
    same(both, tmp_path, *words)


@pytest.mark.parametrize("case", DOCKERFILES, ids=lambda case: case["name"])
def test_dockerfiles(case: dict[str, Any], both: Pair, tmp_path: Path) -> None:
    if case.get("arguments"):
        pytest.skip("has arguments of its own")
    (tmp_path / "Dockerfile").write_text(case["dockerfile"], newline="")
    theirs, ours = both(tmp_path, "--call=check,format=json")
    assert ours[0] == theirs[0]
    assert found(ours[1]) == found(theirs[1])


@pytest.mark.parametrize("context", CORPUS, ids=lambda path: path.name)
@pytest.mark.parametrize("method", ["check", "outline", "targets"])
def test_corpus(context: Path, method: str, both: Pair) -> None:
    if method == "check":
        same(both, context)
        return
    theirs, ours = both(context, f"--call={method}")
    assert ours == theirs
    theirs, ours = both(context, f"--call={method},format=json")
    assert ours[0] == theirs[0]
    if not ours[0]:
        assert json.loads(ours[1]) == json.loads(theirs[1])
