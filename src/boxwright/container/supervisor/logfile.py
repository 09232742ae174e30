"""Docker's json-file log: one ``{"log":…,"stream":…,"time":…}`` a line, rotated by size.

A line of output is one entry; what is longer than 16 KiB is split, and an unfinished line waits for its end
(moby daemon/logger/copier.go).
"""

from __future__ import annotations

import os

from boxwright.container.supervisor.lines import Lines
from boxwright.spec.text import quote
from boxwright.spec.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.container.job import LogPlan
    from boxwright.container.supervisor.loop import Loop
    from boxwright.container.supervisor.shipping import Shipping

_NAMES = {1: '"stdout"', 2: '"stderr"'}


class LogFile:
    """Appends to `path`. `max_size` 0 = never rotated; `max_files` counts the current one, and with `compress` all but
    the newest of the others are compressed. An empty path logs nothing. `attributes` is JSON that each entry has."""

    def __init__(
        self,
        path: str,
        max_size: int = 0,
        max_files: int = 1,
        *,
        compress: bool = False,
        attributes: str = "",
    ) -> None:
        self._path = path
        self._max_size, self._max_files, self._compress = max_size, max_files, compress
        self._attributes = f',"attrs":{{{attributes}}}' if attributes else ""
        self._lines = {1: Lines(), 2: Lines()}
        self.also: Shipping | None = None  # a server that gets all of it, too
        self._fd = -1
        self._size = 0
        if path:
            self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    @classmethod
    def of(cls, plan: LogPlan) -> LogFile:
        """The file of a plan; `ship` is for its server. Raises OSError."""
        attributes = ",".join(f"{quote(key)}:{quote(value)}" for key, value in plan.attributes)
        return cls(plan.path, plan.max_size, plan.max_files, compress=plan.compress, attributes=attributes)

    def ship(self, plan: LogPlan, loop: Loop, drained: Callable[[], None], *, patient: bool = False) -> None:
        """Connect to the plan's server, if it has one. Raises Unreachable, unless that may come later."""
        if plan.shipping is not None:
            from boxwright.container.supervisor.shipping import Shipping

            self.also = Shipping(plan.shipping, loop, drained, patient=patient)

    @property
    def lagging(self) -> bool:
        """Whether the server has so much to take that the container shall wait."""
        return self.also is not None and self.also.lagging

    def write(self, stream: int, data: bytes) -> None:
        """Log output of stream 1 or 2."""
        if self.also is not None:
            self.also.write(stream, data)
        if self._path:
            self._log(stream, self._lines[stream].split(data))

    def flush(self) -> None:
        """Log unfinished lines: the process has ended."""
        if self.also is not None:
            self.also.flush()
        for stream, lines in self._lines.items():
            self._log(stream, lines.rest())

    def _log(self, stream: int, entries: list[bytes]) -> None:
        if entries and self._path:
            tail = f',"stream":{_NAMES[stream]}{self._attributes},"time":"{stamp()}"}}\n'
            self._append(['{"log":' + quote(entry.decode("utf-8", "replace")) + tail for entry in entries])

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
                for ending in ("", ".gz"):
                    _rename(f"{self._path}.{number}{ending}", f"{self._path}.{number + 1}{ending}")
            if self._compress and self._max_files > 2:
                _pack(f"{self._path}.2")
            _rename(self._path, f"{self._path}.1")
        else:
            os.unlink(self._path)
        self._open()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self.also is not None:
            self.also.close()
        self._path = ""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _pack(path: str) -> None:
    """Compress a file. Who follows the log has read it: it was the newest of the old ones for a while."""
    import zlib

    try:
        with open(path, "rb") as source, open(f"{path}.part", "wb") as target:
            packer = zlib.compressobj(wbits=31)
            while data := source.read(1 << 20):
                target.write(packer.compress(data))
            target.write(packer.flush())
        os.rename(f"{path}.part", f"{path}.gz")
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:  # a full disk: it stays as it is
        try:
            os.unlink(f"{path}.part")
        except OSError:
            pass


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass
