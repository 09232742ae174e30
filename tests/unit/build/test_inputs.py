"""Where a Dockerfile and its ignore file are read from: never from outside the tree that holds them."""

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


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    yield engine
    engine.services.db.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context beside a directory that does not belong to it."""
    for name in ("context/sub", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outside/Dockerfile").write_text("FROM scratch\nCOPY a /outside\n")
    (tmp_path / "outside/ignore").write_text("a\n")
    (tmp_path / "context/Good").write_text("FROM scratch\nCOPY a /good\n")
    (tmp_path / "context/ignored").write_text("a\n")
    (tmp_path / "context/a").write_text("a")
    return tmp_path / "context"


def built(engine: Engine, **request: Any) -> set[str]:
    engine.build(BuildRequest(tags=("out",), **request))
    return set(corpus.tree(engine, "out")) - {""}


def test_a_link_inside_the_context_works(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").symlink_to("Good")
    (context / "sub/Up").symlink_to("../Good")
    (context / "sub/Abs").symlink_to("/Good")
    assert built(engine, context=context) == {"good"}
    for name in ("sub/Up", "sub/Abs"):
        assert built(engine, context=context, dockerfile=context / name) == {"good"}


@pytest.mark.parametrize("target", ["../outside/Dockerfile", "{outside}/Dockerfile", "up/outside/Dockerfile"])
@pytest.mark.parametrize("named", [True, False])
def test_a_link_out_of_the_context_is_not_followed(
    engine: Engine, context: Path, target: str, named: bool
) -> None:
    outside = context.parent / "outside"
    (context / "up").symlink_to("..")
    (context / "Dockerfile").symlink_to(target.format(outside=outside))
    with pytest.raises(BuildFailed, match="open Dockerfile: no such file or directory"):
        built(engine, context=context, dockerfile=context / "Dockerfile" if named else None)


def test_what_the_user_names_outside_is_read(engine: Engine, context: Path) -> None:
    outside = context.parent / "outside"
    (outside / "Link").symlink_to("../outside/Dockerfile")
    (context / "way").symlink_to("../outside")
    for path in (outside / "Dockerfile", outside / "Link", context / "way/Dockerfile"):
        assert built(engine, context=context, dockerfile=path) == {"outside"}


def test_no_regular_file_is_no_dockerfile(engine: Engine, context: Path) -> None:
    """A pipe would be waited for."""
    os.mkfifo(context / "Dockerfile")
    with pytest.raises(BuildFailed, match="not a regular file"):
        built(engine, context=context)


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ("ignored", True),
        ("/ignored", True),
        ("../ignored", True),  # '..' of the top is the top
        ("../outside/ignore", False),
        ("sub", False),
        (".dockerignore", False),
        ("nothing", False),
        ("a/below", False),
    ],
)
def test_ignore_files_are_paths_of_the_context(
    engine: Engine, context: Path, target: str, read: bool
) -> None:
    for name in (".dockerignore", "Good.dockerignore"):
        link = context / name
        link.symlink_to(target)
        for request in (
            {"context": context},
            {"context": context.parent / "outside", "build_contexts": {"named": str(context)}},
        ):
            text = b"FROM scratch\nCOPY --from=named a /good\n" if "build_contexts" in request else None
            if text and name != ".dockerignore":
                continue
            more = {"dockerfile_data": text} if text else {"dockerfile": context / "Good"}
            if read:
                with pytest.raises(BuildFailed, match="not found"):
                    built(engine, **request, **more)
            else:
                assert built(engine, **request, **more) == {"good"}
        link.unlink()


def test_a_directory_is_no_ignore_file(engine: Engine, context: Path) -> None:
    (context / "Good.dockerignore").mkdir()
    (context / ".dockerignore").write_text("a\n")
    with pytest.raises(BuildFailed, match="not found"):
        built(engine, context=context, dockerfile=context / "Good")
    (context / ".dockerignore").unlink()
    (context / ".dockerignore").mkdir()
    assert built(engine, context=context, dockerfile=context / "Good") == {"good"}


def test_an_ignore_file_beside_a_dockerfile_elsewhere(engine: Engine, context: Path) -> None:
    outside = context.parent / "outside"
    (outside / "Dockerfile.dockerignore").symlink_to("ignore")
    with pytest.raises(BuildFailed, match="not found"):
        built(engine, context=context, dockerfile=outside / "Dockerfile")
    (outside / "Dockerfile.dockerignore").unlink()
    (outside / "Dockerfile.dockerignore").symlink_to("../context/ignored")
    assert built(engine, context=context, dockerfile=outside / "Dockerfile") == {"outside"}


@pytest.mark.parametrize("name", ["Dockerfile", "sub/Way", "/sub/Way", "../{outside}/Dockerfile", "fifo"])
def test_an_archive_reads_nothing_of_the_host(engine: Engine, context: Path, name: str) -> None:
    outside = context.parent / "outside"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for member, kind, target in (
            ("Dockerfile", tarfile.SYMTYPE, f"{outside}/Dockerfile"),
            ("sub", tarfile.SYMTYPE, str(outside)),
            ("sub/Way", tarfile.SYMTYPE, "../../outside/Dockerfile"),
            (".dockerignore", tarfile.SYMTYPE, f"{outside}/ignore"),
            ("fifo", tarfile.FIFOTYPE, ""),
            ("a", tarfile.REGTYPE, ""),
        ):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    chosen = Path(name.format(outside=outside))
    data.seek(0)
    with pytest.raises(BoxwrightError, match=r"no such file|not a regular file"):
        built(engine, stream=data, dockerfile=chosen if name != "Dockerfile" else None)
    data.seek(0)
    text = b"FROM scratch\nCOPY a /copied\n"
    assert built(engine, stream=data, dockerfile_data=text) == {"copied"}
