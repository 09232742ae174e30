"""Functions of lists, sets, maps and objects."""

from __future__ import annotations

from decimal import Decimal

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl.evaluate import equal, index
from boxwright.bake.hcl.functions.function import function, whole
from boxwright.bake.hcl.types import (
    DYNAMIC,
    STRING,
    HclValue,
    boolean,
    convert,
    list_of,
    listed,
    map_of,
    number,
    objected,
    setted,
    text,
    texts,
    tuple_of,
    tupled,
    unify,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.hcl.budget import Budget

_RANGE = 1024  # numbers that range() makes
_SEQUENCES = ("list", "set", "tuple")


def _sequence(value: HclValue, message: str, kinds: tuple[str, ...] = _SEQUENCES) -> None:
    if value.type.kind not in kinds:
        raise DefinitionInvalid(message)


def _length(value: HclValue) -> HclValue:
    if value.type.kind in ("list", "set", "map", "tuple"):
        return number(len(value.data))
    raise DefinitionInvalid("collection must be a list, a map or a tuple")


def _coalesce(*values: HclValue) -> HclValue:
    kind = unify([v.type for v in values if not (v.null and v.type == DYNAMIC)])
    if kind is None:
        raise DefinitionInvalid(
            "all arguments must have the same type" if values else "no non-null arguments"
        )
    for value in values:
        if not value.null:
            return convert(value, kind)
    raise DefinitionInvalid("no non-null arguments")


def _coalescelist(*values: HclValue) -> HclValue:
    if not values:
        raise DefinitionInvalid("at least one argument is required")
    for value in values:
        _sequence(value, "coalescelist arguments must be lists or tuples", ("list", "tuple"))
        if value.data:
            return value
    raise DefinitionInvalid("no non-null arguments")


def _concat(*values: HclValue) -> HclValue:
    if not values:
        raise DefinitionInvalid("at least one argument is required")
    for value in values:
        _sequence(value, "all arguments must be lists or tuples", ("list", "tuple"))
    items = [item for value in values for item in value.data]
    if all(value.type.kind == "list" for value in values):
        kind = unify([value.type for value in values])
        if kind is not None:
            return listed([convert(item, kind.of) for item in items], kind.of)
    return tupled(items)


def _contains(value: HclValue, wanted: HclValue) -> HclValue:
    _sequence(value, "argument must be list, tuple, or set")
    return boolean(any(equal(item, wanted) for item in value.data))


def _distinct(value: HclValue) -> HclValue:
    return listed(list(dict.fromkeys(value.data)), value.type.of)


def _chunks(value: HclValue, size: HclValue) -> HclValue:
    count = whole(size, "size")
    if count < 0:
        raise DefinitionInvalid("the size argument must be positive")
    items = value.data
    step = count or max(len(items), 1)
    rows = [listed(items[at : at + step], value.type.of) for at in range(0, len(items), step)]
    return listed(rows, list_of(value.type.of))


def _element(value: HclValue, at: HclValue) -> HclValue:
    _sequence(value, f"cannot read elements from {value.type.friendly()}", ("list", "tuple"))
    if not value.data:
        raise DefinitionInvalid("cannot use element function with an empty list")
    if at.data < 0:
        raise DefinitionInvalid("cannot use element function with a negative index")
    found: HclValue = value.data[whole(at, "index") % len(value.data)]
    return found


def _flatten(value: HclValue) -> HclValue:
    _sequence(value, "can only flatten lists, sets and tuples")
    return tupled(_flat(value, 0))


def _flat(value: HclValue, depth: int) -> list[HclValue]:
    if depth > 50:
        raise DefinitionTooLarge("lists are nested in more than 50 levels")
    out: list[HclValue] = []
    for item in value.data:
        if item.type.kind in _SEQUENCES and not item.null:
            out += _flat(item, depth + 1)
        else:
            out.append(item)
    return out


def _hasindex(value: HclValue, key: HclValue) -> HclValue:
    if value.type.kind not in ("list", "tuple", "map"):
        raise DefinitionInvalid("collection must be a list, a map or a tuple")
    try:
        index(value, key)
    except DefinitionInvalid:
        return boolean(False)
    return boolean(True)


def _index(value: HclValue, key: HclValue) -> HclValue:
    if value.type.kind not in ("list", "tuple", "map"):
        raise DefinitionInvalid("collection must be a list, a map or a tuple")
    try:
        return index(value, key)
    except DefinitionInvalid:
        raise DefinitionInvalid("invalid index") from None


def _indexof(value: HclValue, wanted: HclValue) -> HclValue:
    _sequence(value, "argument must be a list or tuple", ("list", "tuple"))
    if not value.data:
        raise DefinitionInvalid("cannot search an empty list")
    for at, item in enumerate(value.data):
        if equal(item, wanted):
            return number(at)
    raise DefinitionInvalid("item not found")


def _keys(value: HclValue) -> HclValue:
    if value.type.kind not in ("map", "object"):
        raise DefinitionInvalid("must have map or object type")
    names = [text(key) for key in sorted(value.data)]
    return listed(names, STRING) if value.type.kind == "map" else tupled(names)


def _values(value: HclValue) -> HclValue:
    if value.type.kind not in ("map", "object"):
        raise DefinitionInvalid("values() requires a map as the first argument")
    items = [value.data[key] for key in sorted(value.data)]
    return listed(items, value.type.of) if value.type.kind == "map" else tupled(items)


def _lookup(value: HclValue, key: HclValue, *default: HclValue) -> HclValue:
    if value.type.kind not in ("map", "object"):
        raise DefinitionInvalid("lookup() requires a map as the first argument")
    if len(default) > 1:
        raise DefinitionInvalid("lookup() takes two or three arguments, got more")
    if key.data in value.data:
        found: HclValue = value.data[key.data]
        return found
    if default:
        return convert(default[0], value.type.of) if value.type.kind == "map" else default[0]
    raise DefinitionInvalid(f"lookup failed to find key {text(key.data).data!r}")


def _merge(*values: HclValue) -> HclValue:
    merged: dict[str, HclValue] = {}
    kinds = []
    for value in values:
        if value.type.kind not in ("map", "object") and not (value.null and value.type == DYNAMIC):
            raise DefinitionInvalid(f'arguments must be maps or objects, got "{value.type.friendly()}"')
        if not value.null:
            merged.update(value.data)
            kinds.append(value.type)
    if kinds and all(kind.kind == "map" and kind == kinds[0] for kind in kinds):
        return HclValue(kinds[0], merged)
    return objected(merged)


def _range(*values: HclValue) -> HclValue:
    if not 1 <= len(values) <= 3:
        raise DefinitionInvalid("must have one, two, or three arguments")
    numbers = [value.data for value in values]
    start = numbers[0] if len(numbers) > 1 else Decimal(0)
    end = numbers[1] if len(numbers) > 1 else numbers[0]
    step = numbers[2] if len(numbers) == 3 else Decimal(-1 if end < start else 1)
    if not step:
        raise DefinitionInvalid("step must not be zero")
    if (step < 0) != (end < start) and end != start:
        way = "less" if step < 0 else "greater"
        sign = "negative" if step < 0 else "positive"
        raise DefinitionInvalid(f"end must be {way} than start when step is {sign}")
    made: list[HclValue] = []
    while (start > end) if step < 0 else (start < end):
        if len(made) >= _RANGE:
            raise DefinitionInvalid(
                "more than 1024 values were generated; either decrease the difference between start and end or use a "
                "smaller step"
            )
        made.append(number(start))
        start += step
    return listed(made, number(0).type)


def _reverselist(value: HclValue) -> HclValue:
    kind = value.type.kind
    _sequence(value, f"can only reverse list or tuple values, not {value.type.friendly()}")
    items = value.data[::-1]
    return tupled(items) if kind == "tuple" else listed(items, value.type.of)


def _slice(value: HclValue, first: HclValue, last: HclValue) -> HclValue:
    _sequence(value, "must be a list or tuple value", ("list", "tuple"))
    start, end, count = whole(first, "start index"), whole(last, "end index"), len(value.data)
    for name, at in (("start", start), ("end", end)):
        if at < 0:
            raise DefinitionInvalid(f"{name} index must not be less than zero")
        if at > count:
            raise DefinitionInvalid(f"{name} index must not be greater than the length of the list")
    if start > end:
        raise DefinitionInvalid("start index must not be greater than end index")
    items = value.data[start:end]
    return listed(items, value.type.of) if value.type.kind == "list" else tupled(items)


def _zipmap(keys: HclValue, values: HclValue) -> HclValue:
    _sequence(values, "values argument must be a list or tuple value", ("list", "tuple"))
    if len(keys.data) != len(values.data):
        raise DefinitionInvalid(
            f"number of keys ({len(keys.data)}) does not match number of values ({len(values.data)})"
        )
    if any(key.null for key in keys.data):
        raise DefinitionInvalid("keys list has a null value")
    made = {key.data: item for key, item in zip(keys.data, values.data)}
    return HclValue(map_of(values.type.of), made) if values.type.kind == "list" else objected(made)


def _compact(value: HclValue) -> HclValue:
    return texts(item.data for item in value.data if not item.null and item.data)


def _product(budget: Budget, *values: HclValue) -> HclValue:
    if len(values) < 2:
        raise DefinitionInvalid("at least two arguments are required")
    total = 1
    for value in values:
        _sequence(value, "a set or a list is required")
        total *= len(value.data)
        if total > 1 << 20:
            raise DefinitionTooLarge("setproduct() makes more than a million combinations")
    budget.make(total * len(values))
    rows: list[tuple[HclValue, ...]] = [()]
    for value in values:
        rows = [(*row, item) for row in rows for item in value.data]
    element = tuple_of(v.type.element or (unify(v.type.elements) or DYNAMIC) for v in values)
    made = [HclValue(element, tuple(convert(i, k) for i, k in zip(row, element.elements))) for row in rows]
    if all(value.type.kind == "set" for value in values):
        return setted(made, element)
    return listed(made, element)


def _has(value: HclValue, wanted: HclValue) -> HclValue:
    return boolean(any(equal(item, wanted) for item in value.data))


def _sets(first: HclValue, *rest: HclValue) -> list[HclValue]:
    kind = unify([value.type for value in (first, *rest)])
    if kind is None:
        raise DefinitionInvalid("given sets must all have compatible element types")
    return [convert(value, kind) for value in (first, *rest)]


def _union(first: HclValue, *rest: HclValue) -> HclValue:
    sets = _sets(first, *rest)
    return setted([item for value in sets for item in value.data], sets[0].type.of)


def _intersection(first: HclValue, *rest: HclValue) -> HclValue:
    sets = _sets(first, *rest)
    return setted(set(sets[0].data).intersection(*(value.data for value in sets[1:])), sets[0].type.of)


def _subtract(first: HclValue, other: HclValue) -> HclValue:
    a, b = _sets(first, other)
    return setted(set(a.data).difference(b.data), a.type.of)


def _symmetric(first: HclValue, *rest: HclValue) -> HclValue:
    sets = _sets(first, *rest)
    odd = set(sets[0].data)
    for value in sets[1:]:
        odd.symmetric_difference_update(value.data)
    return setted(odd, sets[0].type.of)


FUNCTIONS = (
    function("length", "collection:any", _length),
    function("coalesce", "vals:any?*", _coalesce),
    function("coalescelist", "vals:any*", _coalescelist),
    function("compact", "list:strings", _compact),
    function("concat", "seqs:any*", _concat),
    function("contains", "list:any value:any?", _contains),
    function("distinct", "list:list", _distinct),
    function("chunklist", "list:list size:number", _chunks),
    function("element", "list:any index:number", _element),
    function("flatten", "list:any", _flatten),
    function("hasindex", "collection:any key:any", _hasindex),
    function("index", "collection:any key:any", _index),
    function("indexof", "list:any value:any?", _indexof),
    function("keys", "inputMap:any", _keys),
    function("values", "mapping:any", _values),
    function("lookup", "inputMap:any key:string default:any?*", _lookup),
    function("merge", "maps:any?*", _merge),
    function("range", "params:number*", _range),
    function("reverselist", "list:any", _reverselist),
    function("slice", "list:any start_index:number end_index:number", _slice),
    function("zipmap", "keys:strings values:any", _zipmap),
    function("setproduct", "sets:any*", _product, needs=True),
    function("sethaselement", "set:set elem:any?", _has),
    function("setunion", "first_set:set other_sets:set*", _union),
    function("setintersection", "first_set:set other_sets:set*", _intersection),
    function("setsubtract", "a:set b:set", _subtract),
    function("setsymmetricdifference", "first_set:set other_sets:set*", _symmetric),
)
