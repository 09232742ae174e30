""".dockerignore: reading the file, and deciding what it leaves out (docs.docker.com, "Build context").

Patterns count in their order and the last match wins; a pattern that matches a directory matches all below it. A walk
hands the number of the winning pattern down from directory to directory, so that no path's parents are ever looked at
again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from boxwright.build.dockerfile.globs import GlobInvalid, has_wildcards, ignore_regex, match_regex
from boxwright.build.dockerfile.paths import clean_path
from boxwright.errors import Invalid

_BOM = b"\xef\xbb\xbf"
NOTHING = -1  # no pattern has matched so far


class IgnoreInvalid(Invalid):
    """A list of ignore patterns cannot be used."""


def read_ignorefile(data: bytes) -> list[str]:
    """The patterns of a .dockerignore file, cleaned. Bytes that are no UTF-8 are kept as file names have them."""
    patterns: list[str] = []
    for line in data.removeprefix(_BOM).decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("#"):
            continue
        text = line.strip()
        if not text:
            continue
        inverted = text.startswith("!")
        if inverted:
            text = text[1:].strip()
        if text:
            text = clean_path(text)
            if len(text) > 1:
                text = text.removeprefix("/")
        patterns.append("!" + text if inverted else text)
    return patterns


class IgnoreMatcher:
    """A compiled list of patterns. Immutable.

    `patterns` are the cleaned ones, without `!`; `exceptions` says which had one.
    """

    __slots__ = ("_parts", "_regexes", "_some", "exceptions", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises IgnoreInvalid (`!` alone) and GlobInvalid."""
        kept: list[str] = []
        exceptions: list[bool] = []
        for pattern in patterns:
            text = pattern.strip()
            if not text:
                continue
            excepted = text.startswith("!")
            if excepted:
                text = text[1:].strip()
                if not text:
                    raise IgnoreInvalid('illegal exclusion pattern: "!"')
            kept.append(clean_path(text))
            exceptions.append(excepted)
        self.patterns = tuple(kept)
        self.exceptions = tuple(exceptions)
        sources = [ignore_regex(pattern) for pattern in kept]
        self._regexes = [re.compile(source, re.DOTALL) for source in sources]
        # Most paths match nothing: one expression says so in one call.
        some = "|".join(f"(?:{source})" for source in sources)
        self._some = re.compile(some, re.DOTALL).fullmatch if some else None
        self._parts: dict[int, list[re.Pattern[str] | None]] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def has_exceptions(self) -> bool:
        return any(self.exceptions)

    def decide(self, path: str, above: int = NOTHING) -> int:
        """The number of the pattern that decides about a path, where `above` decided about its directory."""
        last = len(self._regexes) - 1
        if above == last or self._some is None or self._some(path) is None:
            return above
        for number in range(last, above, -1):
            if self._regexes[number].fullmatch(path):
                return number
        return above

    def excludes(self, number: int) -> bool:
        """Whether the pattern that decided leaves the path out."""
        return number >= 0 and not self.exceptions[number]

    def excluded(self, path: str) -> bool:
        """Whether a path, relative to the context, is left out. The context itself never is."""
        path = clean_path(path)
        if path == ".":
            return False
        number = NOTHING
        end = 0
        while end >= 0:
            end = path.find("/", end + 1)
            number = self.decide(path if end < 0 else path[:end], number)
        return self.excludes(number)

    def may_include_below(self, directory: str, number: int) -> bool:
        """Whether an exception could bring back something below a directory that pattern `number` left out."""
        parts = directory.split("/")
        return any(
            self.exceptions[other] and self._reaches(other, parts)
            for other in range(number + 1, len(self.exceptions))
        )

    def may_match_below(self, directory: str) -> bool:
        """Whether any pattern that is no exception could match something below a directory."""
        parts = directory.split("/")
        return any(
            not excepted and self._reaches(number, parts) for number, excepted in enumerate(self.exceptions)
        )

    def _reaches(self, number: int, parts: list[str]) -> bool:
        components = self._parts.get(number)
        if components is None:
            components = self._parts[number] = _components(self.patterns[number])
        for component, part in zip(components, parts, strict=False):
            if component is None:
                return True
            if not component.fullmatch(part):
                return False
        return len(components) > len(parts)


def _components(pattern: str) -> list[re.Pattern[str] | None]:
    """One expression per component; None where any depth may follow."""
    found: list[re.Pattern[str] | None] = []
    for part in pattern.split("/"):
        if "**" in part or "[" in part:  # a class may hold or match a slash
            return [*found, None]
        try:
            found.append(re.compile(match_regex(part) if has_wildcards(part) else re.escape(part), re.DOTALL))
        except GlobInvalid:
            return [*found, None]
    return found
