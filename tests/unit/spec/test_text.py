"""Text that is read without other modules."""

from __future__ import annotations

import pytest

from boxwright.spec.text import whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("0" * 5000 + "9", 9), ("10", 10), ("11", None), ("9" * 5000, None)]
    + [(text, None) for text in ("", "-1", "+1", "1.0", " 1", "1_0", "²", "१", "x")],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text, 10) == number
