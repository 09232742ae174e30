"""What a step said last, for the error that may come."""

from __future__ import annotations

from boxwright.build.progress import StepLog

_LOG_KEPT = 1 << 20  # bytes of a step's output that a failure has
_TAIL = 25  # lines of it that are repeated, as BuildKit does


class Said:
    """The end of a step's output, and when its last lines came."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lines: list[tuple[float, bytes]] = []

    def add(self, event: StepLog) -> None:
        self._data += event.data
        del self._data[:-_LOG_KEPT]
        for line in event.data.splitlines(keepends=True):
            if self._lines and not self._lines[-1][1].endswith(b"\n"):
                self._lines[-1] = self._lines[-1][0], self._lines[-1][1] + line
            else:
                self._lines.append((event.at, line))
        del self._lines[:-_TAIL]

    @property
    def text(self) -> str:
        return self._data.decode("utf-8", "replace")

    def tail(self) -> list[str]:
        """``0.123 text`` a line."""
        return [f"{at:.3f} " + line.decode("utf-8", "replace").rstrip("\r\n") for at, line in self._lines]
