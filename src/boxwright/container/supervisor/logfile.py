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
    """Appends to `path`. `max_size` 0 = never rotated; `max_files` counts the current one. An empty path logs nothing."""

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
        self._append(
            "".join(['{"log":' + quote(entry.decode("utf-8", "replace")) + tail for entry in entries])
        )

    def flush(self) -> None:
        """Log unfinished lines: the process has ended."""
        for stream, rest in self._rest.items():
            if rest and self._path:
                self._append(
                    f'{{"log":{quote(rest.decode("utf-8", "replace"))},"stream":{_NAMES[stream]},"time":"{stamp()}"}}\n'
                )
            self._rest[stream] = b""

    def _append(self, text: str) -> None:
        if not text:
            return
        data = text.encode("utf-8", "surrogatepass")
        view = memoryview(data)
        try:
            if self._fd < 0:
                self._open()
            if self._max_size and self._size and self._size + len(data) > self._max_size:
                self._rotate()
            while view:
                count = os.write(self._fd, view)
                self._size += count
                view = view[count:]
        except OSError:  # a full disk must not stop the container; what is lost is lost
            pass

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
