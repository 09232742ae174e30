"""Text from outside on a terminal."""

from __future__ import annotations

import re

from boxwright.cli.printable import _UNSAFE, printable


def test_what_is_left_alone_has_nothing_that_a_terminal_obeys() -> None:
    """Python's own notion of printable text is enough for it, whatever its release's tables of Unicode say."""
    alone = [chr(code) for code in range(0x110000) if printable(chr(code), line=True) == chr(code)]
    assert not [char for char in alone if re.match(_UNSAFE, char) or char in "\n\t"]
    assert {"a", " ", "é", "…", "漢", "😀"} <= set(alone)
    assert printable("a…\x1b[31m\u202eb\n", line=True) == "a…\\x1b[31m\\u202eb\\n"
