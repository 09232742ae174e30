"""Hostile definitions: whatever stands in one, it is a definition or a sentence, and soon."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.bake import files
from boxwright.bake.definition import Outside
from boxwright.bake.hcl.regex import Regex
from boxwright.errors import Invalid

PIECES = st.sampled_from(
    [
        "target",
        "group",
        "variable",
        "function",
        "params",
        "result",
        "default",
        "matrix",
        "name",
        "tags",
        "args",
        "x",
        "y",
        '"a"',
        '"${',
        '}"',
        '"%{ if x }',
        "%{ endif }",
        "${~",
        "~}",
        "<<E\n",
        "\nE\n",
        "<<-E\n",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "=",
        ":",
        ",",
        "...",
        "=>",
        "?",
        ".",
        "*",
        "[*]",
        ".*",
        "for",
        "in",
        "if",
        "else",
        "null",
        "true",
        "1",
        "2.5e3",
        "-",
        "!",
        "==",
        "&&",
        "||",
        "+",
        "/",
        "%",
        "\n",
        " ",
        "#",
        "//",
        "/*",
        "*/",
        "upper",
        "try",
        "range",
        "target.x.tags",
        "\\u00",
        "\\",
        "é",
        "\x00",
        "'",
        "|",
        ">",
        "&a",
        "*a",
        "- ",
        ": ",
        "services:",
        "build:",
        "!reset",
        "---\n",
        "?",
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200)
NAMES = st.sampled_from(["a.hcl", "a.json", "a.yaml", "a"])
AROUND = Outside(environ={"A": "1"}, builtin={})


def read(text: str, name: str) -> None:
    try:
        files.parse([files.File(name, text.encode("utf-8", "surrogatepass"))], AROUND, Path("/nonexistent"))
    except Invalid as error:
        assert str(error)


@given(TEXTS, NAMES)
@settings(max_examples=400, deadline=2000)
def test_any_text(text: str, name: str) -> None:
    read(text, name)


@given(TEXTS, NAMES)
@settings(max_examples=200, deadline=2000)
def test_any_expression(text: str, name: str) -> None:
    read(f'target "t" {{\n  args = {{ a = {text} }}\n}}\n', "a.hcl")
    read(json.dumps({"target": {"t": {"args": {"a": text}, text: text}}, text: text}), "a.json")
    read(f"services:\n  a:\n    image: {text}\n    build:\n      context: {json.dumps(text)}\n", "a.yaml")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "target", "build", "args", "tags", "variable", "services"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300, deadline=2000)
def test_any_json(value: object) -> None:
    text = json.dumps(value)
    read(text, "a.json")
    read(text, "a.yaml")
    read(json.dumps({"target": value, "group": value, "variable": {"V": value}, "function": value}), "a.json")
    read(json.dumps({"services": {"a": {"build": value}}}), "a.yaml")


@given(st.text(alphabet="ab()[]{}|*+?.^$\\-:,1Pdwi<>=!", max_size=30), st.text(alphabet="ab1\n", max_size=40))
@settings(max_examples=400, deadline=2000)
def test_any_pattern(pattern: str, text: str) -> None:
    try:
        list(Regex(pattern).finditer(text))
    except Invalid as error:
        assert str(error)
