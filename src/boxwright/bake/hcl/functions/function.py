"""What a function is: what it takes, and how a call of it is fitted to that."""

from __future__ import annotations

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.types import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    HclValue,
    convert,
    list_of,
    map_of,
    set_of,
)
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from boxwright.bake.errors import SourcePlace
    from boxwright.bake.hcl.budget import Budget
    from boxwright.bake.hcl.types import Type

# One word a parameter: its type, `?` after it where null is taken, `*` where there may be any number of them.
_WORDS: dict[str, Type] = {
    "string": STRING,
    "number": NUMBER,
    "bool": BOOL,
    "any": DYNAMIC,
    "strings": list_of(STRING),
    "list": list_of(DYNAMIC),
    "lists": list_of(list_of(DYNAMIC)),
    "map": map_of(DYNAMIC),
    "set": set_of(DYNAMIC),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: Type
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """`run` gets a budget and the values; `more` is what further arguments are."""

    name: str
    parameters: tuple[Parameter, ...]
    more: Parameter | None
    run: Callable[[Budget, Sequence[HclValue]], HclValue]


def function(name: str, takes: str, run: Callable[..., Any], *, needs: bool = False) -> Function:
    """A function by its name and its parameters: ``text:string count:number? rest:any*``. `run` takes the values; with
    `needs` the budget comes first."""
    parameters, more = [], None
    for word in takes.split():
        label, _, kind = word.partition(":")
        found = Parameter(label, _WORDS[kind.rstrip("?*")], "?" in kind)
        if kind.endswith("*"):
            more = found
        else:
            parameters.append(found)

    def called(budget: Budget, values: Sequence[HclValue]) -> HclValue:
        result: HclValue = run(budget, *values) if needs else run(*values)
        return result

    return Function(name, tuple(parameters), more=more, run=called)


def call(
    one: Function, budget: Budget, values: Sequence[HclValue], places: Sequence[SourcePlace] = ()
) -> HclValue:
    """Call a function with values, which stand at some places. Raises DefinitionInvalid."""
    count = len(one.parameters)
    if len(values) < count:
        missing = one.parameters[len(values)].name
        raise DefinitionInvalid(
            f'Function "{one.name}" expects {"at least " if one.more else ""}{count} argument(s). Missing value for '
            f'"{missing}".',
            summary="Not enough function arguments",
        )
    if len(values) > count and one.more is None:
        raise DefinitionInvalid(
            f'Function "{one.name}" expects only {count} argument(s).', summary="Too many function arguments"
        )
    budget.make(sum(value.weight for value in values))
    fitted = []
    for at, value in enumerate(values):
        parameter = one.parameters[at] if at < count else one.more
        assert parameter is not None
        try:
            fitted.append(_fitted(parameter, value))
        except DefinitionInvalid as error:
            raise (error.at(places[min(at, len(places) - 1)]) if places else error) from None
    try:
        result = one.run(budget, fitted)
    except DefinitionInvalid as error:
        if error.summary or error.place is not None or type(error) is not DefinitionInvalid:
            raise
        raise DefinitionInvalid(
            f'Call to function "{one.name}" failed: {error.reason}.', summary="Error in function call"
        ) from None
    budget.make(size(result))
    return result


def _fitted(parameter: Parameter, value: HclValue) -> HclValue:
    try:
        if value.null and not parameter.nullable:
            raise DefinitionInvalid("argument must not be null")
        return convert(value, parameter.type)
    except DefinitionInvalid as error:
        raise DefinitionInvalid(
            f'Invalid value for "{parameter.name}" parameter: {error.reason}.',
            summary="Invalid function argument",
        ) from None


def size(value: HclValue) -> int:
    """About how much there is of a value: characters, or elements."""
    data = value.data
    return len(data) if isinstance(data, (str, tuple, dict)) else 1


def whole(value: HclValue, what: str = "value") -> int:
    """A number as a whole number of a sane size. Raises DefinitionInvalid."""
    if value.data != value.data.to_integral_value() or abs(value.data) > 1 << 62:
        raise DefinitionInvalid(f"{what} must be a whole number")
    return int(value.data)
