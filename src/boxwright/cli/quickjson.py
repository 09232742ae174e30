"""`json.loads` and `json.dumps` for commands, without the module `json`, which takes 1.6 ms and wants `re`.

`json` keeps its scanner and its encoder in a compiled module; these call that one as `json` does, and set what is
indented themselves. What they cannot do, an error's message too, the real module does.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_BLANK = " \t\n\r"
_OURS = {"separators", "sort_keys", "ensure_ascii", "default"}  # arguments of `dumps`
_INDENTED = {"indent", "ensure_ascii"}
_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _Defaults:
    """What the scanner asks of a `json.JSONDecoder`, with that class's defaults."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = _CONSTANTS.__getitem__


def functions(real: Callable[[], ModuleType]) -> dict[str, Callable[..., Any]]:
    """`loads` and `dumps`; `real` returns the module `json`."""
    scan = make_scanner(_Defaults)  # type: ignore[arg-type]  # it takes whatever has these attributes

    def loads(s: str | bytes | bytearray, **more: Any) -> Any:
        text = None if more else _text(s)
        if text is not None:
            try:
                value, end = scan(text, len(text) - len(text.lstrip(_BLANK)))
            except (StopIteration, SystemError):  # the latter where Python 3.11 finds no class for its error
                pass
            else:
                if not text[end:].strip(_BLANK):
                    return value
        return real().loads(s, **more)

    def dumps(obj: Any, **more: Any) -> str:
        indent = more.get("indent")
        if indent is not None and _INDENTED.issuperset(more):
            try:
                step = " " * indent if isinstance(indent, int) else indent
                return _indented(obj, partial(dumps, ensure_ascii=more.get("ensure_ascii", True)), step)
            except TypeError:  # a value or a key that is none of JSON's
                pass
        if not _OURS.issuperset(more):
            return str(real().dumps(obj, **more))
        item, key = more.get("separators") or (", ", ": ")
        encoder = make_encoder(
            markers={},
            default=more.get("default") or _refuse,
            encoder=encode_basestring_ascii if more.get("ensure_ascii", True) else encode_basestring,
            indent=None,
            key_separator=key,
            item_separator=item,
            sort_keys=more.get("sort_keys", False),
            skipkeys=False,
            allow_nan=True,
        )
        return "".join(encoder(obj, 0))

    return {"loads": loads, "dumps": dumps}


def _indented(value: object, leaf: Callable[[object], str], step: str, line: str = "\n") -> str:
    """`leaf` writes what has no parts; `line` begins one at the depth of the value. Raises TypeError for a key
    that is no text."""
    inner = line + step
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError
        first, last = "{}"
        rows = [f"{leaf(key)}: {_indented(part, leaf, step, line=inner)}" for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        first, last = "[]"
        rows = [_indented(part, leaf, step, line=inner) for part in value]
    else:
        return leaf(value)
    return f"{first}{inner}{f',{inner}'.join(rows)}{line}{last}" if rows else first + last


def _text(data: object) -> str | None:
    """None for what is not plainly text in UTF-8: `json` tells encodings by their zeros and byte order marks."""
    if isinstance(data, str):
        return None if data.startswith("\ufeff") else data
    if not isinstance(data, (bytes, bytearray)) or data.startswith(b"\xef\xbb\xbf") or 0 in data[:4]:
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    return data.decode("utf-8", "surrogatepass")


def _refuse(value: object) -> Any:
    raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")
