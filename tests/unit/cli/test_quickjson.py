"""`loads` and `dumps` are those of `json`, values and errors alike."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from boxwright.cli import quickjson

MADE = quickjson.functions(lambda: json)
WITHOUT = quickjson.functions(lambda: pytest.fail("the real module was asked"))  # type: ignore[arg-type]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "separators": st.sampled_from([(",", ":"), (", ", ": "), None]),
        "sort_keys": st.booleans(),
        "ensure_ascii": st.booleans(),
        "default": st.sampled_from([None, str]),
    },
)


def _outcome(function: Any, value: object, **more: Any) -> object:
    try:
        return function(value, **more)
    except (ValueError, TypeError, RecursionError) as error:
        return type(error), str(error)


@given(VALUES, OPTIONS)
def test_a_value_is_written_as_json_writes_it(value: object, options: dict[str, Any]) -> None:
    assert WITHOUT["dumps"](value, **options) == json.dumps(value, **options)


@given(VALUES, st.sampled_from([0, 1, 4, "\t"]), st.booleans())
def test_a_value_is_indented_as_json_indents_it(value: object, indent: int | str, ascii: bool) -> None:
    done = WITHOUT["dumps"](value, indent=indent, ensure_ascii=ascii)
    assert done == json.dumps(value, indent=indent, ensure_ascii=ascii)


@given(VALUES, st.sampled_from(["", " ", "\n", "\t\r\n "]), st.booleans())
def test_a_value_is_read_as_json_reads_it(value: object, blank: str, as_bytes: bool) -> None:
    text = blank + json.dumps(value, ensure_ascii=False) + blank
    assert WITHOUT["loads"](text.encode() if as_bytes else text) == value


@given(st.text('[]{}:,"\\u0a1-.eE+tfn \n\x00\ufeff\ud800', max_size=12) | st.binary(max_size=8))
@example("")
@example("nul")
@example("[1] 2")
@example('{"a":1,"a":2}')
@example('"\n"')
@example("-Infinity")
@example("\ufeff1")
@example(b"\xef\xbb\xbf1")
@example(b"\xff\xfe1\x00")
@example(b"1\x00")
@example(b"\x00\x00\x00")
@example(b'"\xed\xa0\x80"')
@example(b"\xff")
@example("\x0b1")
@example("\u00a01")
def test_every_other_text_ends_as_with_json(text: str | bytes) -> None:
    assert repr(_outcome(MADE["loads"], text)) == repr(_outcome(json.loads, text))


@pytest.mark.parametrize(
    "value", [{1}, object, [b"x"], {("a",): 1}, "\ud800", {None: 1, True: 2, 1.5: 3}, float("nan"), "[" * 9]
)
def test_what_is_no_json_is_refused_in_the_same_words(value: object) -> None:
    assert _outcome(MADE["dumps"], value) == _outcome(json.dumps, value)
    assert _outcome(MADE["dumps"], [value], indent=2) == _outcome(json.dumps, [value], indent=2)


def test_a_circle_and_a_deep_value_are_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    assert _outcome(MADE["dumps"], circle) == _outcome(json.dumps, circle)
    assert isinstance(_outcome(MADE["loads"], "[" * 100_000), tuple)


@pytest.mark.parametrize(
    "more", [{"indent": 1, "sort_keys": True}, {"cls": json.JSONEncoder}, {"allow_nan": False}]
)
def test_other_options_are_left_to_json(more: dict[str, Any]) -> None:
    assert MADE["dumps"]([1, {"a": 2}], **more) == json.dumps([1, {"a": 2}], **more)
    assert MADE["loads"]("[1.5]", parse_float=str) == ["1.5"]


SCRIPT = """
import sys
from boxwright.cli.startup import hurry
hurry()
import json
assert json.loads('{"a": [1, 2.5, "x"]}') == {"a": [1, 2.5, "x"]} and json.dumps([1]) == "[1]"
assert not {"re", "json.decoder"} & {name for name in sys.modules if hasattr(sys.modules[name], "__file__")}
early = json
%s
import json
assert json.loads is early.loads and json.JSONDecodeError is json.decoder.JSONDecodeError
assert sys.modules["json.decoder"].JSONDecodeError is json.JSONDecodeError and json.encoder.JSONEncoder
from json import JSONDecoder
assert JSONDecoder().decode("[]") == [] and json.dumps([1], allow_nan=False) == "[1]"
print("fine")
"""


@pytest.mark.parametrize(
    "first",
    [
        "json.JSONDecodeError",
        "import json.decoder; json.decoder.JSONDecodeError; json.load",
        "from json.decoder import JSONDecodeError; json.load",
        "try:\n    json.loads('{')\nexcept json.JSONDecodeError as error:\n    assert error.pos == 1",
        "try:\n    json.loads('\"\\x00\"')\nexcept ValueError as error:\n    assert type(error) is json.JSONDecodeError",
    ],
)
def test_the_real_module_takes_its_place(first: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT % first], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
