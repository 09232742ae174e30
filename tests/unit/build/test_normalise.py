"""Times of what a step wrote, and compiled Python that remembers its source's time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from boxwright.build.ops.normalise import Normaliser

NEW = 315532800 * 1_000_000_000


def pyc(seconds: int, flags: int = 0) -> bytes:
    return b"\xa7\r\r\n" + flags.to_bytes(4, "little") + seconds.to_bytes(4, "little") + b"size" + b"code"


def recorded(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[8:12], "little")


def test_times(tmp_path: Path) -> None:
    old, since = 1_000_000_000 * 10**9, time.time_ns()
    (tmp_path / "d").mkdir()
    for name in ("d/new", "d/old"):
        (tmp_path / name).write_text("x")
    os.symlink("nowhere", tmp_path / "d/link")
    os.utime(tmp_path / "d/old", ns=(old, old))
    os.utime(tmp_path, ns=(old, old))
    assert Normaliser(since, NEW).run(tmp_path) == 3
    found = {name: (tmp_path / name).lstat().st_mtime_ns for name in (".", "d", "d/new", "d/old", "d/link")}
    assert found == {".": old, "d": NEW, "d/new": NEW, "d/old": old, "d/link": NEW}


def test_compiled_python(tmp_path: Path) -> None:
    since = time.time_ns()
    cache = tmp_path / "pkg/__pycache__"
    cache.mkdir(parents=True)
    source = tmp_path / "pkg/mod.py"
    source.write_text("x = 1")
    (tmp_path / "pkg/unpacked.py").write_text("came with its own time")
    os.utime(tmp_path / "pkg/unpacked.py", (77, 77))
    seconds = source.stat().st_mtime_ns // 10**9
    files = {
        "mod.cpython-311.pyc": pyc(seconds),
        "mod.cpython-311.opt-1.pyc": pyc(seconds),
        "unpacked.cpython-311.pyc": pyc(77),
        "mod.cpython-310.pyc": pyc(seconds - 5),
        "mod.cpython-39.pyc": pyc(seconds, flags=1),
        "gone.cpython-311.pyc": pyc(seconds),
    }
    for name, data in files.items():
        (cache / name).write_bytes(data)
    (cache / "short.pyc").write_bytes(b"x")
    Normaliser(since, NEW).run(tmp_path)
    assert {name: recorded(cache / name) for name in files} == {
        "mod.cpython-311.pyc": 315532800,
        "mod.cpython-311.opt-1.pyc": 315532800,
        "unpacked.cpython-311.pyc": 77,
        "mod.cpython-310.pyc": seconds - 5,
        "mod.cpython-39.pyc": seconds,
        "gone.cpython-311.pyc": seconds,
    }
