"""Reading json-file logs: the last lines, a span of time, following a container that still writes."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from boxwright.container.records import Container
from boxwright.errors import Unsupported
from boxwright.spec.hints import NamedTuple
from boxwright.spec.times import unix_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK = 1 << 18
_MOST_FILES = 1000
_ATTEMPTS = 1000
_POLL = 0.05  # seconds between looks at a log that is followed


_FIRST = b'{"log":"'
# Between the texts of two lines. No text has this in it: there, every quotation mark has a backslash.
_BETWEEN = rb'","stream":"(stdout|stderr)","time":"[^"]*"\}\n(?:\{"log":"|\Z)'


class LogsUnreadable(Unsupported):
    """The container's log driver keeps nothing."""


class LogEntry(NamedTuple):
    """One line, or a piece of a long one. `stream` is stdout or stderr; `details` are labels and variables that the
    log was told to keep, as URLs have them."""

    time: str
    stream: str
    text: str
    details: str = ""


def read(
    container: Container,
    *,
    tail: int = -1,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
    ended: Callable[[], bool] = lambda: False,
) -> Iterator[LogEntry]:
    """Entries, oldest first; `tail` -1 = all. With `follow`, until the container ends, or `ended` says so. Raises
    LogsUnreadable."""
    files = _readable(container)
    reader = _Reader(container.log_path, files)
    ends = [os.fstat(fd).st_size for fd in files]  # what comes meanwhile is what follows
    for line in _last(files, ends, tail) if tail >= 0 else reader.lines():
        entry = _entry(line)
        if entry is not None and _within(entry, since, until):
            yield entry
    if not follow:
        return
    if tail >= 0:
        reader.skip(ends)
    for line in reader.follow(
        lambda: not ended() and container.refresh().active and container.state.supervised, until
    ):
        entry = _entry(line)
        if entry is not None and _within(entry, since, None):
            if until is not None and (unix_seconds(entry.time) or 0.0) > until:
                return
            yield entry


def texts(container: Container, *, follow: bool = False) -> Iterator[tuple[str, str]]:
    """All that `read` reads, oldest first, as (stdout or stderr, what was written there) in pieces of many lines,
    which takes a tenth of the time. Raises LogsUnreadable."""
    reader = _Reader(container.log_path, _readable(container))
    yield from _pieces(reader)
    if follow:
        for line in reader.follow(lambda: container.refresh().active and container.state.supervised, None):
            if (entry := _entry(line)) is not None:
                yield entry.stream, entry.text


def _readable(container: Container) -> list[int]:
    cached = container.config.log_opts.get("cache-disabled", "").lower() not in ("1", "t", "true")
    driver = container.config.log_driver
    if driver == "none" or (driver not in ("", "json-file", "local") and not cached):
        raise LogsUnreadable("configured logging driver does not support reading")
    return _opened(container.log_path)


def _pieces(reader: _Reader) -> Iterator[tuple[str, str]]:
    for block in reader.blocks():
        try:
            yield from _joined(block)
        except ValueError:  # a line of them is torn
            for entry in map(_entry, block.split(b"\n")):
                if entry is not None:
                    yield entry.stream, entry.text


def _joined(block: bytes) -> list[tuple[str, str]]:
    """The texts of whole lines, those of one stream that follow each other as one: most of JSON's work is then done by
    two calls. Raises ValueError when one of the lines is none."""
    *parts, rest = re.split(_BETWEEN, block.removeprefix(_FIRST))
    if rest or not block.startswith(_FIRST):
        raise ValueError(block[:80])
    runs = groupby(zip(parts[1::2], parts[::2], strict=True), itemgetter(0))
    return [
        (stream.decode(), json.loads((b'"' + b"".join([text for _, text in run]) + b'"').decode()))
        for stream, run in runs
    ]


def _opened(path: Path, until: tuple[int, int] | None = None) -> list[int]:
    """Descriptors of the files of a log, oldest first; with `until`, a file's device and inode, those after it alone.

    A log that is turned meanwhile is looked at again; none are found when it is turned all the time."""
    for _ in range(_ATTEMPTS):
        found, met = _walked(path, until)
        if met == _identity(path):
            return found
        for fd in found:
            os.close(fd)
    return []


def _walked(path: Path, until: tuple[int, int] | None) -> tuple[list[int], tuple[int, int] | None]:
    """The same, and which file was the newest."""
    found: dict[tuple[int, int], int] = {}
    newest = _identity(path)
    missing = 0
    for number in range(_MOST_FILES):
        name = path.with_name(f"{path.name}.{number}") if number else path
        fd = _open(name)
        if fd < 0 and number and until is None:
            fd = _unpacked(name.with_name(f"{name.name}.gz"))
        # While all get their next names, one name in the row is free, and a file may be met again.
        missing = missing + 1 if fd < 0 else 0
        if missing > 1:
            break
        if fd < 0:
            continue
        info = os.fstat(fd)
        which = (info.st_dev, info.st_ino)
        if which == until or which in found:
            os.close(fd)
            if which == until:
                break
        else:
            found[which] = fd
    return list(found.values())[::-1], newest


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return None
    return info.st_dev, info.st_ino


def _open(path: Path) -> int:
    """-1 when it is not there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _unpacked(path: Path) -> int:
    """A compressed file, as one in memory; -1 when it is not there."""
    import zlib

    packed = _open(path)
    if packed < 0:
        return -1
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    unpacker = zlib.decompressobj(wbits=31)
    with open(packed, "rb") as source, open(fd, "wb", closefd=False) as target:
        try:
            while data := source.read(_BLOCK):
                target.write(unpacker.decompress(data))
        except zlib.error:  # torn by a crash: what was before is shown
            pass
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _entry(line: bytes) -> LogEntry | None:
    try:
        value = json.loads(line)
        details = _details(value["attrs"]) if "attrs" in value else ""
        entry = LogEntry(value["time"], value["stream"], text=value["log"], details=details)
        return entry if entry.stream in ("stdout", "stderr") else None
    except (ValueError, KeyError, TypeError):  # torn by a full disk or a crash
        return None


def _details(attributes: Any) -> str:
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in sorted(attributes.items()))


def _within(entry: LogEntry, since: float | None, until: float | None) -> bool:
    if since is None and until is None:
        return True
    moment = unix_seconds(entry.time) or 0.0
    return (since is None or moment >= since) and (until is None or moment <= until)


def _last(files: list[int], ends: list[int], count: int) -> list[bytes]:
    """The last lines over all files, read from their ends."""
    found: list[bytes] = []
    for fd, end in zip(reversed(files), reversed(ends), strict=True):
        if len(found) >= count:
            break
        found = _tail(fd, end, count - len(found)) + found
    return found


def _tail(fd: int, at: int, count: int) -> list[bytes]:
    data = b""
    while at > 0 and data.count(b"\n") <= count:
        size = min(_BLOCK, at)
        at -= size
        data = os.pread(fd, size, at) + data
    lines = data.splitlines(keepends=True)
    return lines[-count:] if count else []


class _Reader:
    """The files of a log and those that come after them; `files` are open, oldest first."""

    def __init__(self, path: Path, files: list[int]) -> None:
        self._path, self._files = path, files
        self._rest = b""

    def __del__(self) -> None:
        for fd in self._files:
            os.close(fd)

    def skip(self, ends: list[int]) -> None:
        """Begin at these places of the files."""
        for fd, end in zip(self._files, ends, strict=True):
            os.lseek(fd, end, os.SEEK_SET)

    def blocks(self) -> Iterator[bytes]:
        """The output so far, in whole lines."""
        while self._files:
            while data := os.read(self._files[0], _BLOCK):
                whole, end, rest = data.rpartition(b"\n")
                if not end:
                    self._rest += rest
                    continue
                yield self._rest + whole + end
                self._rest = rest
            if len(self._files) == 1:
                return
            os.close(self._files.pop(0))
            self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """The same, line by line."""
        for block in self.blocks():
            yield from block[:-1].split(b"\n")

    def follow(self, alive: Callable[[], bool], until: float | None) -> Iterator[bytes]:
        """The output so far and what comes, until the container writes no more."""
        while True:
            living = alive()
            yield from self.lines()
            if self._turned():  # the file that was read may have grown until then
                continue
            if not living or (until is not None and time.time() > until):
                return
            time.sleep(_POLL)

    def _turned(self) -> bool:
        """Whether there are newer files."""
        own = os.fstat(self._files[0]) if self._files else None
        newer = _opened(self._path, until=(own.st_dev, own.st_ino) if own is not None else (0, 0))
        self._files += newer
        return bool(newer)
