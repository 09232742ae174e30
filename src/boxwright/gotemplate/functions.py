"""The functions that templates may call: Go's own and Docker's (docker/cli templates.go), and Go's way to print."""

from __future__ import annotations

from boxwright.gotemplate.values import Nil, NilList, NilMap, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LONGEST = 100_000  # padding and field widths beyond this are a mistake, not a wish


class FunctionError(Exception):
    """A function cannot work with these arguments; becomes a FormatError with the position."""


class Method:
    """A field with arguments: ``{{.Label "key"}}``. Not part of a row's JSON."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


# --- how Go prints ---------------------------------------------------------------------------------


def show(value: Any) -> str:
    """As ``{{.X}}`` prints it."""
    if value is None:
        return "<no value>"
    return go_value(value)


def go_value(value: Any) -> str:
    """Go's %v."""
    if isinstance(value, str):
        return value
    if callable(value):
        return go_value(value()) if not isinstance(value, Method) else "<method>"
    if value is None or isinstance(value, Nil):
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_value(v) for v in value) + "]"
    if isinstance(value, Struct):
        return "{" + " ".join(go_value(v) for v in value.values()) + "}"
    if hasattr(value, "items"):
        return (
            "map["
            + " ".join(f"{k}:{go_value(v)}" for k, v in sorted(value.items(), key=lambda pair: str(pair[0])))
            + "]"
        )
    return str(value)


def _float(value: float) -> str:
    """strconv's shortest %g: an exponent below 1e-4 and from 1e6 on, of at least two digits."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = f"{value:.16e}".partition("e")
    if value and not -4 <= int(exponent) < 6:
        digits = repr(abs(value)).partition("e")[0].replace(".", "").strip("0") or mantissa[0]
        power = int(exponent)
        sign = "-" if value < 0 else ""
        return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return repr(value).removesuffix(".0")


def to_json(value: Any) -> str:
    """Compact JSON, no HTML escaping; of a row, what its functions yield."""
    import json

    return json.dumps(_resolved(value), separators=(",", ":"), ensure_ascii=False, default=str)


def to_indented_json(value: Any) -> str:
    """As buildx prints it: two spaces, and what HTML obeys escaped."""
    import json

    text = json.dumps(_resolved(value), indent=2, ensure_ascii=False, default=str)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _resolved(value: Any) -> Any:
    if callable(value) and not isinstance(value, Method):
        value = value()
    if isinstance(value, (Nil, NilList, NilMap)):
        return None
    if isinstance(value, Struct):
        value = value.raw
    if hasattr(value, "items"):
        return {str(k): _resolved(v) for k, v in value.items() if not isinstance(v, Method)}
    if isinstance(value, (list, tuple)):
        return [_resolved(v) for v in value]
    if isinstance(value, str) and not value.isascii():
        # Bytes that were no UTF-8: JSON can only say that they were there.
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return None if isinstance(value, Method) else value


def truth(value: Any) -> bool:
    """What ``if`` thinks of a value."""
    if callable(value) and not isinstance(value, Method):
        value = value()
    return bool(value)


# --- text ------------------------------------------------------------------------------------------


def _string(value: Any, what: str = "value") -> str:
    if not isinstance(value, str):
        raise FunctionError(f"expected string for {what}; found {go_value(value)[:80]}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionError(f"expected integer; found {go_value(value)[:80]}")
    return value


def _bounded(value: Any) -> int:
    if not 0 <= _whole(value) <= _LONGEST:
        raise FunctionError(f"{value} is out of range")
    return int(value)


def _join(items: Any, separator: Any) -> str:
    if not isinstance(items, (list, tuple)):
        raise FunctionError(f"expected []string; found {go_value(items)[:80]}")
    return _string(separator, "separator").join(go_value(i) for i in items)


def _split(text: Any, separator: Any) -> list[str]:
    separator = _string(separator, "separator")
    return _string(text).split(separator) if separator else list(_string(text))


def _title(text: Any) -> str:
    out, start = [], True
    for character in _string(text):
        out.append(character.upper() if start else character)
        start = not (character.isalnum() or character == "_")
    return "".join(out)


def _pad(text: Any, prefix: Any, suffix: Any) -> str:
    word = _string(text)
    return " " * _bounded(prefix) + word + " " * _bounded(suffix) if word else ""


def _truncate(text: Any, length: Any) -> str:
    return _string(text)[: _bounded(length)]


def _print(*values: Any) -> str:
    """Go's Sprint: a blank between two values when neither is a string."""
    out = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out.append(" ")
        out.append(go_value(value))
    return "".join(out)


def _println(*values: Any) -> str:
    return " ".join(go_value(v) for v in values) + "\n"


def _printf(pattern: Any, *values: Any) -> str:
    """Go's Sprintf: the verbs v s q d t x X o b c f e g and %%, with flags, width and precision."""
    pattern = _string(pattern)
    out: list[str] = []
    at = used = 0
    while at < len(pattern):
        if pattern[at] != "%":
            end = pattern.find("%", at)
            end = len(pattern) if end < 0 else end
            out.append(pattern[at:end])
            at = end
            continue
        end = at + 1
        while end < len(pattern) and pattern[end] in "+-# 0123456789.":
            end += 1
        spec, verb = pattern[at + 1 : end], pattern[end : end + 1]
        at = end + 1
        if verb == "%":
            out.append("%")
        elif not verb:
            out.append("%!(NOVERB)")
        elif used >= len(values):
            out.append(f"%!{verb}(BADINDEX)" if spec.startswith("[") else f"%!{verb}(MISSING)")
        else:
            out.append(_verb(spec, verb, values[used]))
            used += 1
    if used < len(values):
        out.append("%!(EXTRA " + ", ".join(f"{_go_type(v)}={go_value(v)}" for v in values[used:]) + ")")
    return "".join(out)


def _verb(spec: str, verb: str, value: Any) -> str:
    flags = spec[: len(spec) - len(spec.lstrip("+-# 0"))]
    width_text, _, precision_text = spec[len(flags) :].partition(".")
    if len(width_text) > 6 or len(precision_text) > 6 or "." in precision_text:
        return "%!(BADWIDTH)"
    width = _bounded(int(width_text or 0))
    precision = min(_bounded(int(precision_text or 0)), 1000) if "." in spec else None
    text = _formatted(verb=verb, flags=flags, precision=precision, value=value)
    if text is None:
        return f"%!{verb}({_go_type(value)}={go_value(value)})"
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb in "dxXobfegv" and not isinstance(value, str):
        return text.zfill(width)
    return text.rjust(width)


def _formatted(verb: str, flags: str, precision: int | None, value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if verb in "vs" and not (verb == "s" and isinstance(value, (int, float))):
        text = go_value(value)
        return text if precision is None or not isinstance(value, str) else text[:precision]
    if verb == "q" and isinstance(value, str):
        from boxwright.spec.text import go_quote

        return go_quote(value)
    if verb == "t" and isinstance(value, bool):
        return go_value(value)
    if verb == "T":
        return _go_type(value)
    if whole and verb in "dxXob":
        return format(value, sign + ("#" if "#" in flags else "") + verb)
    if whole and verb == "c" and 0 <= value < 0x110000:
        return chr(value)
    if verb in "xX" and isinstance(value, str):
        digits = value.encode("utf-8", "surrogateescape").hex()
        return digits.upper() if verb == "X" else digits
    if verb in "feEgG" and isinstance(value, float):
        if precision is None and verb in "gG":
            return _float(value)
        return format(value, f"{sign}.{6 if precision is None else precision}{verb}")
    return None


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {
        str: "string",
        int: "int",
        float: "float64",
        list: "[]interface {}",
        tuple: "[]interface {}",
        type(None): "<nil>",
    }
    return names.get(type(value), "map[string]interface {}")


# --- collections and comparison --------------------------------------------------------------------


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if value is None or not hasattr(value, "__len__"):
        raise FunctionError(f"len of {go_value(value)[:80]}")
    return len(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise FunctionError("index of untyped nil")
        if hasattr(value, "items"):
            value = value.get(key) if isinstance(key, (str, int)) else None
            continue
        if not isinstance(value, (list, tuple, str)):
            raise FunctionError(f"can't index item of {go_value(value)[:80]}")
        sequence: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if not 0 <= _whole(key) < len(sequence):
            raise FunctionError(f"index out of range: {key}")
        value = sequence[key]
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (list, tuple, str)) or len(bounds) > 3:
        raise FunctionError(f"can't slice {go_value(value)[:80]}")
    sequence: Any = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    start, end = (*map(_whole, bounds[:2]), *(0, len(sequence))[len(bounds[:2]) :])
    if not 0 <= start <= end <= len(sequence):
        raise FunctionError(f"invalid slice index: {start}:{end} of {len(sequence)}")
    cut = sequence[start:end]
    return cut.decode("utf-8", "surrogateescape") if isinstance(value, str) else cut


def _kind(value: Any) -> str:
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float"),
        (str, "string"),
        ((type(None), Nil), "nil"),
    ):
        if isinstance(value, kind):
            return name
    raise FunctionError("non-comparable type")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    kind = _kind(first)
    for other in others:
        if _kind(other) != kind and "nil" not in (kind, _kind(other)):
            raise FunctionError("incompatible types for comparison")
        if _kind(other) == kind and (kind == "nil" or first == other):
            return True
    return False


def _less(a: Any, b: Any) -> bool:
    if _kind(a) != _kind(b):
        raise FunctionError("incompatible types for comparison")
    if _kind(a) in ("bool", "nil"):
        raise FunctionError("invalid type for comparison")
    return bool(a < b)


def _html(*values: Any) -> str:
    text = _print(*values)
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(plain, escaped)
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values), errors="surrogateescape")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],  # the compiler does these two, which look at no more than they need
    "or": lambda *values: values[-1],
    "eq": _equal,
    "ge": lambda a, b: not _less(a, b),
    "gt": lambda a, b: _less(b, a),
    "html": _html,
    "index": _index,
    "join": _join,
    "json": to_json,
    "le": lambda a, b: not _less(b, a),
    "len": _length,
    "lower": lambda text: _string(text).lower(),
    "lt": _less,
    "ne": lambda a, b: not _equal(a, b),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncate,
    "upper": lambda text: _string(text).upper(),
    "urlquery": _urlquery,
}


def _same(value: Any, *_: Any) -> Any:
    return value


def _last(*values: Any) -> Any:
    return next((v for v in reversed(values) if isinstance(v, str)), "")


# In the header line a column's title passes through whatever is done to its values.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = dict.fromkeys(FUNCTIONS, _same) | {
    "print": _print,
    "println": _println,
    "printf": _last,
}
