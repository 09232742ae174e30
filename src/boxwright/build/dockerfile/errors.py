"""What is wrong in a Dockerfile, and where.

Texts are BuildKit's own: people search for them, and tools match them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass

_LONGEST_SHOWN = 4096  # characters of a line that an error shows


@dataclass(frozen=True, slots=True, order=True)
class SourceRange:
    """Lines of a file, counted from 1, both ends included."""

    start: int
    end: int


class DockerfileError(Invalid):
    """A Dockerfile cannot be used. `reason` is the bare cause; `str()` may add the line.

    `ranges` are the lines concerned, in the order in which they are to be shown; empty when the
    fault is in no line (an empty file).
    """

    def __init__(
        self, reason: str, *, ranges: Sequence[SourceRange] = (), parse: bool = False, hint: str = ""
    ) -> None:
        text = f"dockerfile parse error on line {ranges[0].start}: {reason}" if parse and ranges else reason
        super().__init__(text, hint=hint)
        self.reason = reason
        self.ranges = tuple(ranges)

    def at(self, *ranges: SourceRange, parse: bool = False) -> DockerfileError:
        """The same error, located; one that is already located stays as it is."""
        return (
            self if self.ranges else DockerfileError(self.reason, ranges=ranges, parse=parse, hint=self.hint)
        )


@dataclass(frozen=True, slots=True)
class Warning:
    """Something in a Dockerfile that works but is probably not meant. `rule` names the build check."""

    rule: str
    message: str
    location: SourceRange | None
    description: str = ""
    url: str = ""


@lru_cache(maxsize=1)
def _lines(text: bytes | str) -> list[str]:
    """Split once for all warnings of a file: each has an excerpt."""
    return (text if isinstance(text, str) else text.decode("utf-8", "replace")).split("\n")


def render_excerpt(filename: str, text: bytes | str, ranges: Sequence[SourceRange]) -> str:
    """The lines of a file that an error is about, marked, with their neighbours, as BuildKit prints them.

        Dockerfile:3
        --------------------
           1 |     FROM alpine
           2 |     ENV foo=bar
           3 | >>> RUN false
           4 |     ENV bar=baz
        --------------------

    Two neighbours on each side of a single line, one on each side of a longer range. Empty when the
    first range starts outside the file. The result ends in a newline.
    """
    lines = _lines(text)
    if not ranges or not 1 <= (start := min(r.start for r in ranges)) <= len(lines):
        return ""
    end = min(max(max(r.start, r.end) for r in ranges), len(lines))
    first, last, padding = start, end, 2 if end > start else 4
    while padding > 0:
        # A missing side is made up for by the other one only as far as BuildKit's count goes.
        padding -= 1 + (first > 1) + (last < len(lines))
        first, last = max(first - 1, 1), min(last + 1, len(lines))
    rule = "-" * 20
    shown = [f"{filename}:{start}", rule]
    for number in range(first, last + 1):
        mark = ">>>" if any(r.start <= number <= max(r.start, r.end) for r in ranges) else "   "
        shown.append(f" {number:3d} | {mark} {_cut(lines[number - 1])}")
    return "\n".join([*shown, rule, ""])


def _cut(line: str) -> str:
    """Of a line of megabytes its beginning is enough to find it."""
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}… ({len(line)} characters)"
