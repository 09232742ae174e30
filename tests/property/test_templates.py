"""Whatever the template, a row gives text or a FormatError; whatever the words, a command line gives values or a UsageError."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.cli.flags import REMAINDER, HelpRequested, Parser, UsageError
from boxwright.cli.tables import align, display_width, ellipsis
from boxwright.gotemplate.compile import FormatError, Method, compile
from boxwright.gotemplate.functions import FUNCTIONS
from boxwright.spec.times import human_duration, unix_seconds
from boxwright.spec.units import human_size

ROW: dict[str, Any] = {
    "ID": "abc",
    "N": 3,
    "F": 1.5,
    "T": True,
    "Nil": None,
    "L": ["a", "b"],
    "M": {"x": {"y": 1}},
    "Label": Method(lambda key: key),
    "Lazy": lambda: [1],
}
WORDS = [
    "{{",
    "}}",
    "{{-",
    " -}}",
    "(",
    ")",
    "|",
    ":=",
    "=",
    ",",
    ".",
    "$",
    "$x",
    "$i, $v := ",
    ".ID",
    ".N",
    ".L",
    ".M",
    ".M.x.y",
    ".Label",
    ".Lazy",
    ".No",
    " ",
    "\n",
    "/*",
    "*/",
]
WORDS += [
    "if ",
    "else",
    "end",
    "range ",
    "with ",
    "break",
    "continue",
    "define",
    "nil",
    "true",
    "0",
    "1",
    "-1",
    "1.5",
    '"a"',
    '"%d %5.2f %q %x"',
    "`r`",
    "'c'",
    "\\",
    '"\\x',
    '"',
    "text",
]
WORDS += [name + " " for name in FUNCTIONS]
VALUES = [
    ".ID",
    ".N",
    ".F",
    ".T",
    ".Nil",
    ".L",
    ".M",
    ".Label",
    ".Lazy",
    ".",
    "1",
    "-1",
    "2.5",
    '"s"',
    '"%v %d"',
    "nil",
    "true",
    "(index .L 0)",
]


def attempt(template: str, row: Any) -> None:
    try:
        compiled = compile(template)
        assert isinstance(compiled(row), str)
        assert isinstance(compiled.header({"ID": "IMAGE ID", "L": "LIST"}), str)
    except FormatError as error:
        assert "\n" not in str(error).split(": ")[0] and str(error).startswith("template")


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from([ROW, [], None, "x", 1]))
def test_any_text(text: str, row: Any) -> None:
    attempt(text, row)
    attempt("{{" + text + "}}", row)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_any_order_of_true_words(words: list[str]) -> None:
    attempt("".join(words), ROW)
    attempt("{{range .L}}" + "".join(words) + "{{end}}", ROW)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(st.sampled_from(VALUES), max_size=4))
def test_any_arguments(function: str, arguments: list[str]) -> None:
    attempt("{{" + " ".join([function, *arguments]) + "}}", ROW)
    attempt("{{if " + " ".join([function, *arguments]) + " | not}}a{{else}}b{{end}}", ROW)


@settings(deadline=None)
@given(
    st.lists(
        st.text(max_size=12)
        | st.sampled_from(
            [
                "-a",
                "-aq",
                "--all=false",
                "-f",
                "--filter=x=y",
                "--",
                "-",
                "-n",
                "3",
                "-n=3",
                "--last",
                "image",
            ]
        ),
        max_size=8,
    )
)
def test_any_command_line(words: list[str]) -> None:
    for strict in (False, True):
        parser = Parser("boxwright x")
        parser.add_argument("-a", "--all", action="store_true")
        parser.add_argument("-q", "--quiet", action="store_true")
        parser.add_argument("-f", "--filter", action="append")
        parser.add_argument("-n", "--last", type=int)
        parser.add_argument("image", nargs=None if strict else "?")
        parser.add_argument("rest", nargs=REMAINDER if strict else "*")
        try:
            values = parser.parse_args(words)
        except (UsageError, HelpRequested):
            continue
        if strict:  # what stands behind the image is never looked into
            assert values.rest == words[len(words) - len(values.rest) :]
            assert parser.parse_args([*words, "--nothing", "-z"]).rest == [*values.rest, "--nothing", "-z"]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=8), min_size=1, max_size=4
        ),
        max_size=6,
    )
)
def test_columns_line_up(lines: list[list[str]]) -> None:
    for cells, line in zip(lines, align(lines)):
        assert line.endswith(cells[-1])
        assert display_width(line) >= sum(display_width(c) + 3 for c in cells[:-1])
    same = [cells for cells in lines if len(cells) == len(lines[0])]
    ends = {display_width(line) - display_width(cells[-1]) for cells, line in zip(same, align(same))}
    assert len(ends) <= 1


@given(st.integers(0, 10**25), st.text(max_size=30), st.integers(0, 40))
def test_words_for_people(number: int, text: str, width: int) -> None:
    assert len(human_size(number)) <= 9 and "e" not in human_size(number)
    assert human_duration(number)
    assert display_width(ellipsis(text, width)) <= max(width, 2 if width else 0)
    assert unix_seconds(text) is None or isinstance(unix_seconds(text), float)
