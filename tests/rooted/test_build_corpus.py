"""The cases of the bud corpus that run something, on a busybox base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
import support.images
from boxwright import Engine
from boxwright.build.request import BuildFailed
from support import REAL_ROOT

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
]

NEEDS = {
    "copychown Dockerfile": "useradd",
    "copy-chown Containerfile.chown_user": "adduser",
}
RUNNING = [c for c in corpus.cases() if c["needs_run"] or "needs_image" in c]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    corpus.provide_bases(engine, corpus.extended(support.images.busybox_tar()))
    yield engine
    corpus.leave(engine)


@pytest.mark.parametrize("case", RUNNING, ids=corpus.title)
def test_build(case: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    if case["name"] in NEEDS:
        pytest.skip(f"busybox has no {NEEDS[case['name']]}")
    context = corpus.lay_out(case, tmp_path)
    for name, dockerfile in case.get("needs_image", {}).items():
        engine.build(corpus.request({**case, "dockerfile": dockerfile}, context, tags=(name,)))
    try:
        engine.build(
            corpus.request(
                case, context, tags=("case",), no_cache=bool(case.get("secrets")) or "secret" in case["name"]
            )
        )
    except BuildFailed as error:
        assert case["expect"] == "error", f"{error}\n{error.render()}"
        if "error" in case:
            assert case["error"] in str(error)
        return
    assert case["expect"] == "ok"
