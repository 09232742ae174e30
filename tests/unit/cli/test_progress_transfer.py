"""Progress of transfers: the sums, and how each kind shows them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from boxwright.cli.context import Context
from boxwright.cli.progress.transfer import PULL, PUSH, Json, PlainTally, Tally, TerminalTally, make
from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor

A = Descriptor.of(b"a" * 1000, mt.OCI_LAYER_GZIP)
B = Descriptor.of(b"b" * 3000, mt.OCI_LAYER_GZIP)
CONFIG = Descriptor.of(b"{}", mt.OCI_CONFIG)


def drive(tally: Tally) -> None:
    with tally:
        tally.planned([CONFIG, A, B])
        tally.started(A)
        tally.resumed(A, 400)
        tally.advanced(A, 600)
        assert tally.total() == (600, 600 + 3000 + CONFIG.size)  # what was here counts on neither side
        tally.done(A, "copied")
        tally.started(B)
        tally.done(B, "exists")
        tally.done(B, "exists")
        tally.advanced(CONFIG, CONFIG.size)
        tally.done(CONFIG, "copied")
        assert tally.total() == (602, 602)


def test_plain(capsys: pytest.CaptureFixture[str]) -> None:
    drive(PlainTally(Context(), PULL))
    a, b = A.digest.short, B.digest.short
    assert capsys.readouterr().err.splitlines() == [
        f"{a}: Pulling fs layer",
        f"{a}: Resuming at 400B of 1kB",
        f"{a}: Pull complete",
        f"{b}: Already exists",
    ]
    same = PlainTally(Context(), PULL)
    same.unchanged = True
    drive(same)
    assert [line for line in capsys.readouterr().err.splitlines() if b in line] == []
    drive(PlainTally(Context(), PUSH))
    assert [line for line in capsys.readouterr().err.splitlines() if b in line] == [
        f"{b}: Preparing",
        f"{b}: Layer already exists",
    ]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    drive(Json(Context(), PUSH))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    last = [entry for entry in lines if entry.get("id") == A.digest.short][-1]
    assert last["status"] == "Pushed" and last["current"] == last["total"] == 1000
    assert last["overall"]["total"] == 602 + 3000


def test_terminal_ends_with_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    drive(TerminalTally(Context(), PULL))
    assert "602B/602B 100 %" in capsys.readouterr().err


def test_terminal_says_nothing_when_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    tally = TerminalTally(Context(), PULL)
    with tally:
        tally.planned([A])
        tally.done(A, "exists")
    assert capsys.readouterr().err == ""


def test_terminal_fits_and_keeps_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tally = TerminalTally(Context(), PULL)
    with tally:
        tally.planned([A, B])
        tally.advanced(A, 500)
        tally.say("a word")
        for columns in (20, 40, 80, 200):
            lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in tally._picture(columns, 4)]
            assert len(lines) == 3 and all(len(line) <= max(columns - 1, 20) for line in lines)
        assert "500B/4kB 12 %" in lines[-1] and (lines[0].count("━"), lines[0].count("─")) == (14, 14)
    shown = capsys.readouterr().err
    assert shown.index("a word\n") < shown.index("total")


def test_an_upload_that_starts_again_is_not_counted_twice() -> None:
    tally = Tally(Context(), PUSH)
    tally.planned([A])
    tally.advanced(A, 900)
    tally.resumed(A, 0)
    tally.advanced(A, 1000)
    assert tally.total() == (1000, 1000)


def test_sizes_may_be_corrected() -> None:
    tally = Tally(Context(), PUSH)
    tally.planned([A])
    tally.planned([Descriptor(A.media_type, A.digest, 10)])
    assert tally.total() == (0, 10)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("plain", PlainTally), ("json", Json), ("tty", TerminalTally), ("rawjson", Json), ("auto", PlainTally)],
)
def test_kinds(kind: str, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert type(make(Context(), kind, PULL)) is expected


def test_quiet_and_unknown() -> None:
    assert make(Context(), "plain", PULL, quiet=True) is None and make(Context(), "quiet", PULL) is None
    with pytest.raises(Invalid, match="invalid progress mode"):
        make(Context(), "loud", PULL)
