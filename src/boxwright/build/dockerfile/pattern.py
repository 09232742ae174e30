"""The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and escapes, nothing more.

Matched by tables, never by backtracking: a pattern of many stars costs time linear in each length.
"""

from __future__ import annotations

_STAR, _ANY = 0, 1


_MOST = 1 << 24  # steps of a match, and characters of what it makes


class PatternInvalid(Exception):
    """The pattern has an escape that means nothing, or it and the value are too long for each other."""


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """`${value#pattern}`. Raises PatternInvalid."""
    end = _ends(_tokens(pattern), value, longest)[0]
    return value if end < 0 else value[end:]


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """`${value%pattern}`. Raises PatternInvalid."""
    end = _ends(_tokens(pattern)[::-1], value[::-1], longest)[0]
    return value if end < 0 else value[: len(value) - end]


def replace(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """`${value/pattern/replacement}`, or `//` with `everywhere`. Raises PatternInvalid."""
    ends = _ends(_tokens(pattern), value, True)
    out: list[str] = []
    size = len(value)
    start = done = 0
    last = -1
    while start <= len(value):
        end = ends[start]
        # An empty match right behind a match is none.
        if end < 0 or (end == start == last):
            start += 1
            continue
        out += (value[done:start], replacement)
        if (size := size + len(replacement)) > _MOST:
            raise PatternInvalid("what is put in for the matches of a pattern is too long")
        done = last = end
        start = end if end > start else start + 1
        if not everywhere:
            break
    return "".join(out) + value[done:]


def _tokens(pattern: str) -> list[int | str]:
    tokens: list[int | str] = []
    chars = iter(range(len(pattern)))
    for at in chars:
        char = pattern[at]
        if char == "*":
            tokens.append(_STAR)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "\\":
            following = pattern[at + 1 : at + 2]
            if following in ("}", "/"):
                continue
            if following not in ("*", "?", "\\"):
                raise PatternInvalid(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'"
                )
            tokens.append(following)
            next(chars)
        else:
            tokens.append(char)
    return tokens


def _ends(tokens: list[int | str], value: str, longest: bool) -> list[int]:
    """For every start in the value, where the match that begins there ends; -1 for none."""
    size = len(value)
    if size * len(tokens) > _MOST:
        raise PatternInvalid("a value is too long for so long a pattern")
    ends = list(range(size + 1))
    for token in reversed(tokens):
        now = [-1] * (size + 1)
        if token == _STAR and isinstance(token, int):
            now[size] = ends[size]
            for at in range(size - 1, -1, -1):
                here, further = ends[at], now[at + 1] if value[at] != "\n" else -1
                if here < 0 or further < 0:
                    now[at] = max(here, further)
                else:
                    now[at] = max(here, further) if longest else min(here, further)
        else:
            for at in range(size):
                if (value[at] != "\n") if token == _ANY else value[at] == token:
                    now[at] = ends[at + 1]
        ends = now
    return ends
