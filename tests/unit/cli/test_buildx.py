"""buildx's commands on builders: names are remembered, what CI scripts begin with runs, what cannot be had is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.cli.main import main
from boxwright.image.builders import Builders, NamedBuilder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("BUILDX_BUILDER", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_text("x")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /\n")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_what_ci_begins_with(run: Run) -> None:
    name = "builder-2b1e5a"
    flags = "--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host"
    assert run("buildx", "version")[1].split()[1].startswith("v0.")
    code, out, err = run(
        "buildx",
        "create",
        "--name",
        name,
        "--driver",
        "docker-container",
        "--buildkitd-flags",
        flags,
        "--use",
    )
    assert (code, out) == (0, f"{name}\n") and "--buildkitd-flags has no effect" in err
    code, out, _ = run("buildx", "inspect", "--bootstrap", "--builder", name)
    lines = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
    assert code == 0 and lines["Status"].strip() == "running" and "linux/" in lines["Platforms"]
    assert lines["Driver"].strip() == "docker-container" and lines["BuildKit daemon flags"].strip() == flags
    assert run("buildx", "build", "--builder", name, "-t", "app", ".")[0] == 0
    code, out, _ = run("buildx", "du")
    assert code == 0 and out.startswith("ID") and "Total:" in out
    code, out, _ = run("buildx", "ls")
    assert f"{name}*" in out and "default" in out and f"\\_ {name}0" in out
    assert run("buildx", "rm", name)[0] == 0
    assert name not in run("buildx", "ls")[1]


def test_names_of_the_builder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("buildx", "create", "--name", "one")[0] == 0
    assert run("buildx", "create", "--name", "one")[0] == 1
    assert (
        run(
            "buildx",
            "create",
            "--name",
            "one",
            "--append",
            "--node",
            "two",
            "--platform",
            "linux/arm64,linux/s390x",
        )[0]
        == 0
    )
    shown = [json.loads(line) for line in run("buildx", "ls", "--format", "json")[1].splitlines()]
    assert [(b["Name"], b["Current"], len(b["Nodes"])) for b in shown] == [
        ("default", True, 1),
        ("one", False, 2),
    ]
    assert run("buildx", "use", "one") == (0, "", "")
    assert run("buildx", "inspect")[1].startswith("Name:          one\n")
    assert "linux/arm64, linux/s390x" in run("buildx", "inspect")[1]
    assert run("buildx", "create", "--name", "one", "--leave", "--node", "two")[0] == 0
    assert run("buildx", "use", "nobody")[0] == 1
    for words in (
        ("build", "--builder", "nobody", "."),
        ("bake", "--builder", "nobody"),
        ("buildx", "du", "--builder", "nobody"),
        ("builder", "prune", "-f", "--builder", "nobody"),
        ("builds", "ls", "--builder", "nobody"),
        ("buildx", "history", "rm", "--all", "--builder", "nobody"),
        ("imagetools", "inspect", "--builder", "nobody", "app"),
        ("imagetools", "create", "--builder", "nobody", "-t", "app", "b"),
        ("buildx", "inspect", "--builder", "nobody"),
        ("buildx", "stop", "--builder", "nobody"),
    ):
        code, _, err = run(*words)
        assert code == 1 and 'no builder "nobody" found' in err, words
    monkeypatch.setenv("BUILDX_BUILDER", "nobody")
    for words in (("build", "."), ("builder", "prune", "-f"), ("buildx", "history", "ls")):
        code, _, err = run(*words)
        assert code == 1 and 'no builder "nobody" found' in err, words
    assert run("images")[0] == 0
    monkeypatch.delenv("BUILDX_BUILDER")
    code, _, err = run("buildx", "rm", "one", "default", "nobody")
    assert code == 1 and err == (
        "one removed\nfailed to remove default: context builder cannot be removed\n"
        'failed to remove nobody: no builder "nobody" found\nERROR: failed to remove one or more builders\n'
    )
    assert run("buildx", "inspect")[1].startswith("Name:   default\n")
    assert run("buildx", "stop")[0] == 0 and run("buildx", "rm", "--all-inactive", "-f")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "--driver", "kubernetes"), "builds on other machines"),
        (("create", "--driver", "remote", "tcp://h:1"), "another machine"),
        (("create", "--driver", "remote"), "builds on other machines"),
        (("create", "--driver", "other"), 'failed to find driver "other"'),
        (("create", "--name", "../x"), "invalid builder name"),
        (("create", "--append"), "append requires a builder name"),
        (("create", "--name", "default"), "existing instance"),
        (("dial-stdio",), "there is no BuildKit daemon"),
        (("dap", "build"), "no debugger"),
        (("debug", "build", "."), "no debugger"),
        (("policy", "eval", "x"), "Rego"),
        (("du", "--format=json", "--verbose"), "cannot be used together"),
    ],
)
def test_what_cannot_be_had(run: Run, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("buildx", *words)
    assert code == 1 and out == "" and said in err


def test_files_that_are_no_builders(tmp_path: Path) -> None:
    builders = Builders(tmp_path)
    builders.create(NamedBuilder(name="good"))
    for name, data in (
        ("bad.json", b"{"),
        ("list.json", b"[]"),
        ("e\x1bvil.json", b"{}"),
        ("current", b"gone"),
    ):
        (tmp_path / "builders" / name).write_bytes(data)
    assert [one.name for one in builders.list()] == ["default", "good"]
    assert builders.current == "default"


def test_du_and_prune(run: Run, tmp_path: Path) -> None:
    for size in (1000, 2000, 3000):
        (tmp_path / "f").write_text("x" * size)
        assert run("build", "--output=type=cacheonly", ".")[0] == 0
    rows = [json.loads(line) for line in run("buildx", "du", "--format", "json")[1].splitlines()]
    assert {"ID", "Size", "Reclaimable", "LastUsedAt", "Type", "Mutable"} <= set(rows[0])
    assert "Reclaimable:  true" in run("buildx", "du", "--verbose")[1]
    assert run("buildx", "prune", "-f", "--max-used-space", "1gb")[1] == "Total:\t0B\n"
    before = len(rows)
    assert run("buildx", "prune", "-f", "--max-used-space", "5500", "--verbose")[0] == 0
    left = run("buildx", "du", "--format", "json")[1].splitlines()
    assert 0 < len(left) < before
    assert run("buildx", "prune", "-f", "--min-free-space", "1")[0] == 0
    assert len(run("buildx", "du", "--format", "json")[1].splitlines()) == len(left)
    assert run("buildx", "prune", "-af")[0] == 0
    assert run("buildx", "du", "--format", "json")[1] == ""


@pytest.mark.parametrize("word", ["install", "uninstall"])
def test_build_is_buildx_already(run: Run, tmp_path: Path, word: str) -> None:
    """Not a word, as from buildx, and Docker's configuration stays as it is."""
    assert run("--config", str(tmp_path / "docker"), "buildx", word) == (0, "", "")
    assert not (tmp_path / "docker").exists()
    assert run("buildx", word, "more")[0] == 1 and word not in run("buildx", "--help")[1]
