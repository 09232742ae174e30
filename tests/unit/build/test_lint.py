"""Build checks against BuildKit's own table."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.dockerfile.errors import SourceRange
from boxwright.build.dockerfile.ignore import IgnoreMatcher, read_ignorefile
from boxwright.build.dockerfile.lint import CheckRequest, CheckResult, check, check_base_platform
from boxwright.build.dockerfile.lint_rules import DESCRIPTIONS
from boxwright.build.dockerfile.parse import parse
from boxwright.spec.platform import Platform
from support import vectors

CASES: list[dict[str, Any]] = vectors("lint-rules.json")["cases"]
PREDEFINED = {
    f"{side}{name}": value
    for side in ("BUILD", "TARGET")
    for name, value in {
        "PLATFORM": "linux/amd64",
        "OS": "linux",
        "OSVERSION": "",
        "ARCH": "amd64",
        "VARIANT": "",
    }.items()
} | {"TARGETSTAGE": "default"}


def run(text: str, **options: Any) -> CheckResult:
    return check(parse(text.encode()), CheckRequest(predefined=PREDEFINED, **options))


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case['test']}" for number, case in enumerate(CASES)])
def test_rules(case: dict[str, Any]) -> None:
    if case["test"] == "testBaseImagePlatformMismatch":
        pytest.skip("needs an image; see test_base_platform")
    given = {
        name.removeprefix("build-arg:"): value
        for name, value in case.get("options", {}).items()
        if name.startswith("build-arg:")
    }
    ignore = IgnoreMatcher(read_ignorefile(case["dockerignore"].encode())) if "dockerignore" in case else None
    result = run(
        case["dockerfile"], build_args=given, options=given.get("BUILDKIT_DOCKERFILE_CHECK"), ignore=ignore
    )
    found = [
        {
            "rule": w.rule,
            "description": w.description,
            "detail": w.message,
            "line": w.location.start if w.location else 0,
            "url": w.url,
        }
        for w in result.warnings
    ]
    key = lambda warning: (warning["line"], warning["detail"])  # noqa: E731
    assert sorted(found, key=key) == sorted(case["warnings"], key=key)
    if "error_line" in case and result.error is not None:
        assert result.error.ranges[0].start == case["error_line"]


def test_all_rules_are_covered() -> None:
    assert {warning["rule"] for case in CASES for warning in case["warnings"]} == set(DESCRIPTIONS)


def test_warnings_fail_the_build_when_the_file_says_so() -> None:
    result = run("#check=error=true\nFROM scratch as base\ncopy x .\n")
    assert result.error is not None
    assert str(result.error) == "lint violation found for rules: FromAsCasing, ConsistentInstructionCasing"
    told = [f"{w.rule}: {w.message} (line {w.location.start})" for w in result.warnings if w.location]
    assert result.error.hint == "; ".join(told) and len(told) == 2
    assert run("FROM scratch as base\n").error is None
    assert run("#check=error=true\nFROM scratch\n").error is None


def test_what_came_before_a_failure_is_told() -> None:
    result = run("FROM scratch AS Bad\nNONSENSE\n")
    assert [w.rule for w in result.warnings] == ["StageNameCasing"]
    assert str(result.failure) == "dockerfile parse error on line 2: unknown instruction: NONSENSE"


def test_only_what_the_target_needs_is_judged() -> None:
    text = "FROM scratch AS a\nCOPY $x /\nFROM scratch AS b\nCOPY $y /\nFROM a\nCOPY --from=b / /\n"
    assert [w.location for w in run(text).warnings] == [SourceRange(2, 2), SourceRange(4, 4)]
    assert [w.location for w in run(text, target="B").warnings] == [SourceRange(4, 4)]
    assert run(text, target="nope").warnings == ()


def test_variables_of_base_images_are_known() -> None:
    text = "FROM img AS a\nCOPY $KNOWN /\n"
    assert run(text).warnings != ()
    assert run(text, environments={0: {"KNOWN": "1"}}).warnings == ()
    assert run(text, environments={0: {}}).warnings != ()
    assert run(text, environments={}).warnings == ()  # the base was not found: nothing is known of it


def test_without_a_target_all_stages_can_be_judged() -> None:
    text = "FROM scratch AS a\nCOPY $x /\nFROM scratch AS b\nCOPY $y /\n"
    assert [w.location for w in run(text, everything=True).warnings] == [SourceRange(2, 2), SourceRange(4, 4)]
    assert [w.location for w in run(text, everything=True, target="a").warnings] == [SourceRange(2, 2)]


def test_a_named_context_is_no_stage() -> None:
    text = "FROM scratch AS a\nARG x=1\nFROM a\nCOPY $x /\n"
    assert run(text).warnings == ()
    assert [w.rule for w in run(text, is_context=lambda name: name == "a").warnings] == ["UndefinedVar"]


def test_base_platform() -> None:
    amd, arm = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
    where = SourceRange(2, 2)
    assert check_base_platform("img", amd, amd, where) is None
    found = check_base_platform("img", amd, arm, where)
    assert found is not None
    assert (
        found.message
        == 'Base image img was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    )
    assert (found.rule, found.location) == ("InvalidBaseImagePlatform", where)


@pytest.mark.parametrize("text", ["FROM scratch\nENV a0=xxxxxxxx\n{}", "ARG a0=xxxxxxxx\n{}FROM scratch\n"])
def test_a_short_file_does_not_come_to_much(text: str) -> None:
    word = "ENV" if "ENV" in text else "ARG"
    lines = "".join(f"{word} a{n + 1}=$a{n}$a{n}\n" for n in range(40))
    assert "come to more than 16 MiB" in str(run(text.format(lines)).failure)
