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

_BLOCK = 1 << 18
_POLL = 0.05  # seconds between looks at a log that is followed


_FIRST = b'{"log":"'
# Between the texts of two lines. No text has this in it: there, every quotation mark has a backslash.
_BETWEEN = rb'","stream":"(stdout|stderr)","time":"[^"]*"\}\n(?:\{"log":"|\Z)'


class LogsUnreadable(Unsupported):
    """The container's log driver keeps nothing."""


class LogEntry(NamedTuple):
    """One line, or a piece of a long one. `stream` is stdout or stderr."""

    time: str
    stream: str
    text: str


def read(
    container: Container,
    *,
    tail: int = -1,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
) -> Iterator[LogEntry]:
    """Entries, oldest first; `tail` -1 = all. With `follow`, until the container ends. Raises LogsUnreadable."""
    paths = _readable(container)
    reader = _Reader(container.log_path)
    for line in _last(paths, tail) if tail >= 0 else _whole(paths, reader):
        entry = _entry(line)
        if entry is not None and _within(entry, since, until):
            yield entry
    if not follow:
        return
    if tail >= 0:
        reader.skip(paths)
    for line in reader.follow(lambda: container.refresh().active and container.state.supervised, until):
        entry = _entry(line)
        if entry is not None and _within(entry, since, None):
            if until is not None and (unix_seconds(entry.time) or 0.0) > until:
                return
            yield entry


def texts(container: Container, *, follow: bool = False) -> Iterator[tuple[str, str]]:
    """All that `read` reads, oldest first, as (stdout or stderr, what was written there) in pieces of many lines,
    which takes a tenth of the time. Raises LogsUnreadable."""
    paths = _readable(container)
    reader = _Reader(container.log_path)
    for path in paths[:-1]:
        yield from _pieces(_Reader(path))
    yield from _pieces(reader)
    if follow:
        for line in reader.follow(lambda: container.refresh().active and container.state.supervised, None):
            if (entry := _entry(line)) is not None:
                yield entry.stream, entry.text


def _readable(container: Container) -> list[Path]:
    if container.config.log_driver == "none":
        raise LogsUnreadable("configured logging driver does not support reading")
    return _files(container.log_path)


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


def _files(path: Path) -> list[Path]:
    """Oldest first."""
    found = [path] if path.exists() else []
    number = 1
    while (older := path.with_name(f"{path.name}.{number}")).exists():
        found.insert(0, older)
        number += 1
    return found


def _entry(line: bytes) -> LogEntry | None:
    try:
        value = json.loads(line)
        entry = LogEntry(value["time"], value["stream"], value["log"])
        return entry if entry.stream in ("stdout", "stderr") else None
    except (ValueError, KeyError, TypeError):  # torn by a full disk or a crash
        return None


def _within(entry: LogEntry, since: float | None, until: float | None) -> bool:
    if since is None and until is None:
        return True
    moment = unix_seconds(entry.time) or 0.0
    return (since is None or moment >= since) and (until is None or moment <= until)


def _whole(paths: list[Path], reader: _Reader) -> Iterator[bytes]:
    for path in paths[:-1]:
        with open(path, "rb") as file:
            yield from file
    yield from reader.lines()


def _last(paths: list[Path], count: int) -> list[bytes]:
    """The last lines over all files, read from their ends."""
    found: list[bytes] = []
    for path in reversed(paths):
        if len(found) >= count:
            break
        with open(path, "rb") as file:
            found = _tail(file.fileno(), count - len(found)) + found
    return found


def _tail(fd: int, count: int) -> list[bytes]:
    at = os.fstat(fd).st_size
    data = b""
    while at > 0 and data.count(b"\n") <= count:
        size = min(_BLOCK, at)
        at -= size
        data = os.pread(fd, size, at) + data
    lines = data.splitlines(keepends=True)
    return lines[-count:] if count else []


class _Reader:
    """The current file and its successors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._rest = b""

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def _open(self) -> bool:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        return True

    def skip(self, paths: list[Path]) -> None:
        """Begin at the end."""
        if paths and self._open():
            os.lseek(self._fd, 0, os.SEEK_END)

    def blocks(self) -> Iterator[bytes]:
        """The output so far, in whole lines."""
        while self._open() and (data := os.read(self._fd, _BLOCK)):
            whole, end, rest = data.rpartition(b"\n")
            if not end:
                self._rest += rest
                continue
            yield self._rest + whole + end
            self._rest = rest

    def lines(self) -> Iterator[bytes]:
        """The same, line by line."""
        for block in self.blocks():
            yield from block[:-1].split(b"\n")

    def follow(self, alive: Callable[[], bool], until: float | None) -> Iterator[bytes]:
        """The output so far and what comes, until the container writes no more."""
        while True:
            living = alive()
            yield from self.lines()
            if self._rotated():
                continue
            if not living or (until is not None and time.time() > until):
                return
            time.sleep(_POLL)

    def _rotated(self) -> bool:
        if self._fd < 0:
            return False
        try:
            info = os.stat(self._path)
        except FileNotFoundError:
            return False
        own = os.fstat(self._fd)
        if (info.st_dev, info.st_ino) == (own.st_dev, own.st_ino):
            return False
        os.close(self._fd)
        self._fd, self._rest = -1, b""
        return True
