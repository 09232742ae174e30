"""Text that is read without other modules."""

from __future__ import annotations

import pytest

from boxwright.spec.text import go_int, go_uint, version, whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("0" * 5000 + "9", 9), ("10", 10), ("11", None), ("9" * 5000, None)]
    + [(text, None) for text in ("", "-1", "+1", "1.0", " 1", "1_0", "²", "१", "x")],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text, 10) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10),
        ("-10", -10),
        ("+1", 1),
        ("0x10", 16),
        ("-0X1f", -31),
        ("010", 8),
        ("0o17", 15),
        ("0b11", 3),
        ("1_000", 1000),
        ("0_7", 7),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        (f"-{2**63}", -(2**63)),
    ],
)
def test_numbers_as_go_reads_them(text: str, number: int) -> None:
    assert go_int(text) == number


@pytest.mark.parametrize(
    "text", ["", "-", "x", " 1", "1 ", "1__0", "1_", "_1", "--1", "09", "0x", "1.0", "²", "१"]
)
def test_what_is_no_number_to_go(text: str) -> None:
    for read, name in ((go_int, "ParseInt"), (go_uint, "ParseUint")):
        with pytest.raises(ValueError, match=f'^strconv.{name}: parsing "{text}": invalid syntax$'):
            read(text)


def test_numbers_have_bits() -> None:
    assert (go_uint("65535", 16), go_int("-32768", 16)) == (65535, -32768)
    for text in ("65536", "9" * 5000):
        with pytest.raises(ValueError, match=r"ParseUint: .*: value out of range"):
            go_uint(text, 16)
        with pytest.raises(ValueError, match=r"ParseInt: .*: value out of range"):
            go_int(text, 16)
    with pytest.raises(ValueError, match="invalid syntax"):
        go_uint("-1")


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("6.18.44-fc-v445", (6, 18)),
        ("5.4-rc1", (5, 4)),
        ("1.28", (1, 28)),
        ("strange", (0, 0)),
        ("1", (0, 0)),
        ("1.", (0, 0)),
        (".1", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_versions(said: str, numbers: tuple[int, int]) -> None:
    assert version(said) == numbers
