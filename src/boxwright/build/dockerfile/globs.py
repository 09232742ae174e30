"""File name patterns with Go's rules, as compiled regular expressions.

Two dialects: filepath.Match (sources of COPY and ADD; never crosses `/`), and that of .dockerignore,
which adds `**`. Classes, escapes and what counts as malformed are the same in both.
"""

from __future__ import annotations

import re

from boxwright.errors import Invalid
from boxwright.spec.text import go_quote

_WILD = "*?[\\"


class GlobInvalid(Invalid):
    """A file name pattern is malformed: an open `[`, an empty class, a trailing escape."""

    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"syntax error in pattern {go_quote(pattern)}",
            hint="write [[] for a literal [, and \\\\ for a literal \\",
        )


def has_wildcards(text: str) -> bool:
    """Whether a pattern can match anything but itself."""
    return any(char in text for char in _WILD)


def match_regex(pattern: str) -> str:
    """The regular expression, to be matched in full, of a filepath.Match pattern. Raises GlobInvalid."""
    return _regex(pattern, ignore=False)


def compile_match(pattern: str) -> re.Pattern[str]:
    """A filepath.Match pattern, for `fullmatch`. Raises GlobInvalid."""
    return re.compile(match_regex(pattern), re.DOTALL)


def ignore_regex(pattern: str) -> str:
    """The regular expression, to be matched in full, of one .dockerignore pattern. Raises GlobInvalid."""
    rest = pattern[2:]
    if pattern.startswith("**") and not has_wildcards(rest):
        # Docker compares only the end here: `**file` also finds `profile`, and `**` everything.
        return (
            ".*"
            if not rest
            else f"(?:.*/)?{re.escape(rest[1:])}"
            if rest.startswith("/")
            else f".*{re.escape(rest)}"
        )
    return _regex(pattern, ignore=True)


def _regex(pattern: str, *, ignore: bool) -> str:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and ignore and pattern.startswith("*", at):
            at += 2 if pattern.startswith("/", at + 1) else 1
            out.append(".*" if at >= len(pattern) else "(?:.*/)?")
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            text, at = _char_class(pattern, at, empty_ranges=not ignore)
            out.append(text)
        elif char == "\\":
            if at == len(pattern):
                raise GlobInvalid(pattern)
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _char_class(pattern: str, at: int, *, empty_ranges: bool) -> tuple[str, int]:
    """The class that begins behind its `[`, and where it ends.

    A range that runs backwards matches nothing in filepath.Match and is an error in .dockerignore.
    """
    negated = pattern.startswith("^", at)
    at += negated
    items: list[str] = []
    some = False
    while True:
        if at >= len(pattern):
            raise GlobInvalid(pattern)
        if pattern[at] == "]" and some:
            break
        some = True
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        if low <= high:
            items.append(f"{re.escape(low)}-{re.escape(high)}" if low != high else re.escape(low))
        elif not empty_ranges:
            raise GlobInvalid(pattern)
    if not items:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(items)}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise GlobInvalid(pattern)
    if pattern[at] == "\\":
        at += 1
    if at + 1 >= len(pattern):  # nothing left to close the class
        raise GlobInvalid(pattern)
    return pattern[at], at + 1
