"""What Tab offers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from boxwright.cli import complete as completion
from boxwright.cli.commands import COMMANDS
from boxwright.cli.complete import _stored, candidates
from boxwright.cli.completion import _BASH, _FISH, _ZSH
from boxwright.cli.flags import SUPPRESS, Parser
from boxwright.container.records import State, save_state
from boxwright.content.db import Database


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("boxwright.cli.trial")

    def run_args(p: Parser) -> None:
        p.add_argument("image")
        p.add_argument("command", nargs="...")
        p.add_argument("-a", "--all", action="store_true", help="Everything\nand more")
        p.add_argument("-n", "--network")
        p.add_argument("--pull", choices=("always", "missing"))
        p.add_argument("--env-file", metavar="file")
        p.add_argument("--target")
        p.add_argument("-f", "--file")
        p.add_argument("--hidden", help=SUPPRESS)

    def tag_args(p: Parser) -> None:
        p.add_argument("source", metavar="SOURCE_IMAGE[:TAG]")
        p.add_argument("target", metavar="TARGET_IMAGE[:TAG]")

    def rm_args(p: Parser) -> None:
        p.add_argument("containers", nargs="+", metavar="CONTAINER")

    for name, declare in (("run", run_args), ("tag", tag_args), ("rm", rm_args)):
        setattr(module, f"{name}_args", declare)
        setattr(module, name, None)
        monkeypatch.setitem(COMMANDS, name, ("boxwright.cli.trial", name, f"Do {name}"))
    monkeypatch.setitem(sys.modules, "boxwright.cli.trial", module)
    monkeypatch.setattr(completion, "available", lambda: COMMANDS)
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stored(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    db = Database(tmp_path / "root/boxwright.db")
    with db.write() as w:
        w.execute("INSERT INTO images VALUES ('sha256:t','m',1,'i','m','linux/amd64','',1,'{}','',0,0)")
        for name in (
            "docker.io/library/busybox:latest",
            "example.com:5000/team/app:1",
            "docker.io/library/busybox@sha256:" + "0" * 64,
        ):
            w.execute("INSERT INTO names VALUES (?, 'sha256:t', 0)", (name,))
        for name in ("web", "db"):
            w.execute("INSERT INTO containers VALUES (?, ?, 'sha256:t', '', 0, '{}')", (name * 3, name))
        w.execute("INSERT INTO volumes VALUES ('data', 0, 0, '{}')")
        w.execute("INSERT INTO networks VALUES ('front', 'n1', '{}')")
    db.close()


def offered(*words: str) -> list[str]:
    return [line.split("\t")[0] for line in candidates(list(words[:-1]), words[-1])]


def test_commands() -> None:
    assert offered("ima") == ["image", "images", "imagetools"]
    assert "ls" in offered("image", "") and "list" not in offered("image", "")
    assert offered("completion", "z") == ["zsh"]
    assert offered("buildx", "imagetools", "c") == ["create"]
    assert offered("nonsense", "x") == []
    assert next(iter(candidates([], "tag"))).startswith("tag\t")


def test_global_options() -> None:
    assert offered("--ro") == ["--root"]
    assert offered("--root", "") == [":dir"]
    assert offered("-l", "de") == ["debug"]
    assert offered("--log-level=de") == ["--log-level=debug"]
    assert offered("--root", "/x", "completion", "b") == ["bash"]


def test_options() -> None:
    assert offered("run", "--a") == ["--all"]
    assert "--hidden" not in offered("run", "--") and "--help" in offered("run", "--")
    assert list(candidates(["run"], "--all")) == ["--all\tEverything"]
    assert offered("run", "--pull", "m") == ["missing"]
    assert offered("run", "--pull=a") == ["--pull=always"]
    assert offered("run", "--env-file", "x") == [":file"]


def test_names(stored: None) -> None:
    assert offered("run", "") == ["busybox:latest", "example.com:5000/team/app:1"]
    assert offered("run", "--all", "ex") == ["example.com:5000/team/app:1"]
    assert offered("run", "busybox", "") == [":file"]
    assert offered("run", "busybox", "--") == [":file"]
    assert offered("tag", "busybox:latest", "b") == []  # offered no second time
    assert offered("rm", "web", "") == ["db"]
    assert offered("run", "--network", "") == ["bridge", "front", "host", "none"]
    assert offered("run", "-n", "f") == ["front"]
    assert offered("run", "-an", "f") == ["front"]


def test_what_runs_and_what_does_not(stored: None, tmp_path: Path) -> None:
    directory = tmp_path / "root/containers/webwebweb"
    directory.mkdir(parents=True)
    save_state(directory, State(status="running", pid=1))
    assert (_stored("running", None), _stored("stopped", None), _stored("container", None)) == (
        ["web"],
        ["db"],
        ["db", "web"],
    )


def test_stages(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox AS base\nFROM base\nfrom base as final\n")
    (tmp_path / "other").write_text("FROM busybox AS else\n")
    assert offered("run", "--target", "") == ["base", "final"]
    assert offered("run", "-f", "other", "--target", "") == ["else"]


def test_no_store_is_made_and_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offered("run", "") == []
    assert not (tmp_path / "root").exists()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/boxwright.db").write_text("this is no database" * 100)
    assert completion.complete(["run", ""]) == 0
    assert completion.complete(["run", "--target", ""]) == 1  # no Dockerfile here
    assert completion.complete([]) == 0
    assert capsys.readouterr().err == ""


FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>asked
case "$*" in
  *file*) echo ":file" ;;
  *) printf 'busybox:latest\\tAn image\\nbusybox:1\\nexample.com:5000/app\\n' ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/boxwright"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (tmp_path / "some-file").write_text("")
    return tmp_path


def sh(shell: str, script: str, cwd: Path) -> str:
    path = shutil.which(shell, path="/usr/bin:/bin:/usr/local/bin")
    if path is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([path, "-c", script], capture_output=True, text=True, cwd=cwd, timeout=30)
    assert done.stderr == ""
    return done.stdout


def bash(line: str, cwd: Path) -> list[str]:
    script = f'{_BASH}\nCOMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}; COMP_POINT=${{#COMP_LINE}}; _boxwright; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return sh("bash", script, cwd).split()


def test_bash(fake: Path) -> None:
    assert bash("boxwright run busy", fake) == ["busybox:latest", "busybox:1", "example.com:5000/app"]
    # Bash has broken the word at its colons; only what follows the last one is replaced.
    assert bash("boxwright run busybox:", fake)[:2] == ["latest", "1"]
    assert bash("docker run ", fake)[0] == "busybox:latest"
    assert bash("boxwright file some", fake) == ["some-file"]
    assert (fake / "asked").read_text().splitlines()[2] == "__complete run "


def test_bash_looks_through_the_alias(fake: Path) -> None:
    assert (
        sh("bash", f"alias docker=boxwright\n{_BASH}\ncomplete -p docker", fake)
        == "complete -F _boxwright docker\n"
    )


def test_fish(fake: Path) -> None:
    out = sh("fish", f"{_FISH}\ncomplete -C 'boxwright run busy'; complete -C 'boxwright file some'", fake)
    assert "busybox:latest\tAn image" in out.splitlines() and "some-file" in out


def test_zsh_accepts_the_script(fake: Path) -> None:
    (fake / "_boxwright").write_text(_ZSH)
    sh("zsh", f"zsh -n {fake}/_boxwright", fake)
