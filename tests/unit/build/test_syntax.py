"""Which frontends a Dockerfile may name: the standard one in all its spellings, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.syntax import check_syntax, detect_syntax, is_standard
from boxwright.build.request import BuildFailed, BuildRequest
from support.image import engine as make_engine


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# syntax=a/b:1\nFROM x\n", ("a/b:1", 1)),
        ("#SYNTAX = a/b:1 and arguments \nFROM x\n", ("a/b:1 and arguments", 1)),
        ("#!/usr/bin/env build\n# syntax=a/b\nFROM x\n", ("a/b", 2)),
        ("# escape=`\n# syntax=a/b\n", ("a/b", 2)),
        ("\ufeff# syntax=a/b\n", ("a/b", 1)),
        ("// syntax=a/b\nx {}\n", ("a/b", 1)),
        ("//key=value\n// syntax = a/b\r\n", ("a/b", 2)),
        ('{"syntax": "a/b", "x": 1}', ("a/b", 1)),
        ("# a comment\n# syntax=a/b\n", None),
        ("\n# syntax=a/b\n", None),
        ("FROM x\n# syntax=a/b\n", None),
        ('{"syntax": 1}', None),
        ("{" * 100_000, None),
        ("", None),
    ],
)
def test_where_it_is_looked_for(text: str, found: tuple[str, int] | None) -> None:
    said = detect_syntax(text.encode())
    assert said == (None if found is None else (found[0], SourceRange(found[1], found[1])))


@pytest.mark.parametrize(
    ("image", "standard"),
    [
        ("docker/dockerfile:1", True),
        ("docker/dockerfile", True),
        ("docker.io/docker/dockerfile:1.7-labs", True),
        ("docker/dockerfile:1@sha256:" + "0" * 64, True),
        ("docker/dockerfile-upstream:master", True),
        ("mirror.example:5000/hub/docker/dockerfile:1", True),
        ("dockerfile.v0", True),
        ("docker/dockerfile-other:1", False),
        ("notdocker/dockerfile", False),
        ("xdocker/dockerfile", False),
        ("ghcr.io/a/frontend", False),
        ("Bad Name", False),
    ],
)
def test_which_is_the_standard_one(image: str, standard: bool) -> None:
    assert is_standard(image) == standard


def test_what_is_given_on_the_command_line_wins() -> None:
    check_syntax(b"# syntax=other/frontend\n", "docker/dockerfile:1")
    with pytest.raises(DockerfileError, match="unsupported frontend 'other/frontend'"):
        check_syntax(b"# syntax=docker/dockerfile:1\n", "other/frontend some arguments")


def test_another_frontend_ends_the_build(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "root")
    with pytest.raises(BuildFailed, match="unsupported frontend 'other/frontend:2'") as caught:
        engine.build(BuildRequest(dockerfile_data=b"# syntax=other/frontend:2\nFROM scratch\n"))
    assert ">>> # syntax=other/frontend:2" in caught.value.excerpt()
    engine.build(BuildRequest(dockerfile_data=b"# syntax=docker/dockerfile:1.4\nFROM scratch\n"))
