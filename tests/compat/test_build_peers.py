"""COPY and ADD against buildah: the same contexts give the same trees (tests/data/bud-corpus)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.request import BuildFailed
from support import REAL_ROOT

pytestmark = [
    pytest.mark.peer,
    pytest.mark.rooted,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
]

# Where BuildKit, which is the model, and buildah are known to differ (docs/dockerfile.md).
DIFFERENT = {
    "copy-multiple-missing-file-with-nomatch-on-glob": "a wildcard without a match is no error",
    "volume Dockerfile": "VOLUME makes no directory",
    "ignore-exceptions-weirdness-1 Dockerfile": "exceptions below excluded directories",
    "ignore-exceptions-weirdness-2 Dockerfile": "exceptions below excluded directories",
    "copy-permissions": "owners of the context are the checkout's accident",
    "copy-escape-glob Dockerfile": "buildah before 1.33 does not know the escape",
    "setuid-file-in-context": "buildah before 1.33 drops the bits",
    "dockerignore-exclude-kind-of-deep-subdir-dot": "exceptions below excluded directories",
    "dockerignore-exclude-kind-of-deep-subdir-star": "exceptions below excluded directories",
}
CASES = [
    case
    for case in corpus.cases()
    if not case["needs_run"]
    and "needs_image" not in case
    and case["name"] not in DIFFERENT
    and "env-" not in case["name"]
    and "--exclude" not in case["name"]  # which buildah has since 1.33
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    corpus.provide_bases(engine, corpus.small_base())
    yield engine
    engine.services.db.close()


class Buildah:
    """buildah with a store of its own, and without driver: files are what is compared."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (directory / "registries.conf").write_text(
            'unqualified-search-registries = []\nshort-name-mode = "permissive"\n'
        )

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        store = [
            "--root",
            str(self.directory / "root"),
            "--runroot",
            str(self.directory / "run"),
            "--storage-driver",
            "vfs",
        ]
        config = ["--registries-conf", str(self.directory / "registries.conf")]
        return subprocess.run(
            ["buildah", *store, *config, *words], capture_output=True, check=check, timeout=120
        )

    def build(self, case: dict[str, Any], context: Path, archive: Path) -> bool:
        """Build the case; False when buildah refuses."""
        words = [
            "bud",
            "--quiet",
            "--pull=never",
            "--isolation",
            "chroot",
            "--format",
            "oci",
            "--layers=false",
        ]
        words += [f"--build-arg={k}={v}" for k, v in case.get("build_args", {}).items()]
        done = self.run(
            *words, "-t", "localhost/case", "-f", str(context / case["dockerfile"]), str(context), check=False
        )
        if done.returncode:
            return False
        self.run(
            "push",
            "--signature-policy",
            str(self.directory / "policy.json"),
            "localhost/case",
            f"docker-archive:{archive}:case:peer",
        )
        self.run("rmi", "--all", "--force", check=False)
        return True


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Buildah:
    return Buildah(tmp_path_factory.mktemp("buildah"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if c["bases"] == ["scratch"]], ids=corpus.title)
def test_same_tree(case: dict[str, Any], engine: Engine, buildah: Buildah, tmp_path: Path) -> None:
    context = corpus.lay_out(case, tmp_path)
    theirs = buildah.build(case, context, tmp_path / "theirs.tar")
    try:
        engine.build(corpus.request(case, context, tags=("case:ours",)))
        ours = True
    except BuildFailed:
        ours = False
    assert ours == theirs
    if ours:
        engine.images.load(tmp_path / "theirs.tar")
        assert without_root(corpus.tree(engine, "case:ours")) == without_root(
            corpus.tree(engine, "case:peer")
        )


def without_root(tree: dict[str, str]) -> dict[str, str]:
    return {path: what for path, what in tree.items() if path}
