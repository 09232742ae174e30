"""The last lines that a step printed, for the error message in case it fails."""

from __future__ import annotations

from collections import deque

from boxwright.build.progress import StepLog

_LOG_KEPT = 1 << 20  # bytes of a step's output that a failure has
_TAIL = 25  # lines of it that are repeated, as BuildKit does


class Said:
    """The end of a step's output, and when its last lines came. A line may have no end: what is kept of it, neither."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._gone = 0  # bytes before those of `_data`
        self._lines: deque[tuple[float, int]] = deque(maxlen=_TAIL)  # when they began, and at which byte
        self._begins = True  # whether the next byte begins a line

    def add(self, event: StepLog) -> None:
        start = self._gone + len(self._data)
        at = 0
        while at < len(event.data):
            if self._begins:
                self._lines.append((event.at, start + at))
            end = event.data.find(b"\n", at)
            self._begins = end >= 0
            at = end + 1 if self._begins else len(event.data)
        self._data += event.data
        over = max(len(self._data) - _LOG_KEPT, 0)
        del self._data[:over]
        self._gone += over

    @property
    def text(self) -> str:
        return self._data.decode("utf-8", "replace")

    def tail(self) -> list[str]:
        """``0.123 text`` a line."""
        starts = [start - self._gone for _, start in self._lines]
        return [
            f"{at:.3f} " + self._data[max(start, 0) : end].decode("utf-8", "replace").rstrip("\r\n")
            for (at, _), start, end in zip(self._lines, starts, [*starts[1:], len(self._data)])
            if end > 0
        ]
