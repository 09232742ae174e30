"""Moves of this process to where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxwright.runtime import moves
from boxwright.runtime.moves import Ahead, own_group


def group(root: Path, place: str, *pids: int) -> Path:
    """A list of processes, where the kernel would show it."""
    path = root / place / "cgroup.procs"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{pid}\n" for pid in pids))
    return path


def found(root: Path, told: str) -> str:
    """Which list is opened, below the root; '' for none."""
    (root / "told").write_text(told)
    fd = own_group(str(root), str(root / "told"))
    if fd < 0:
        return ""
    try:
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(f"{root}/")
    finally:
        os.close(fd)


def test_the_deepest_group_is_taken(tmp_path: Path) -> None:
    group(tmp_path, "pids", 1, os.getpid())
    group(tmp_path, "memory/a/b", os.getpid())
    assert found(tmp_path, "9:pids:/\n4:memory:/a/b\n0::/\n") == "memory/a/b/cgroup.procs"


def test_a_hierarchy_without_controllers_goes_by_its_name(tmp_path: Path) -> None:
    group(tmp_path, "systemd/user", os.getpid())
    assert found(tmp_path, "1:name=systemd:/user\n") == "systemd/user/cgroup.procs"


def test_version_2_alone_and_beside_version_1(tmp_path: Path) -> None:
    beside = group(tmp_path, "unified/x", os.getpid())
    assert found(tmp_path, "0::/x\n") == "unified/x/cgroup.procs"
    beside.unlink()
    group(tmp_path, "x", os.getpid())
    assert found(tmp_path, "0::/x\n") == "x/cgroup.procs"


def test_a_group_that_this_process_is_not_in_is_left_alone(tmp_path: Path) -> None:
    """As with the host's tree in a container, whose paths mean others there."""
    group(tmp_path, "pids/a", os.getpid() * 10)
    group(tmp_path, "cpu", os.getpid())
    assert found(tmp_path, "2:pids:/a\n1:cpu:/\n") == "cpu/cgroup.procs"
    group(tmp_path, "cpu", 1)
    assert found(tmp_path, "2:pids:/a\n1:cpu:/\n") == ""


def test_nothing_to_be_found(tmp_path: Path) -> None:
    assert found(tmp_path, "3:memory:/gone\n") == ""
    assert own_group(str(tmp_path), str(tmp_path / "absent")) == -1


def test_moves_begin_inside_the_context_and_end_with_it() -> None:
    read, write = os.pipe()
    with Ahead(lambda: write):
        assert os.read(read, 1) == b"0"
    while os.read(read, 4096):  # up to its end: the thread has closed the list
        pass
    os.close(read)


def test_no_group_is_changed() -> None:
    before = Path("/proc/self/cgroup").read_text()
    with Ahead():
        pass
    assert Path("/proc/self/cgroup").read_text() == before


def test_where_no_thread_can_be_started_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(moves, "start_new_thread", refused)
    begun = []
    with Ahead():
        begun.append(1)
    assert begun
