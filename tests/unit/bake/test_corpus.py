"""Definitions as buildx prints them, byte for byte (tests/data/bake)."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.bake import files, requests
from boxwright.bake.allow import Allowed
from boxwright.bake.definition import Outside
from boxwright.bake.resolve import resolve
from support.bake import BUILTIN, DATA, printed

FILES = sorted(p for p in (DATA / "own").iterdir() if p.suffix != ".expected")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_printed(path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
    found = files.read([path.name], path.parent)
    config = files.parse(found, Outside(environ=environ, builtin=BUILTIN), path.parent)
    whole = resolve(config=config, names=["default"], overrides=[], environ=environ, allowed=Allowed())
    requests.settled(whole.targets.values(), cwd=path.parent)
    assert printed(whole) == path.with_name(path.name + ".expected").read_text()


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 40
