"""The bud corpus without processes: every case is parsed and planned; those without RUN are built, without privilege.

What the layers contain is kept in tests/data/golden/build; tests/compat compares the same with buildah.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.dockerfile.parse import parse
from boxwright.build.plan import Planner
from boxwright.build.planning import Base, PlanOptions
from boxwright.build.request import BuildFailed
from boxwright.errors import Invalid
from boxwright.spec.config import ImageConfig
from boxwright.spec.platform import Platform
from support import DATA

GOLDEN = DATA / "golden" / "build"
# What the classic builder and buildah refuse and BuildKit does not, or the other way round (docs/dockerfile.md).
DIFFERENT = {
    "copy-multiple-missing-file-with-nomatch-on-glob": "ok",  # a wildcard may match nothing
    "copy-multiple-missing-file-with-glob": "error",
    "copy-chown Dockerfile.bad2": "ok",  # an absent user and group are root's
}
STATIC = [c for c in corpus.cases() if not c["needs_run"] and "needs_image" not in c]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    corpus.provide_bases(engine, corpus.small_base())
    yield engine
    engine.services.db.close()


class AnyBase:
    """Every name is an image."""

    def image(self, name: str, platform: Platform) -> Base:
        return Base(
            f"docker.io/library/{name}",
            "sha256:" + "0" * 64,
            ImageConfig(platform=platform, config={"Env": ["PATH=/bin"]}),
        )


@pytest.mark.parametrize("case", corpus.cases(), ids=corpus.title)
def test_plan(case: dict[str, Any]) -> None:
    """Whatever can be planned is; what cannot says where."""
    path = corpus.CORPUS / case["context"] / case["dockerfile"]
    try:
        plan = Planner(
            parse(path.read_bytes()), PlanOptions(build_args=case.get("build_args", {})), AnyBase()
        ).plan()
    except Invalid as error:
        assert case["expect"] == "error", str(error)
        if "error" in case:
            assert case["error"] in str(error)
        return
    assert plan.target.id and plan.config
    if case.get("error"):
        pytest.fail(f"planned, although it should fail with {case['error']!r}")


@pytest.mark.parametrize("case", STATIC, ids=corpus.title)
def test_build(case: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    context = corpus.lay_out(case, tmp_path)
    expected = DIFFERENT.get(case["name"], case["expect"])
    try:
        result = engine.build(corpus.request(case, context, tags=("case",)))
    except BuildFailed as error:
        assert expected == "error", f"{error}\n{error.render()}"
        assert error.excerpt() or not error.ranges
        return
    assert expected == "ok"
    check_golden(
        case, corpus.entries(engine, result.image_id, above=0 if case["bases"] == ["scratch"] else 1)
    )


@pytest.mark.parametrize(
    "case",
    [c for c in STATIC if "computed_included_files" in c and c["dockerfile"].endswith("-dot")],
    ids=corpus.title,
)
def test_ignored_files_stay_out(case: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    """``COPY .`` takes exactly what the ignore rules leave."""
    engine.build(corpus.request(case, corpus.lay_out(case, tmp_path), tags=("case",)))
    files = {p for p, what in corpus.tree(engine, "case").items() if what.startswith("file")}
    top = next(p for p in files if p.endswith(".dotfile-a.txt")).removesuffix(".dotfile-a.txt")
    found = {p.removeprefix(top) for p in files}
    assert {p for p in found if not p.startswith("Dockerfile")} == set(case["computed_included_files"])


def check_golden(case: dict[str, Any], layers: list[list[str]]) -> None:
    text = "".join(
        f"layer {number}\n" + "".join(f"  {line}\n" for line in lines)
        for number, lines in enumerate(layers, 1)
    )
    path = GOLDEN / f"{corpus.title(case)}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_the_store_is_sound(engine: Engine) -> None:
    """After all of the above, every claim of every image holds."""
    assert not list(engine.system.fsck())
