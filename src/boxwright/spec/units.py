"""Sizes as text, as Docker's programs read and print them (go-units)."""

from __future__ import annotations

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_POWERS = "kmgtp"
_MOST_TEXT = 40
_MOST = 2**63 - 1  # bytes


class SizeInvalid(Invalid):
    """A size cannot be read."""


def parse_size(text: str) -> int:
    """Bytes of ``512m``, ``1.5g``, ``64 KiB`` (1024-based, go-units RAMInBytes). Raises SizeInvalid."""
    number = text.strip().lower()
    for ending in ("ib", "b"):
        if number.endswith(ending):
            number = number.removesuffix(ending)
            break
    power = _POWERS.find(number[-1:]) + 1 if number else 0
    whole, point, part = (number[:-1] if power else number).rstrip().partition(".")
    if not _decimal(whole) or (point and not _decimal(part)) or len(text) > _MOST_TEXT:
        raise SizeInvalid(f"invalid size: {text!r}", hint="wanted something like 512m or 10GB")
    scale: int = 10 ** len(part)
    size = (int(whole + part) << 10 * power) // scale
    if size > _MOST:
        raise SizeInvalid(f"invalid size: {text!r}", hint="it is beyond 64 bits")
    return size


def _decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()


def human_size(size: float, *, precision: int = 3) -> str:
    """Bytes as Docker prints them: 1000-based, three digits, ``74.8MB`` (go-units HumanSizeWithPrecision).

    One deliberate difference: 999.9 kB is ``1MB``, where Docker prints ``1e+03kB``.
    """
    return _scaled(
        size=size,
        base=1000.0,
        units=("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"),
        precision=precision,
    )


def binary_size(size: float) -> str:
    """Bytes 1024-based, four digits: ``7.629MiB`` (go-units BytesSize), as `stats` and `info` print memory."""
    return _scaled(
        size=size,
        base=1024.0,
        units=("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"),
        precision=4,
    )


def _scaled(size: float, base: float, units: Sequence[str], precision: int) -> str:
    at, value = 0, float(size)
    while at < len(units) - 1 and (value >= base or "e+" in f"{value:.{precision}g}"):
        value, at = value / base, at + 1
    return f"{value:.{precision}g}{units[at]}"


def build_size(count: int) -> str:
    """Bytes as BuildKit's progress writes them: 97B, 1.27kB, 134.22MB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{count}B" if units[0] == "B" else f"{value:.2f}{units[0]}"
