"""Small facts: history texts, ports, signals, chmod, durations, working directories, excerpts."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.chmod import parse_chmod
from boxwright.build.dockerfile.construct import parse_instruction
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, render_excerpt
from boxwright.build.dockerfile.history import created_by
from boxwright.build.dockerfile.paths import clean_path, normalize_workdir
from boxwright.build.dockerfile.ports import parse_port
from boxwright.build.dockerfile.signals import check_signal
from boxwright.build.dockerfile.substitute import expand_instruction
from boxwright.build.dockerfile.text import suggestion
from boxwright.spec.text import go_quote
from boxwright.spec.times import format_duration, parse_duration
from support import vectors

FACTS: dict[str, Any] = vectors("history-and-small-facts.json")


@pytest.mark.parametrize("case", FACTS["history"], ids=lambda case: case["line"])
def test_history(case: dict[str, Any]) -> None:
    step = expand_instruction(parse_instruction(case["line"]), lambda name: None)
    declared = [
        (value.key, value.default or "")
        for line in case.get("before", ())
        for arg in [parse_instruction(line)]
        if isinstance(arg, ins.Arg)
        for value in arg.args
    ]
    assert created_by(step, build_args=declared) == case["created_by"]


@pytest.mark.parametrize("case", FACTS["normalize_workdir"], ids=str)
def test_workdir(case: dict[str, str]) -> None:
    assert normalize_workdir(case["current"], case["workdir"]) == case["result"]


@pytest.mark.parametrize("case", FACTS["chmod_errors"], ids=lambda case: case["mode"])
def test_chmod_refused(case: dict[str, str]) -> None:
    with pytest.raises(DockerfileError, match="invalid chmod parameter"):
        parse_chmod(case["mode"])


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("755", 0o644, False, 0o755),
        ("04755", 0, False, 0o4755),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("g=u", 0o740, False, 0o770),
        ("go=u-w", 0o755, False, 0o755),
        ("o=", 0o777, False, 0o770),
        ("=rw,+X", 0o111, False, 0o777),
        ("u+s", 0o755, False, 0o4755),
        ("g+s", 0o755, False, 0o2755),
        ("o+s", 0o755, False, 0o755),
        ("+t", 0o777, True, 0o1777),
        ("u+rwx,g-w+x,o=r", 0o020, False, 0o714),
        ("u-x,a+X", 0o700, False, 0o711),  # X goes by what the mode was
    ],
)
def test_chmod(text: str, before: int, directory: bool, after: int) -> None:
    assert oct(parse_chmod(text).apply(before, directory=directory)) == oct(after)


@pytest.mark.parametrize("case", vectors("expose-ports.json")["cases"], ids=lambda case: case["input"])
def test_ports(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(DockerfileError) as caught:
            parse_port(case["input"])
        assert caught.value.reason == case["error"]
    else:
        assert list(parse_port(case["input"]).ports) == case["expected"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("x", "invalid containerPort: x"),
        ("80/x", 'invalid port: "80/x": invalid proto: x'),
        ("9-8", "invalid containerPort: 9-8"),
        ("70000", "invalid containerPort: 70000"),
    ],
)
def test_ports_refused(word: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_port(word)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("9", 9),
        ("sigkill", 9),
        ("RTMIN+3", 37),
        ("SIGRTMAX-1", 63),
        ("RTMIN", 34),
        ("SIGWINCH", 28),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert check_signal(text) == number


@pytest.mark.parametrize("text", ["FOO", "0", "", "SIG", "RTMIN-1", "RTMAX+1", "RTMIN+31"])
def test_signals_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match=f"invalid signal: {text}".replace("+", r"\+")):
        check_signal(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1h2m3.5s", 3723_500_000_000),
        ("100ms", 10**8),
        ("0", 0),
        ("-1s", -(10**9)),
        ("1.5us", 1500),
        (".5s", 5 * 10**8),
        ("1µs", 1000),
    ],
)
def test_durations(text: str, value: int) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (10**8, "100ms"),
        (10**9, "1s"),
        (90 * 10**9, "1m30s"),
        (300 * 10**9, "5m0s"),
        (3600 * 10**9, "1h0m0s"),
        (5_400_500_000_000, "1h30m0.5s"),
    ],
)
def test_durations_shown(value: int, text: str) -> None:
    assert format_duration(value) == text
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("path", "clean"),
    [("", "."), ("//a//b/", "/a/b"), ("/../a", "/a"), ("../a", "../a"), ("a/./b/..", "a"), ("//", "/")],
)
def test_clean_path(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_quoting() -> None:
    assert go_quote('a"\n\x01\udcffé\u200b') == '"a\\"\\n\\x01\\xffé\\u200b"'


def test_suggestions() -> None:
    assert suggestion("bulid", ["build", "base"]) == "build"
    assert suggestion("BULID", ["build"]) == "BUILD"
    assert suggestion("build", ["build", "builds"]) == ""
    assert suggestion("xyz", ["build"]) == ""


FILE = "FROM alpine\nENV foo=bar\nRUN false\nENV bar=baz"


def test_excerpt_of_one_line() -> None:
    assert render_excerpt("Dockerfile", FILE, [SourceRange(3, 3)]) == (
        "Dockerfile:3\n--------------------\n   1 |     FROM alpine\n   2 |     ENV foo=bar\n   3 | >>> RUN false\n"
        "   4 |     ENV bar=baz\n--------------------\n"
    )


def test_excerpt_of_several_lines() -> None:
    found = render_excerpt("d/x", "\n".join("abcdefgh"), [SourceRange(4, 5)])
    assert [line.split("|")[0].strip() for line in found.splitlines()[2:-1]] == ["3", "4", "5", "6"]


def test_excerpt_of_several_ranges() -> None:
    found = render_excerpt("x", "\n".join("abcdefgh"), [SourceRange(5, 5), SourceRange(3, 3)])
    assert found.startswith("x:3\n")
    assert [line[7:10] for line in found.splitlines()[2:-1]] == ["   ", ">>>", "   ", ">>>", "   "]


def test_a_line_of_megabytes_is_shown_by_its_beginning() -> None:
    long = "RUN " + "x" * 1_000_000
    shown = render_excerpt("Dockerfile", f"FROM scratch\n{long}\n", [SourceRange(2, 2)])
    assert f"   2 | >>> {long[:4096]}… (1000004 characters)\n" in shown
    assert len(shown) < 5000


def test_excerpt_outside_the_file() -> None:
    assert render_excerpt("x", "a", [SourceRange(9, 9)]) == ""
    assert render_excerpt("x", "a", []) == ""
