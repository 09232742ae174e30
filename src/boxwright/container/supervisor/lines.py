"""Output cut into entries of a log. Imported by the supervisor: C modules only."""

from __future__ import annotations

_SPLIT = 16 << 10


class Unreachable(Exception):
    """A log server cannot be reached, in Docker's words."""


class Lines:
    """One stream's output as entries: lines with their end, and pieces of long ones without."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> list[bytes]:
        """What is whole by now."""
        lines = (self._rest + data).split(b"\n")
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
        self._rest = rest
        return entries

    def rest(self) -> list[bytes]:
        """The unfinished line, if there is one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
