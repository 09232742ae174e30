"""All functions by name; and those whose arguments are not evaluated first."""

from __future__ import annotations

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.functions import addresses, collections, encoding, numbers, patterns, texts, times
from boxwright.bake.hcl.functions.function import call
from boxwright.bake.hcl.typenames import type_of
from boxwright.bake.hcl.types import HclValue, boolean, convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.hcl.evaluate import Evaluator
    from boxwright.bake.hcl.functions.function import Function


def functions() -> dict[str, Function]:
    """Every function that takes values, by name."""
    modules = (numbers, texts, collections, encoding, times, addresses, patterns)
    return {one.name: one for module in modules for one in module.FUNCTIONS}


SPECIAL = ("try", "can", "convert")


def special(e: tree.FunctionCall, evaluator: Evaluator) -> HclValue:
    """`try`, `can` and `convert`. Raises DefinitionInvalid."""
    if e.name == "convert":
        if len(e.arguments) != 2:
            raise DefinitionInvalid(
                'Function "convert" expects 2 argument(s).', summary="Wrong number of arguments"
            )
        return convert(evaluator.value(e.arguments[0]), type_of(e.arguments[1]))
    if e.name == "can":
        if len(e.arguments) != 1:
            raise DefinitionInvalid(
                'Function "can" expects 1 argument(s).', summary="Wrong number of arguments"
            )
        return boolean(_tried(e.arguments[0], evaluator) is not None)
    for argument in e.arguments:
        found = _tried(argument, evaluator)
        if found is not None:
            return found
    why = "no expression succeeded" if e.arguments else "at least one argument is required"
    raise DefinitionInvalid(f'Call to function "try" failed: {why}.', summary="Error in function call")


def _tried(argument: tree.Expression, evaluator: Evaluator) -> HclValue | None:
    try:
        return evaluator.value(argument)
    except DefinitionTooLarge:
        raise
    except DefinitionInvalid:
        return None


def called(e: tree.FunctionCall, one: Function, evaluator: Evaluator) -> HclValue:
    """A call of a function that takes values. Raises DefinitionInvalid."""
    places = [argument.place for argument in e.arguments]
    return call(one, evaluator.budget, arguments_of(e, evaluator), places)


def arguments_of(e: tree.FunctionCall, evaluator: Evaluator) -> list[HclValue]:
    """The arguments of a call, an expanded one item by item. Raises DefinitionInvalid."""
    values = [evaluator.value(argument) for argument in e.arguments]
    if e.expand and values:
        last = values.pop()
        if last.null:
            raise DefinitionInvalid(
                "The expanding argument (indicated by ...) must not be null.",
                summary="Invalid expanding argument value",
            )
        if last.type.kind not in ("list", "tuple", "set"):
            raise DefinitionInvalid(
                "The expanding argument (indicated by ...) must be of a tuple, list, or set type.",
                summary="Invalid expanding argument value",
            )
        values += last.data
    return values
