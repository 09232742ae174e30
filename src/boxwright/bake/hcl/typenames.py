"""Types as a definition writes them: ``string``, ``list(number)``, ``object({a = optional(bool)})``."""

from __future__ import annotations

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.types import BOOL, DYNAMIC, NUMBER, STRING, Type, object_of, tuple_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from boxwright.bake.hcl.tree import Expression

_PLAIN = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": DYNAMIC}
_COLLECTIONS = ("list", "set", "map")


def type_of(e: Expression) -> Type:
    """The type that an expression names. Raises DefinitionInvalid."""
    if isinstance(e, tree.Parens):
        return type_of(e.inner)
    if isinstance(e, tree.Name):
        if e.name in _PLAIN:
            return _PLAIN[e.name]
        what = (
            "requires one argument specifying its element type" if e.name in _COLLECTIONS else "is not valid"
        )
        _fail(e, f'The keyword "{e.name}" {what}.')
    if isinstance(e, tree.FunctionCall):
        if e.name in (*_COLLECTIONS, "tuple", "object") and len(e.arguments) != 1:
            _fail(e, f"The {e.name} type constructor requires one argument.")
        if e.name in _COLLECTIONS:
            return Type(e.name, type_of(e.arguments[0]))
        if e.name == "tuple" and isinstance(e.arguments[0], tree.Tuple):
            return tuple_of(type_of(item) for item in e.arguments[0].items)
        if e.name == "object" and isinstance(e.arguments[0], tree.Object):
            return _object(e.arguments[0])
        _fail(e, f'Keyword "{e.name}" is not a valid type constructor.')
    _fail(
        e,
        "A type specification is either a primitive type keyword (bool, number, string) or a complex type "
        "constructor call.",
    )


def _object(e: tree.Object) -> Type:
    found: dict[str, Type] = {}
    optional = []
    for key, value in e.items:
        if isinstance(key, tree.Name):
            name = key.name
        elif isinstance(key, tree.Literal) and key.value.type.kind == "string":
            name = str(key.value.data)
        else:
            _fail(key, "Object constructor map keys must be attribute names.")
        if isinstance(value, tree.FunctionCall) and value.name == "optional" and value.arguments:
            optional.append(name)
            value = value.arguments[0]
        found[name] = type_of(value)
    return object_of(found, optional)


def _fail(e: Expression, why: str) -> NoReturn:
    raise DefinitionInvalid(why, summary="Invalid type specification", place=e.place)
