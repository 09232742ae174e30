"""builds ls, inspect, logs, rm, and buildx history over the same."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from boxwright.cli.main import main


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    (tmp_path / "app").mkdir()
    (tmp_path / "app/f").write_text("f")
    (tmp_path / "app/Dockerfile").write_text("FROM scratch\nARG V\nCOPY f /f\n")
    (tmp_path / "app/Bad").write_text("FROM scratch\nCOPY none /\n")


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def built(tmp_path: Path, *words: str, code: int = 0) -> None:
    assert main(["build", "-q", *words, str(tmp_path / "app")]) == code


def test_ls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(tmp_path)
    built(tmp_path, "-f", str(tmp_path / "app/Bad"), code=1)
    head, failed, done = told(capsys, "buildx", "history", "ls").splitlines()
    assert head.split("  ")[0] == "BUILD ID" and "CREATED AT" in head and "Link" not in head
    assert re.match(r"[0-9a-z]{25} +app/Bad +Error +Less than a second ago +\d+\.\ds", failed)
    assert re.match(r"[0-9a-z]{25} +app +Completed ", done)
    assert told(capsys, "builds", "ls", "--format", "{{.Name}}:{{.Status}}", "--filter", "status=error") == (
        "app/Bad:Error\n"
    )
    first, second = map(json.loads, told(capsys, "builds", "ls", "--format", "json").splitlines())
    assert first["status"] == "Error" and second["ref"].startswith("default/default/")
    assert second["completed_steps"] == second["total_steps"] > second["cached_steps"]
    assert "unsupported filter" in told(capsys, "builds", "ls", "--filter", "x=y", code=1)


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(tmp_path, "--build-arg", "V=\x1b[2J", "--label", "a=b", "--provenance=mode=max", "-t", "app:1")
    page = told(capsys, "builds", "inspect")
    assert re.search(r"^Name: +app$", page, re.M) and re.search(
        r"^Build Steps: +4/4 \(0% cached\)$", page, re.M
    )
    assert re.search(r"^a +b$", page, re.M) and "https://slsa.dev/provenance/v1" in page
    body = json.loads(told(capsys, "buildx", "history", "inspect", "--format", "json"))
    assert body["Labels"] == [{"Name": "a", "Value": "b"}] and body["Status"] == "completed"
    assert told(capsys, "builds", "inspect", body["Ref"][:9], "--format", "{{.Name}} {{.Dockerfile}}") == (
        "app Dockerfile\n"
    )
    said = told(capsys, "builds", "inspect", "attachment", "--type", "provenance")
    assert json.loads(said)["buildDefinition"]["externalParameters"]["configSource"] == {"path": "Dockerfile"}
    (index,) = [a["Digest"] for a in body["Attachments"] if a["Type"].endswith("index.v1+json")]
    assert json.loads(told(capsys, "buildx", "history", "inspect", "attachment", body["Ref"], index))[
        "manifests"
    ]
    assert "at least one of" in told(capsys, "builds", "inspect", "attachment", code=1)
    assert "no matching attachment" in told(
        capsys, "builds", "inspect", "attachment", "--type", "sbom", code=1
    )
    built(tmp_path, "-f", str(tmp_path / "app/Bad"), code=1)
    page = told(capsys, "builds", "inspect")
    assert '"/none": not found' in page and ">>> COPY none /" in page
    assert "no record found" in told(capsys, "builds", "inspect", "zzz", code=1)


def test_a_killed_build_has_the_steps_that_it_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from boxwright import Engine
    from boxwright.image.builds import BuildRecord, BuildRecords

    engine = Engine()
    records = BuildRecords(engine.root, engine.services.db)
    records.begin(BuildRecord(id="k" * 25, started=1.0, name="killed"))
    with engine.services.db.write() as sql:
        sql.execute("UPDATE builds SET owner = '1:0:0'")  # a process that is no more
    log = records.open_log("k" * 25)
    lines = [{"kind": "started", "step": step} for step in (1, 2, 3)]
    lines += [{"kind": "cached", "step": 1}, {"kind": "done", "step": 2}, {"kind": "log", "step": 3}]
    os.write(log, "".join(json.dumps(line) + "\n" for line in lines).encode() + b'{"kind": "do')
    os.close(log)
    page = told(capsys, "builds", "inspect")
    assert re.search(r"^Status: +Interrupted$", page, re.M)
    assert re.search(r"^Build Steps: +2/3 \(33% cached\)$", page, re.M)
    (body,) = map(json.loads, told(capsys, "builds", "ls", "--format", "json").splitlines())
    assert (body["completed_steps"], body["total_steps"], body["cached_steps"]) == (2, 3, 1)
    engine.services.db.close()


def test_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(tmp_path)
    text = told(capsys, "builds", "logs")
    assert text.startswith(
        "#1 [internal] load build definition from Dockerfile\n#1 transferring dockerfile: "
    )
    assert re.search(r"COPY f /f\n#\d DONE ", text)
    events = [
        json.loads(line)
        for line in told(capsys, "buildx", "history", "logs", "--progress=rawjson").splitlines()
    ]
    assert events[0]["kind"] == "started"


def test_rm_and_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        built(tmp_path)
    latest = json.loads(told(capsys, "builds", "ls", "--format", "json").splitlines()[0])["ref"]
    assert told(capsys, "builds", "rm", latest) == ""
    assert len(told(capsys, "builds", "ls").splitlines()) == 3
    assert "no record found" in told(capsys, "builds", "rm", latest, code=1)
    assert "at least one argument" in told(capsys, "builds", "rm", code=1)
    assert "no desktop application" in told(capsys, "buildx", "history", "open", code=1)
    for line, why in (
        ("export", "not exported"),
        ("export --finalize -o x.dockerbuild --all", "not exported"),
        ("export a b", "not exported"),
        ("import", "not imported"),
        ("import -f x.dockerbuild -f y -", "not imported"),
        ("trace", "not traced"),
        ("trace --addr 127.0.0.1:0 --compare ^1", "not traced"),
    ):
        assert why in told(capsys, "buildx", "history", *line.split(), code=1)
    assert told(capsys, "buildx", "history", "rm", "--all") == ""
    assert len(told(capsys, "builds", "ls").splitlines()) == 1
    assert "no records found" in told(capsys, "builds", "logs", code=1)


def test_a_prune_takes_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(tmp_path)
    for words, left in ((["-f"], 1), (["-af", "--filter", "type=regular"], 1), (["-af"], 0)):
        told(capsys, "builder", "prune", *words)
        assert len(told(capsys, "builds", "ls").splitlines()) == 1 + left
