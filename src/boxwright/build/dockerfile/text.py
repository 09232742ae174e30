"""Small text rules that the Dockerfile language has from Go: white space, quoting, suggestions."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.spec.text import go_quote

# Python counts the four separators as space, Go does not.
_NOT_SPACE = "\x1c\x1d\x1e\x1f"
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def is_space(char: str) -> bool:
    """Whether Go's unicode.IsSpace holds."""
    return char.isspace() and char not in _NOT_SPACE


def go_quote_list(words: Iterable[str]) -> str:
    """`%q` of a list: `["a" "b c"]`."""
    return "[" + " ".join(map(go_quote, words)) + "]"


def distance(one: str, other: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def suggestion(value: str, options: Iterable[str], *, case_sensitive: bool = False) -> str:
    """The option that was probably meant (distance below 3), in the case of the original; '' for none.

    A value that is one of the options was not the mistake, so nothing is suggested.
    """
    wanted = value if case_sensitive else value.lower()
    best, nearest = "", 3
    for option in sorted(options):
        compared = option if case_sensitive else option.lower()
        if compared == wanted:
            return ""
        if abs(len(compared) - len(wanted)) < nearest and (found := distance(wanted, compared)) < nearest:
            best, nearest = compared, found
    if not case_sensitive and best and value == value.upper() != value.lower():
        return best.upper()
    return best


def did_you_mean(message: str, value: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The message, with ` (did you mean x?)` when there is something to suggest."""
    meant = suggestion(value, options, case_sensitive=case_sensitive)
    return f"{message} (did you mean {meant}?)" if meant else message
