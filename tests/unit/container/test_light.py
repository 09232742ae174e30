"""The supervisor's small files on a full disk."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from boxwright.container.supervisor.light import age_of, identity_of, write_file
from boxwright.container.supervisor.logfile import LogFile


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_file(str(path), b"one, which is longer")
    write_file(str(path), b"two")
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["state.json"]


def test_on_a_full_disk_it_is_overwritten_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    real = os.rename

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        write_file(str(path), b"new")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(os, "rename", real)
    write_file(str(path), b"one, which is longer")
    monkeypatch.setattr(os, "rename", full)
    write_file(str(path), b"two")
    assert path.read_bytes().rstrip() == b"two" and os.listdir(tmp_path) == ["state.json"]


def test_a_log_that_cannot_be_written_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(tmp_path / "log"), max_size=100)
    log.write(1, b"first\n" * 2)
    real = os.open

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    log.write(1, b"lost\n")
    log.write(1, b"lost too\n")
    monkeypatch.setattr(os, "open", real)
    log.write(2, b"later\n")
    log.close()
    text = (tmp_path / "log").read_text()
    assert "later" in text and "lost" not in text


def test_the_age_of_a_process_is_no_matter_of_the_hosts_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = identity_of(os.getpid())
    before = age_of(identity)
    real = time.clock_gettime
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: 0.0 if clock == time.CLOCK_REALTIME else real(clock)
    )
    assert 0.0 <= before <= age_of(identity)
    boot, pid, start = identity.split(":")
    assert age_of(f"{boot}:{pid}:{int(start) - 60 * os.sysconf('SC_CLK_TCK')}") >= before + 60
