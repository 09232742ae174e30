"""New processes: what they inherit, and where programs are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from boxwright.runtime.spawn import ENVIRONMENT, INTERPRETERS, SUPERVISORS, locate, start
from support.descriptors import none_left_open


def said(script: str, *arguments: str, **how: object) -> str:
    """What a shell writes to its descriptor 7."""
    read, write = os.pipe()
    try:
        pid = start("/bin/sh", ["sh", "-c", script, "sh", *arguments], fds={7: write}, **how)  # type: ignore[arg-type]
    finally:
        os.close(write)
    with open(read) as file:
        text = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text.strip()


def test_nothing_is_inherited_but_what_is_asked_for() -> None:
    with open(__file__) as file:
        listed = said("ls -l /proc/self/fd >&7")
        assert os.path.basename(file.name) not in listed
    assert "0 -> /dev/null" in listed and "2 -> /dev/null" in listed and "7 -> pipe:" in listed
    assert said("env | cut -d= -f1 | sort | tr '\\n' ' ' >&7") == "LC_ALL PATH PWD"
    assert said("echo $A >&7", env={**ENVIRONMENT, "A": "b"}) == "b"


def test_descriptors_may_change_places() -> None:
    """2 becomes 3 and 3 becomes 2 in the child, whatever order they are put there in."""
    one, two = os.pipe()
    three, four = os.pipe()
    try:
        pid = start(
            "/bin/sh",
            ["sh", "-c", f"echo a >/proc/self/fd/{two}; echo b >/proc/self/fd/{four}"],
            fds={two: four, four: two},
        )
        os.waitpid(pid, 0)
        assert (os.read(one, 9), os.read(three, 9)) == (b"b\n", b"a\n")
    finally:
        for fd in (one, two, three, four):
            os.close(fd)


@pytest.mark.parametrize(("restored", "kept"), [(INTERPRETERS, "1"), (SUPERVISORS, "0")])
def test_ignored_signals_are_restored(restored: tuple[int, ...], kept: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ignored = said("sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status >&7", signals=restored)
    finally:
        signal.signal(signal.SIGHUP, before)
    mask = int(ignored, 16)
    assert not mask & (1 << (signal.SIGPIPE - 1)) and not mask & (1 << (signal.SIGXFSZ - 1))
    assert mask & 1 == int(kept)


def test_a_program_that_is_not_there_is_an_error_here() -> None:
    with none_left_open(), pytest.raises(FileNotFoundError):
        start("/nowhere/x", ["x"], fds={})


def test_programs_are_found(tmp_path: Path) -> None:
    for name, mode in (("run", 0o755), ("text", 0o644)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "directory").mkdir()
    path = f"::/nowhere:{tmp_path}"
    assert locate("run", path) == locate(str(tmp_path / "run")) == str(tmp_path / "run")
    assert locate("directory", path) == locate("nothing", path) == locate(str(tmp_path)) == ""
    assert locate("sh").endswith("/sh")
