"""HCL's own syntax, into a tree (hashicorp/hcl, hclsyntax/spec.md).

Nesting is bounded while it is parsed: a definition comes from outside, and no text of it may exhaust the stack.
"""

from __future__ import annotations

import re

from boxwright.bake.errors import SourcePlace
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.cursor import IDENTIFIER, HclCursor
from boxwright.bake.hcl.source import SourceText
from boxwright.bake.hcl.templates import Inside, Parts
from boxwright.bake.hcl.types import NULL, boolean, number, parse_number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.hcl.tree import Expression, HclBody

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_HEREDOC = re.compile(r"<<(-?)([^\W\d][\w-]*)\r?\n")
_LITERALS = {"true": boolean(True), "false": boolean(False), "null": NULL}
# How tightly each binds; longer ones first, since some begin with others.
_OPERATORS = {
    "||": 0,
    "&&": 1,
    "==": 2,
    "!=": 2,
    ">=": 3,
    "<=": 3,
    ">": 3,
    "<": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}


def parse(data: bytes, name: str) -> HclBody:
    """The body of a file. Raises DefinitionInvalid."""
    return HclParser(SourceText.of(data, name)).file()


class HclParser(HclCursor):
    """A position in a text; each method takes what it is named after."""

    # --- bodies --------------------------------------------------------------------------------

    def file(self) -> HclBody:
        body = self._body(closed=False)
        self.blank()
        if self.at < self.end:
            self.fail("Argument or block definition required", "an argument or a block is wanted here")
        return body

    def _body(self, *, closed: bool) -> HclBody:
        arguments: dict[str, tree.HclArgument] = {}
        blocks: list[tree.Block] = []
        while True:
            self._newlines()
            if self.at >= self.end or self.here("}"):
                break
            start = self.at
            name = self.word()
            if not name:
                what = (
                    "Argument names must not be quoted."
                    if self.here('"')
                    else "An argument or block definition is required here."
                )
                self.fail(
                    "Invalid argument name" if self.here('"') else "Argument or block definition required",
                    what,
                )
            place = self.place(start)
            self.blank()
            if self.here("=") and not self.here("=="):
                argument = self._argument(name, place, start)
                if name in arguments:
                    first = arguments[name].name_place
                    self.fail(
                        "Attribute redefined",
                        f'The argument "{name}" was already set at {first}. Each argument may be set only once.',
                        start=start,
                        end=start + len(name),
                    )
                arguments[name] = argument
            else:
                blocks.append(self._block(name, start))
            self.blank()
            if closed and self.here("}"):
                break
            if self.at < self.end and not self.here("\n"):
                self.fail("Missing newline after argument", "An argument definition must end with a newline.")
        return tree.HclBody(arguments, tuple(blocks), self.place(self.at))

    def _argument(self, name: str, place: SourcePlace, start: int) -> tree.HclArgument:
        self.at += 1
        value = self.expression()
        return tree.HclArgument(name, place, value=value, place=self.place(start))

    def _block(self, name: str, start: int) -> tree.Block:
        labels: list[str] = []
        places: list[SourcePlace] = []
        while not self.here("{"):
            began = self.at
            if self.here('"'):
                label = self._quoted_literal()
            else:
                label = self.word()
                if not label:
                    self.fail(
                        "Invalid block definition",
                        'Either a quoted string block label or an opening brace ("{") is expected here.',
                    )
            labels.append(label)
            places.append(self.place(began))
            self.blank()
        header = self.place(start)
        opened = self.at
        self.at += 1
        self.enter()
        lines, self.lines = self.lines, True
        body = self._body(closed=True)
        self.lines = lines
        self.depth -= 1
        if not self.take("}"):
            self.fail(
                "Unclosed configuration block",
                "There is no closing brace for this block before the end of the file.",
                start=opened,
                end=opened + 1,
            )
        return tree.Block(
            type=name, labels=tuple(labels), label_places=tuple(places), header=header, body=body
        )

    def _quoted_literal(self) -> str:
        found = self._quoted()
        if not isinstance(found, tree.Literal):
            self.fail("Invalid string literal", "Template sequences are not allowed in this string.")
        return str(found.value.data)

    # --- expressions ---------------------------------------------------------------------------

    def whole_expression(self) -> Expression:
        """One expression, and nothing after it."""
        self.lines = False
        found = self.expression()
        self.blank()
        if self.at < self.end:
            self.fail("Extra characters after expression", "an expression ends here, and more follows")
        return found

    def expression(self) -> Expression:
        """Any expression."""
        self.enter()
        start = self._skip()
        found = self._binary(0)
        self.blank()
        if self.take("?"):
            yes = self.expression()
            self.blank()
            if not self.take(":"):
                self.fail(
                    "Missing false expression in conditional",
                    "The conditional operator (...?...:...) requires a false expression, delimited by a colon.",
                )
            no = self.expression()
            found = tree.Conditional(
                place=self.place(start), height=self.above(found, yes, no), condition=found, yes=yes, no=no
            )
        self.depth -= 1
        return found

    def _binary(self, least: int) -> Expression:
        """Operators that bind at least so tightly, from left to right."""
        start = self._skip()
        left = self._unary()
        while True:
            self.blank()
            operator = next((o for o in _OPERATORS if self.here(o)), "")
            level = _OPERATORS.get(operator, -1)
            if level < least:
                return left
            self.at += len(operator)
            right = self._binary(level + 1)
            left = tree.Binary(
                place=self.place(start),
                height=self.above(left, right),
                operator=operator,
                left=left,
                right=right,
            )

    def _unary(self) -> Expression:
        start = self._skip()
        if self.here("-") or (self.here("!") and not self.here("!=")):
            operator = self.text[self.at]
            self.at += 1
            self.enter()
            inner = self._unary()
            self.depth -= 1
            return tree.Unary(self.place(start), self.above(inner), operator=operator, inner=inner)
        return self._steps(self._term(), start)

    def _steps(self, found: Expression, start: int) -> Expression:
        """What follows a term: ``.name``, ``.0``, ``[key]``, splats."""
        while True:
            self.blank()
            if self.here(".") and not self.here("..."):
                self.at += 1
                self.blank()
                if self.take("*"):
                    each = self._steps_of_splat(full=False)
                    found = tree.Splat(self.place(start), self.above(found, each), inner=found, each=each)
                    continue
                found = self._dotted(found, start)
            elif self.here("["):
                self.at += 1
                lines, self.lines = self.lines, False
                self.blank()
                if self.here("*") and self.text[self.at + 1 :].lstrip()[:1] == "]":
                    self.at = self.text.index("]", self.at) + 1
                    self.lines = lines
                    each = self._steps_of_splat(full=True)
                    found = tree.Splat(self.place(start), self.above(found, each), inner=found, each=each)
                    continue
                key = self.expression()
                self.blank()
                if not self.take("]"):
                    self.fail(
                        "Missing close bracket on index",
                        'The index operator must end with a closing bracket ("]").',
                    )
                self.lines = lines
                found = tree.IndexStep(self.place(start), self.above(found, key), inner=found, key=key)
            else:
                return found

    def _dotted(self, found: Expression, start: int) -> Expression:
        """What stands after a dot: a name, or an index of the old kind."""
        word = self.word()
        if word:
            return tree.Attribute(self.place(start), self.above(found), inner=found, name=word)
        began = self.at
        digits = re.compile(r"\d+").match(self.text, self.at, self.end)
        if not digits:
            self.fail("Invalid attribute name", "An attribute name is required after a dot.")
        self.at = digits.end()
        key = tree.Literal(self.place(began), 1, number(parse_number(digits[0])))
        return tree.IndexStep(self.place(start), self.above(found), inner=found, key=key)

    def _steps_of_splat(self, *, full: bool) -> Expression:
        start = self.at
        found: Expression = tree.Hole(self.place(start), 1)
        if full:
            return self._steps(found, start)
        while self.here(".") and not self.here("..."):
            self.at += 1
            found = self._dotted(found, start)
        return found

    def _term(self) -> Expression:
        start = self._skip()
        if self.at >= self.end:
            self.fail(
                "Missing expression", "Expected the start of an expression, but found the end of the file."
            )
        here = self.text[self.at]
        if here == '"':
            return self._quoted()
        if here == "(":
            return self._parens(start)
        if here == "[":
            return self._tuple(start)
        if here == "{":
            return self._object(start)
        if here == "<" and (heredoc := _HEREDOC.match(self.text, self.at, self.end)):
            return self._heredoc(heredoc)
        if found := _NUMBER.match(self.text, self.at, self.end):
            self.at = found.end()
            return tree.Literal(self.place(start), 1, number(parse_number(found[0])))
        name = self.word()
        if not name:
            self.fail(
                "Invalid expression",
                "Expected the start of an expression, but found an invalid expression token.",
            )
        while self.here("::"):
            self.at += 2
            name += "::" + self.word()
        if self.here("("):
            return self._call(name, start)
        if name in _LITERALS:
            return tree.Literal(self.place(start), 1, _LITERALS[name])
        return tree.Name(self.place(start), 1, name)

    def _parens(self, start: int) -> Expression:
        self.at += 1
        lines, self.lines = self.lines, False
        inner = self.expression()
        self.blank()
        if not self.take(")"):
            self.fail("Unbalanced parentheses", "Expected a closing parenthesis to terminate the expression.")
        self.lines = lines
        return tree.Parens(self.place(start), self.above(inner), inner)

    def _call(self, name: str, start: int) -> Expression:
        named = self.place(start)
        self.at += 1
        lines, self.lines = self.lines, False
        arguments: list[Expression] = []
        expand = False
        while not self._closes(")"):
            arguments.append(self.expression())
            self.blank()
            if self.take("..."):
                expand = True
                self.blank()
                if not self.here(")"):
                    self.fail(
                        "Missing closing parenthesis",
                        "An expanded function argument (with ...) must be immediately followed by closing parentheses.",
                    )
            elif not self.take(",") and not self.here(")"):
                self.fail(
                    "Missing argument separator",
                    "A comma is required to separate each function argument from the next.",
                )
        self.lines = lines
        return tree.FunctionCall(
            place=self.place(start),
            height=self.above(*arguments),
            name=name,
            name_place=named,
            arguments=tuple(arguments),
            expand=expand,
        )

    def _closes(self, bracket: str) -> bool:
        self.blank()
        if self.at >= self.end:
            self.fail(
                "Unterminated expression", f'There is no closing "{bracket}" before the end of the file.'
            )
        return self.take(bracket)

    def _tuple(self, start: int) -> Expression:
        self.at += 1
        lines, self.lines = self.lines, False
        self.blank()
        if self._is_for():
            found = self._for(start, "]")
            self.lines = lines
            return found
        items: list[Expression] = []
        while not self._closes("]"):
            items.append(self.expression())
            self.blank()
            if not self.take(",") and not self.here("]"):
                self.fail(
                    "Missing item separator", "Expected a comma to mark the beginning of the next item."
                )
        self.lines = lines
        return tree.Tuple(self.place(start), self.above(*items), tuple(items))

    def _object(self, start: int) -> Expression:
        self.at += 1
        lines, self.lines = self.lines, True
        self._newlines()
        if self._is_for():
            self.lines = False
            found = self._for(start, "}")
            self.lines = lines
            return found
        items: list[tuple[Expression, Expression]] = []
        while True:
            self._newlines()
            if self._closes("}"):
                break
            key = self.expression()
            self.blank()
            if not (self.here("=") and not self.here("=>") and self.take("=")) and not self.take(":"):
                self.fail(
                    "Missing key/value separator",
                    'Expected an equals sign ("=") to mark the beginning of the attribute value.',
                )
            items.append((key, self.expression()))
            self.blank()
            if not self.take(",") and not self.here("\n") and not self.here("}"):
                self.fail(
                    "Missing attribute separator",
                    "Expected a newline or comma to mark the beginning of the next attribute.",
                )
        self.lines = lines
        return tree.Object(self.place(start), self.above(*(e for pair in items for e in pair)), tuple(items))

    def _is_for(self) -> bool:
        found = IDENTIFIER.match(self.text, self.at, self.end)
        if not found or found[0] != "for":
            return False
        rest = self.text[found.end() : found.end() + 2].lstrip()
        return not rest.startswith(("=", ":", ",", "]", ".", "("))

    def _for(self, start: int, bracket: str) -> Expression:
        key_name, value_name, collection = self.for_header()
        self.blank()
        if not self.take(":"):
            self.fail(
                "Invalid 'for' expression", "For expression requires a colon after the collection expression."
            )
        value = self.expression()
        key = None
        self.blank()
        if self.take("=>"):
            key, value = value, self.expression()
            self.blank()
        group = self.take("...")
        self.blank()
        condition = None
        if self.keyword("if"):
            condition = self.expression()
            self.blank()
        if not self.take(bracket):
            self.fail("Invalid 'for' expression", "Extra characters after the end of the 'for' expression.")
        if (key is None) != (bracket == "]"):
            needed = "required when building an object" if key is None else "not valid when building a tuple"
            self.fail("Invalid 'for' expression", f"Key expression is {needed}.", start=start)
        if group and key is None:
            self.fail(
                "Invalid 'for' expression", "Grouping ellipsis (...) cannot be used when building a tuple."
            )
        parts = [e for e in (collection, key, value, condition) if e is not None]
        return tree.For(
            place=self.place(start),
            height=self.above(*parts),
            key_name=key_name,
            value_name=value_name,
            collection=collection,
            key=key,
            value=value,
            condition=condition,
            group=group,
        )

    def for_header(self) -> tuple[str, str, Expression]:
        """``for k, v in collection``, of an expression or a template."""
        self.blank()
        self.keyword("for")
        self.blank()
        key_name, value_name = "", self.word()
        if not value_name:
            self.fail("Invalid 'for' expression", "For expression requires variable name after 'for'.")
        self.blank()
        if self.take(","):
            self.blank()
            key_name, value_name = value_name, self.word()
            if not value_name:
                self.fail(
                    "Invalid 'for' expression", "For expression requires value variable name after comma."
                )
            self.blank()
        if not self.keyword("in"):
            self.fail(
                "Invalid 'for' expression",
                "For expression requires the 'in' keyword after its name declarations.",
            )
        return key_name, value_name, self.expression()

    # --- templates -----------------------------------------------------------------------------

    def _parts(self, *, heredoc: bool) -> Parts:
        return Parts(self, Inside(self.expression, self.for_header), heredoc=heredoc)

    def _quoted(self) -> Expression:
        start = self.at
        self.at += 1
        parts = self._parts(heredoc=False)
        parts.take()
        if not self.take('"'):
            self.fail(
                "Unterminated string literal",
                "Unable to find the closing quote mark before the end of the file.",
                start=start,
            )
        return self._template(parts.done(), start)

    def bare_template(self) -> Expression:
        """All that is left of the text, as a template."""
        start = self.at
        parts = self._parts(heredoc=True)
        parts.take()
        return self._template(parts.done(), start)

    def _heredoc(self, opened: re.Match[str]) -> Expression:
        start = self.at
        first = opened.end()
        ending = re.compile(rf"^[ \t]*{re.escape(opened[2])}[ \t]*\r?$", re.MULTILINE).search(
            self.text, first, self.end
        )
        if ending is None:
            self.fail(
                "Unterminated template string",
                f"No line with the heredoc's marker {opened[2]} follows.",
                start=start,
            )
        end, self.end = self.end, ending.start()
        self.at = first
        parts = self._parts(heredoc=True)
        parts.take()
        found = parts.done(flush=bool(opened[1]))
        self.at, self.end = ending.start() + len(ending[0].rstrip("\r")), end
        return self._template(found, start)

    def _template(self, parts: list[Expression], start: int) -> Expression:
        place = self.place(start)
        if not parts:
            return tree.Literal(place, 1, text(""))
        if len(parts) == 1:
            only = parts[0]
            if isinstance(only, tree.Literal) and only.height == 1 and only.value.type.kind == "string":
                return tree.Literal(place, 1, only.value)
            return tree.Wrapped(place, self.above(only), only)
        return tree.TemplateText(place, self.above(*parts), tuple(parts))
