"""Bases from a registry: asked for by name, pulled only when a step needs their layers, followed when they move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build.progress import BuildWarning
from boxwright.build.request import BuildFailed, BuildResult
from boxwright.settings import load
from support_registry import FakeRegistry, make_image, running


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as registry:
        registry.add_image("lib/base", "1", make_image({"etc/one": b"1"}))
        yield registry


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    settings = load(
        {"HOME": str(tmp_path), "BOXWRIGHT_ROOT": str(tmp_path / "root"), "PATH": "/usr/bin:/bin"}
    )
    engine = Engine(settings=replace(settings, environ={}))
    yield engine
    engine.registry.http.close()
    engine.db.close()


def build(engine: Engine, text: str, **more: Any) -> BuildResult:
    return engine.build(dockerfile_data=text.encode(), explain=True, **more)


def blobs(registry: FakeRegistry) -> int:
    """How many blobs were asked for; resets the count."""
    count = len(registry.requests("GET", "/blobs/"))
    registry.log.clear()
    return count


def test_pulled_when_needed(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/lib/base:1"
    assert (
        build(engine, f"FROM {name} AS unused\nFROM scratch\nLABEL a=b\n").image_id and blobs(registry) == 0
    )
    result = build(engine, f"FROM {name}\nWORKDIR /new\n", tags=("app",))
    assert blobs(registry) >= 2 and [s.cached for s in result.steps] == [True, False]
    assert engine.images_store.find(name) is not None  # the next build finds it here
    assert build(engine, f"FROM {name}\nWORKDIR /new\n").image_id == result.image_id and not registry.log


def test_a_full_hit_pulls_nothing(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/lib/base:1"
    first = build(engine, f"FROM {name}\nWORKDIR /new\n", tags=("app",))
    engine.rmi(name)
    blobs(registry)
    again = build(engine, f"FROM {name}\nWORKDIR /new\n", tags=("app",))
    assert again.image_id == first.image_id and again.cached and blobs(registry) == 1  # the config


def test_pull_follows_a_base_that_moved(registry: FakeRegistry, engine: Engine) -> None:
    text = f"FROM {registry.host}/lib/base:1\nWORKDIR /new\n"
    build(engine, text)
    registry.add_image("lib/base", "1", make_image({"etc/two": b"2"}))
    assert build(engine, text).cached
    moved = build(engine, text, pull=True)
    assert not moved.cached and moved.steps[1].reason.startswith(
        f"base moved {registry.host}/lib/base:1@sha256:"
    )
    assert build(engine, text).cached  # the new one is the one that is here


def test_what_is_nowhere(registry: FakeRegistry, engine: Engine) -> None:
    with pytest.raises(BuildFailed, match=f"{registry.host}/lib/none:latest: not found") as caught:
        build(engine, f"FROM {registry.host}/lib/none\nWORKDIR /x\n")
    assert ">>> FROM" in caught.value.render()


def test_another_platform(registry: FakeRegistry, engine: Engine) -> None:
    events: list[Any] = []
    build(
        engine,
        f"FROM --platform=linux/s390x {registry.host}/lib/base:1\nWORKDIR /x\n",
        progress=events.append,
    )
    assert [e.rule for e in events if isinstance(e, BuildWarning)] == [
        "FromPlatformFlagConstDisallowed",
        "InvalidBaseImagePlatform",
    ]


def test_a_base_for_another_platform_is_told_once_unless_it_is_meant(
    registry: FakeRegistry, engine: Engine
) -> None:
    """With its line, in the result, and obedient to what the file says of its checks."""
    from_ = f"FROM {registry.host}/lib/base:1\nWORKDIR /x\n"
    one = build(engine, from_, platforms=("linux/s390x",))
    assert [(w.rule, w.line) for w in one.warnings] == [("InvalidBaseImagePlatform", 1)]
    assert 'expected "linux/s390x" for current build' in one.warnings[0].message
    assert ">>> FROM" in one.warnings[0].excerpt
    twice = f"{from_}{from_}"
    assert [w.line for w in build(engine, twice, platforms=("linux/s390x",), target="").warnings] == [3]
    skipped = f"# check=skip=InvalidBaseImagePlatform\n{from_}"
    assert build(engine, skipped, platforms=("linux/s390x",)).warnings == ()
    above = f"# syntax=x\n\n# check=skip=InvalidBaseImagePlatform\n{from_}"
    assert build(engine, above, platforms=("linux/s390x",)).warnings == ()
    with pytest.raises(BuildFailed, match="rules: InvalidBaseImagePlatform") as caught:
        build(engine, f"# check=error=true\n{from_}", platforms=("linux/s390x",))
    assert 'expected "linux/s390x"' in caught.value.hint
