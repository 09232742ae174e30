"""What a request asks, parsed once: switches, numbers, filters and JSON, each of which a client may get wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qsl

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_YES = ("1", "t", "true", "y", "yes")
_NO = ("", "0", "f", "false", "n", "no", "none", "null")
_MOST_PARAMETERS = 1000


class RequestRefused(Invalid):
    """A parameter or a body that cannot be what the request means."""


class Query:
    """The parameters after the question mark."""

    def __init__(self, text: str) -> None:
        """Raises RequestRefused."""
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
        except ValueError as error:
            raise RequestRefused(f"the query cannot be read: {error}") from error
        self._values: dict[str, list[str]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """The first value."""
        return self._values.get(name, [default])[0]

    def texts(self, name: str) -> list[str]:
        """All values."""
        return self._values.get(name, [])

    def switch(self, name: str, *, default: bool = False) -> bool:
        """As Docker has it: whatever is none of the ways to say no is a yes."""
        return self.text(name).lower() not in _NO if name in self._values else default

    def number(self, name: str) -> int | None:
        """None when it is missing or empty. Raises RequestRefused."""
        text = self.text(name)
        return whole(text, name) if text else None

    def moment(self, name: str) -> float | None:
        """Unix seconds; None when it is missing or 0. Raises RequestRefused."""
        text = self.text(name)
        if text in ("", "0"):
            return None
        from boxwright.image.filters import moment

        return moment(text)

    def filters(self, *allowed: str) -> dict[str, list[str]]:
        """``filters``, in both of its forms: ``{"label":{"a=b":true}}`` and ``{"label":["a=b"]}``. Raises
        RequestRefused, FilterInvalid."""
        text = self.text("filters")
        found = parsed(text, "filters") if text.strip() else None
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise RequestRefused("invalid filter: filters must be an object")
        out = {}
        for key, values in found.items():
            if isinstance(values, Mapping):
                values = [value for value, there in values.items() if there is not False]
            if isinstance(values, str):
                values = [values]
            if not isinstance(values, list) or not all(
                isinstance(value, (str, bool, int)) for value in values
            ):
                raise RequestRefused(f"invalid filter '{key}': wanted texts")
            out[key] = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
        from boxwright.image.filters import check_names

        check_names(out, allowed)
        return out


def whole(text: str, name: str) -> int:
    """A number that Docker could hold. Raises RequestRefused."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 19:
        raise RequestRefused(f"invalid {name} {text[:40]!r}: wanted a number")
    return int(text)


def parsed(text: str | bytes, what: str) -> Any:
    """JSON of a client's. Raises RequestRefused."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestRefused(f"invalid JSON in {what}: {reason}") from error


class Fields:
    """An object of a client's, asked by name and kind; null is what is missing. Every question raises
    RequestRefused."""

    def __init__(self, value: Any, what: str = "the body") -> None:
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise RequestRefused(f"invalid {what}: wanted an object")
        self._value, self._what = value, what

    def _get(self, name: str, kind: type, default: Any) -> Any:
        found = self._value.get(name)
        if found is None:
            return default
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise RequestRefused(f"invalid {name} in {self._what}: wanted {_CALLED[kind]}")
        return found

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def raw(self, name: str) -> Any:
        """As it came."""
        return self._value.get(name)

    def text(self, name: str, default: str = "") -> str:
        found: str = self._get(name, str, default)
        return found

    def number(self, name: str, default: int = 0) -> int:
        found: int = self._get(name, int, default)
        if abs(found) >= 1 << 63:
            raise RequestRefused(f"invalid {name} in {self._what}: the number is too large")
        return found

    def switch(self, name: str, *, default: bool = False) -> bool:
        found: bool = self._get(name, bool, default)
        return found

    def object(self, name: str) -> Fields:
        return Fields(self._value.get(name), name)

    def objects(self, name: str) -> list[Fields]:
        return [Fields(value, name) for value in self._get(name, list, [])]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; one text is a list of one, as Docker's `strslice` has it."""
        found = self._value.get(name)
        values = [found] if isinstance(found, str) else self._get(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise RequestRefused(f"invalid {name} in {self._what}: wanted a list of texts")
        return tuple(values)

    def map(self, name: str) -> dict[str, str]:
        found = self._get(name, Mapping, {})
        if not all(isinstance(value, str) for value in found.values()):
            raise RequestRefused(f"invalid {name} in {self._what}: wanted texts by name")
        return dict(found)

    def names(self, name: str = "") -> tuple[str, ...]:
        """The names in an object, or in one that lies in it."""
        return tuple(self._get(name, Mapping, {}) if name else self._value)


_CALLED: dict[type, str] = {
    str: "a text",
    int: "a number",
    bool: "true or false",
    list: "a list",
    Mapping: "an object",
}
