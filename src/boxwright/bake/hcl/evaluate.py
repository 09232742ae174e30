"""The value of an expression, with the variables and functions of a scope.

What is evaluated is data of its author: nothing here reaches a file, the network or the environment.
"""

from __future__ import annotations

from decimal import Decimal, DivisionByZero, InvalidOperation, localcontext

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge, SourcePlace
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.types import (
    BOOL,
    CONTEXT,
    DYNAMIC,
    NUMBER,
    STRING,
    HclValue,
    boolean,
    checked_number,
    convert,
    list_of,
    listed,
    number,
    objected,
    text,
    tupled,
    unify,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from boxwright.bake.hcl.budget import Budget
    from boxwright.bake.hcl.tree import Expression

    class NameScope(Protocol):
        """What names mean. Both raise DefinitionInvalid for names that mean nothing."""

        def variable(self, name: str) -> HclValue: ...

        def member(self, name: str, steps: tuple[str, ...]) -> HclValue | None:
            """The value of a reference whose first words are looked up together; None when its name is a variable's."""

        def call(self, call: tree.FunctionCall, evaluator: Evaluator) -> HclValue: ...


class Local:
    """A scope with some names of its own: of a loop, a function's parameters, a matrix."""

    def __init__(self, outer: NameScope, names: Mapping[str, HclValue]) -> None:
        self.outer, self.names = outer, names

    def variable(self, name: str) -> HclValue:
        found = self.names.get(name)
        return self.outer.variable(name) if found is None else found

    def member(self, name: str, steps: tuple[str, ...]) -> HclValue | None:
        return None if name in self.names else self.outer.member(name, steps)

    def call(self, call: tree.FunctionCall, evaluator: Evaluator) -> HclValue:
        return self.outer.call(call, evaluator)


class Evaluator:
    """Evaluates in one scope; all evaluators of a definition share its budget."""

    def __init__(self, scope: NameScope, budget: Budget, hole: HclValue | None = None) -> None:
        self.scope, self.budget, self.hole = scope, budget, hole

    def within(self, names: Mapping[str, HclValue]) -> Evaluator:
        """One more scope inside this."""
        return Evaluator(Local(self.scope, names), self.budget, self.hole)

    def value(self, expression: Expression) -> HclValue:
        """Raises DefinitionInvalid, with the place of the expression that fails."""
        self.budget.step()
        self.budget.enter()
        try:
            return _HANDLERS[type(expression)](self, expression)
        except DefinitionInvalid as error:
            raise error.at(expression.place) from None
        finally:
            self.budget.depth -= 1

    # --- one method a kind ---------------------------------------------------------------------

    def _literal(self, e: tree.Literal) -> HclValue:
        return e.value

    def _parens(self, e: tree.Parens | tree.Wrapped) -> HclValue:
        return self.value(e.inner)

    def _hole(self, e: tree.Hole) -> HclValue:
        assert self.hole is not None
        return self.hole

    def _template(self, e: tree.TemplateText) -> HclValue:
        return text("".join(self._piece(part) for part in e.parts))

    def _piece(self, part: Expression) -> str:
        value = self.value(part)
        if value.null:
            raise _fail(
                "Invalid template interpolation value",
                "The expression result is null. Cannot include a null value in a string template.",
                part,
            )
        try:
            found = str(convert(value, STRING).data)
        except DefinitionInvalid as error:
            raise _fail(
                "Invalid template interpolation value",
                f"Cannot include the given value in a string template: {error.reason}.",
                part,
            ) from None
        self.budget.make(len(found))
        return found

    def _name(self, e: tree.Name) -> HclValue:
        found = self.scope.member(e.name, ())
        return self.scope.variable(e.name) if found is None else found

    def _attribute(self, e: tree.Attribute | tree.IndexStep) -> HclValue:
        """A step, or several of one reference: what begins with the name of a kind of blocks is looked up together."""
        chain: list[tree.Attribute | tree.IndexStep] = []
        inner: Expression = e
        while isinstance(inner, (tree.Attribute, tree.IndexStep)) and _word(inner):
            chain.insert(0, inner)
            inner = inner.inner
        found = None
        if isinstance(inner, tree.Name) and chain:
            found = self.scope.member(inner.name, tuple(_word(step) for step in chain))
        if found is None:
            return self._stepped(self.value(e.inner), e)
        for step in chain:
            found = self._stepped(found, step)
        return found

    def _stepped(self, value: HclValue, step: tree.Attribute | tree.IndexStep) -> HclValue:
        try:
            if isinstance(step, tree.Attribute):
                return attribute(value, step.name)
            return index(value, self.value(step.key))
        except DefinitionInvalid as error:
            before, after = step.inner.place, step.place
            place = SourcePlace(
                file=after.file,
                line=before.end_line,
                column=before.end_column,
                end_line=after.end_line,
                end_column=after.end_column,
            )
            raise error.at(place) from None

    def _splat(self, e: tree.Splat) -> HclValue:
        source = self.value(e.inner)
        if source.type.kind not in ("list", "set", "tuple"):
            source = tupled([] if source.null else [source])
        if source.null:
            raise _fail(
                "Splat of null value",
                "Splat expressions (with the * symbol) cannot be applied to null sequences.",
                e,
            )
        found = [Evaluator(self.scope, self.budget, item).value(e.each) for item in source.data]
        if source.type.kind != "tuple":
            return listed(found) if found else HclValue(list_of(DYNAMIC), ())
        return tupled(found)

    def _conditional(self, e: tree.Conditional) -> HclValue:
        yes, no = self._tried(e.yes), self._tried(e.no)
        condition = self.value(e.condition)
        if condition.null:
            raise _fail(
                "Null condition",
                "The condition value is null. Conditions must either be true or false.",
                e.condition,
            )
        try:
            chosen = convert(condition, BOOL).data
        except DefinitionInvalid:
            raise _fail(
                "Incorrect condition type", "The condition expression must be of type bool.", e.condition
            ) from None
        found = yes if chosen else no
        if isinstance(found, DefinitionInvalid):
            raise found
        if isinstance(yes, DefinitionInvalid) or isinstance(no, DefinitionInvalid):
            return found
        self.budget.make(yes.weight + no.weight)
        kind = unify([yes.type, no.type])
        if kind is None:
            raise _fail(
                "Inconsistent conditional result types",
                f"The true and false result expressions must have consistent types. The 'true' value is "
                f"{yes.type.friendly()}, but the 'false' value is {no.type.friendly()}.",
                e,
            )
        return convert(found, kind)

    def _tried(self, e: Expression) -> HclValue | DefinitionInvalid:
        """Both results of a conditional are evaluated for their types, and the one that is not chosen may fail."""
        try:
            return self.value(e)
        except DefinitionInvalid as error:
            if isinstance(error, DefinitionTooLarge):
                raise
            return error

    def _binary(self, e: tree.Binary) -> HclValue:
        if e.operator in ("==", "!="):
            left, right = self.value(e.left), self.value(e.right)
            self.budget.make(left.weight + right.weight)
            return boolean(equal(left, right) == (e.operator == "=="))
        if e.operator in ("&&", "||"):
            return self._logic(e)
        a, b = self._operand(e.left, NUMBER, "left"), self._operand(e.right, NUMBER, "right")
        try:
            if e.operator in COMPARISONS:
                return boolean(COMPARISONS[e.operator](a, b))
            return number(arithmetic(e.operator, a, b))
        except DefinitionInvalid as error:
            raise error.at(e.place, "Operation failed") from None

    def _logic(self, e: tree.Binary) -> HclValue:
        deciding = e.operator == "||"
        left = self._operand(e.left, BOOL, "left")
        if left == deciding:
            return boolean(deciding)
        return boolean(bool(self._operand(e.right, BOOL, "right")))

    def _operand(self, e: Expression, kind: object, side: str) -> object:
        value = self.value(e)
        try:
            if value.null:
                raise DefinitionInvalid("argument must not be null")
            return convert(value, NUMBER if kind == NUMBER else BOOL).data
        except DefinitionInvalid as error:
            raise _fail(
                "Invalid operand", f"Unsuitable value for {side} operand: {error.reason}.", e
            ) from None

    def _unary(self, e: tree.Unary) -> HclValue:
        if e.operator == "!":
            return boolean(not self._operand(e.inner, BOOL, "unary"))
        found = self._operand(e.inner, NUMBER, "unary")
        assert isinstance(found, Decimal)
        return number(-found)

    def _call(self, e: tree.FunctionCall) -> HclValue:
        try:
            return self.scope.call(e, self)
        except DefinitionInvalid as error:
            raise error.at(e.name_place) from None

    def _tuple(self, e: tree.Tuple) -> HclValue:
        self.budget.make(len(e.items))
        return tupled([self.value(item) for item in e.items])

    def _object(self, e: tree.Object) -> HclValue:
        made: dict[str, HclValue] = {}
        for key, item in e.items:
            made[self.key(key)] = self.value(item)
        self.budget.make(len(made))
        return objected(made)

    def key(self, e: Expression) -> str:
        """The key of an object: a bare word is itself."""
        if isinstance(e, tree.Name):
            return e.name
        value = self.value(e)
        if value.null:
            raise _fail("Null value as key", "Can't use a null value as a key.", e)
        try:
            return str(convert(value, STRING).data)
        except DefinitionInvalid as error:
            raise _fail("Incorrect key type", f"Can't use this value as a key: {error.reason}.", e) from None

    def _for(self, e: tree.For) -> HclValue:
        collection = self.value(e.collection)
        if collection.null:
            raise _fail(
                "Iteration over null value",
                "A null value cannot be used as the collection in a 'for' expression.",
                e.collection,
            )
        if not collection.iterable:
            raise _fail(
                "Iteration over non-iterable value",
                f"A value of type {collection.type.friendly()} cannot be used as the collection in a 'for' expression.",
                e.collection,
            )
        pairs: list[tuple[str, HclValue]] = []
        for key, item in collection.items:
            names = {e.value_name: item}
            if e.key_name:
                names[e.key_name] = key
            inner = self.within(names)
            if e.condition is not None and not inner.holds(e.condition):
                continue
            self.budget.make(1)
            pairs.append((inner.key_of(e.key) if e.key is not None else "", inner.value(e.value)))
        if e.joined:
            return text("".join(str(value.data) for _, value in pairs))
        if e.key is None:
            return tupled([value for _, value in pairs])
        return self._mapped(e, pairs)

    def holds(self, condition: Expression) -> bool:
        """The ``if`` of a loop."""
        value = self.value(condition)
        if value.null:
            raise _fail(
                "Invalid 'for' condition", "The value of the 'if' clause must not be null.", condition
            )
        try:
            return bool(convert(value, BOOL).data)
        except DefinitionInvalid as error:
            raise _fail(
                "Invalid 'for' condition", f"The 'if' clause value is invalid: {error.reason}.", condition
            ) from None

    def key_of(self, e: Expression) -> str:
        """The key that a loop makes."""
        value = self.value(e)
        if value.null:
            raise _fail(
                "Invalid object key", "Key expression in 'for' expression must not produce a null value.", e
            )
        try:
            return str(convert(value, STRING).data)
        except DefinitionInvalid as error:
            raise _fail(
                "Invalid object key", f"The key expression produced an invalid result: {error.reason}.", e
            ) from None

    def _mapped(self, e: tree.For, pairs: list[tuple[str, HclValue]]) -> HclValue:
        grouped: dict[str, list[HclValue]] = {}
        for key, value in pairs:
            if key in grouped and not e.group:
                raise _fail(
                    "Duplicate object key",
                    f"Two different items produced the key \"{key}\" in this 'for' expression. If duplicates are "
                    "expected, use the ellipsis (...) after the value expression to enable grouping by key.",
                    e.key or e,
                )
            grouped.setdefault(key, []).append(value)
        if e.group:
            return objected({key: tupled(values) for key, values in grouped.items()})
        return objected({key: values[0] for key, values in grouped.items()})


def _fail(summary: str, detail: str, e: Expression) -> DefinitionInvalid:
    return DefinitionInvalid(detail, summary=summary, place=e.place)


def _word(e: tree.Attribute | tree.IndexStep) -> str:
    """The text by which one step of a reference goes; '' when it is no fixed text."""
    if isinstance(e, tree.Attribute):
        return e.name
    key = e.key
    if isinstance(key, tree.Literal) and key.value.type.kind == "string":
        return str(key.value.data)
    return ""


COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "<": lambda a, b: a < b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
}


def arithmetic(operator: str, left: object, right: object) -> Decimal:
    """Two numbers by ``+ - * / %``. Raises DefinitionInvalid."""
    assert isinstance(left, Decimal) and isinstance(right, Decimal)
    try:
        with localcontext(CONTEXT):
            if operator == "+":
                return checked_number(left + right)
            if operator == "-":
                return checked_number(left - right)
            if operator == "*":
                return checked_number(left * right)
            if not right:
                raise DivisionByZero
            return checked_number(left / right if operator == "/" else left % right)
    except DivisionByZero:
        raise DefinitionInvalid("divide by zero", summary="Division by zero") from None
    except InvalidOperation:
        raise DefinitionInvalid("the result is no number") from None


def equal(left: HclValue, right: HclValue) -> bool:
    """Whether two values are the same: of one type, and equal in it."""
    if left.null or right.null:
        return left.null and right.null
    return left == right


def attribute(value: HclValue, name: str) -> HclValue:
    """``value.name``. Raises DefinitionInvalid."""
    if value.null:
        raise DefinitionInvalid(
            "This value is null, so it does not have any attributes.",
            summary="Attempt to get attribute from null value",
        )
    if value.type.kind in ("map", "object"):
        if name in value.data:
            found: HclValue = value.data[name]
            return found
        if value.type.kind == "map":
            raise DefinitionInvalid(
                f'This map does not have an element with the key "{name}".', summary="Missing map element"
            )
        raise DefinitionInvalid(
            f'This object does not have an attribute named "{name}".', summary="Unsupported attribute"
        )
    if value.type.primitive:
        raise DefinitionInvalid(
            f"Can't access attributes on a primitive-typed value ({value.type.friendly()}).",
            summary="Unsupported attribute",
        )
    raise DefinitionInvalid("This value does not have any attributes.", summary="Unsupported attribute")


def index(value: HclValue, key: HclValue) -> HclValue:
    """``value[key]``. Raises DefinitionInvalid."""
    invalid = "The given key does not identify an element in this collection value"
    if value.null:
        raise DefinitionInvalid(
            "This value is null, so it does not have any indices.", summary="Attempt to index null value"
        )
    if key.null:
        raise DefinitionInvalid("Can't use a null value as an indexing key.", summary="Invalid index")
    kind = value.type.kind
    if kind not in ("list", "tuple", "map", "object"):
        raise DefinitionInvalid("This value does not have any indices.", summary="Invalid index")
    try:
        wanted = convert(key, NUMBER if kind in ("list", "tuple") else STRING).data
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"{invalid}: {error.reason}.", summary="Invalid index") from None
    if isinstance(wanted, Decimal):
        if wanted != wanted.to_integral_value():
            raise DefinitionInvalid(f"{invalid}: a whole number is required.", summary="Invalid index")
        if not 0 <= wanted < len(value.data):
            why = (
                "the collection has no elements" if not value.data else "the given index is out of its range"
            )
            raise DefinitionInvalid(f"{invalid}: {why}.", summary="Invalid index")
        item: HclValue = value.data[int(wanted)]
        return item
    if wanted not in value.data:
        raise DefinitionInvalid(f"{invalid}.", summary="Invalid index")
    found: HclValue = value.data[wanted]
    return found


_HANDLERS: dict[type, Callable[..., HclValue]] = {
    tree.Literal: Evaluator._literal,
    tree.Parens: Evaluator._parens,
    tree.Wrapped: Evaluator._parens,
    tree.Hole: Evaluator._hole,
    tree.TemplateText: Evaluator._template,
    tree.Name: Evaluator._name,
    tree.Attribute: Evaluator._attribute,
    tree.IndexStep: Evaluator._attribute,
    tree.Splat: Evaluator._splat,
    tree.Conditional: Evaluator._conditional,
    tree.Binary: Evaluator._binary,
    tree.Unary: Evaluator._unary,
    tree.FunctionCall: Evaluator._call,
    tree.Tuple: Evaluator._tuple,
    tree.Object: Evaluator._object,
    tree.For: Evaluator._for,
}
