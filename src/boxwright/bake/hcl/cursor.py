"""A position in a definition: what stands there, how to get past blanks and comments, how deep it may go."""

from __future__ import annotations

import re

from boxwright.bake.errors import DefinitionInvalid, SourcePlace
from boxwright.bake.hcl.source import SourceText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from boxwright.bake.hcl.tree import Expression

IDENTIFIER = re.compile(r"[^\W\d][\w-]*")
DEEPEST = 60  # levels of brackets, blocks and templates
HIGHEST = 120  # of an expression's tree
_BLANK = re.compile(r"(?:[ \t]|\r(?=\n)|#[^\n]*|//[^\n]*|/\*(?s:.*?)\*/)+")


class HclCursor:
    """`lines`: a newline ends something, and is no blank."""

    def __init__(self, source: SourceText, start: int = 0, end: int | None = None) -> None:
        self.source, self.text = source, source.text
        self.at, self.end = start, len(source.text) if end is None else end
        self.lines = True
        self.depth = 0

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

    def above(self, *parts: Expression) -> int:
        """The height of an expression of these. Raises DefinitionInvalid."""
        height = 1 + max((part.height for part in parts), default=0)
        if height > HIGHEST:
            self.fail("Expression too deep", f"An expression has more than {HIGHEST} levels.")
        return height

    def enter(self) -> None:
        """One level deeper. Raises DefinitionInvalid."""
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail("Nesting too deep", f"Brackets and blocks are nested in more than {DEEPEST} levels.")

    def fail(
        self, summary: str, detail: str, *, start: int | None = None, end: int | None = None
    ) -> NoReturn:
        """Raise DefinitionInvalid for what stands between two positions, or here."""
        first = self.at if start is None else start
        last = end if end is not None else min(max(first + 1, self.at), len(self.text))
        raise DefinitionInvalid(detail, summary=summary, place=self.source.place(first, last))
