"""``key=value,key=value``: how the values of options are written, and the errors for those that make no sense."""

from __future__ import annotations

from boxwright.errors import Invalid


class RequestInvalid(Invalid):
    """The build was asked for with arguments that make no sense."""


def fields(text: str, what: str) -> dict[str, str]:
    """``key=value,key=value``, quoted as in CSV; keys in lower case. A bare word has the value ''."""
    import csv
    import io

    try:
        row = next(csv.reader(io.StringIO(text), strict=True), [])
    except csv.Error as error:
        raise RequestInvalid(f"invalid {what} {text!r}: {error}") from error
    out: dict[str, str] = {}
    for part in row:
        key, _, value = part.partition("=")
        out[key.strip().lower()] = value
    return out
