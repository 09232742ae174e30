"""Types and values of expressions: cty's, of which HCL's documentation speaks.

A value is an `HclValue`: its type, and `data`: text, a `Decimal`, a bool, a tuple of values (list, set, tuple), a
dictionary of values (map, object), or None for null. Nothing is ever unknown: a definition is evaluated once, whole.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

PRECISION = 154  # decimal digits of 512 bits, which is what numbers have
HEAVIEST = 2_000_000  # parts of a value
EXPONENT = 4096  # numbers have no more digits than this


@dataclass(frozen=True, slots=True)
class Type:
    """`kind` is string, number, bool, dynamic, list, set, map, tuple or object; `element` is that of a list, set or
    map, `elements` those of a tuple, `attributes` those of an object by name, in order."""

    kind: str
    element: Type | None = None
    elements: tuple[Type, ...] = ()
    attributes: tuple[tuple[str, Type], ...] = ()
    optional: frozenset[str] = frozenset()

    @property
    def primitive(self) -> bool:
        return self.kind in ("string", "number", "bool")

    @property
    def collection(self) -> bool:
        return self.kind in ("list", "set", "map")

    @property
    def of(self) -> Type:
        """The element type of a collection."""
        assert self.element is not None
        return self.element

    def friendly(self) -> str:
        """As sentences name it."""
        if self.collection:
            return f"{self.kind} of {self.of.friendly()}"
        return self.kind

    def constraint(self) -> str:
        """As a sentence says that it is wanted."""
        if self.collection:
            inner = "any single type" if self.of.kind == "dynamic" else self.of.constraint()
            return f"{self.kind} of {inner}"
        return "any type" if self.kind == "dynamic" else self.kind

    @property
    def has_dynamic(self) -> bool:
        """Whether something in it may be of any type."""
        inner = [self.element] if self.element else [*self.elements, *(t for _, t in self.attributes)]
        return self.kind == "dynamic" or any(t.has_dynamic for t in inner)


STRING, NUMBER, BOOL, DYNAMIC = Type("string"), Type("number"), Type("bool"), Type("dynamic")


def list_of(element: Type) -> Type:
    """Lists of a type."""
    return Type("list", element)


def set_of(element: Type) -> Type:
    """Sets of a type."""
    return Type("set", element)


def map_of(element: Type) -> Type:
    """Maps of a type, by text."""
    return Type("map", element)


def tuple_of(elements: Iterable[Type]) -> Type:
    """Tuples of these types."""
    return Type("tuple", elements=tuple(elements))


def object_of(attributes: Mapping[str, Type], optional: Iterable[str] = ()) -> Type:
    """Objects with these attributes, of which some may be absent."""
    return Type("object", attributes=tuple(sorted(attributes.items())), optional=frozenset(optional))


class HclValue:
    """The value of an expression. `weight` is about the number of its parts, with a part that is shared counted at each
    of its places, as a walk would meet it. Raises TooLarge when that exceeds the limit."""

    __slots__ = ("data", "type", "weight")

    def __init__(self, type: Type, data: Any) -> None:
        self.type, self.data = type, data
        if isinstance(data, str):
            self.weight = 1 + len(data) // 8
        elif isinstance(data, (tuple, dict)):
            self.weight = 1 + sum(item.weight for item in (data.values() if isinstance(data, dict) else data))
        else:
            self.weight = 1
        if self.weight > HEAVIEST:
            raise DefinitionTooLarge("a value has more than two million parts")

    @property
    def null(self) -> bool:
        return self.data is None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HclValue) and self.type == other.type and self.data == other.data

    def __hash__(self) -> int:
        data = self.data
        return hash((self.type.kind, frozenset(data.items()) if isinstance(data, dict) else data))

    def __repr__(self) -> str:
        return f"Value({self.type.friendly()}, {self.data!r})"

    @property
    def items(self) -> list[tuple[HclValue, HclValue]]:
        """Keys and elements, in the order in which they are iterated."""
        if self.type.kind in ("map", "object"):
            return [(text(key), value) for key, value in sorted(self.data.items())]
        if self.type.kind == "set":
            return [(value, value) for value in self.data]
        return [(number(at), value) for at, value in enumerate(self.data)]

    @property
    def iterable(self) -> bool:
        return self.data is not None and self.type.kind in ("list", "set", "map", "tuple", "object")


NULL = HclValue(DYNAMIC, None)


def text(value: str) -> HclValue:
    """Text as a value."""
    return HclValue(STRING, value)


def number(value: int | Decimal) -> HclValue:
    """A number as a value."""
    return HclValue(NUMBER, Decimal(value))


def boolean(value: bool) -> HclValue:
    """A bool as a value."""
    return HclValue(BOOL, value)


def tupled(items: Sequence[HclValue]) -> HclValue:
    """A tuple of values."""
    return HclValue(tuple_of(item.type for item in items), tuple(items))


def objected(items: Mapping[str, HclValue]) -> HclValue:
    """An object of values."""
    return HclValue(object_of({key: item.type for key, item in items.items()}), dict(items))


def listed(items: Sequence[HclValue], element: Type | None = None) -> HclValue:
    """A list of values of one type."""
    return HclValue(list_of(element or (items[0].type if items else DYNAMIC)), tuple(items))


def texts(items: Iterable[str]) -> HclValue:
    """A list of text."""
    return listed([text(item) for item in items], STRING)


def setted(items: Iterable[HclValue], element: Type) -> HclValue:
    """A set: each value once, in a fixed order."""
    return HclValue(set_of(element), tuple(sorted(dict.fromkeys(items), key=_rank)))


def _rank(value: HclValue) -> Any:
    if value.null:
        return (2, "", 0)
    if value.type.kind == "number":
        return (0, "", value.data)
    return (1, value.data if value.type.kind == "string" else plain_text(value), 0)


def plain_text(value: HclValue) -> str:
    """A value as text that tells it from all others."""
    return repr(_plain(value))


def _plain(value: HclValue) -> Any:
    if value.null or value.type.primitive:
        return value.data
    if isinstance(value.data, dict):
        return [(key, _plain(item)) for key, item in sorted(value.data.items())]
    return [_plain(item) for item in value.data]


# --- numbers --------------------------------------------------------------------------------------

CONTEXT = Context(prec=PRECISION, Emax=999_999, Emin=-999_999)


def checked_number(value: Decimal) -> Decimal:
    """The number, if it is one that can be written down. Raises DefinitionInvalid."""
    if not value.is_finite():
        raise DefinitionInvalid("the result is no finite number")
    if value and not -EXPONENT <= value.adjusted() <= EXPONENT:
        raise DefinitionInvalid(f"a number has more than {EXPONENT} digits")
    return value


def parse_number(word: str) -> Decimal:
    """A number as text. Raises DefinitionInvalid."""
    try:
        if not word or word != word.strip() or "_" in word or len(word) > EXPONENT:
            raise ValueError
        with localcontext(CONTEXT):
            return checked_number(+Decimal(word))
    except (ValueError, ArithmeticError):
        raise DefinitionInvalid("a number is required") from None


def number_text(value: Decimal) -> str:
    """A number as text: no exponent, no needless digits."""
    if value == value.to_integral_value():
        return (
            format(value.to_integral_value(), "f").replace("-0", "0") if not value else format(value, ".0f")
        )
    shown = format(value, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


# --- conversion -----------------------------------------------------------------------------------


def convert(value: HclValue, want: Type) -> HclValue:
    """The value as one of another type. Raises DefinitionInvalid with what is required."""
    if value.type == want or want.kind == "dynamic":
        return value
    if not convertible(value.type, want):
        raise DefinitionInvalid(mismatch(value.type, want))
    if value.null:
        return HclValue(want, None)
    return _converted(value, want)


def _converted(value: HclValue, want: Type) -> HclValue:
    if want.primitive:
        return _primitive(value, want)
    if want.kind in ("list", "set"):
        element = _common(value, want)
        items = [convert(item, element) for item in value.data]
        return listed(items, element) if want.kind == "list" else setted(items, element)
    if want.kind == "map":
        element = _common(value, want)
        return HclValue(map_of(element), {key: convert(item, element) for key, item in value.data.items()})
    if want.kind == "tuple":
        items = [convert(item, kind) for item, kind in zip(value.data, want.elements)]
        return tupled(items)
    made = {}
    for name, kind in want.attributes:
        if name in value.data:
            made[name] = convert(value.data[name], kind)
        elif name in want.optional:
            made[name] = HclValue(kind, None)
        else:
            raise DefinitionInvalid(f'attribute "{name}" is required')
    return HclValue(object_of(dict(want.attributes)), made)


def _common(value: HclValue, want: Type) -> Type:
    """The element type of a collection that is to be made of a value."""
    if want.of.kind != "dynamic":
        return want.of
    if value.type.element is not None:
        return value.type.of
    items = value.data.values() if isinstance(value.data, dict) else value.data
    found = unify([item.type for item in items])
    if found is None:
        if not items:
            return DYNAMIC
        raise DefinitionInvalid(f"all {want.kind} elements must have the same type")
    return found


def _primitive(value: HclValue, want: Type) -> HclValue:
    data = value.data
    if want is STRING or want.kind == "string":
        return text(primitive_text(value))
    if want.kind == "number":
        return number(parse_number(data))
    if data in ("true", "1"):
        return boolean(True)
    if data in ("false", "0"):
        return boolean(False)
    lower = str(data).lower()
    hint = f'; to convert from string, use lowercase "{lower}"' if lower in ("true", "false") else ""
    raise DefinitionInvalid(f"a bool is required{hint}")


def primitive_text(value: HclValue) -> str:
    """Text, a number or a bool, as text."""
    if isinstance(value.data, bool):
        return "true" if value.data else "false"
    return number_text(value.data) if isinstance(value.data, Decimal) else str(value.data)


def convertible(have: Type, want: Type, *, safe: bool = False) -> bool:
    """Whether values of a type can become those of another; `safe`: all of them."""
    if have == want or want.kind == "dynamic" or have.kind == "dynamic":
        return True
    if have.primitive and want.primitive:
        return want.kind == "string" or (have.kind == "string" and not safe)
    if want.kind in ("list", "set"):
        if have.kind in ("list", "set"):
            if safe and have.kind == "list" and want.kind == "set":
                return False
            return convertible(have.of, want.of, safe=safe)
        return have.kind == "tuple" and _all(have.elements, want.of, safe)
    if want.kind == "map":
        if have.kind == "map":
            return convertible(have.of, want.of, safe=safe)
        return have.kind == "object" and _all([t for _, t in have.attributes], want.of, safe)
    if want.kind == "tuple":
        return (
            have.kind == "tuple"
            and len(have.elements) == len(want.elements)
            and all(convertible(a, b, safe=safe) for a, b in zip(have.elements, want.elements))
        )
    if want.kind == "object":
        if have.kind == "map":
            return not safe and all(convertible(have.of, t, safe=safe) for _, t in want.attributes)
        given = dict(have.attributes)
        return have.kind == "object" and all(
            convertible(given[name], kind, safe=safe) if name in given else name in want.optional
            for name, kind in want.attributes
        )
    return False


def _all(have: Iterable[Type], want: Type, safe: bool) -> bool:
    kinds = list(have)
    if want.kind == "dynamic":
        return not kinds or unify(kinds) is not None
    return all(convertible(kind, want, safe=safe) for kind in kinds)


def unify(types: Sequence[Type]) -> Type | None:
    """The one type that values of all these can become without loss; None when there is none."""
    if not types:
        return None
    first = types[0]
    if all(kind == first for kind in types[1:]):
        return first
    known = [kind for kind in types if kind.kind != "dynamic"]
    if len(known) < len(types):
        return unify(known) if known else DYNAMIC
    kinds = {kind.kind for kind in types}
    if kinds <= {"map", "object"}:
        return _unified_maps(types, kinds)
    if kinds <= {"list", "tuple"}:
        return _unified_lists(types, kinds)
    if kinds == {"set"}:
        return _over("set", [kind.of for kind in types])
    for want in sorted(types, key=lambda kind: kind.kind != "string"):
        if all(convertible(kind, want, safe=True) for kind in types):
            return want
    return None


def _over(kind: str, elements: Sequence[Type]) -> Type | None:
    element = unify(elements)
    return None if element is None else Type(kind, element)


def _unified_maps(types: Sequence[Type], kinds: set[str]) -> Type | None:
    if kinds == {"object"}:
        names = [{name for name, _ in kind.attributes} for kind in types]
        if all(found == names[0] for found in names):
            merged = {
                name: unify([dict(kind.attributes)[name] for kind in types]) for name in sorted(names[0])
            }
            if any(kind is None for kind in merged.values()):
                return None
            return object_of({name: kind for name, kind in merged.items() if kind is not None})
    elements = [t for kind in types for t in ([kind.of] if kind.element else [a for _, a in kind.attributes])]
    return _over("map", elements) if elements else None


def _unified_lists(types: Sequence[Type], kinds: set[str]) -> Type | None:
    if kinds == {"tuple"}:
        count = len(types[0].elements)
        if all(len(kind.elements) == count for kind in types):
            merged = [unify([kind.elements[at] for kind in types]) for at in range(count)]
            if all(kind is not None for kind in merged):
                return tuple_of(kind for kind in merged if kind is not None)
            return None
    elements = [t for kind in types for t in ([kind.of] if kind.element else kind.elements)]
    return _over("list", elements) if elements else None


def mismatch(have: Type, want: Type) -> str:
    """Why a value of one type is none of another."""
    if have.kind == "object" and want.kind == "object":
        return _object_mismatch(have, want)
    structural = have.kind in ("tuple", "object")
    if (
        want.collection
        and want.of.kind == "dynamic"
        and structural
        and (have.kind == "object") == (want.kind == "map")
    ):
        return f"all {want.kind} elements must have the same type"
    if have.kind in ("tuple", "object") and want.collection:
        if (have.kind == "object") != (want.kind == "map"):
            return f"{want.constraint()} required"
        if have.kind == "tuple":
            for at, kind in enumerate(have.elements):
                if not convertible(kind, want.of):
                    return f"element {at}: {mismatch(kind, want.of)}"
        for name, kind in have.attributes:
            if not convertible(kind, want.of):
                return f'element "{name}": {mismatch(kind, want.of)}'
        return f"all elements must be {want.of.constraint()}"
    if have.collection and want.collection:
        alike = have.kind == want.kind or {have.kind, want.kind} == {"list", "set"}
        if not alike:
            return f"{want.constraint()} required"
        return f"incorrect {want.kind} element type: {mismatch(have.of, want.of)}"
    apart = have.primitive != want.primitive or {have.kind, want.kind} == {"bool", "number"}
    if apart or want.kind == "string" or (have.kind == "tuple" and want.kind == "object"):
        return f"{want.friendly()} required, but have {have.friendly()}"
    return f"{want.constraint()} required"


def _object_mismatch(have: Type, want: Type) -> str:
    given = dict(have.attributes)
    missing = [f'"{name}"' for name, _ in want.attributes if name not in given and name not in want.optional]
    if missing:
        if len(missing) == 1:
            return f"attribute {missing[0]} is required"
        listed = ", ".join(missing[:-1]) + ("," if len(missing) > 2 else "")
        return f"attributes {listed} and {missing[-1]} are required"
    for name, kind in want.attributes:
        if name in given and not convertible(given[name], kind):
            return f'attribute "{name}": {mismatch(given[name], kind)}'
    return "incorrect object attributes"
