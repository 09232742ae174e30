"""Values that a program hands to the SDK, checked against what is declared: where the meaning is plain they are
converted, all others are refused.

One text serves where several may stand (``tags="app"``), a path may be text; a value of another kind raises
ArgumentInvalid instead of meaning something else (the letters of a text as names). What is declared is read from the
annotations, which are text."""

from __future__ import annotations

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    Class = TypeVar("Class", bound=type)

_WORDS = ("Sequence[str]", "tuple[str, ...]")
_PAIRS = ("Mapping[str, str]", "dict[str, str]")


class ArgumentInvalid(Invalid):
    """An argument is unknown, or its value is not of the kind that is wanted."""


def fitted(name: str, value: Any, declared: str) -> Any:
    """A value as its declaration wants it. Raises ArgumentInvalid. A declaration with a kind that is not known here
    takes any value."""
    wanted = []
    for kind in declared.split(" | "):
        fit = _FITS.get(kind)
        if fit is None:
            return value
        found = fit(value)
        if found is not _NONE:
            return found
        wanted.append(_SHOWN.get(kind, kind))
    raise ArgumentInvalid(
        f"{name} is {_shown(value)}, which is no {' or '.join(w for w in wanted if w != 'None')}"
    )


def fields_of(
    cls: type, given: Mapping[str, Any], special: Mapping[str, Callable[[Any], Any]] | None = None
) -> dict[str, Any]:
    """Arguments for a class of values: `special` ones by their own functions, all others as the class declares them.

    Raises ArgumentInvalid, and what the functions raise.
    """
    from boxwright.spec.values import fields

    declared = {field.name: str(field.type) for field in fields(cls)}
    for name in given:
        if name not in declared:
            raise ArgumentInvalid(f"there is no option {name!r}", hint=_known(name, list(declared)))
    special = special or {}
    return {
        name: special[name](value) if name in special else fitted(name, value, declared[name])
        for name, value in given.items()
    }


def several(name: str, value: Any, kind: type, parse: Callable[[str], Any]) -> tuple[Any, ...]:
    """Values of a kind, each of which may also be given as text. Raises ArgumentInvalid, and what `parse` raises."""
    items = (value,) if isinstance(value, (str, kind)) else value
    if not isinstance(items, (list, tuple)):
        raise ArgumentInvalid(f"{name} is {_shown(value)}, which is no list")
    found: list[Any] = []
    for item in items:
        if isinstance(item, str):
            parsed = parse(item)
            found += parsed if isinstance(parsed, tuple) else (parsed,)
        elif isinstance(item, kind):
            found.append(item)
        else:
            raise ArgumentInvalid(f"{name} holds {_shown(item)}, which is neither text nor a {kind.__name__}")
    return tuple(found)


def pairs(name: str, value: Any, between: str) -> tuple[str, ...]:
    """Texts such as ``NAME=value``, which may also be given as a mapping. Raises ArgumentInvalid."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or isinstance(item, bool) or not isinstance(item, (str, int, float)):
                raise ArgumentInvalid(f"{name} has {_shown(key)}: {_shown(item)}, which is no text")
        return tuple(f"{key}{between}{item}" for key, item in value.items())
    found: tuple[str, ...] = fitted(name, value, "tuple[str, ...]")
    return found


def checked(cls: Class) -> Class:
    """A class whose public methods fit their arguments to their annotations first."""
    for name, function in list(vars(cls).items()):
        code = getattr(function, "__code__", None)
        if code is not None and not name.startswith("_"):
            setattr(cls, name, _checked(function, code))
    return cls


def _checked(function: Any, code: Any) -> Any:
    from functools import wraps

    declared = {name: text for name, text in function.__annotations__.items() if name != "return"}
    names = code.co_varnames[: code.co_argcount]

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        fit = [
            fitted(names[at], value, declared[names[at]])
            if at < len(names) and names[at] in declared
            else value
            for at, value in enumerate(arguments)
        ]
        for name, value in named.items():
            if name in declared:
                named[name] = fitted(name, value, declared[name])
        return function(*fit, **named)

    return call


def _known(name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


# --- one function a kind: the value as it is used, or _NONE --------------------------------------

_NONE: Any = object()


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else _NONE


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else _NONE


def _whole(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else _NONE


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else _NONE


def _nothing(value: Any) -> Any:
    return None if value is None else _NONE


def _bytes(value: Any) -> Any:
    return value if isinstance(value, bytes) else _NONE


def _path(value: Any) -> Any:
    from pathlib import Path

    return Path(value) if isinstance(value, (str, Path)) else _NONE


def _words(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return _NONE


def _pairs(value: Any) -> Any:
    from collections.abc import Mapping

    if isinstance(value, Mapping) and all(isinstance(s, str) for pair in value.items() for s in pair):
        return value
    return _NONE


def _filters(value: Any) -> Any:
    from collections.abc import Mapping

    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return _NONE
    found = {key: _words(item) for key, item in value.items()}
    return _NONE if _NONE in found.values() else found


_FITS = {
    "str": _text,
    "bool": _flag,
    "int": _whole,
    "float": _number,
    "bytes": _bytes,
    "None": _nothing,
    "Path": _path,
    "Filters": _filters,
    **dict.fromkeys(_WORDS, _words),
    **dict.fromkeys(_PAIRS, _pairs),
}
_SHOWN = {
    "str": "text",
    "bool": "True or False",
    "int": "whole number",
    "float": "number",
    "Path": "path",
    "Filters": "dict of texts",
    **dict.fromkeys(_WORDS, "list of texts"),
    **dict.fromkeys(_PAIRS, "dict of texts"),
}
