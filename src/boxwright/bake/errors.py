"""What is wrong in a definition, and where."""

from __future__ import annotations

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A stretch of a definition: lines and columns count from 1, the end column is the one after the last."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        start, end = f"{self.line},{self.column}", f"{self.end_line},{self.end_column}"
        if self.line == self.end_line:
            end = str(self.end_column)
        return f"{self.file}:{start}-{end}"


class DefinitionInvalid(Invalid):
    """A definition cannot be used. `place` says where, `source` is the text of that file."""

    def __init__(
        self,
        message: str,
        *,
        summary: str = "",
        place: SourcePlace | None = None,
        source: bytes = b"",
        hint: str = "",
        undefined: bool = False,
    ) -> None:
        text = f"{summary}; {message}" if summary else message
        super().__init__(f"{place}: {text}" if place else text, hint=hint)
        self.reason = message
        self.summary = summary
        self.place = place
        self.source = source
        self.undefined = undefined

    def at(self, place: SourcePlace, summary: str = "Invalid expression") -> DefinitionInvalid:
        """The same failure with its place; one that has a place stays as it is."""
        if self.place is not None:
            return self
        return type(self)(
            self.reason,
            summary=self.summary or summary,
            place=place,
            hint=self.hint,
            undefined=self.undefined,
        )

    def among(self, sources: dict[str, bytes]) -> DefinitionInvalid:
        """The same failure with the text that its place is in."""
        if self.place is not None:
            self.source = sources.get(self.place.file, b"")
        return self

    def render(self) -> str:
        """The lines that it is about; '' when it is about none."""
        if self.place is None or not self.source:
            return ""
        from boxwright.build.dockerfile.errors import SourceRange, render_excerpt

        lines = SourceRange(self.place.line, self.place.end_line)
        return render_excerpt(self.place.file, self.source, [lines])


class DefinitionTooLarge(DefinitionInvalid):
    """A definition expands to more than a definition can be meant to."""
