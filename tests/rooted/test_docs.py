"""The pages for people do what they show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import support.docs
from support import REAL_ROOT
from support.docs import Command, Desk, File

pytestmark = pytest.mark.rooted

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["concepts.md", "tutorial.md", "registry.md", "moving-images.md", "bake.md", "dockerfile.md"]
)
def test_the_page_is_true(name: str, tmp_path: Path) -> None:
    if not REAL_ROOT:
        pytest.skip("needs root: runs containers")
    if not Path("/bin/busybox").exists():
        pytest.skip("needs busybox-static, from which the pages make their base image")
    page = (DOCS / name).read_text()
    desk = Desk(tmp_path)
    wrong = []
    try:
        for step in support.docs.steps(page):
            if isinstance(step, File):
                desk.write(step)
            elif needed := next(
                (
                    p
                    for p in ("skopeo", "docker", "podman", "curl")
                    if step.line.startswith(p + " ") and not shutil.which(p)
                ),
                "",
            ):
                print(f"{needed} is not installed: {step.line} is left out")
            else:
                real, code = desk.type(step.line)
                if not support.docs.same(step.shown, real) or (
                    code and "Error" not in step.shown and "echo $?" not in step.line
                ):
                    wrong.append(
                        f"$ {step.line}   [exit {code}]\n--- the page says\n{step.shown}--- it is\n{real}"
                    )
    finally:
        desk.close()
    assert not wrong, "\n".join(wrong)


def test_the_comparison_can_fail() -> None:
    page = "Text\n<!-- file: a/b -->\n```text\ncontent\n```\n```console\n$ one \\\n  two\nout 12MB\n…\nend\n$ three\n```\n```sh\n$ no\n```\n"
    file, first, second = support.docs.steps(page)
    assert isinstance(file, File) and (file.name, file.content) == ("a/b", "content\n")
    assert isinstance(first, Command) and (first.line, first.shown) == ("one \\\n  two", "out 12MB\n…\nend\n")
    assert isinstance(second, Command) and (second.line, second.shown) == ("three", "")
    assert page[first.start : first.end] == first.shown
    assert support.docs.same(first.shown, "out 3.4kB\nanything\nmore\nend\n")
    assert support.docs.same(first.shown, "out 3.4kB\nend\n")
    assert not support.docs.same(first.shown, "out\nend\n")
    assert not support.docs.same(first.shown, "out 1B\nend\nmore\n")
    assert support.docs.same("ab12ab12ab12   2 minutes ago\n", "cd34cd34cd34 3 hours ago")
    assert not support.docs.same("busybox   latest\n", "busybox   1\n")
    assert not support.docs.same("", "Error: x\n")
