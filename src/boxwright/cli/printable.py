"""Text from outside as a terminal may see it: image configs, archives, registries and file names can hold anything."""

from __future__ import annotations

import os

STYLES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "faint": "2"}
_OURS = f"\x1b[{os.urandom(8).hex()};"  # begins a style of our own, which no text from outside can know

# Controls of ASCII (but newline and tab) and of Latin-1, bytes that were no UTF-8, and the marks that turn the order of
# what is shown (Unicode's bidirectional ones and its line separators); blanks and joiners of scripts stay.
_UNSAFE = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"


def styled(text: str, style: str) -> str:
    """The text in one of the STYLES, as `printable` takes it."""
    return f"{_OURS}{STYLES[style]}m{text}{_OURS}0m"


def printable(text: str, *, line: bool = False, own: bool = False) -> str:
    """The text with escapes in the place of what a terminal would obey. `line`: newlines and tabs are escaped as well;
    `own`: what `styled` made gets its style, and otherwise none. A style that came from outside is escaped like the
    rest."""
    if text.isprintable():  # to Python, none of all these is
        return text
    import re

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        if len(found) > 1:
            return "\x1b[" + found[len(_OURS) :] if own else ""
        code = ord(found)
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return {"\n": "\\n", "\t": "\\t"}.get(found) or (
            f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
        )

    return re.sub(rf"{re.escape(_OURS)}\d+m|{_UNSAFE}" + (r"|[\n\t]" if line else ""), escaped, text)
