"""What a push in a build shows: bytes that really moved, and no size that is not known."""

from __future__ import annotations

from typing import Any

from boxwright.build.progress import StepStatus
from boxwright.build.pushing import TOTAL, PushSteps
from boxwright.cli.progress.view import status_text
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor


def blob(data: bytes, kind: str = mt.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor.of(data, kind)


def said(events: list[Any], what: str) -> list[tuple[int, int, bool]]:
    return [(e.current, e.total, e.done) for e in events if e.id == what]


def test_what_was_there_does_not_count() -> None:
    events: list[Any] = []
    steps = PushSteps(events.append, "s", compressing=False)
    there, half, whole = blob(b"t" * 100), blob(b"h" * 100), blob(b"w" * 100)
    steps.planned([there, half, whole])
    for one in (there, half, whole):
        steps.started(one)
    steps.done(there, "exists")
    steps.resumed(half, 60)
    steps.advanced(half, 40)
    steps.done(half, "copied")
    steps.done(half, "copied")
    steps.resumed(whole, 0)
    steps.advanced(whole, 70)
    steps.resumed(whole, 50)  # the upload broke, and the registry had less than was sent
    steps.advanced(whole, 50)
    steps.done(whole, "copied")
    steps.finish()
    assert said(events, f"{there.digest} already exists") == [(0, 0, True)]
    assert said(events, str(half.digest)) == [(100, 100, True)]
    assert said(events, str(whole.digest)) == [(70, 100, False), (100, 100, True)]
    assert said(events, TOTAL)[-1] == (90, 90, True)


def test_a_size_that_is_not_known_is_not_told() -> None:
    events: list[Any] = []
    steps = PushSteps(events.append, "s", compressing=True)
    plain = blob(b"p" * 1000, mt.OCI_LAYER)
    steps.planned([plain])
    steps.started(plain)
    steps.advanced(plain, 30)
    assert said(events, str(plain.digest)) == [(30, 0, False)] and said(events, TOTAL) == [(30, 0, False)]
    steps.done(plain, "copied")
    steps.finish()
    assert said(events, str(plain.digest))[-1] == (30, 30, True)
    assert said(events, TOTAL)[-1] == (30, 30, True)
    texts = [status_text(e) for e in events if e.id == TOTAL]
    assert texts[0] == "pushing layers: 30B" and texts[-1] == "pushing layers: 30B done"
    assert status_text(StepStatus("s", "x", 10, 20)) == "x: 10B / 20B"
