"""--filter."""

from __future__ import annotations

import pytest

from boxwright.cli.filters import parse_filters
from boxwright.image.filters import FilterInvalid


def test_parse() -> None:
    assert parse_filters(["label=a=b", "label=c", "dangling=true", ""]) == {
        "label": ["a=b", "c"],
        "dangling": ["true"],
    }
    assert parse_filters(["label!=x"]) == {"label!": ["x"]}


@pytest.mark.parametrize(
    ("text", "hint"),
    [("labl=x", "did you mean label?"), ("color=red", "there are: dangling, label"), ("label", "")],
)
def test_wrong(text: str, hint: str) -> None:
    with pytest.raises(FilterInvalid) as caught:
        parse_filters([text], ("label", "dangling"))
    assert caught.value.hint == hint
