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


def test_the_journal_is_its_owner_s(place: Path) -> None:
    kept = [line for line in (place / "log").read_bytes().splitlines() if line]
    assert len(kept) == 1 and stat.S_IMODE((place / "log").stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
