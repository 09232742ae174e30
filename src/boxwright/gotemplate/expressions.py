"""Expressions of a template: fields, variables, calls, pipelines; compiled into closures over a `TemplateScope`."""

from __future__ import annotations

from boxwright.errors import Invalid
from boxwright.gotemplate.functions import FUNCTIONS, FunctionError, Method, show, truth
from boxwright.gotemplate.tokens import Token, tokens
from boxwright.gotemplate.values import NIL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Node = Callable[["TemplateScope"], Any]

DEPTH = 60  # deeper than templates written by hand; below Python's own recursion limit


class FormatError(Invalid):
    """The template is wrong, or asks for what the row does not have."""


class TemplateScope:
    """What a running template sees: the dot, the variables, what was written."""

    __slots__ = ("dot", "functions", "lenient", "out", "size", "variables")

    def __init__(self, dot: Any, functions: Mapping[str, Callable[..., Any]], lenient: bool) -> None:
        self.dot = dot
        self.functions = functions
        self.lenient = lenient
        self.variables: list[list[Any]] = [["$", dot]]
        self.out: list[str] = []
        self.size = 0


class Expressions:
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
            return self.error(
                f"missing value for {where}" if token.kind == "close" else "unexpected EOF", token.position
            )
        return self.error(f'unexpected "{token.text}" in {where}', token.position)

    def pipeline(self, where: str) -> tuple[bool, Node]:
        """``$x := a | b``: whether it declares or assigns (and so prints nothing), and its value."""
        token = self.peek()
        if token.kind == "variable" and self.tokens[self.at + 1].text in (":=", "="):
            declares = self.tokens[self.at + 1].text == ":="
            self.at += 2
            value = self.commands(where)
            return True, self.binder(token, value, declares)
        return False, self.commands(where)

    def binder(self, token: Token, value: Node, declares: bool) -> Node:
        name, position = token.text, token.position
        if declares:
            self.names.append(name)
        elif name not in self.names:
            raise self.error(f'undefined variable "{name}"', position)

        def bind(scope: TemplateScope) -> Any:
            found = value(scope)
            if declares:
                scope.variables.append([name, found])
            else:
                self.assign(scope=scope, name=name, value=found, position=position)
            return found

        return bind

    def assign(self, scope: TemplateScope, name: str, value: Any, position: int) -> None:
        for pair in reversed(scope.variables):
            if pair[0] == name:
                pair[1] = value
                return
        raise self.error(f'undefined variable "{name}"', position, running=True)

    def commands(self, where: str) -> Node:
        value = self.command(where, None)
        while self.peek().kind == "pipe":
            self.at += 1
            value = self.command(where, value)
        return value

    def command(self, where: str, piped: Node | None) -> Node:
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

    def arguments(self, where: str) -> list[Node]:
        found: list[Node] = []
        while self.peek().kind not in ("close", "pipe", "shut", "eof"):
            if not self.peek().spaced:
                raise self.unexpected(self.peek(), "operand")
            found.append(self.operand(where))
        return found

    def operand(self, where: str) -> Node:
        token = self.peek()
        self.at += 1
        node: Node
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
            if self.depth > DEPTH:
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

    def variable(self, token: Token) -> Node:
        name = token.text

        def read(scope: TemplateScope) -> Any:
            for pair in reversed(scope.variables):
                if pair[0] == name:
                    return pair[1]
            raise self.error(f'undefined variable "{name}"', token.position, running=True)

        return read

    def field(self, target: Node, token: Token) -> Node:
        name = token.text[1:]

        def read(scope: TemplateScope) -> Any:
            value = target(scope)
            if callable(value) and not isinstance(value, Method):
                value = value()
            if (value is None or value is NIL) and not scope.lenient:
                raise self.error(f"nil pointer evaluating {token.text}", token.position, running=True)
            try:
                return value[name]
            except (KeyError, TypeError, IndexError):
                if scope.lenient:
                    return None if isinstance(value, str) else name
                raise self.missing(value, token) from None

        return read

    def missing(self, value: Any, token: Token) -> FormatError:
        names = sorted(map(str, value.keys())) if hasattr(value, "keys") else []
        if not names:
            return self.error(
                f"can't evaluate field {token.text[1:]} in {show(value)[:80]!r}", token.position, running=True
            )
        from boxwright.spec.suggest import closest

        near = closest(token.text[1:], names) or [n for n in names if n.lower() == token.text[1:].lower()]
        hint = f"did you mean .{near[0]}?" if near else "there are: " + ", ".join("." + n for n in names[:40])
        return self.error(
            f'executing "" at <{token.text}>: map has no entry for key "{token.text[1:]}"',
            token.position,
            running=True,
            hint=hint,
        )

    def method(self, target: Node, arguments: list[Node], token: Token) -> Node:
        def run(scope: TemplateScope) -> Any:
            function = target(scope)
            if scope.lenient:
                return function
            if not isinstance(function, Method):
                raise self.error(
                    f"{token.text} has arguments but is not a method", token.position, running=True
                )
            return self.guarded(function, [a(scope) for a in arguments], token)

        return run

    def call(self, token: Token, arguments: list[Node], piped: Node | None) -> Node:
        name = token.text
        if piped is not None:
            arguments = [*arguments, piped]
        if name in ("and", "or"):
            return self.short_circuit(name, arguments, token)
        if name not in FUNCTIONS:
            from boxwright.spec.suggest import closest

            near = closest(name, FUNCTIONS)
            raise self.error(
                f'function "{name}" not defined',
                token.position,
                hint=f"did you mean {near[0]}?" if near else "",
            )

        def run(scope: TemplateScope) -> Any:
            return self.guarded(scope.functions[name], [_plain(a(scope)) for a in arguments], token)

        return run

    def short_circuit(self, name: str, arguments: list[Node], token: Token) -> Node:
        if not arguments:
            raise self.error(f"wrong number of args for {name}: want at least 1 got 0", token.position)

        def run(scope: TemplateScope) -> Any:
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
            reason = (
                f"wrong number of args ({len(arguments)})" if counted else f"wrong type of value: {error}"
            )
            raise self.error(f"error calling {token.text}: {reason}", token.position, running=True) from error


def _plain(value: Any) -> Any:
    return value() if callable(value) and not isinstance(value, Method) else value


def _dot(scope: TemplateScope) -> Any:
    return scope.dot


def _constant(value: Any) -> Node:
    return lambda scope: value
