"""What a request says, parsed."""

from __future__ import annotations

import pytest

from boxwright.api.asked import Fields, Query, RequestRefused, parsed
from boxwright.image.filters import FilterInvalid


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "whatever"])
def test_ways_to_say_yes(text: str) -> None:
    assert Query(f"all={text}").switch("all")


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "none"])
def test_ways_to_say_no(text: str) -> None:
    assert not Query(f"all={text}").switch("all", default=True)


def test_filters_have_two_forms() -> None:
    for text in ('{"label":{"a=b":true}}', '{"label":["a=b"]}', '{"label":"a=b"}'):
        from urllib.parse import quote

        assert Query(f"filters={quote(text)}").filters("label") == {"label": ["a=b"]}
    assert Query("filters=").filters("label") == {}
    assert Query("").filters("label") == {}


@pytest.mark.parametrize("text", ["[1]", "{", '{"label":{"a":[]},"label":5}', '{"label":[[1]]}', "7"])
def test_filters_that_are_none(text: str) -> None:
    from urllib.parse import quote

    with pytest.raises(RequestRefused):
        Query(f"filters={quote(text)}").filters("label")


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(FilterInvalid, match="invalid filter 'x'"):
        Query('filters={"x":["y"]}').filters("label")


@pytest.mark.parametrize("text", ["x", "1.5", "--1", "1" * 20, "٣"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(RequestRefused):
        Query(f"t={text}").number("t")


def test_what_nests_too_deeply_is_refused() -> None:
    with pytest.raises(RequestRefused, match="nested too deeply"):
        parsed("[" * 100_000, "the body")


def test_fields_have_kinds() -> None:
    fields = Fields({"a": "x", "n": 3, "b": True, "l": ["x"], "m": {"k": "v"}, "z": None})
    assert fields.text("a") == "x" and fields.number("n") == 3 and fields.switch("b")
    assert fields.texts("l") == ("x",) and fields.texts("a") == ("x",) and fields.map("m") == {"k": "v"}
    assert fields.text("z", "d") == "d"
    for ask in (
        lambda: fields.text("n"),
        lambda: fields.number("b"),
        lambda: fields.switch("n"),
        lambda: fields.texts("m"),
        lambda: fields.map("l"),
        lambda: fields.object("a"),
        lambda: Fields([1]),
        lambda: Fields({"n": 1 << 64}).number("n"),
    ):
        with pytest.raises(RequestRefused):
            ask()
