"""Standard streams that are closed or full: a sentence and an exit code, and nothing is written where it does not belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.cli.archives import OutputInvalid, output_file


def typed(redirection: str, root: Path, words: str) -> subprocess.CompletedProcess[str]:
    script = f'exec "$0" -m boxwright --root "$1" {words} {redirection}'
    return subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, str(root)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        ("<&-", 0, ""),
        (">&-", 1, "Error: the stream is closed\n"),
        ("2>&-", 0, ""),
        (">&- 2>&-", 1, ""),
        ("<&- >&- 2>&-", 1, ""),
        (">/dev/full", 1, "Error: no space left on the disk\n"),
        (">/dev/full 2>&1", 1, ""),
        ("2>/dev/full", 0, ""),
    ],
)
def test_a_list(redirection: str, code: int, told: str, tmp_path: Path) -> None:
    done = typed(redirection, tmp_path, "volume create first")
    again = typed(redirection, tmp_path, "volume ls")
    for result in (done, again):
        assert (
            result.returncode == code and result.stderr.startswith(told) and "Traceback" not in result.stderr
        ), result
    # What the commands said is in no file of the store.
    assert typed("", tmp_path, "volume ls -q").stdout == "first\n"
    assert typed("", tmp_path, "system fsck").returncode == 0


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>&1"])
def test_a_mistake(redirection: str, tmp_path: Path) -> None:
    done = typed(redirection, tmp_path, "nosuch")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_an_output_file_whose_directory_vanishes(tmp_path: Path) -> None:
    """Before it is opened, and while it is written: the sentence names the file that was asked for."""
    (tmp_path / "there").mkdir()
    wrong = pytest.raises(OutputInvalid, match=r"cannot write .*/there/x.tar: No such file")
    with wrong, output_file(str(tmp_path / "there/x.tar")) as out:
        out.write(b"x")
        shutil.rmtree(tmp_path / "there")
    here = os.getcwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    try:
        (tmp_path / "gone").rmdir()
        with pytest.raises(OutputInvalid, match=r"cannot write x.tar: No such file"), output_file("x.tar"):
            pass
    finally:
        os.chdir(here)
