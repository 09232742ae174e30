"""Go templates, as far as Docker's ``--format`` uses them: ``compile(text)`` gives a function from a row to text.

Fields (``.A.B``), methods with arguments, pipelines, parentheses, literals, variables, ``if/else if/else``,
``with``, ``range`` (two variables, else, break, continue), comments, trim markers, and Docker's functions
(`boxwright.gotemplate.functions`). Not there: ``define``, ``template``, ``block``.

A template is compiled once into nested closures, each taking the `TemplateScope` it runs in.
Every failure is a FormatError with line and column; nothing else is ever raised, whatever the template.
"""

from __future__ import annotations

from boxwright.gotemplate.expressions import DEPTH, Expressions, FormatError, TemplateScope
from boxwright.gotemplate.functions import FUNCTIONS, HEADER_FUNCTIONS, Method, show, to_json, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from boxwright.gotemplate.expressions import Node

__all__ = ["FormatError", "Method", "Template", "compile", "to_json"]

_OUTPUT = 64 * 1024 * 1024


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A compiled template; call it with a row (a mapping, a list, any value made of such)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._body = _Compiler(text).compile()

    def __call__(self, row: Any, functions: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """The text for this row; `functions` take the place of those of their names. Raises FormatError."""
        known = {**FUNCTIONS, **functions} if functions else FUNCTIONS
        return self._run(TemplateScope(row, known, lenient=False))

    def header(self, columns: Mapping[str, Any]) -> str:
        """The header line of ``table …``: fields give their column's title, functions change nothing."""
        return self._run(TemplateScope(columns, HEADER_FUNCTIONS, lenient=True))

    def _run(self, scope: TemplateScope) -> str:
        try:
            for node in self._body:
                node(scope)
        except (_Break, _Continue):
            pass
        except RecursionError as error:
            raise FormatError("template is nested too deeply") from error
        return "".join(scope.out)


def compile(text: str) -> Template:
    """Compile a template without its ``table`` prefix. Raises FormatError."""
    return Template(text)


class _Compiler(Expressions):
    """Statements: text, actions, if, with, range."""

    def compile(self) -> list[Node]:
        body = self.block(())
        if self.peek().kind != "eof":
            raise self.error(f"unexpected {{{{{self.tokens[self.at + 1].text}}}}}", self.peek().position)
        return body

    # --- statements ----------------------------------------------------------------------------

    def block(self, ends: tuple[str, ...]) -> list[Node]:
        """Statements up to one of the keywords, which stays the next token."""
        self.depth += 1
        if self.depth > DEPTH:
            raise self.error("nested too deeply", self.peek().position)
        nodes: list[Node] = []
        scope_mark = len(self.names)
        while (token := self.peek()).kind != "eof":
            if token.kind == "text":
                self.at += 1
                nodes.append(_text(token.text))
                continue
            keyword = self.tokens[self.at + 1]
            if keyword.kind == "keyword" and keyword.text in ("end", "else"):
                break
            self.at += 1
            nodes.append(self.statement())
        else:
            if ends:
                raise self.error("unexpected EOF: {{end}} is missing", token.position)
        del self.names[scope_mark:]
        self.depth -= 1
        return nodes

    def statement(self) -> Node:
        token = self.peek()
        if token.kind == "keyword":
            self.at += 1
            if token.text in ("if", "with"):
                return self.condition(token.text)
            if token.text == "range":
                return self.range()
            if token.text in ("break", "continue"):
                if not self.loops:
                    raise self.error(f"{{{{{token.text}}}}} outside {{{{range}}}}", token.position)
                self.close(token.text)
                return _raiser(_Break if token.text == "break" else _Continue)
            raise self.error(f"{{{{{token.text}}}}} is not supported here", token.position)
        position = token.position
        declares, value = self.pipeline("command")
        self.close("command")
        return value if declares else self.printer(value, position)

    def printer(self, value: Node, position: int) -> Node:
        def write(scope: TemplateScope) -> None:
            text = show(value(scope))
            scope.size += len(text)
            if scope.size > _OUTPUT:
                raise self.error("output is too long", position, running=True)
            scope.out.append(text)

        return write

    def close(self, where: str) -> None:
        if self.peek().kind != "close":
            raise self.unexpected(self.peek(), where)
        self.at += 1

    def condition(self, keyword: str) -> Node:
        """``if`` and ``with``, their else-chains, up to ``end``."""
        self.depth += 1
        if self.depth > DEPTH:
            raise self.error("nested too deeply", self.peek().position)
        mark = len(self.names)
        _, value = self.pipeline(keyword)
        self.close(keyword)
        body = self.block(("end", "else"))
        otherwise = self.otherwise(keyword)
        del self.names[mark:]
        self.depth -= 1
        with_dot = keyword == "with"

        def choose(scope: TemplateScope) -> None:
            variables, dot = len(scope.variables), scope.dot
            found = value(scope)
            if truth(found):
                if with_dot:
                    scope.dot = found
                _each(body, scope)
            else:
                _each(otherwise, scope)
            scope.dot = dot
            del scope.variables[variables:]

        return choose

    def otherwise(self, keyword: str) -> list[Node]:
        """What follows the first branch, ``{{end}}`` included."""
        self.at += 1
        word = self.take("keyword", keyword)
        if word.text == "end":
            self.close("end")
            return []
        following = self.peek()
        if following.kind == "keyword" and following.text == keyword and keyword != "range":
            self.at += 1
            return [self.condition(keyword)]
        self.close("else")
        body = self.block(("end",))
        position = self.peek().position
        self.at += 1
        if self.take("keyword", keyword).text != "end":
            raise self.error("unexpected {{else}}", position)
        self.close("end")
        return body

    def range(self) -> Node:
        mark = len(self.names)
        position = self.peek().position
        names: list[str] = []
        start = self.at
        while self.peek().kind == "variable":
            names.append(self.peek().text)
            self.at += 1
            if self.peek().kind == "comma" and len(names) == 1:
                self.at += 1
            else:
                break
        if names and self.peek().text in (":=", "="):
            declares = self.peek().text == ":="
            self.at += 1
        else:
            names, declares, self.at = [], False, start
        _, value = self.pipeline("range")
        self.close("range")
        if declares:
            self.names.extend(names)
        self.loops += 1
        body = self.block(("end", "else"))
        self.loops -= 1
        otherwise = self.otherwise("range")
        del self.names[mark:]

        def loop(scope: TemplateScope) -> None:
            pairs = self.pairs(value(scope), position)
            if not pairs:
                return _each(otherwise, scope)
            variables, dot = len(scope.variables), scope.dot
            for key, element in pairs:
                bound = [key, element] if len(names) == 2 else [element] * len(names)
                for name, item in zip(names, bound):
                    if declares:
                        scope.variables.append([name, item])
                    else:
                        self.assign(scope=scope, name=name, value=item, position=position)
                scope.dot = element
                try:
                    _each(body, scope)
                except _Continue:
                    pass
                except _Break:
                    break
                finally:
                    del scope.variables[variables:]
                    scope.dot = dot

        return loop

    def pairs(self, value: Any, position: int) -> list[tuple[Any, Any]]:
        if value is None:
            return []
        if isinstance(value, bool) or not isinstance(value, (dict, list, tuple, int)):
            if hasattr(value, "items"):
                value = dict(value.items())
            else:
                raise self.error(f"range can't iterate over {show(value)[:80]}", position, running=True)
        if isinstance(value, dict):
            return [(k, value[k]) for k in sorted(value, key=str)]
        if isinstance(value, int):
            if value > 1_000_000:
                raise self.error("range is too long", position, running=True)
            return [(i, i) for i in range(value)]
        return list(enumerate(value))


def _each(nodes: list[Node], scope: TemplateScope) -> None:
    for node in nodes:
        node(scope)


def _text(text: str) -> Node:
    def write(scope: TemplateScope) -> None:
        scope.out.append(text)

    return write


def _raiser(kind: type[Exception]) -> Node:
    def jump(scope: TemplateScope) -> None:
        raise kind

    return jump
