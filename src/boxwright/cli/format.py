"""Go templates, as far as Docker's ``--format`` uses them: ``compile(text)`` gives a function from a row to text.

Fields (``.A.B``), methods with arguments, pipelines, parentheses, literals, variables, ``if/else if/else``,
``with``, ``range`` (two variables, else, break, continue), comments, trim markers, and Docker's functions
(`boxwright.cli.functions`). Not there: ``define``, ``template``, ``block``.

A template is compiled once into nested closures, each taking the `_Scope` it runs in.
Every failure is a FormatError with line and column; nothing else is ever raised, whatever the template.
"""

from __future__ import annotations

from boxwright.cli.functions import FUNCTIONS, HEADER_FUNCTIONS, FunctionError, Method, show, to_json, truth
from boxwright.cli.template import Token, tokens
from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    type_Node = Callable[["_Scope"], Any]

__all__ = ["FormatError", "Method", "Template", "compile", "to_json"]

_DEPTH = 60  # nesting that nobody writes by hand; below Python's own recursion limit
_OUTPUT = 64 * 1024 * 1024


class FormatError(Invalid):
    """The template is wrong, or asks for what the row does not have."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Scope:
    """What a running template sees: the dot, the variables, what was written."""

    __slots__ = ("dot", "functions", "lenient", "out", "size", "variables")

    def __init__(self, dot: Any, functions: Mapping[str, Callable[..., Any]], lenient: bool) -> None:
        self.dot = dot
        self.functions = functions
        self.lenient = lenient
        self.variables: list[list[Any]] = [["$", dot]]
        self.out: list[str] = []
        self.size = 0


class Template:
    """A compiled template; call it with a row (a mapping, a list, any value made of such)."""

    def __init__(self, text: str) -> None:
        # Docker lets shells pass \t and \n as two characters (formatter.go parseFormat).
        self.text = text.replace("\\t", "\t").replace("\\n", "\n")
        self._body = _Compiler(self.text).compile()

    def __call__(self, row: Any) -> str:
        """The text for this row. Raises FormatError."""
        return self._run(_Scope(row, FUNCTIONS, lenient=False))

    def header(self, columns: Mapping[str, str]) -> str:
        """The header line of ``table …``: fields give their column's title, functions change nothing."""
        return self._run(_Scope(columns, HEADER_FUNCTIONS, lenient=True))

    def _run(self, scope: _Scope) -> str:
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


class _Compiler:
    """Recursive descent over the tokens; each method returns a closure."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.loops = 0
        self.names = ["$"]
        try:
            self.tokens = list(tokens(text))
        except SyntaxError as error:
            raise self.error(str(error.msg), error.offset or 0) from error

    def error(self, message: str, position: int, *, running: bool = False, hint: str = "") -> FormatError:
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        kind = "template error" if running else "template parsing error"
        return FormatError(f"{kind}: {line}:{column}: {message}", hint=hint)

    def compile(self) -> list[type_Node]:
        body = self.block(())
        if self.peek().kind != "eof":
            raise self.error(f"unexpected {{{{{self.tokens[self.at + 1].text}}}}}", self.peek().position)
        return body

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self, kind: str, wanted: str) -> Token:
        token = self.peek()
        if token.kind != kind:
            raise self.unexpected(token, wanted)
        self.at += 1
        return token

    def unexpected(self, token: Token, where: str) -> FormatError:
        if token.kind in ("eof", "close"):
            return self.error(f"missing value for {where}" if token.kind == "close" else "unexpected EOF", token.position)
        return self.error(f'unexpected "{token.text}" in {where}', token.position)

    # --- statements ----------------------------------------------------------------------------

    def block(self, ends: tuple[str, ...]) -> list[type_Node]:
        """Statements up to one of the keywords, which stays the next token."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.error("nested too deeply", self.peek().position)
        nodes: list[type_Node] = []
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

    def statement(self) -> type_Node:
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

    def printer(self, value: type_Node, position: int) -> type_Node:
        def write(scope: _Scope) -> None:
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

    def condition(self, keyword: str) -> type_Node:
        """``if`` and ``with``, their else-chains, up to ``end``."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.error("nested too deeply", self.peek().position)
        mark = len(self.names)
        _, value = self.pipeline(keyword)
        self.close(keyword)
        body = self.block(("end", "else"))
        otherwise = self.otherwise(keyword)
        del self.names[mark:]
        self.depth -= 1
        with_dot = keyword == "with"

        def choose(scope: _Scope) -> None:
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

    def otherwise(self, keyword: str) -> list[type_Node]:
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

    def range(self) -> type_Node:
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

        def loop(scope: _Scope) -> None:
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
                        self.assign(scope, name, item, position)
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

    # --- expressions ---------------------------------------------------------------------------

    def pipeline(self, where: str) -> tuple[bool, type_Node]:
        """``$x := a | b``: whether it declares or assigns (and so prints nothing), and its value."""
        token = self.peek()
        if token.kind == "variable" and self.tokens[self.at + 1].text in (":=", "="):
            declares = self.tokens[self.at + 1].text == ":="
            self.at += 2
            value = self.commands(where)
            return True, self.binder(token, value, declares)
        return False, self.commands(where)

    def binder(self, token: Token, value: type_Node, declares: bool) -> type_Node:
        name, position = token.text, token.position
        if declares:
            self.names.append(name)
        elif name not in self.names:
            raise self.error(f'undefined variable "{name}"', position)

        def bind(scope: _Scope) -> Any:
            found = value(scope)
            if declares:
                scope.variables.append([name, found])
            else:
                self.assign(scope, name, found, position)
            return found

        return bind

    def assign(self, scope: _Scope, name: str, value: Any, position: int) -> None:
        for pair in reversed(scope.variables):
            if pair[0] == name:
                pair[1] = value
                return
        raise self.error(f'undefined variable "{name}"', position, running=True)

    def commands(self, where: str) -> type_Node:
        value = self.command(where, None)
        while self.peek().kind == "pipe":
            self.at += 1
            value = self.command(where, value)
        return value

    def command(self, where: str, piped: type_Node | None) -> type_Node:
        """One command of a pipeline; the value of the command before becomes its last argument."""
        first = self.peek()
        if first.kind == "name":
            self.at += 1
            return self.call(first, self.arguments(where), piped)
        target = self.operand(where)
        arguments = self.arguments(where)
        if piped is not None:
            arguments.append(piped)
        if not arguments:
            return target
        if first.kind not in ("field", "variable", "dot", "open"):
            raise self.error(f"can't give argument to non-function {first.text}", first.position)
        return self.method(target, arguments, first)

    def arguments(self, where: str) -> list[type_Node]:
        found: list[type_Node] = []
        while self.peek().kind not in ("close", "pipe", "shut", "eof"):
            if not self.peek().spaced:
                raise self.unexpected(self.peek(), "operand")
            found.append(self.operand(where))
        return found

    def operand(self, where: str) -> type_Node:
        token = self.peek()
        self.at += 1
        node: type_Node
        if token.kind == "dot":
            node = _dot
        elif token.kind == "field":
            node = self.field(_dot, token)
        elif token.kind == "variable":
            if token.text not in self.names:
                raise self.error(f'undefined variable "{token.text}"', token.position)
            node = self.variable(token)
        elif token.kind == "literal":
            return _constant(token.value)
        elif token.kind == "name":
            node = self.call(token, [], None)
        elif token.kind == "open":
            self.depth += 1
            if self.depth > _DEPTH:
                raise self.error("nested too deeply", token.position)
            _, node = self.pipeline("parenthesized pipeline")
            self.take("shut", "parenthesized pipeline")
            self.depth -= 1
        else:
            self.at -= 1
            raise self.unexpected(token, where)
        while self.peek().kind == "field" and not self.peek().spaced:
            node = self.field(node, self.peek())
            self.at += 1
        return node

    def variable(self, token: Token) -> type_Node:
        name = token.text

        def read(scope: _Scope) -> Any:
            for pair in reversed(scope.variables):
                if pair[0] == name:
                    return pair[1]
            raise self.error(f'undefined variable "{name}"', token.position, running=True)

        return read

    def field(self, target: type_Node, token: Token) -> type_Node:
        name = token.text[1:]

        def read(scope: _Scope) -> Any:
            value = target(scope)
            if callable(value) and not isinstance(value, Method):
                value = value()
            if value is None and not scope.lenient:
                raise self.error(f"nil pointer evaluating {token.text}", token.position, running=True)
            try:
                return value[name]
            except (KeyError, TypeError, IndexError):
                if scope.lenient:
                    return None if isinstance(value, str) else name
                raise self.missing(value, token) from None

        return read

    def missing(self, value: Any, token: Token) -> FormatError:
        names = sorted(map(str, value)) if hasattr(value, "keys") else []
        if not names:
            return self.error(f"can't evaluate field {token.text[1:]} in {show(value)[:80]!r}", token.position, running=True)
        from boxwright.cli.suggest import closest

        near = closest(token.text[1:], names) or [n for n in names if n.lower() == token.text[1:].lower()]
        hint = f"did you mean .{near[0]}?" if near else "there are: " + ", ".join("." + n for n in names[:40])
        return self.error(f'executing "" at <{token.text}>: map has no entry for key "{token.text[1:]}"', token.position, running=True, hint=hint)

    def method(self, target: type_Node, arguments: list[type_Node], token: Token) -> type_Node:
        def run(scope: _Scope) -> Any:
            function = target(scope)
            if scope.lenient:
                return function
            if not isinstance(function, Method):
                raise self.error(f"{token.text} has arguments but is not a method", token.position, running=True)
            return self.guarded(function, [a(scope) for a in arguments], token)

        return run

    def call(self, token: Token, arguments: list[type_Node], piped: type_Node | None) -> type_Node:
        name = token.text
        if piped is not None:
            arguments = [*arguments, piped]
        if name in ("and", "or"):
            return self.short_circuit(name, arguments, token)
        if name not in FUNCTIONS:
            from boxwright.cli.suggest import closest

            near = closest(name, FUNCTIONS)
            raise self.error(f'function "{name}" not defined', token.position, hint=f"did you mean {near[0]}?" if near else "")

        def run(scope: _Scope) -> Any:
            return self.guarded(scope.functions[name], [_plain(a(scope)) for a in arguments], token)

        return run

    def short_circuit(self, name: str, arguments: list[type_Node], token: Token) -> type_Node:
        if not arguments:
            raise self.error(f"wrong number of args for {name}: want at least 1 got 0", token.position)

        def run(scope: _Scope) -> Any:
            value = None
            for argument in arguments:
                value = _plain(argument(scope))
                if truth(value) == (name == "or"):
                    break
            return value

        return run

    def guarded(self, function: Callable[..., Any], arguments: list[Any], token: Token) -> Any:
        try:
            return function(*arguments)
        except FunctionError as error:
            raise self.error(f"error calling {token.text}: {error}", token.position, running=True) from error
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            counted = "positional argument" in str(error)
            reason = f"wrong number of args ({len(arguments)})" if counted else f"wrong type of value: {error}"
            raise self.error(f"error calling {token.text}: {reason}", token.position, running=True) from error


def _plain(value: Any) -> Any:
    return value() if callable(value) and not isinstance(value, Method) else value


def _each(nodes: list[type_Node], scope: _Scope) -> None:
    for node in nodes:
        node(scope)


def _dot(scope: _Scope) -> Any:
    return scope.dot


def _text(text: str) -> type_Node:
    def write(scope: _Scope) -> None:
        scope.out.append(text)

    return write


def _constant(value: Any) -> type_Node:
    return lambda scope: value


def _raiser(kind: type[Exception]) -> type_Node:
    def jump(scope: _Scope) -> None:
        raise kind

    return jump
