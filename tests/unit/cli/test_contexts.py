"""context ls, show, inspect, use: the same answers as Docker's, from its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.cli.main import main


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "docker"
    for name, about, host in (("aa", "d <x>", "unix:///tmp/none.sock"), ("bb", "", "tcp://h:1")):
        put(folder, name, {"Description": about} if about else {}, host)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return folder


def put(folder: Path, name: str, metadata: Any, host: str) -> Path:
    file = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    file.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    file.write_text(json.dumps({"Name": name, "Metadata": metadata, "Endpoints": endpoints}))
    return file


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_ls_and_show(
    docker: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capsys, "context", "ls").splitlines() == [
        "NAME        DESCRIPTION                               DOCKER ENDPOINT               ERROR",
        "aa          d <x>                                     unix:///tmp/none.sock         ",
        "bb                                                    tcp://h:1                     ",
        "default *   Current DOCKER_HOST based configuration   unix:///var/run/docker.sock   ",
    ]
    assert told(capsys, "context", "ls", "-q") == "aa\nbb\ndefault\n"
    assert told(capsys, "context", "show") == "default\n"
    assert told(capsys, "--context", "bb", "context", "show") == "bb\n"
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert told(capsys, "context", "show") == "gone\n"
    lines = [json.loads(line) for line in told(capsys, "context", "ls", "--format", "json").splitlines()]
    assert lines[3]["Name"] == "gone" and lines[3]["Current"] and "not found" in lines[3]["Error"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///y")
    assert told(capsys, "context", "show") == "default\n"
    assert "default *" in told(capsys, "context", "ls") and "unix:///y" in told(capsys, "context", "inspect")


def test_use(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "config.json").write_text('{"auths": {"h": {}}}')
    assert told(capsys, "context", "use", "aa") == "aa\n" and told(capsys, "context", "show") == "aa\n"
    assert json.loads((docker / "config.json").read_text()) == {"auths": {"h": {}}, "currentContext": "aa"}
    assert 'context "none": context not found' in told(capsys, "context", "use", "none", code=1)
    assert told(capsys, "context", "use", "default") == "default\n"
    assert json.loads((docker / "config.json").read_text()) == {"auths": {"h": {}}}


def test_inspect(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (default,) = json.loads(told(capsys, "context", "inspect"))
    assert default["Name"] == "default" and default["Storage"]["TLSPath"] == "<IN MEMORY>"
    tls = docker / "contexts/tls" / hashlib.sha256(b"aa").hexdigest() / "docker"
    tls.mkdir(parents=True)
    (tls / "ca.pem").write_text("x")
    first, second = json.loads(told(capsys, "context", "inspect", "aa", "bb"))
    assert first["TLSMaterial"] == {"docker": ["ca.pem"]} and second["Metadata"] == {}
    assert first["Storage"]["TLSPath"] == str(tls.parent)
    shown = told(capsys, "context", "inspect", "bb", "-f", "{{.Name}} {{.Endpoints.docker.Host}}")
    assert shown == "bb tcp://h:1\n"
    assert "not found" in told(capsys, "context", "inspect", "../aa", code=1)


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 100_000, '{"Endpoints": 1}', "\xff"])
def test_files_that_are_none(docker: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    file = put(docker, "zz", {}, "")
    file.write_text(text, encoding="latin-1")
    assert main(["context", "ls", "-q"]) == 0
    listed = capsys.readouterr()
    assert listed.out == "aa\nbb\ndefault\n"  # one bad file hides no other
    assert text.startswith("{") or f"WARNING: cannot read {file}" in listed.err
    assert main(["context", "inspect", "zz"]) in (0, 1)
    assert "internal error" not in capsys.readouterr().err
