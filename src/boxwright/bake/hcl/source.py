"""The text of a definition, and where in it something stands."""

from __future__ import annotations

from bisect import bisect_right

from boxwright.bake.errors import DefinitionInvalid, SourcePlace

LARGEST = 2 << 20  # bytes of a definition


class SourceText:
    """A text with its lines."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self._lines = [0]
        at = text.find("\n")
        while at >= 0:
            self._lines.append(at + 1)
            at = text.find("\n", at + 1)

    @classmethod
    def of(cls, data: bytes, name: str) -> SourceText:
        """A file as text. Raises DefinitionInvalid when it is none, or too large."""
        if len(data) > LARGEST:
            raise DefinitionInvalid(f"{name} is larger than {LARGEST >> 20} MiB: that is no definition")
        try:
            return cls(name, data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DefinitionInvalid(f"{name} is not text in UTF-8: byte {error.start} is wrong") from None

    def place(self, start: int, end: int) -> SourcePlace:
        """The place of a stretch of the text."""
        line, column = self._position(start)
        end_line, end_column = self._position(max(start, end))
        return SourcePlace(file=self.name, line=line, column=column, end_line=end_line, end_column=end_column)

    def _position(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1
