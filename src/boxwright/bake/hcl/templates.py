"""Templates of HCL: text with ``${…}`` and ``%{…}``, quoted or in heredocs, read by the parser around them."""

from __future__ import annotations

import re

from boxwright.bake.hcl import tree
from boxwright.bake.hcl.cursor import HclCursor
from boxwright.bake.hcl.types import text
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.bake.hcl.tree import Expression

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_PLAIN = re.compile(r"[^\"\\$%\n]+")
_PLAIN_HEREDOC = re.compile(r"[^$%]+")


@dataclass(frozen=True, slots=True)
class Inside:
    """What is read between the braces of a sequence, by the parser around the template: an expression, or the names and
    the collection of a ``for``."""

    expression: Callable[[], Expression]
    for_header: Callable[[], tuple[str, str, Expression]]


class Parts:
    """The parts of one template, while it is read."""

    def __init__(
        self,
        cursor: HclCursor,
        inside: Inside,
        *,
        heredoc: bool,
        flow: list[Expression | None] | None = None,
    ) -> None:
        self.p, self.inside, self.heredoc = cursor, inside, heredoc
        # All tokens of the template around it, in their order: None for what is no text.
        self.flow: list[Expression | None] = [] if flow is None else flow
        self.found: list[Expression] = []
        self._text: list[str] = []
        self._text_at = cursor.at
        self._trim_next = False
        self.stopped = ""  # the directive that ended it: else, endif, endfor

    def take(self) -> None:
        """Read until the template's end, or a directive that is another's."""
        p = self.p
        plain = _PLAIN_HEREDOC if self.heredoc else _PLAIN
        while p.at < p.end:
            found = plain.match(p.text, p.at, p.end)
            if found:
                self._add(found[0])
                p.at = found.end()
            elif p.here('"') and not self.heredoc:
                return
            elif p.here("$${") or p.here("%%{"):
                self._add(p.text[p.at + 1 : p.at + 3])
                p.at += 3
            elif p.here("${"):
                self._interpolation()
            elif p.here("%{"):
                if self._directive():
                    return
            elif p.here("\\") and not self.heredoc:
                self._escape()
            elif p.here("\n") and not self.heredoc:
                p.fail(
                    "Invalid multi-line string",
                    "Quoted strings may not be split over multiple lines; a heredoc may.",
                )
            else:
                self._add(p.text[p.at])
                p.at += 1

    def done(self, *, flush: bool = False) -> list[Expression]:
        """All parts; `flush` takes the common indentation off."""
        self._flush_text()
        if flush:
            _outdent(self.flow)
        return [part for part in self.found if not (isinstance(part, tree.Literal) and part.value.data == "")]

    def _add(self, piece: str) -> None:
        """Text of this template; in a heredoc each line is a token of its own, which is trimmed for itself."""
        lines = piece.splitlines(keepends=True) if self.heredoc else [piece]
        for line in lines:
            if not self._text:
                self._text_at = self.p.at
            self._text.append(line)
            if self.heredoc and line.endswith("\n"):
                self._flush_text()

    def _flush_text(self, *, trim: bool = False) -> None:
        joined = "".join(self._text)
        if not joined and not trim:
            return
        if self._trim_next:
            joined = joined.lstrip()
        if trim:
            joined = joined.rstrip()
        place = self.p.source.place(self._text_at, self.p.at)
        literal = tree.Literal(place, 1, text(joined))
        self.flow.append(literal)
        self.found.append(literal)
        self._text = []
        self._trim_next = False

    def _ended(self, trim: bool) -> None:
        """The text before a sequence is complete."""
        self._flush_text(trim=trim)
        self._trim_next = False
        self.flow.append(None)

    def _interpolation(self) -> None:
        p = self.p
        self._ended(p.here("${~"))
        p.at += 3 if p.here("${~") else 2
        lines, p.lines = p.lines, False
        found = self.inside.expression()
        p.lines = lines
        self._close()
        self.found.append(
            found if found.height > 1 or not isinstance(found, tree.Literal) else _wrapped(found)
        )

    def _close(self) -> None:
        """``}`` or ``~}`` after the expression of a sequence."""
        p = self.p
        lines, p.lines = p.lines, False
        p.blank()
        p.lines = lines
        self._trim_next = p.take("~")
        if not p.take("}"):
            p.fail(
                "Extra characters after interpolation expression",
                "Expected a closing brace to end the interpolation expression, but found extra characters.",
            )

    def _directive(self) -> bool:
        """``%{if …}``, ``%{for …}``; true when it is the end of another's part."""
        p = self.p
        start = p.at
        self._ended(p.here("%{~"))
        p.at += 3 if p.here("%{~") else 2
        p.blank()
        if p.keyword("if"):
            self.found.append(self._if(start))
            return False
        mark = p.at
        if p.keyword("for"):
            p.at = mark
            self.found.append(self._for(start))
            return False
        word = p.word()
        if word not in ("else", "endif", "endfor"):
            p.fail(
                "Invalid template directive",
                f'"{word}" is not a valid template control keyword.',
                start=start,
            )
        self._close()
        self.stopped = word
        return True

    def _inner(self) -> tuple[Expression, str]:
        """The part up to the next directive that is not its own, as text."""
        p = self.p
        start = p.at
        inner = Parts(p, self.inside, heredoc=self.heredoc, flow=self.flow)
        inner._trim_next = self._trim_next
        p.enter()
        inner.take()
        p.depth -= 1
        self._trim_next = inner._trim_next
        parts = [
            part for part in inner.found if not (isinstance(part, tree.Literal) and part.value.data == "")
        ]
        if not inner.stopped:
            p.fail("Unexpected end of template", "A template directive is not ended.", start=start)
        place = p.source.place(start, p.at)
        return tree.TemplateText(place, p.above(*parts), tuple(parts)), inner.stopped

    def _expression(self) -> Expression:
        p = self.p
        lines, p.lines = p.lines, False
        found = self.inside.expression()
        p.lines = lines
        self._close()
        return found

    def _if(self, start: int) -> Expression:
        p = self.p
        condition = self._expression()
        yes, ended = self._inner()
        no: Expression = tree.Literal(yes.place, 1, text(""))
        if ended == "else":
            no, ended = self._inner()
        if ended != "endif":
            p.fail("Unexpected template directive", f"{ended} does not end an if.", start=start)
        place = p.place(start)
        chosen = tree.Conditional(
            place=place, height=p.above(condition, yes, no), condition=condition, yes=yes, no=no
        )
        return tree.TemplateText(place, p.above(chosen), (chosen,))

    def _for(self, start: int) -> Expression:
        p = self.p
        lines, p.lines = p.lines, False
        key_name, value_name, collection = self.inside.for_header()
        p.lines = lines
        self._close()
        value, ended = self._inner()
        if ended != "endfor":
            p.fail("Unexpected template directive", f"{ended} does not end a for.", start=start)
        return tree.For(
            place=p.place(start),
            height=p.above(collection, value),
            key_name=key_name,
            value_name=value_name,
            collection=collection,
            key=None,
            value=value,
            condition=None,
            group=False,
            joined=True,
        )

    def _escape(self) -> None:
        p = self.p
        start, letter = p.at, p.text[p.at + 1 : p.at + 2]
        if letter in _ESCAPES and letter:
            self._add_raw(_ESCAPES[letter], 2)
            return
        digits = {"u": 4, "U": 8}.get(letter, 0)
        code = p.text[p.at + 2 : p.at + 2 + digits]
        if not digits or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", code):
            p.fail(
                "Invalid escape sequence",
                f'The symbol "{letter}" is not a valid escape sequence selector.',
                start=start,
            )
        value = int(code, 16)
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            p.fail("Invalid escape sequence", f"Cannot encode character U+{value:04x} in UTF-8.", start=start)
        self._add_raw(chr(value), 2 + digits)

    def _add_raw(self, piece: str, length: int) -> None:
        if not self._text:
            self._text_at = self.p.at
        self._text.append(piece)
        self.p.at += length


def _wrapped(found: Expression) -> Expression:
    """A literal inside ``${…}``, which is no literal text."""
    return tree.Parens(found.place, 2, found)


def _outdent(flow: list[Expression | None]) -> None:
    """Take the indentation that all lines of a heredoc have off its tokens, each of which is a line or its
    beginning."""
    least: int | None = None
    starts: list[tree.Literal] = []
    begins = True
    for token in flow:
        data = token.value.data if isinstance(token, tree.Literal) else ""
        if begins:
            indent = len(data) - len(data.lstrip())
            if not data.strip() and data.endswith("\n"):
                indent = -1
            elif isinstance(token, tree.Literal):
                starts.append(token)
            if indent >= 0:
                least = indent if least is None else min(least, indent)
        begins = data.endswith("\n")
    for literal in starts:
        literal.value.data = literal.value.data[least or 0 :]
