"""Functions of text."""

from __future__ import annotations

import os.path
import posixpath
import re
from decimal import Decimal

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl.functions.encoding import json_text
from boxwright.bake.hcl.functions.function import function, whole
from boxwright.bake.hcl.types import BOOL, NUMBER, STRING, HclValue, convert, number, text, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.bake.hcl.budget import Budget

_WIDEST = 4096  # characters that a format may pad to
_VERB = re.compile(
    r"%(?P<flags>[ +\-0#]*)(?P<width>\d*)(?:\.(?P<precision>\d+))?(?:\[(?P<index>\d+)\])?(?P<mode>.?)",
    re.DOTALL,
)


def formatted(form: str, values: Sequence[HclValue]) -> str:
    """``printf`` as cty has it. Raises DefinitionInvalid."""
    out, at, next_index, highest = [], 0, 1, 0
    for found in _VERB.finditer(form):
        out.append(form[at : found.start()])
        at = found.end()
        mode = found["mode"]
        if mode == "%":
            out.append("%")
            continue
        if not mode:
            raise DefinitionInvalid(f"unrecognized format character at offset {found.start()}")
        chosen = int(found["index"]) if found["index"] else next_index
        next_index, highest = chosen + 1, max(highest, chosen)
        if not 1 <= chosen <= len(values):
            raise DefinitionInvalid(
                f'not enough arguments for "{found[0]}" at {found.start()}: need index {chosen} but have '
                f"{len(values)} total"
            )
        if max(int(found["width"] or 0), int(found["precision"] or 0)) > _WIDEST:
            raise DefinitionTooLarge(f"a format pads to more than {_WIDEST} characters")
        out.append(_verb(found, values[chosen - 1]))
    if highest < len(values) and not (highest == 0 and not values):
        if highest == 0:
            raise DefinitionInvalid("too many arguments; no verbs in format string")
        raise DefinitionInvalid(f"too many arguments; only {highest} used by format string")
    return "".join(out) + form[at:]


def _verb(found: re.Match[str], value: HclValue) -> str:
    mode = found["mode"]
    where = f'unsupported value for "{found[0]}" at {found.start()}'
    if mode not in "vtbdoxXeEfgGsq":
        raise DefinitionInvalid(
            f"unsupported format verb '{mode}' in \"{found[0]}\" at offset {found.start()}"
        )
    if value.null and mode != "v":
        raise DefinitionInvalid(f"{where}: null value cannot be formatted")
    try:
        if mode == "v":
            if "#" not in found["flags"] and not value.null and value.type.kind in ("string", "number"):
                shown = value.data if value.type.kind == "string" else _shortest(value.data)
            else:
                shown = json_text(value)
            return _padded(found, shown)
        if mode == "t":
            return "true" if convert(value, BOOL).data else "false"
        if mode in "sq":
            shown = str(convert(value, STRING).data)
            if found["precision"] and int(found["precision"]):
                shown = shown[: int(found["precision"])]
            return _padded(found, json_text(text(shown)) if mode == "q" else shown)
        return _numeral(found, convert(value, NUMBER).data)
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"{where}: {error.reason}") from None


def _shortest(value: Decimal) -> str:
    """``%g`` with as many digits as the number has."""
    from boxwright.bake.hcl.types import number_text

    exponent = value.adjusted() if value else 0
    if -4 <= exponent < 21:
        return number_text(value)
    digits = "".join(map(str, value.normalize().as_tuple().digits))
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{exponent:+03d}"


def _numeral(found: re.Match[str], value: Decimal) -> str:
    flags, mode = found["flags"], found["mode"]
    if mode in "bdoxX":
        if value != value.to_integral_value():
            raise DefinitionInvalid("an integer is required")
        shown = format(abs(int(value)), mode)
        if found["precision"]:
            shown = shown.rjust(int(found["precision"]), "0")
        if "#" in flags:
            shown = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}.get(mode, "") + shown
    elif mode in "gG" and not found["precision"]:
        shown = _shortest(abs(value))
        shown = shown.upper() if mode == "G" else shown
    else:
        shown = format(abs(value), f".{found['precision'] or 6}{mode}")
        shown = re.sub(r"([eE][+-])(\d)$", r"\g<1>0\2", shown)
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    width = int(found["width"] or 0)
    if "0" in flags and "-" not in flags:
        return sign + shown.rjust(width - len(sign), "0")
    return (sign + shown).ljust(width) if "-" in flags else (sign + shown).rjust(width)


def _padded(found: re.Match[str], shown: str) -> str:
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return shown.ljust(width)
    return shown.rjust(width, "0" if "0" in found["flags"] else " ")


def _formatlist(budget: Budget, form: HclValue, *values: HclValue) -> HclValue:
    lists = [v.type.kind in ("list", "set", "tuple") for v in values]
    counts = {len(v.data) for v, many in zip(values, lists) if many and not v.null}
    if len(counts) > 1:
        raise DefinitionInvalid("all list arguments must have the same length")
    count = counts.pop() if counts else 1
    budget.make(count * len(form.data))
    rows = [[v.data[at] if many else v for v, many in zip(values, lists)] for at in range(count)]
    return texts(formatted(form.data, row) for row in rows)


def clusters(given: str) -> list[str]:
    """What people take for characters: marks, joiners and modifiers belong to what they follow."""
    import unicodedata

    out: list[str] = []
    for char in given:
        before = out[-1] if out else ""
        flags = "\U0001f1e6" <= char <= "\U0001f1ff"
        joined = (
            unicodedata.category(char) in ("Mn", "Me", "Mc")
            or char == "\u200d"
            or "\U0001f3fb" <= char <= "\U0001f3ff"
            or (before.endswith("\u200d") and ord(char) > 0x2000)
            or (flags and len(before) == 1 and "\U0001f1e6" <= before <= "\U0001f1ff")
            or (before == "\r" and char == "\n")
        )
        if joined and before:
            out[-1] += char
        else:
            out.append(char)
    return out


def _one_case(given: str, upper: bool) -> str:
    """Each character alone in another case: what would become several stays as it is."""
    changed = (char.upper() if upper else char.lower() for char in given)
    return "".join(new if len(new) == 1 else old for new, old in zip(changed, given))


def _join(separator: HclValue, *lists: HclValue) -> HclValue:
    if not lists:
        raise DefinitionInvalid("at least one list is required")
    items = []
    for row in lists:
        for at, item in enumerate(row.data):
            if item.null:
                raise DefinitionInvalid(f"element {at} is null; cannot concatenate null values")
            items.append(item.data)
    return text(separator.data.join(items))


def _substr(given: HclValue, offset: HclValue, length: HclValue) -> HclValue:
    start, count, data = whole(offset, "offset"), whole(length, "length"), clusters(given.data)
    if start < 0:
        start = max(start + len(data), 0)
    return text("".join(data[start:] if count < 0 else data[start : start + count]))


def _split(separator: HclValue, given: HclValue) -> HclValue:
    return texts(given.data.split(separator.data) if separator.data else list(given.data))


def _indent(budget: Budget, spaces: HclValue, given: HclValue) -> HclValue:
    count = whole(spaces, "spaces")
    if count < 0:
        raise DefinitionInvalid("spaces must not be negative")
    budget.make(count * given.data.count("\n"))
    return text(given.data.replace("\n", "\n" + " " * count))


def _replace(budget: Budget, given: HclValue, old: HclValue, new: HclValue) -> HclValue:
    times = given.data.count(old.data) if old.data else len(given.data) + 1
    budget.make(times * len(new.data))
    return text(given.data.replace(old.data, new.data))


def _sort(given: HclValue) -> HclValue:
    if any(item.null for item in given.data):
        raise DefinitionInvalid("a null string cannot be sorted")
    return texts(
        sorted((item.data for item in given.data), key=lambda word: word.encode("utf-8", "surrogatepass"))
    )


def _title(given: HclValue) -> HclValue:
    return text(re.sub(r"(?<![\w])\w", lambda found: found[0].title()[:1] or found[0], given.data))


def _base(given: HclValue) -> HclValue:
    path = given.data.rstrip("/")
    if not given.data:
        return text(".")
    return text(path.rpartition("/")[2] or "/")


def _directory(given: HclValue) -> HclValue:
    head = given.data.rpartition("/")[0] + ("/" if "/" in given.data else "")
    cleaned = posixpath.normpath(head) if head else "."
    return text("/" if cleaned == "//" else cleaned)


def _bytes_slice(given: HclValue, offset: HclValue, length: HclValue) -> HclValue:
    data, start, count = given.data.encode(), whole(offset, "offset"), whole(length, "length")
    if start < 0 or count < 0 or start + count > len(data):
        raise DefinitionInvalid("offset and length lie outside the string")
    return text(data[start : start + count].decode("utf-8", "replace"))


def _home() -> HclValue:
    return text(os.path.expanduser("~"))


FUNCTIONS = (
    function("upper", "str:string", lambda s: text(_one_case(s.data, True))),
    function("lower", "str:string", lambda s: text(_one_case(s.data, False))),
    function("title", "str:string", _title),
    function("reverse", "str:string", lambda s: text("".join(reversed(clusters(s.data))))),
    function("strlen", "str:string", lambda s: number(len(clusters(s.data)))),
    function("byteslen", "str:string", lambda s: number(len(s.data.encode()))),
    function("bytesslice", "buf:string offset:number length:number", _bytes_slice),
    function("substr", "str:string offset:number length:number", _substr),
    function("join", "separator:string lists:strings*", _join),
    function("split", "separator:string str:string", _split),
    function("sort", "list:strings", _sort),
    function("chomp", "str:string", lambda s: text(re.sub(r"(?:\r\n?|\n)*\Z", "", s.data))),
    function("indent", "spaces:number str:string", _indent, needs=True),
    function(
        "trim", "str:string cutset:string", lambda s, c: text(s.data.strip(c.data) if c.data else s.data)
    ),
    function("trimprefix", "str:string prefix:string", lambda s, p: text(s.data.removeprefix(p.data))),
    function("trimsuffix", "str:string suffix:string", lambda s, p: text(s.data.removesuffix(p.data))),
    function("trimspace", "str:string", lambda s: text(s.data.strip())),
    function("replace", "str:string substr:string replace:string", _replace, needs=True),
    function("format", "format:string args:any?*", lambda form, *values: text(formatted(form.data, values))),
    function("formatlist", "format:string args:any?*", _formatlist, needs=True),
    function("basename", "path:string", _base),
    function("dirname", "path:string", _directory),
    function("sanitize", "name:string", lambda s: text(re.sub(r"[^a-zA-Z0-9_-]", "_", s.data))),
    function("homedir", "", _home),
)
