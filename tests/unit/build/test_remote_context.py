"""Contexts that are at a URL: a Git repository, a tar, a lone Dockerfile (from a web server on loopback)."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.request import BuildFailed, BuildRequest
from boxwright.errors import BoxwrightError
from support.gitserver import git
from support.image import engine as make_engine
from support.peers import needs
from support.web import serving_files

pytestmark = needs("git")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The server's URL, and the first commit of its repository."""
    top = tmp_path_factory.mktemp("site")
    work = top / "work"
    (work / "docker").mkdir(parents=True)
    (work / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "docker/Dockerfile").write_text("FROM scratch\nCOPY . /sub/\n")
    (work / "app").write_text("one\n")
    (work / "tool").write_text("#!/bin/sh\n")
    (work / "tool").chmod(0o755)
    (work / ".dockerignore").write_text("app\n")
    (work / "leak").symlink_to("/etc/passwd")
    (work / "out").symlink_to("/etc")
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "one")
    first = git(work, "rev-parse", "HEAD")
    git(work, "tag", "v1")
    (work / "app").write_text("two\n")
    git(work, "commit", "-q", "-a", "-m", "two")
    git(top, "clone", "-q", "--bare", str(work), "app.git")
    git(top / "app.git", "update-server-info")
    with tarfile.open(top / "context.tar.gz", "w:gz") as tar:
        for name, data in (("Dockerfile", b"FROM scratch\nCOPY f /f\n"), ("f", b"from the tar")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (top / "Lone").write_text("FROM scratch\nCOPY <<E /made\nhere\nE\n")
    (top / "noise").write_bytes(b"\0" * 100 + b"x" * 20_000_000)
    with serving_files(top) as url:
        yield url, first


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return make_engine(tmp_path / "root")


def built(engine: Engine, remote: str, **more: object) -> dict[str, str]:
    engine.build(BuildRequest(remote=remote, tags=("x",), **more))  # type: ignore[arg-type]
    assert os.listdir(engine.root / "work") == []
    return {path: what for path, what in corpus.tree(engine, "x").items() if path}


def test_a_branch(engine: Engine, site: tuple[str, str]) -> None:
    """All of it: ignore files are for what would have to be left out of an upload."""
    found = built(engine, f"{site[0]}/app.git")
    assert {"app", "tool", ".dockerignore", "docker/Dockerfile"} <= set(found) and not any(
        p.startswith(".git/") for p in found
    )
    assert found["tool"].startswith("file 0755 0:0") and found["app"].startswith("file 0644 0:0")


@pytest.mark.parametrize("ref", ["v1", "{commit}", "main"])
def test_a_reference_and_a_directory(engine: Engine, site: tuple[str, str], ref: str) -> None:
    assert set(built(engine, f"{site[0]}/app.git#{ref.format(commit=site[1])}:docker")) == {
        "sub",
        "sub/Dockerfile",
    }


def test_what_a_tag_was(engine: Engine, site: tuple[str, str]) -> None:
    assert built(engine, f"{site[0]}/app.git#v1")["app"] != built(engine, f"{site[0]}/app.git#main")["app"]


def test_the_umask_does_not_show(engine: Engine, site: tuple[str, str], tmp_path: Path) -> None:
    layers = []
    for umask in (0o022, 0o077):
        before = os.umask(umask)
        try:
            other = make_engine(tmp_path / f"{umask}")
            other.build(BuildRequest(remote=f"{site[0]}/app.git#v1", tags=("x",)))
            layers.append(other.services.images_store.resolve_platform("x").layers)
        finally:
            os.umask(before)
    assert layers[0] == layers[1]


def test_a_tar_and_a_lone_dockerfile(engine: Engine, site: tuple[str, str]) -> None:
    assert set(built(engine, f"{site[0]}/context.tar.gz")) == {"f"}
    assert set(built(engine, f"{site[0]}/Lone")) == {"made"}


def test_named_contexts(engine: Engine, site: tuple[str, str]) -> None:
    text = b"FROM scratch\nCOPY --from=code app /app\nCOPY --from=tar f /f\n"
    contexts = {"code": f"{site[0]}/app.git#v1", "tar": f"{site[0]}/context.tar.gz"}
    engine.build(BuildRequest(dockerfile_data=text, build_contexts=contexts, tags=("x",)))
    assert {"app", "f"} <= set(corpus.tree(engine, "x"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/none.tar", "invalid response status 404"),
        ("/app.git#nosuch", "has no reference nosuch"),
        ("/app.git#main:nowhere", "has no directory 'nowhere'"),
        ("/app.git#main:out", "has no directory 'out'"),
        ("/noise", "neither a tar archive nor a Dockerfile"),
    ],
)
def test_refusals(engine: Engine, site: tuple[str, str], place: str, said: str) -> None:
    with pytest.raises(BoxwrightError, match=said):
        engine.build(BuildRequest(remote=site[0] + place))
    assert os.listdir(engine.root / "work") == []


def test_a_dockerfile_that_is_a_link_to_the_hosts(engine: Engine, site: tuple[str, str]) -> None:
    """An excerpt of it would be shown."""
    with pytest.raises(BuildFailed, match="open leak: no such file or directory"):
        engine.build(BuildRequest(remote=f"{site[0]}/app.git", dockerfile=Path("leak")))


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("/app.git#v1", {}),
        ("/app.git#v1", {"dockerfile": Path("none")}),
        ("/app.git#v1:out", {}),
        ("/app.git#nosuch", {}),
        ("/none.git", {}),
        ("/none.tar", {}),
        ("/noise", {}),
        ("/app.git#v1", {"build_contexts": {"x": "{}/Lone"}, "dockerfile_data": b"FROM scratch\n"}),
        ("/app.git#v1", {"dockerfile_data": b"FROM scratch\nADD {}/none /x\n"}),
        ("/app.git#v1", {"dockerfile_data": b"FROM scratch\nADD {}/none.git /x\n"}),
    ],
)
def test_a_password_in_a_url_is_shown_nowhere(
    engine: Engine, site: tuple[str, str], place: str, more: dict[str, Any]
) -> None:
    """Neither in progress nor in errors, and git's arguments do not have it (test_git)."""
    url = site[0].replace("//", "//user:hush@")
    given = {
        key: {name: text.format(url) for name, text in value.items()}
        if isinstance(value, dict)
        else value.replace(b"{}", url.encode())
        if isinstance(value, bytes)
        else value
        for key, value in more.items()
    }
    events: list[object] = []
    try:
        engine.build(BuildRequest(remote=url + place, **given), progress=events.append)
    except BoxwrightError as error:
        said = f"{error} {error.hint}"
    else:
        said = ""
    shown = [repr(event) for event in events if "ADD" not in repr(event)]  # the Dockerfile's own text
    assert "hush" not in said and not [text for text in shown if "hush" in text]
