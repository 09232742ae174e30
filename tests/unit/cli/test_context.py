"""Where output goes, what colour it has, what is asked; and what was perhaps meant."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from boxwright.cli.context import Context
from boxwright.spec.suggest import closest, distance


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], terminal: bool, coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert Context().color is coloured
    ctx = Context()
    assert ctx.shown(ctx.paint("x", "red")) == ("\x1b[31mx\x1b[0m" if coloured else "x")


def test_data_and_words_for_people_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    ctx = Context()
    ctx.out("data")
    ctx.err("progress")
    ctx.warn("careful")
    captured = capsys.readouterr()
    assert captured.out == "data\n"
    assert captured.err == "progress\nWARNING: careful\n"


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ("y\n", True),
        ("Y\n", True),
        ("yes\n", True),
        ("n\n", False),
        ("\n", False),
        ("", False),
        ("nay, y\n", False),
    ],
)
def test_confirm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, agreed: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert Context().confirm("WARNING! This will remove all stopped containers.") is agreed
    assert (
        capsys.readouterr().err
        == "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
    )


def test_confirm_without_any_input_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert Context().confirm("WARNING!") is False
    assert Context().stdin_is_tty is False


def test_settings_follow_the_global_options(tmp_path: Path) -> None:
    ctx = Context(root=str(tmp_path / "r"), docker_config=str(tmp_path / "c"))
    assert ctx.settings.root == tmp_path / "r" and ctx.settings.docker_config == tmp_path / "c"
    assert ctx.engine.root == tmp_path / "r"
    assert not (tmp_path / "r").exists()  # nothing is made until something is asked of the store


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "123")
    assert Context().width == 123
    monkeypatch.setenv("COLUMNS", "wide")
    assert Context().width > 0


def test_distance() -> None:
    assert [
        distance(a, b)
        for a, b in (("", ""), ("a", ""), ("images", "imgaes"), ("rmi", "rm"), ("push", "pull"))
    ] == [0, 1, 1, 1, 2]
    assert closest("imgaes", ["image", "images", "inspect"]) == ["images", "image"]
    assert closest("xyz", ["image"]) == []
    assert closest("hist", ["history", "images"]) == ["history"]


HOSTILE = "\x1b[31m\x1b[0ma\x1b]0;title\x07b\x1b[2J\rc\x9b1md\u202ee\udc9bf\x7f\n\tg 日本\u3000é👩\u200d🔧"
HARMLESS = "\\x1b[31m\\x1b[0ma\\x1b]0;title\\x07b\\x1b[2J\\x0dc\\u009b1md\\u202ee\\x9bf\\u007f\n\tg 日本\u3000é👩\u200d🔧"


def test_a_terminal_obeys_no_text_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    ctx = Context()
    ctx.out(HOSTILE)
    assert out.getvalue() == HARMLESS + "\n"
    ctx.err(f"{ctx.paint('Error', 'red')}: {HOSTILE}")
    assert err.getvalue() == f"\x1b[31mError\x1b[0m: {HARMLESS}\n"


def test_a_pipe_gets_data_as_it_is_and_words_for_people_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    ctx = Context()
    ctx.out(HOSTILE)
    ctx.err("\x1b[31m" + HOSTILE)
    ctx.relay("\x1b[31mthe program's own")
    assert out.getvalue() == HOSTILE + "\n"
    assert err.getvalue() == f"\\x1b[31m{HARMLESS}\n\x1b[31mthe program's own\n"


def test_json_on_a_terminal_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from boxwright.gotemplate.functions import to_json

    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    value = {"Label": "a\x1b[2J\x9b\x7f\u202e\n"}
    Context().out(to_json(value))
    assert json.loads(out.getvalue()) == value
    assert out.getvalue().isprintable() or out.getvalue()[:-1].isprintable()
