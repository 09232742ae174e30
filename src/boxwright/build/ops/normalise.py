"""Taking the clock out of what a RUN step wrote, in the tree itself, before it is hashed.

Files that the step touched get the layer's time instead of the moment's; compiled Python that recorded a changed
source's time is told the new one, or Python would compile it again at every start.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from boxwright.layer.whiteout import is_whiteout

_SLACK = 50_000_000  # ns; file times come from a clock that ticks more coarsely than time.time_ns
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HEADER = 16  # bytes of a .pyc: magic, flags, source time, source size (PEP 552)
_DEEPEST = 900


class Normaliser:
    """One upper directory. `since` and `mtime` are in nanoseconds."""

    def __init__(self, since: int, mtime: int) -> None:
        self._since = since - _SLACK
        self._mtime = mtime
        self.changed = 0

    def run(self, upper: Path) -> int:
        """Give everything that was modified since then the new time; returns how many entries changed."""
        fd = os.open(upper, _DIR_FLAGS)
        try:
            self._directory(fd, {}, 0)
        finally:
            os.close(fd)
        return self.changed

    def _directory(self, fd: int, above: dict[str, int], depth: int) -> None:
        """`above` are the changed sources of the directory above, with the times they had (seconds)."""
        sources: dict[str, int] = {}
        below: list[tuple[str, int]] = []
        with os.scandir(fd) as listing:
            entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in listing]
        for name, info in entries:
            if stat.S_ISDIR(info.st_mode):
                below.append((name, info.st_mtime_ns))
                continue
            if info.st_mtime_ns < self._since:
                continue
            if name.endswith(".py"):
                sources[name[:-3]] = info.st_mtime_ns // 1_000_000_000
            elif name.endswith(".pyc") and above and stat.S_ISREG(info.st_mode):
                self._compiled(fd, name, above)
            if not is_whiteout(info):
                self._touch(fd, name)
        if depth < _DEEPEST:
            for name, mtime in below:
                inner = os.open(name, _DIR_FLAGS, dir_fd=fd)
                try:
                    self._directory(inner, sources if name == "__pycache__" else {}, depth + 1)
                finally:
                    os.close(inner)
                if mtime >= self._since:
                    self._touch(fd, name)

    def _touch(self, fd: int, name: str) -> None:
        os.utime(name, ns=(self._mtime, self._mtime), dir_fd=fd, follow_symlinks=False)
        self.changed += 1

    def _compiled(self, fd: int, name: str, sources: dict[str, int]) -> None:
        """`name` is ``module.cpython-311.pyc`` or ``module.cpython-311.opt-1.pyc``."""
        stem = name[:-4].rpartition(".opt-")[0] or name[:-4]
        seconds = sources.get(stem.rpartition(".")[0] or stem)
        if seconds is None:
            return
        file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            header = os.pread(file, _HEADER, 0)
            by_time = len(header) == _HEADER and header[4:8] == bytes(4)
            if by_time and int.from_bytes(header[8:12], "little") == seconds & 0xFFFFFFFF:
                os.pwrite(file, (self._mtime // 1_000_000_000 & 0xFFFFFFFF).to_bytes(4, "little"), 8)
        finally:
            os.close(file)
