"""The border: which command, how failures are told, which exit code."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from boxwright.cli import commands, main
from boxwright.cli.commands import COMMANDS, GROUPS
from boxwright.cli.flags import Parser
from boxwright.errors import Cancelled, NotFound


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command `try` (also `run`) whose behaviour a test sets."""
    module = ModuleType("boxwright.cli.trial")
    behaviour = SimpleNamespace(act=lambda ctx, args: 0)

    def trial_args(p: Parser) -> None:
        p.add_argument("name", nargs="?")
        p.add_argument("-a", "--all", action="store_true", help="Everything")

    module.trial_args = trial_args  # type: ignore[attr-defined]
    module.trial = lambda ctx, args: behaviour.act(ctx, args)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boxwright.cli.trial", module)
    for name in ("try", "run", "image try"):
        monkeypatch.setitem(COMMANDS, name, ("boxwright.cli.trial", "trial", "Try something"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("BOXWRIGHT_DEBUG", raising=False)
    return behaviour


def test_a_command_runs(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command.act = lambda ctx, args: ctx.out(f"{ctx.prog} {args.name} {args.all}") or 3
    assert main.main(["image", "try", "-a", "x"]) == 3
    assert capsys.readouterr().out == "boxwright image try x True\n"


def test_global_options_stand_before_the_command(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command.act = lambda ctx, args: ctx.out(f"{ctx.settings.root} {ctx.settings.docker_config} {ctx.debug}")
    assert main.main(["--root", "/r", "--config=/c", "-D", "-l", "warn", "try"]) == 0
    assert capsys.readouterr().out == "/r /c True\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from boxwright import __version__

    for flag in ("-v", "--version"):
        assert main.main([flag]) == 0
        assert capsys.readouterr().out == f"Boxwright version {__version__}\n"


def test_help(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"], ["help"]):
        assert main.main(argv) == 0
        out, err = capsys.readouterr()
        text = out if argv else err  # as docker: the user did not ask for help
        assert "" in (out, err)
        assert text.startswith("Usage:  boxwright [OPTIONS] COMMAND\n") and "\nGlobal Options:\n" in text
    for argv in (["image"], ["image", "--help"], ["help", "image"]):
        assert main.main(argv) == 0
        out, err = capsys.readouterr()
        assert (out if argv[1:] else err).startswith("Usage:  boxwright image COMMAND\n\nManage images\n")
    for argv in (["try", "--help"], ["help", "try"], ["--root", "/x", "try", "-h"]):
        assert main.main(argv) == 0
        assert capsys.readouterr().out.startswith("Usage:  boxwright try [OPTIONS] [NAME]\n\nTry something\n")


@pytest.mark.parametrize(
    ("argv", "lines", "code"),
    [
        (
            ["imges"],
            [
                "boxwright: unknown command: boxwright imges",
                "Hint: did you mean 'boxwright images'?",
                "",
                "Run 'boxwright --help' for more information",
            ],
            1,
        ),
        (
            ["xyzzyxyzzy"],
            [
                "boxwright: unknown command: boxwright xyzzyxyzzy",
                "",
                "Run 'boxwright --help' for more information",
            ],
            1,
        ),
        (
            ["image", "hstory"],
            [
                "boxwright: unknown command: boxwright image hstory",
                "Hint: did you mean 'boxwright image history'?",
                "",
                "Run 'boxwright image --help' for more information",
            ],
            1,
        ),
        (
            ["try", "--foo"],
            [
                "unknown flag: --foo",
                "",
                "Usage:  boxwright try [OPTIONS] [NAME]",
                "",
                "Run 'boxwright try --help' for more information",
            ],
            125,
        ),
        (
            ["--foo", "try"],
            [
                "unknown flag: --foo",
                "",
                "Usage:  boxwright [OPTIONS] COMMAND",
                "",
                "Run 'boxwright --help' for more information",
            ],
            125,
        ),
        (
            ["-x"],
            [
                "unknown shorthand flag: 'x' in -x",
                "",
                "Usage:  boxwright [OPTIONS] COMMAND",
                "",
                "Run 'boxwright --help' for more information",
            ],
            125,
        ),
        (
            ["image", "-x"],
            [
                "unknown shorthand flag: 'x' in -x",
                "",
                "Usage:  boxwright image COMMAND",
                "",
                "Run 'boxwright image --help' for more information",
            ],
            125,
        ),
        (
            ["try", "a", "b"],
            [
                "boxwright: 'boxwright try' requires at most 1 argument",
                "",
                "Usage:  boxwright try [OPTIONS] [NAME]",
                "",
                "Run 'boxwright try --help' for more information",
            ],
            1,
        ),
        (
            ["try", "--root", "/x"],
            [
                "unknown flag: --root",
                "Hint: --root stands before the command: boxwright --root … try",
                "",
                "Usage:  boxwright try [OPTIONS] [NAME]",
                "",
                "Run 'boxwright try --help' for more information",
            ],
            125,
        ),
    ],
)
def test_usage_errors(
    command: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    lines: list[str],
    code: int,
) -> None:
    monkeypatch.setattr(commands, "available", lambda: COMMANDS)
    assert main.main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == lines


def fail(error: BaseException) -> Any:
    def act(ctx: Any, args: Any) -> int:
        raise error

    return act


class Located(NotFound):
    def render(self) -> str:
        return "Dockerfile:1\n--------------------\n   1 | >>> FROM\n--------------------\n"


@pytest.mark.parametrize(
    ("error", "lines", "code"),
    [
        (NotFound("No such image: x"), ["Error: No such image: x"], 1),
        (NotFound("No such image: x", hint="pull it"), ["Error: No such image: x", "Hint: pull it"], 1),
        (NotFound("a\x1b[31mb\rc"), ["Error: a\\x1b[31mb\\x0dc"], 1),
        (
            Located("no base"),
            [
                "Dockerfile:1",
                "--------------------",
                "   1 | >>> FROM",
                "--------------------",
                "Error: no base",
            ],
            1,
        ),
        (Cancelled("interrupted"), ["Error: interrupted"], 130),
        (KeyboardInterrupt(), [], 130),
        (BrokenPipeError(), [], 141),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            [
                "Error: /x/y: no space left on the disk",
                "Hint: `boxwright system df` shows what is used, `boxwright system prune` frees what is not",
            ],
            1,
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            [
                "Error: /x: permission denied",
                "Hint: run as a user who may do this, or choose a store of your own with --root",
            ],
            1,
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"),
            ["Error: /x: no such file or directory"],
            1,
        ),
        (
            OSError(errno.ELOOP, "Too many levels of symbolic links", "/x"),
            ["Error: /x: Too many levels of symbolic links"],
            1,
        ),
        (MemoryError(), ["Error: out of memory"], 1),
        (
            ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp.web"),
            [
                "Error: this needs the Python package aiohttp",
                "Hint: pip install '.[registry]' in Boxwright's sources (it is not on PyPI yet)",
            ],
            1,
        ),
        (
            UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"),
            ["Error: 'a\\udcff' is not valid UTF-8"],
            1,
        ),
        (
            KeyError("x"),
            [
                "Error: internal error: KeyError: 'x'",
                "Hint: this is a bug in Boxwright; run it again with BOXWRIGHT_DEBUG=1 to see where it happened",
            ],
            70,
        ),
    ],
)
def test_failures(
    command: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    lines: list[str],
    code: int,
) -> None:
    monkeypatch.setattr(main, "_silence", lambda: None)
    command.act = fail(error)
    assert main.main(["try"]) == code
    assert capsys.readouterr().err.splitlines() == lines


def test_runs_own_failures_are_125(command: Any) -> None:
    command.act = fail(NotFound("no such image"))
    assert main.main(["run", "x"]) == 125
    command.act = fail(Cancelled("stopped"))
    assert main.main(["run", "x"]) == 130


def test_debug_shows_the_traceback(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command.act = fail(KeyError("x"))
    assert main.main(["-D", "try"]) == 70
    text = capsys.readouterr().err
    assert "Traceback" in text and "run it again" not in text


def test_every_group_has_a_summary_and_every_alias_one_command() -> None:
    for name in COMMANDS:
        group = name.rpartition(" ")[0]
        assert not group or group in GROUPS or group in COMMANDS, name
    for group in GROUPS:
        assert any(name.startswith(group + " ") for name in COMMANDS), group


def test_stats_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The header, at once, and a sentence instead of an empty screen."""
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("nothing to wait for"))
    assert main.main(["stats", "--no-stream"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("CONTAINER ID") and out.count("\n") == 1
    assert err == "no container runs; --all shows the others\n"
