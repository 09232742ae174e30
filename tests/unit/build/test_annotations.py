"""Annotations as people write them: what is read is what was said, and anything else is refused with a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.build.annotations import Annotation, at, check_annotations, parse_annotations, parse_attribute
from boxwright.build.fields import RequestInvalid

LEVELS = ("manifest", "index", "manifest-descriptor", "index-descriptor")
KEYS = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)


@given(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=3), KEYS, st.text(max_size=20))
def test_levels_and_platforms(levels: list[str], key: str, value: str) -> None:
    words = [f"{level}[linux/arm/v7]" for level in levels]
    wanted = [Annotation(level, key, value, "linux/arm/v7") for level in levels]
    assert list(parse_annotations({f"{','.join(words)}:{key}": value})) == wanted
    for word, one in zip(words, wanted):
        assert parse_attribute(f"annotation-{word}.{key}", value) == one
    assert parse_annotations({key: value}) == (Annotation("manifest", key, value),)
    assert parse_attribute(f"annotation.{key}", value) == Annotation("manifest", key, value)


@given(st.text(max_size=40), st.text(max_size=10))
def test_any_text_is_read_or_refused(name: str, value: str) -> None:
    for read in (lambda: parse_annotations({name: value}), lambda: parse_attribute(name, value)):
        try:
            read()
        except RequestInvalid as error:
            assert str(error)


def test_what_is_for_one_platform_wins_there() -> None:
    given = parse_annotations({"a": "1", "manifest[linux/arm64]:a": "2", "index:i": "3"})
    assert at(given, "manifest", "linux/arm64") == {"a": "2"} and at(given, "manifest", "linux/amd64") == {
        "a": "1"
    }
    assert at(given, "index") == {"i": "3"} and at(given, "index-descriptor") == {}
    check_annotations(given, ["linux/amd64", "linux/arm64"], index=True)
    with pytest.raises(RequestInvalid, match="not supported for single platform"):
        check_annotations(given, ["linux/arm64"], index=False)
