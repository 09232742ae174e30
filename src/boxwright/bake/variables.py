"""Variables of a definition: their types, defaults, checks, and what the environment says instead."""

from __future__ import annotations

import math
from decimal import Decimal

from boxwright.bake.entries import csv_fields
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.functions.encoding import from_json, json_text
from boxwright.bake.hcl.json_syntax import as_expression
from boxwright.bake.hcl.typenames import type_of
from boxwright.bake.hcl.types import (
    BOOL,
    DYNAMIC,
    NULL,
    STRING,
    HclValue,
    boolean,
    convert,
    listed,
    map_of,
    number,
    primitive_text,
    setted,
    text,
    tupled,
)
from boxwright.spec.text import go_bool
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.bake.hcl.evaluate import Evaluator
    from boxwright.bake.hcl.tree import Block, HclArgument
    from boxwright.bake.hcl.types import Type


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as `bake --list variables` shows it; `value` is None for null."""

    name: str
    description: str
    type: str
    value: str | None


def _constraint(block: Block | None) -> Type | None:
    """The type that a variable is declared with. Raises DefinitionInvalid."""
    argument = block.body.arguments.get("type") if block else None
    if argument is None:
        return None
    if isinstance(argument.value, tree.Literal) and argument.value.value.null:
        return None
    return type_of(as_expression(argument.value))


def value(
    name: str,
    *,
    argument: HclArgument | None,
    block: Block | None,
    evaluator: Evaluator,
    lookup: Callable[[str], str | None],
) -> HclValue:
    """A variable's value: of the environment, or its default. Raises DefinitionInvalid."""
    default = argument or (block.body.arguments.get("default") if block else None)
    kind = None if argument else _constraint(block)
    override, as_json = (None, False) if block is None else _override(name, lookup, kind is not None)
    if default is None and override is None and kind is None:
        return text("")
    found = HclValue(DYNAMIC, None)
    if default is not None:
        found = evaluator.value(default.value)
        try:
            found = convert(found, kind or DYNAMIC)
        except DefinitionInvalid as error:
            assert kind is not None
            raise DefinitionInvalid(
                f"invalid type {kind.friendly()} for variable {name} default value: {error.reason}"
            ) from None
    if override is None:
        return found if found.data is not None or kind is None else HclValue(kind, None)
    if kind is not None:
        return _typed(name, override, kind=kind, as_json=as_json)
    if default is None or found.type == DYNAMIC or found.null:
        return text(override)
    if found.type.primitive:
        return _primitive(name, override, found.type)
    raise DefinitionInvalid(f"unsupported type {found.type.friendly()} for variable {name}")


def _override(name: str, lookup: Callable[[str], str | None], typed: bool) -> tuple[str | None, bool]:
    """What the environment says, and whether it is JSON."""
    plain = lookup(name)
    if plain is None or typed:
        as_json = lookup(f"{name}_JSON")
        if as_json is not None:
            return as_json, True
    return plain, False


def _typed(name: str, override: str, kind: Type, as_json: bool) -> HclValue:
    if as_json:
        try:
            return convert(from_json(override), kind)
        except DefinitionInvalid as error:
            raise DefinitionInvalid(f"failed to convert variable {name} from JSON: {error.reason}") from None
    if kind.collection or kind.kind == "tuple":
        try:
            return _of_csv(name, override, kind)
        except DefinitionInvalid as error:
            raise DefinitionInvalid(f"failed to convert variable {name} from CSV: {error.reason}") from None
    if kind.primitive:
        return _primitive(name, override, kind)
    if kind.kind == "dynamic":
        return text(override)
    raise DefinitionInvalid(f"unsupported type {kind.friendly()} for variable {name}")


def _primitive(name: str, word: str, kind: Type) -> HclValue:
    if kind.kind == "string":
        return text(word)
    if kind.kind == "bool":
        found = go_bool(word)
        if found is None:
            raise DefinitionInvalid(
                f'failed to parse {name} as bool: strconv.ParseBool: parsing "{word}": invalid syntax'
            )
        return boolean(found)
    try:
        parsed = float(word)
        if not math.isfinite(parsed) or "_" in word:
            raise ValueError
    except ValueError:
        raise DefinitionInvalid(
            f'failed to parse {name} as number: strconv.ParseFloat: parsing "{word}": invalid syntax'
        ) from None
    return number(Decimal(repr(parsed)))


def _of_csv(name: str, given: str, kind: Type) -> HclValue:
    fields = csv_fields(given)
    wanted = kind.elements if kind.kind == "tuple" else (kind.of,)
    if not all(element.primitive for element in wanted):
        raise DefinitionInvalid(f"unsupported type {kind.friendly()} for CSV specification")
    if kind.kind == "tuple":
        if len(fields) != len(wanted):
            raise DefinitionInvalid(
                f"{kind.friendly()} expects {len(wanted)} elements but only {len(fields)} provided"
            )
        return tupled([_primitive(name, field, element) for field, element in zip(fields, wanted)])
    if kind.kind == "map":
        made = {}
        for field in fields:
            key, colon, word = field.partition(":")
            if not colon or ":" in word:
                raise DefinitionInvalid(
                    f"expected one k/v pair but got {field.count(':') + 1} pieces from {field}"
                )
            made[key] = _primitive(name, word, kind.of)
        return HclValue(map_of(kind.of), made)
    items = [_primitive(name, field, kind.of) for field in fields]
    return listed(items, kind.of) if kind.kind == "list" else setted(items, kind.of)


def validate(block: Block, evaluator: Evaluator) -> None:
    """A variable's own checks. Raises DefinitionInvalid."""
    for rule in block.body.blocks:
        if rule.type != "validation":
            continue
        condition, message = (rule.body.arguments.get(key) for key in ("condition", "error_message"))
        place = condition.value.place if condition else rule.body.end
        found = evaluator.value(condition.value) if condition else NULL
        if found.null:
            raise DefinitionInvalid(
                "Condition expression must return either true or false, not null.",
                summary="Invalid condition result",
                place=place,
            )
        try:
            held = convert(found, BOOL).data
        except DefinitionInvalid as error:
            raise DefinitionInvalid(
                f"Invalid condition result value: {error.reason}",
                summary="Invalid condition result",
                place=place,
            ) from None
        if not held:
            said = evaluator.value(message.value) if message else HclValue(STRING, None)
            default = "This check failed, but has an invalid error message."
            raise DefinitionInvalid(
                default if said.null else str(convert(said, STRING).data),
                summary="Validation failed",
                place=place,
            )


def shown(name: str, block: Block, found: HclValue) -> Variable:
    """A variable as it is listed."""
    kind = _constraint(block)
    described = block.body.arguments.get("description")
    description = ""
    if described is not None and isinstance(described.value, tree.Literal):
        description = str(described.value.value.data or "")
    if found.null:
        word = None
    elif kind is not None:
        word = json_text(convert(found, kind))
        word = word.strip('"') if kind == STRING else word
    else:
        word = primitive_text(found) if found.type.primitive else json_text(found)
    return Variable(name, description, type=kind.constraint() if kind else "", value=word)
