"""Bases from a registry: asked for by name, pulled only when a step needs their layers, followed when they move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build.bases import BaseNotFound
from boxwright.build.planning import Base
from boxwright.build.progress import BuildWarning
from boxwright.build.registries import EngineRegistries
from boxwright.build.request import BuildFailed, BuildResult
from boxwright.registry.client.auth import LoginRefused
from boxwright.registry.client.errors import AccessDenied
from boxwright.registry.client.http import PeerUnreachable
from boxwright.settings import load
from boxwright.spec.platform import Platform
from support.registry import FakeRegistry, make_image, running


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
    engine.services.registry.http.close()
    engine.services.db.close()


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
    assert engine.services.images_store.find(name) is not None  # the next build finds it here
    assert build(engine, f"FROM {name}\nWORKDIR /new\n").image_id == result.image_id and not registry.log


def test_a_full_hit_pulls_nothing(registry: FakeRegistry, engine: Engine) -> None:
    name = f"{registry.host}/lib/base:1"
    first = build(engine, f"FROM {name}\nWORKDIR /new\n", tags=("app",))
    engine.images.remove(name)
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


def test_a_name_that_is_none(engine: Engine) -> None:
    with pytest.raises(BuildFailed, match='failed to parse stage name "a-": invalid reference format'):
        build(engine, "FROM a-$NOTHING\nWORKDIR /x\n")
    with pytest.raises(BuildFailed, match='failed to parse stage name "up/X": invalid reference format'):
        build(engine, "FROM scratch\nCOPY --from=up/X / /\n")


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
    above = f"# syntax=docker/dockerfile:1\n\n# check=skip=InvalidBaseImagePlatform\n{from_}"
    assert build(engine, above, platforms=("linux/s390x",)).warnings == ()
    with pytest.raises(BuildFailed, match="rules: InvalidBaseImagePlatform") as caught:
        build(engine, f"# check=error=true\n{from_}", platforms=("linux/s390x",))
    assert 'expected "linux/s390x"' in caught.value.hint


@pytest.fixture(params=[BaseNotFound, PeerUnreachable, LoginRefused, AccessDenied])
def nothing_elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No registry has anything, each says it in its way."""

    def peek(self: EngineRegistries, name: str, platform: Platform) -> Base:
        raise request.param("it is not to be had")

    monkeypatch.setattr(EngineRegistries, "peek", peek)


def begins_with(engine: Engine, digits: str) -> str:
    """Images until the ID of one begins so; its name."""
    for number in range(200):
        name = f"number-{number}"
        result = engine.build(dockerfile_data=f"FROM scratch\nENV n={number}\n".encode(), tags=(name,))
        if result.image_id.startswith(f"sha256:{digits}"):
            return name
    raise AssertionError(digits)


@pytest.mark.usefixtures("nothing_elsewhere")
def test_a_name_is_no_beginning_of_an_id(engine: Engine) -> None:
    """Of a local image, whose ID happens to begin with the letters of a name."""
    begins_with(engine, "a")
    for text in ("FROM a\nWORKDIR /x\n", "FROM a AS a\nWORKDIR /x\n", "FROM scratch\nCOPY --from=a / /\n"):
        with pytest.raises(BuildFailed, match=r'is called "a", and docker.io/library/a:latest cannot be'):
            build(engine, text)
    from boxwright.container.config import ContainerConfig
    from boxwright.image.catalog import NoSuchImage

    with pytest.raises(NoSuchImage, match="No such image: a"):
        engine.containers.create(ContainerConfig(image="a"))
    engine.services.images_store.tag("number-0", "a")
    assert build(engine, "FROM a\nWORKDIR /x\n").image_id


@pytest.mark.usefixtures("nothing_elsewhere")
def test_what_was_perhaps_meant(engine: Engine) -> None:
    """A misspelt stage or base is told as such, with what was looked for, whatever the registry says."""
    engine.build(dockerfile_data=b"FROM scratch\nENV a=b\n", tags=("debian:12", "r.example/lib/mine:1"))
    cases = [
        ("FROM scratch AS builder\nFROM buildr\n", 'did you mean the stage "builder"?'),
        (
            "FROM scratch AS builder\nFROM scratch\nCOPY --from=bilder / /\n",
            'did you mean the stage "builder"?',
        ),
        ("FROM debian:13\n", "did you mean the image debian:12?"),
        ("FROM r.example/lib/mime:1\n", "did you mean the image r.example/lib/mine:1?"),
    ]
    for text, hint in cases:
        with pytest.raises(BuildFailed) as caught:
            build(engine, text + "WORKDIR /x\n")
        name = text.split("\n")[-2].split()[1].removeprefix("--from=")
        assert f'no stage, named context or image here is called "{name}"' in str(caught.value)
        assert caught.value.hint == hint and caught.value.ranges
    with pytest.raises(BuildFailed, match=r"debian:12 is here for .* and not for linux/s390x"):
        build(engine, "FROM debian:12\nWORKDIR /x\n", platforms=("linux/s390x",))


def test_what_is_named_by_its_digest_is_not_asked_for(registry: FakeRegistry, engine: Engine) -> None:
    own = build(engine, "FROM scratch\nLABEL a=b\n", tags=("own",))
    contexts = {"own": f"docker-image://{own.target}"}
    heard: list[str] = []

    def tell(event: object) -> None:
        heard.append(getattr(event, "name", ""))

    result = build(engine, "FROM own\nLABEL c=d\n", pull=True, build_contexts=contexts, progress=tell)
    store = engine.services.images_store
    config = store.resolved(store.resolve(result.target), result.target, store.default_platform).config.config
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert f"[context own] load metadata for {own.target}" in heard and f"[context own] {own.target}" in heard
    # A name is asked for, with or without a digest beside it.
    name = f"{registry.host}/lib/base:1"
    build(engine, f"FROM {name}\nWORKDIR /x\n")
    registry.log.clear()
    build(engine, f"FROM {name}\nWORKDIR /x\n", pull=True)
    assert registry.requests("GET", "/manifests/") or registry.requests("HEAD", "/manifests/")
    registry.log.clear()
    with pytest.raises(BuildFailed, match="no image here is sha256:000"):
        build(engine, "FROM none\n", pull=True, build_contexts={"none": "docker-image://sha256:" + "0" * 64})
    assert not registry.log
