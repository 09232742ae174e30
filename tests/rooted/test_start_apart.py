"""A program that does not see a mount of the host's: started by a thread, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.errors import Unsupported
from boxwright.runtime.process import PIPE, Stdio, spawn

pytestmark = pytest.mark.rooted


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[Path]:
    """A mount below a mount, with a file in it."""
    outer, inner = tmp_path / "outer", tmp_path / "outer/inner"
    mounted = []
    try:
        for place in (outer, inner):
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
            mounted.append(place)
        (inner / "file").write_text("x")
        yield inner
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", str(place)], check=True)


def listed(inner: Path) -> str:
    process = spawn(["/bin/sh", "-c", f"ls {inner}; echo end"], stdio=Stdio(stdout=PIPE), hidden=str(inner))
    with os.fdopen(process.stdout) as out:
        process.stdout = -1
        text = out.read()
    assert process.wait() == 0
    return text


def test_the_program_does_not_see_it_and_this_process_does(inner: Path) -> None:
    assert listed(inner) == "end\n"
    assert (inner / "file").read_text() == "x"


def _namespaces() -> set[str]:
    return {os.readlink(f"/proc/self/task/{task}/ns/mnt") for task in os.listdir("/proc/self/task")}


def test_threads_of_this_process_stay_where_they_are(inner: Path) -> None:
    before, around = os.readlink("/proc/thread-self/ns/mnt"), _namespaces()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(listed(inner))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["end\n"] * 4
    assert os.readlink("/proc/thread-self/ns/mnt") == before
    assert _namespaces() == around  # the runner of the tests has threads that may be somewhere else


def test_what_is_mounted_afterwards_is_seen_by_the_next(inner: Path, tmp_path: Path) -> None:
    listed(inner)
    later = tmp_path / "later"
    later.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(later)], check=True)
    try:
        (later / "new").write_text("")
        process = spawn(["/bin/sh", "-c", f"test -e {later}/new"], hidden=str(inner))
        assert process.wait() == 0
    finally:
        subprocess.run(["umount", str(later)], check=True)


def test_what_cannot_be_hidden_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot run"):
        spawn(["/bin/true"], hidden=str(tmp_path / "no/mount"))
