"""Definitions in repositories, in archives and at URLs: what they read, and what stays the caller's."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.bake.allow import PrivilegesWanted
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.files import DefinitionMissing
from boxwright.bake.remote import FolderMissing
from boxwright.cli.main import main
from boxwright.errors import BoxwrightError
from support.gitserver import git, publish, serving
from support.peers import needs

pytestmark = needs("git")

DEFINITION = """
group "default" { targets = ["top", "part", "named", "caller"] }
target "top" {
  dockerfile-inline = "FROM scratch\\nCOPY f /\\n"
  output = ["out/top"]
}
target "part" {
  context = "sub"
  output = ["out/part"]
}
target "named" {
  contexts = { s = "sub", all = "." }
  dockerfile-inline = "FROM scratch\\nCOPY --from=s f /s\\nCOPY --from=all f /all\\n"
  output = ["out/named"]
}
target "caller" {
  context = BAKE_CMD_CONTEXT
  dockerfile = "cwd://Local"
  output = ["out/caller"]
}
target "both" {
  dockerfile = "cwd://Local"
  output = ["out/both"]
}
target "link" { context = "link" }
target "up" {
  context = "../../.."
  dockerfile-inline = "FROM scratch\\nCOPY f /\\n"
  output = ["out/up"]
}
target "away" { context = "cwd://.." }
target "theirs" { dockerfile = "cwd://../secret" }
target "hidden" { context = BAKE_CMD_CONTEXT }
"""
COMPOSE = """
include: ["more/other.yaml"]
services:
  app:
    env_file: ["vars.env", {path: /secret.env, required: false}]
    build: {context: sub, args: [A, B, C]}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    top = tmp_path_factory.mktemp("site")
    work = top / "work"
    (work / "sub").mkdir(parents=True)
    (work / "more").mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "docker-bake.hcl").write_text(DEFINITION)
    (work / "sub/docker-bake.json").write_text('{"target": {"default": {"tags": ["of-sub"]}}}')
    (work / "compose.test").write_text(COMPOSE)
    (work / "more/other.yaml").write_text("services: {o: {build: .}}\n")
    (work / "vars.env").write_text("A=theirs\n")
    (work / ".env").write_text("B=dot\n")
    (work / "f").write_text("top")
    (work / "sub/f").write_text("sub")
    (work / "sub/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "link").symlink_to("/")
    (work / "evil.hcl").symlink_to("/etc/hostname")
    (work / "evil.env").symlink_to("../secret.env")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "one")
    publish(work, top / "app.git")
    with tarfile.open(top / "app.tar.gz", "w:gz") as tar:
        for name in ("docker-bake.hcl", "f", "sub"):
            tar.add(work / name, name)
    (top / "alone.hcl").write_text(
        'target "default" {\n  dockerfile-inline = "FROM scratch\\nCOPY f /\\n"\n  output = ["out/alone"]\n}\n'
    )
    (top / "alone.yaml").write_text("services: {a: {env_file: secret.env, build: {args: [A]}}}\n")
    with serving(top) as url:
        yield url


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    (work / "f").write_text("caller")
    (work / "Dockerfile").write_text("FROM scratch\n")
    (work / "Local").write_text("FROM scratch\nCOPY f /local\n")
    (work / "secret.env").write_text("A=caller\n")
    (tmp_path / "secret").write_text("FROM scratch\nCOPY f /\n")
    return Engine(tmp_path / "root")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["bake", *words, "--print", "--progress", "quiet"]) == 0
    return dict(json.loads(capsys.readouterr().out)["target"])


def test_contexts_are_folders_of_the_repository(engine: Engine, site: str) -> None:
    results = engine.bake([f"{site}/smart/app.git#main"])
    assert set(results) == {"top", "part", "named", "caller"}
    assert Path("out/top/f").read_text() == "top" and Path("out/part/f").read_text() == "sub"
    assert sorted(os.listdir("out/part")) == ["Dockerfile", "docker-bake.json", "f"]
    assert (Path("out/named/s").read_text(), Path("out/named/all").read_text()) == ("sub", "top")
    assert Path("out/caller/local").read_text() == "caller"
    engine.bake([f"{site}/smart/app.git", "both"])
    assert Path("out/both/local").read_text() == "top"
    assert not list((engine.settings.root / "work").iterdir())


def test_a_folder_can_be_the_whole(engine: Engine, site: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{site}/dumb/app.git#main:sub"
    assert printed(capsys, url) == {
        "default": {"context": url, "dockerfile": "Dockerfile", "tags": ["of-sub"]}
    }
    shown = printed(capsys, f"{site}/smart/app.git", "part", "caller")
    assert [shown[name]["context"] for name in shown] == [".", "sub"]  # type: ignore[index]


def test_a_second_url_is_what_the_caller_has(
    engine: Engine, site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{site}/smart/app.git"
    assert printed(capsys, url, f"{url}#main:sub", "caller")["caller"]["context"] == f"{url}#main:sub"  # type: ignore[index]
    engine.bake([url, f"{url}#main:sub", "hidden"])


def test_files_of_both_sides(
    engine: Engine, site: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{site}/smart/app.git"
    Path("own.hcl").write_text('target "part" { tags = ["mine"] }')
    shown = printed(capsys, url, "-f", "docker-bake.hcl", "-f", "cwd://own.hcl", "part")
    assert shown["part"] == {
        "context": "sub",
        "dockerfile": "Dockerfile",
        "tags": ["mine"],
        "output": [{"dest": "out/part", "type": "local"}],
    }
    assert printed(capsys, "-f", "cwd://own.hcl", "part")["part"]["tags"] == ["mine"]  # type: ignore[index]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'target "part" { tags = ["in"] }')))
    assert printed(capsys, url, "-f", "cwd://-", "part")["part"]["tags"] == ["in"]  # type: ignore[index]
    for name, why in (("own.hcl", "open own.hcl"), ("-", "open -"), ("evil.hcl", "open evil.hcl")):
        with pytest.raises(DefinitionMissing, match=why):
            engine.bake([url, "part"], files=[name])


def test_it_stays_in_its_repository(engine: Engine, site: str) -> None:
    url = f"{site}/smart/app.git"
    for target, flags in (("away", ("fs.read=..",)), ("theirs", ("fs.read=../secret",))):
        with pytest.raises(PrivilegesWanted) as wanted:
            engine.bake([url, target])
        assert wanted.value.flags == flags
    engine.bake([url, "up"])  # above the repository there is the repository
    assert Path("out/up/f").read_text() == "top"
    engine.bake([url, "theirs"], allow=["fs.read=.."], set=["*.output=out/theirs"])
    assert Path("out/theirs/f").read_text() == "top"
    # A link leads to the top of the repository, which has no Dockerfile.
    with pytest.raises(BoxwrightError, match="open Dockerfile: no such file"):
        engine.bake([url, "link"])
    with pytest.raises(FolderMissing, match="no directory 'none'"):
        engine.bake([url, "part"], set=["part.context=none"])
    with pytest.raises(DefinitionInvalid, match="reading a dockerfile for a remote build invocation"):
        engine.bake([url, "hidden"])


def test_a_compose_file_reads_its_repository(
    engine: Engine, site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text("B=callers\nC=callers\n")
    Path("vars.env").write_text("A=callers\n")
    shown = printed(capsys, f"{site}/smart/app.git", "-f", "compose.test")
    assert shown["app"]["args"] == {"A": "theirs", "B": "dot"}  # type: ignore[index]
    assert shown["o"]["context"] == "more"  # type: ignore[index]


def test_archives_and_single_files(engine: Engine, site: str) -> None:
    engine.bake([f"{site}/app.tar.gz"])
    assert Path("out/top/f").read_text() == "top" and Path("out/part/f").read_text() == "sub"
    assert Path("out/caller/local").read_text() == "caller"
    # What is alone builds what the caller has.
    engine.bake([f"{site}/alone.hcl"])
    assert Path("out/alone/f").read_text() == "caller"
    with pytest.raises(DefinitionInvalid, match="is a definition and has no file x"):
        engine.bake([f"{site}/alone.hcl"], files=["x"])
    with pytest.raises(DefinitionInvalid, match=r"env file secret\.env not found"):
        engine.bake([f"{site}/alone.yaml"])


def test_paths_elsewhere_can_be_allowed_for_all(
    engine: Engine, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{site}/smart/app.git"
    monkeypatch.setenv("BAKE_ALLOW_REMOTE_FS_ACCESS", "1")
    Engine(engine.settings.root).bake([url, "theirs"], set=["*.output=out/theirs"])
    Path("docker-bake.hcl").write_text('target "default" { context = ".." }')
    with pytest.raises(PrivilegesWanted):
        Engine(engine.settings.root).bake()


def test_accounts_go_to_the_definitions_host_alone() -> None:
    from boxwright.bake.remote import git_accounts

    environ = {"BUILDX_BAKE_GIT_AUTH_TOKEN": "t"}
    found = git_accounts("https://git.example.com/a.git#main", environ)
    assert [(one.id, one.read()) for one in found] == [("GIT_AUTH_TOKEN.git.example.com", b"t")]
    assert git_accounts("https://example.com/a.tar", environ) == ()
