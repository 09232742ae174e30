"""JSON text, quoted text and names without `json` and `re`: what starts for every container cannot wait for those."""

from __future__ import annotations

from _json import encode_basestring as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def to_json(value: Any) -> str:
    """None, booleans, numbers, text, lists and dicts as JSON."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(k))}:{to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    return repr(value)


def quote(text: str) -> str:
    """A JSON string."""
    return str(_quote(text))


_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def go_quote(text: str) -> str:
    """`%q`: a double-quoted Go literal. Bytes that were no UTF-8 (surrogate-escaped) become \\xNN."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = []
    for char in text:
        code = ord(char)
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
NAME = ALNUM | frozenset("_.-")  # what names of containers, tags and platforms are made of


def whole_number(text: str, most: int) -> int | None:
    """A number of ASCII digits that is no more than `most`; None when it is none, or more. However long the text is:
    `int` refuses what has thousands of digits."""
    if not text.isascii() or not text.isdecimal() or len(text.lstrip("0")) > len(str(most)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if number <= most else None


def is_name(text: str, least: int = 2) -> bool:
    """Whether a container, volume or network may be called so: ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``, of `least` characters
    or more."""
    return len(text) >= least and text[0] in ALNUM and NAME.issuperset(text)


def version(text: str) -> tuple[int, int]:
    """(major, minor) of a text that begins with them, as ``uname -r`` and programs do; (0, 0) of any other."""
    major, _, rest = text.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isascii() and major.isdecimal() and minor else (0, 0)


def go_bool(text: str) -> bool | None:
    """What Go's ParseBool reads; None for a text that is neither true nor false."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None


def go_int(text: str, bits: int = 64) -> int:
    """What Go's ParseInt reads where a base may be written (``0x10``, ``0o7``, ``07``, ``1_000``). Raises ValueError in
    its words."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    value = _digits(text[len(sign) :], text, "ParseInt") * (-1 if sign == "-" else 1)
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def go_uint(text: str, bits: int = 64) -> int:
    """The same for ParseUint, which knows no sign."""
    value = _digits(text, text, "ParseUint")
    if value >= 1 << bits:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value


def _digits(body: str, text: str, function: str) -> int:
    octal = (body[:1] == "0" and body[1:2].isdigit()) or body[:2] == "0_"
    if not body.isascii() or not body.replace("_", "").isalnum() or not body[0].isdigit():
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    if body.isdecimal() and len(body) > 400:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    try:
        return int("0o" + body[1:] if octal else body, 0)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
