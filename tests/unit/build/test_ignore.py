""".dockerignore: every vector of patternmatcher, and the walk's shortcuts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from boxwright.build.dockerfile.globs import GlobInvalid, compile_match, ignore_regex
from boxwright.build.dockerfile.ignore import NOTHING, IgnoreInvalid, IgnoreMatcher, read_ignorefile
from boxwright.errors import Invalid
from support import vectors

VECTORS: dict[str, Any] = vectors("dockerignore-match.json")


def _name(case: dict[str, Any]) -> str:
    return f"{' '.join(case['patterns'])} ~ {case['path']}"


@pytest.mark.parametrize(
    "case",
    [c for part in ("single", "multi", "basic", "errors", "go_match") for c in VECTORS[part]],
    ids=_name,
)
def test_match(case: dict[str, Any]) -> None:
    if case.get("error"):
        with pytest.raises(Invalid):
            IgnoreMatcher(case["patterns"])
    else:
        assert IgnoreMatcher(case["patterns"]).excluded(case["path"]) is case["excluded"]


@pytest.mark.parametrize("case", VECTORS["cleaned"], ids=str)
def test_cleaned(case: dict[str, Any]) -> None:
    matcher = IgnoreMatcher(case["patterns"])
    assert (len(matcher.patterns), matcher.has_exceptions) == (case["count"], case["has_exclusions"])


@pytest.mark.parametrize("case", VECTORS["compile"], ids=lambda case: case["pattern"])
def test_compiled_form(case: dict[str, Any]) -> None:
    if case["regexp"] is not None:
        ours = ignore_regex(case["pattern"]).replace("(?:", "(")
        assert re.compile(ours).pattern == case["regexp"].removeprefix("^").removesuffix("$")


def test_read_file() -> None:
    for case in VECTORS["read_ignorefile"]:
        assert read_ignorefile(case["content"].encode()) == case["patterns"]
    assert read_ignorefile(b"\xef\xbb\xbfa\r\n#b\n # c\n./d/\n../e\n/\n") == ["a", "# c", "d", "../e", "/"]


def test_messages() -> None:
    with pytest.raises(IgnoreInvalid, match='illegal exclusion pattern: "!"'):
        IgnoreMatcher(["!"])
    with pytest.raises(GlobInvalid, match=r'syntax error in pattern "\["'):
        IgnoreMatcher(["["])


def test_the_context_itself_is_never_ignored() -> None:
    assert not IgnoreMatcher(["**"]).excluded(".")


def test_decisions_come_down_from_the_directory() -> None:
    matcher = IgnoreMatcher(["a", "!a/b", "a/b/c"])
    above = matcher.decide("a")
    assert (above, matcher.excludes(above)) == (0, True)
    within = matcher.decide("a/b", above)
    assert (within, matcher.excludes(within)) == (1, False)
    assert matcher.decide("a/b/x", within) == 1
    assert matcher.decide("a/b/c", within) == 2
    assert matcher.decide("z") == NOTHING


@pytest.mark.parametrize(
    ("patterns", "directory", "reachable"),
    [
        (["a", "!a/b"], "a", True),
        (["a", "!a/b"], "a/c", False),
        (["a", "!b/c"], "a", False),
        (["a", "!*/c"], "a", True),
        (["a", "!**/c"], "a/b", True),
        (["!a/b", "a"], "a", False),  # an exception above the rule is overruled by it
        (["a", "!a"], "a/b", False),
        (["a", "!a/[b/c]d"], "a/x", True),  # not worth a closer look
    ],
)
def test_pruning(patterns: list[str], directory: str, reachable: bool) -> None:
    matcher = IgnoreMatcher(patterns)
    assert matcher.may_include_below(directory, patterns.index("a")) is reachable


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a*", ["a", "ab"], ["b", "a/b"]),
        ("a?c", ["abc", "a☺c"], ["ac", "a/c"]),
        ("[a-c]x", ["bx"], ["dx", "x"]),
        ("[^a-c]x", ["dx"], ["ax"]),
        ("\\*", ["*"], ["a", "\\"]),
        ("[[]", ["["], ["]"]),
        ("[c-a]", [], ["a", "b", "c"]),  # backwards: nothing
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_filepath_match(pattern: str, yes: list[str], no: list[str]) -> None:
    matcher = compile_match(pattern)
    assert all(matcher.fullmatch(text) for text in yes)
    assert not any(matcher.fullmatch(text) for text in no)


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[^", "a\\", "[-a]", "[a-]", "[]a]"])
def test_filepath_match_refused(pattern: str) -> None:
    with pytest.raises(GlobInvalid):
        compile_match(pattern)
