"""Git repositories over dumb and smart HTTP: submodules, both object formats, and what each key of the query does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.request import BuildFailed, BuildRequest, Output
from boxwright.layer.view import LayersView
from support.gitserver import COMMITTED, git, publish, serving
from support.image import engine as make_engine
from support.peers import needs

pytestmark = needs("git")


class Site(NamedTuple):
    url: str
    first: str  # commit of the tag
    last: str  # of the branch


def repository(work: Path, algorithm: str = "sha1") -> tuple[str, str]:
    work.mkdir()
    git(work, "init", "-q", "-b", "main", f"--object-format={algorithm}")
    (work / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "sub").mkdir()
    (work / "sub/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "app").write_text("one\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "one")
    git(work, "tag", "-a", "-m", "first", "v1")
    first = git(work, "rev-parse", "HEAD")
    (work / "app").write_text("two\n")
    git(work, "commit", "-q", "-a", "-m", "two")
    return first, git(work, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    top = tmp_path_factory.mktemp("site")
    first, last = repository(top / "work")
    publish(top / "work", top / "app.git")
    repository(top / "wide", "sha256")
    publish(top / "wide", top / "wide.git")
    repository(top / "lib")
    publish(top / "lib", top / "lib.git")
    (top / "with").mkdir()
    git(top / "with", "init", "-q", "-b", "main")
    (top / "with/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    with serving(top) as url:
        git(top / "with", "submodule", "add", "-q", f"{url}/smart/lib.git", "lib")
        git(top / "with", "config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
        git(top / "with", "add", "-A")
        git(top / "with", "commit", "-q", "-m", "with")
        publish(top / "with", top / "with.git")
        yield Site(url, first, last)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return make_engine(tmp_path / "root")


def built(engine: Engine, remote: str, **more: object) -> dict[str, str]:
    engine.build(BuildRequest(remote=remote, tags=("x",), **more))  # type: ignore[arg-type]
    return {path: what for path, what in corpus.tree(engine, "x").items() if path}


def content(engine: Engine, path: str) -> bytes:
    layers = engine.services.images_store.resolve_platform("x").layers
    view = LayersView([engine.services.layers.get(layer) for layer in layers])
    found = view.read(path)
    assert found is not None
    return found


def times(engine: Engine) -> set[int]:
    layers = engine.services.images_store.resolve_platform("x").layers
    view = LayersView([engine.services.layers.get(layer) for layer in layers])
    return {node.mtime_ns // 1_000_000_000 for node in view.walk("") if node.path}


@pytest.mark.parametrize("protocol", ["dumb", "smart"])
@pytest.mark.parametrize("name", ["app", "wide"])
def test_protocols_and_object_formats(engine: Engine, site: Site, protocol: str, name: str) -> None:
    assert {"app", "sub/Dockerfile"} <= set(built(engine, f"{site.url}/{protocol}/{name}.git"))
    assert content(engine, "app") == b"two\n"
    built(engine, f"{site.url}/{protocol}/{name}.git?tag=v1")
    assert content(engine, "app") == b"one\n"


@pytest.mark.parametrize("protocol", ["dumb", "smart"])
def test_submodules(engine: Engine, site: Site, protocol: str) -> None:
    assert "lib/app" in built(engine, f"{site.url}/{protocol}/with.git")
    assert "lib/app" not in built(engine, f"{site.url}/{protocol}/with.git?submodules=false")


@pytest.mark.parametrize(
    ("words", "app"),
    [
        ("?ref=v1", b"one\n"),
        ("?tag=v1", b"one\n"),
        ("?branch=main", b"two\n"),
        ("?ref=refs/heads/main", b"two\n"),
        ("?ref={first}", b"one\n"),
        ("#{first}", b"one\n"),
        ("?commit={last}", b"two\n"),
        ("?tag=v1&checksum={first}", b"one\n"),
        ("?fetch-by-commit&checksum={first}", b"one\n"),
        ("?fetch-by-commit=true&commit={first}#refs/heads/main", b"one\n"),
    ],
)
def test_references(engine: Engine, site: Site, words: str, app: bytes) -> None:
    built(engine, f"{site.url}/smart/app.git" + words.format(first=site.first, last=site.last))
    assert content(engine, "app") == app


def test_a_folder(engine: Engine, site: Site) -> None:
    assert set(built(engine, f"{site.url}/smart/app.git?subdir=sub")) == {"Dockerfile"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("?tag=main", "has no reference refs/tags/main"),
        ("?branch=main&checksum={first}", "expected checksum to match"),
        ("?fetch-by-commit=true", "requires a full commit SHA checksum, got ''"),
        ("?fetch-by-commit=true&checksum=deadbeef", "requires a full commit SHA checksum, got 'deadbeef'"),
    ],
)
def test_refusals(engine: Engine, site: Site, words: str, said: str) -> None:
    with pytest.raises(BuildFailed, match=said.replace("?", r"\?")):
        built(engine, f"{site.url}/smart/app.git" + words.format(first=site.first))


def test_a_commit_is_fetched_without_asking_what_references_mean(engine: Engine, site: Site) -> None:
    """The branch of that name is not on the server any more."""
    words = f"?fetch-by-commit=true&commit={site.first}&keep-git-dir=true#refs/heads/gone"
    built(engine, f"{site.url}/smart/app.git{words}")
    assert content(engine, ".git/refs/heads/gone").decode().strip() == site.first


@pytest.mark.parametrize("protocol", ["dumb", "smart"])
@pytest.mark.parametrize(
    ("words", "arguments"),
    [("?keep-git-dir=true&tag=v1", {}), ("#v1", {"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"})],
)
def test_the_repository_is_kept_with_the_name_that_was_asked_for(
    engine: Engine, site: Site, tmp_path: Path, protocol: str, words: str, arguments: dict[str, str]
) -> None:
    out = tmp_path / "out"
    request = BuildRequest(
        remote=f"{site.url}/{protocol}/app.git{words}",
        build_args=arguments,
        outputs=(Output("local", str(out)),),
    )
    engine.build(request)
    safe = ["git", "-c", "safe.directory=*", "-C", str(out)]
    said = subprocess.run([*safe, "describe", "--tags"], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "v1"
    remote = subprocess.run(
        [*safe, "remote", "get-url", "origin"], check=True, capture_output=True, text=True
    )
    assert remote.stdout.strip() == f"{site.url}/{protocol}/app.git"


def test_times(engine: Engine, site: Site) -> None:
    """Files of a repository have no times of their own; those of the commit and of the checkout can be asked for."""
    place = f"{site.url}/smart/app.git"
    built(engine, place)
    assert times(engine) == {315532800}
    built(engine, f"{place}?mtime=commit")
    assert times(engine) == {COMMITTED}
    built(engine, f"{place}?mtime=checkout")
    assert min(times(engine)) > COMMITTED
    for words, expected in (("", {315532800}), ("?mtime=commit", {COMMITTED})):
        text = f"FROM scratch\nADD {place}{words} /\n".encode()
        engine.build(BuildRequest(dockerfile_data=text, context=engine.root, tags=("x",)))
        assert times(engine) == expected
    text = f"FROM scratch\nADD {place}?mtime=commit /\n".encode()
    early = {"SOURCE_DATE_EPOCH": "5"}
    engine.build(BuildRequest(dockerfile_data=text, context=engine.root, build_args=early, tags=("x",)))
    assert times(engine) == {5}


def test_a_named_context_with_times(engine: Engine, site: Site) -> None:
    text = b"FROM scratch\nCOPY --from=code app /app\n"
    contexts = {"code": f"{site.url}/smart/app.git?mtime=commit#v1"}
    engine.build(BuildRequest(dockerfile_data=text, build_contexts=contexts, tags=("x",)))
    assert times(engine) == {COMMITTED} and content(engine, "app") == b"one\n"
