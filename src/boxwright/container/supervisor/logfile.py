"""Docker's json-file log: one ``{"log":…,"stream":…,"time":…}`` a line, rotated by size.

A line of output is one entry; what is longer than 16 KiB is split, and an unfinished line waits for its end
(moby daemon/logger/copier.go).
"""

from __future__ import annotations

import os

from boxwright.spec.text import quote
from boxwright.spec.times import stamp

_SPLIT = 16 << 10
_NAMES = {1: '"stdout"', 2: '"stderr"'}


class LogFile:
    """Appends to `path`. `max_size` 0 = never rotated; `max_files` counts the current one. An empty path logs
    nothing."""

    def __init__(self, path: str, max_size: int = 0, max_files: int = 1) -> None:
        self._path = path
        self._max_size, self._max_files = max_size, max_files
        self._rest = {1: b"", 2: b""}
        self._fd = -1
        self._size = 0
        if path:
            self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: int, data: bytes) -> None:
        """Log output of stream 1 or 2."""
        if not self._path:
            return
        tail = f',"stream":{_NAMES[stream]},"time":"{stamp()}"}}\n'
        data = self._rest[stream] + data
        lines = data.split(b"\n")
        rest = lines.pop()
        entries = []
        for line in lines:
            while len(line) > _SPLIT:
                entries.append(line[:_SPLIT])
                line = line[_SPLIT:]
            entries.append(line + b"\n")
        while len(rest) > _SPLIT:
            entries.append(rest[:_SPLIT])
            rest = rest[_SPLIT:]
        self._rest[stream] = rest
        self._append(['{"log":' + quote(entry.decode("utf-8", "replace")) + tail for entry in entries])

    def flush(self) -> None:
        """Log unfinished lines: the process has ended."""
        for stream, rest in self._rest.items():
            if rest and self._path:
                tail = f',"stream":{_NAMES[stream]},"time":"{stamp()}"}}\n'
                self._append(['{"log":' + quote(rest.decode("utf-8", "replace")) + tail])
            self._rest[stream] = b""

    def _append(self, entries: list[str]) -> None:
        """Each entry whole, in a file that has room for it, however many come at once."""
        lines = [entry.encode("utf-8", "surrogatepass") for entry in entries]
        try:
            if self._fd < 0:
                self._open()
            while lines:
                if self._max_size and self._size and self._size + len(lines[0]) > self._max_size:
                    self._rotate()
                count = self._fitting(lines)
                self._write(b"".join(lines[:count]))
                del lines[:count]
        except OSError:  # a full disk must not stop the container; what is lost is lost
            pass

    def _fitting(self, lines: list[bytes]) -> int:
        """How many entries the file has room for; at least one."""
        if not self._max_size:
            return len(lines)
        size = self._size
        for count, line in enumerate(lines):
            size += len(line)
            if count and size > self._max_size:
                return count
        return len(lines)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.write(self._fd, view)
            self._size += count
            view = view[count:]

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        if self._max_files > 1:
            for number in range(self._max_files - 2, 0, -1):
                _rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            _rename(self._path, f"{self._path}.1")
        else:
            os.unlink(self._path)
        self._open()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._path = ""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass
