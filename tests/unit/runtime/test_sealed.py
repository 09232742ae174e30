"""crun from a sealed file in memory: what is copied, and what is started from its file."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from boxwright.runtime import sealed as module
from boxwright.runtime.sealed import sealed
from boxwright.runtime.spawn import start, start_hiding
from support.descriptors import none_left_open


@pytest.fixture
def crun(tmp_path: Path) -> Path:
    """A program of that name, which says how it was called."""
    program = shutil.which("cat")
    assert program is not None
    return Path(shutil.copy(program, tmp_path / "crun"))


def test_the_copy_is_whole_and_cannot_be_changed(crun: Path) -> None:
    copy = sealed(str(crun))
    try:
        assert os.pread(copy, 1 << 30, 0) == crun.read_bytes()
        assert not os.get_inheritable(copy)
        with pytest.raises(PermissionError):
            os.pwrite(copy, b"x", 0)
        # Those that crun looks for: with one more or less it starts itself again.
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert fcntl.fcntl(copy, fcntl.F_GET_SEALS) == seals
    finally:
        os.close(copy)


@pytest.mark.parametrize("case", ["another name", "a script", "too large", "absent", "labelled"])
def test_what_is_started_from_its_file(crun: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "another name":
        crun = crun.rename(crun.with_name("runc"))
    elif case == "a script":
        crun.write_text("#!/bin/sh\n")
    elif case == "too large":
        os.truncate(crun, module._LARGEST + 1)
    elif case == "absent":
        crun.unlink()
    else:
        monkeypatch.setattr(module, "_LABELLED", str(crun))
    with none_left_open():
        assert sealed(str(crun)) == -1


def test_it_runs_with_its_descriptors_and_leaves_none(crun: Path) -> None:
    read, write = os.pipe()
    with none_left_open():
        pid = start(str(crun), [str(crun), "/proc/self/cmdline", "/proc/self/comm"], fds={1: write, 30: read})
    os.close(write)
    with open(read, "rb") as file:
        assert file.read().startswith(f"{crun}\0/proc/self/cmdline\0".encode())
    assert os.waitpid(pid, 0)[1] == 0


def test_what_refuses_the_copy_is_given_the_file(crun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a policy of the kernel's may."""

    def unfit(program: str) -> int:
        copy = os.memfd_create("crun", os.MFD_CLOEXEC)
        os.fchmod(copy, 0o600)
        return copy

    monkeypatch.setattr("boxwright.runtime.spawn.sealed", unfit)
    read, write = os.pipe()
    pid = start(str(crun), [str(crun), "/proc/self/cmdline"], fds={1: write})
    os.close(write)
    with open(read, "rb") as file:
        assert file.read().startswith(str(crun).encode())
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("fds", [{}, {0: 0}, {40: 1}])
def test_what_is_hidden_from_it_changes_nothing(
    crun: Path, fds: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxwright.runtime.spawn._hide", lambda path: None)
    read, write = os.pipe()
    pid = start_hiding("/nothing", [str(crun), "/proc/self/cmdline"], fds={**fds, 1: write})
    os.close(write)
    with open(read, "rb") as file:
        assert file.read().startswith(str(crun).encode())
    assert os.waitpid(pid, 0)[1] == 0
    pid = start_hiding("/nothing", [str(crun), "/dev/null"], fds=fds)
    assert os.waitpid(pid, 0)[1] == 0
