"""A position in a definition: what stands there, and how to get past blanks and comments."""

from __future__ import annotations

import re

from boxwright.bake.errors import SourcePlace
from boxwright.bake.hcl.source import SourceText

IDENTIFIER = re.compile(r"[^\W\d][\w-]*")
_BLANK = re.compile(r"(?:[ \t]|\r(?=\n)|#[^\n]*|//[^\n]*|/\*(?s:.*?)\*/)+")


class HclCursor:
    """`lines`: a newline ends something, and is no blank."""

    def __init__(self, source: SourceText, start: int = 0, end: int | None = None) -> None:
        self.source, self.text = source, source.text
        self.at, self.end = start, len(source.text) if end is None else end
        self.lines = True

    def blank(self) -> None:
        """Past blanks and comments, and newlines where they end nothing."""
        while True:
            found = _BLANK.match(self.text, self.at, self.end)
            if found:
                self.at = found.end()
            elif not self.lines and self.at < self.end and self.text[self.at] == "\n":
                self.at += 1
            else:
                return

    def _newlines(self) -> None:
        while True:
            self.blank()
            if not self.here("\n"):
                return
            self.at += 1

    def _skip(self) -> int:
        self.blank()
        return self.at

    def here(self, word: str) -> bool:
        """Whether a word stands here."""
        return self.text.startswith(word, self.at, self.end)

    def take(self, word: str) -> bool:
        """Past a word, if it stands here."""
        if self.here(word):
            self.at += len(word)
            return True
        return False

    def word(self) -> str:
        """Past an identifier, which is returned; '' when there is none."""
        found = IDENTIFIER.match(self.text, self.at, self.end)
        if not found:
            return ""
        self.at = found.end()
        return found[0]

    def keyword(self, word: str) -> bool:
        """Past an identifier, if it is this one."""
        found = IDENTIFIER.match(self.text, self.at, self.end)
        if found and found[0] == word:
            self.at = found.end()
            return True
        return False

    def place(self, start: int, end: int | None = None) -> SourcePlace:
        """From an earlier position to here."""
        return self.source.place(start, self.at if end is None else end)
