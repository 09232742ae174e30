"""events: what labels hold makes neither a second event nor a control of the terminal."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from boxwright.cli.main import main
from boxwright.content import journal
from boxwright.files.places import Places
from boxwright.spec.events import event

HOSTILE = "v\n2026-01-01T00:00:00Z container die \x1b[2J\u202e\udcff"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path))
    events = Places(tmp_path).events
    journal.append(str(events), event("container", "start", "1" * 64, {"label": HOSTILE, "name": "x"}))
    return events


def test_an_event_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--since", "1h", "--until", "0s"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "container start 1111" in line and line.endswith(
        "(label=v\\n2026-01-01T00:00:00Z container die \\x1b[2J\\u202e\\xff, name=x)"
    )
    assert main(["events", "--since", "1h", "--until", "0s", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["Actor"]["Attributes"]["label"][:-1] == HOSTILE[:-1]


def test_a_template_has_the_fields_of_dockers_message(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form = "{{.Status}} {{.ID}} {{.From}}|{{.Type}} {{.Action}} {{.Scope}} {{.Actor.ID}} {{.Actor.Attributes.name}}"
    journal.append(str(place), event("network", "create", "n", {"name": "lan"}))
    words = ["events", "--since", "1h", "--until", "0s", "--format"]
    assert main([*words, form]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"start {'1' * 64} |container start local {'1' * 64} x",
        "  |network create local n lan",
    ]
    assert main([*words, "{{.Time}} {{.TimeNano}}"]) == 0
    for line in capsys.readouterr().out.splitlines():
        seconds, nanoseconds = map(int, line.split())
        assert seconds == nanoseconds // 10**9 > 10**9


def test_the_journal_is_its_owner_s(place: Path) -> None:
    kept = [line for line in (place / "log").read_bytes().splitlines() if line]
    assert len(kept) == 1 and stat.S_IMODE((place / "log").stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
