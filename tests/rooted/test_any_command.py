"""Whatever is typed, the answer is a result or one sentence: no internal error, no traceback, and the store stays whole."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from pathlib import Path

import pytest

from boxwright.cli.commands import COMMANDS
from boxwright.cli.main import main
from boxwright.cli.parsers import load
from support import REAL_ROOT
from support.docs import Desk

pytestmark = pytest.mark.rooted

# Those that end by themselves and reach nothing but the store.
NAMES = """images history inspect tag rmi ps logs diff port top rename rm stop kill pause unpause update save load import create
commit export cp info version|image inspect|image prune|container inspect|container prune|volume ls|volume create|volume inspect
volume rm|volume prune|network ls|network inspect|network create|network rm|network prune|system df|system prune|system fsck
builder prune|buildx du|manifest inspect|manifest rm""".replace("\n", "|").split("|")
VALUES = [
    "",
    "0",
    "-1",
    "99999999999999999999",
    "1.5",
    "64m",
    "nan",
    "1e999",
    "a=b",
    "=b",
    "8080:80",
    "99999",
    "type=bind,src=/,dst=/x",
    "type=",
    ":",
    "::",
    "on-failure:3",
    "nofile=1:2",
    "linux/arm64",
]
VALUES += [
    "a/b/c/d/e",
    "1h30m",
    "-5s",
    "é",
    "\udcff",
    "{{",
    "{{.ID}}",
    "{{json .}}",
    "table {{.ID}}",
    "json",
    "\n",
    "\x1b[31m",
    "x" * 300,
    "../..",
    "a/../b",
    "[",
    "-",
    "/etc/hosts",
    "/nonexistent",
    "c1:/etc",
]
VALUES += [
    "base",
    "base:latest",
    "nosuch",
    "c1",
    "v1",
    "bridge",
    "sha256:",
    "sha256:" + "0" * 64,
    "base@sha256:" + "0" * 64,
    "label=x",
    "until=24h",
    "dangling=true",
    "reference=*",
]


def line(dice: random.Random, names: list[str]) -> list[str]:
    name = dice.choice(names)
    parser, _ = load(name)
    words = name.split()
    for _ in range(dice.randrange(5)):
        if parser.options and dice.random() < 0.5:
            option = dice.choice(parser.options)
            words += (
                [dice.choice(option.names)]
                if option.boolean
                else [dice.choice(option.names), dice.choice(VALUES)]
            )
        else:
            words.append(dice.choice(VALUES))
    return words


@pytest.mark.parametrize("seed", range(4))
def test_any_command(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL_ROOT:
        pytest.skip("needs root: creates containers")
    if not Path("/bin/busybox").exists():
        pytest.skip("needs busybox-static")
    desk = Desk(tmp_path)
    monkeypatch.setenv("BOXWRIGHT_ROOT", desk.environ["BOXWRIGHT_ROOT"])
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(desk.cwd)
    names = [
        name
        for group in NAMES
        for name in ([group] if group in COMMANDS else group.split())
        if name in COMMANDS
    ]
    dice, wrong = random.Random(seed), []
    try:
        out, code = desk.type(
            "mkdir -p r/bin && cp /bin/busybox r/bin/sh && tar -C r -c . | boxwright import -c 'CMD [\"sh\"]' - base && boxwright create --name c1 base && boxwright volume create v1"
        )
        assert code == 0, out
        for _ in range(60):
            words = line(dice, names)
            told = io.StringIO()
            with (
                open(os.devnull) as nothing,
                contextlib.redirect_stderr(told),
                contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
            ):
                monkeypatch.setattr(sys, "stdin", nothing)
                code = main(words)
            if code not in (0, 1, 125) or "Traceback" in told.getvalue():
                wrong.append(f"{words}: {code}\n{told.getvalue()}")
        assert desk.type("boxwright system fsck")[1] == 0
    finally:
        desk.close()
    assert not wrong, "\n".join(wrong)
