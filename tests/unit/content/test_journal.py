"""The journal of events: many writers, many followers, bounded, and whole after a line was cut short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from boxwright.content import journal
from boxwright.spec.events import event, matches


def test_lines_in_order_and_none_cut(tmp_path: Path) -> None:
    place = str(tmp_path / "events")
    assert list(journal.lines(place)) == []
    for line in (b"one", b"two"):
        journal.append(place, line)
    with open(f"{place}/log", "ab") as file:
        file.write(b'\n{"cut sho')  # a full disk
    journal.append(place, b"three")
    assert list(journal.lines(place)) == [b"one", b"two", b'{"cut sho', b"three"]


def test_it_is_bounded(tmp_path: Path) -> None:
    place = str(tmp_path / "events")
    for number in range(1000):
        journal.append(place, b"%d" % number, full=400)
    assert sum(os.path.getsize(f"{place}/{name}") for name in os.listdir(place)) < 1000
    kept = [int(line) for line in journal.lines(place)]
    assert kept == list(range(kept[0], 1000)) and len(kept) > 50


def test_a_turn_while_it_is_opened_takes_no_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "events")
    journal.append(place, b"one", full=0)
    journal.append(place, b"two")
    open_one = journal._reader
    opened: list[str] = []

    def and_turn(path: str) -> int:
        opened.append(path)
        fd = open_one(path)
        if len(opened) == 1:
            journal.append(place, b"three", full=0)
        return fd

    monkeypatch.setattr(journal, "_reader", and_turn)
    assert list(journal.lines(place))[-2:] == [b"two", b"three"]


WRITER = """
import sys; from boxwright.content import journal
for number in range(200): journal.append(sys.argv[1], b"%s %d" % (sys.argv[2].encode(), number), full=int(sys.argv[3]))
"""


@pytest.mark.parametrize("full", [journal.FULL, 1500])
def test_followers_hear_every_writer(tmp_path: Path, full: int) -> None:
    place = str(tmp_path / "events")
    journal.append(place, b"begin")
    heard: list[list[bytes]] = [[], []]

    def follow(at: int) -> None:
        for line in journal.lines(place, follow=True, seconds=30):
            heard[at].append(line)
            if line == b"end":
                return

    threads = [threading.Thread(target=follow, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, name, str(full)])
        for name in ("a", "b", "c")[: 1 if full < journal.FULL else 3]
    ]
    assert [writer.wait() for writer in writers] == [0] * len(writers)
    journal.append(place, b"end")
    for thread in threads:
        thread.join()
    for lines in heard:
        assert lines[-1] == b"end"
        for name in (b"a", b"b", b"c")[: len(writers)]:
            mine = [int(line.split()[1]) for line in lines if line.startswith(name + b" ")]
            # A follower that is slower than two turnings of a small journal misses what was dropped, and no order.
            assert mine == sorted(mine) and (mine == list(range(200)) or full < journal.FULL)


def test_a_follower_ends_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    assert list(journal.lines(str(tmp_path / "events"), follow=True, seconds=0.2)) == []
    assert 0.15 < time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"type": ["image", "container"]}, True),
        ({"type": ["image"]}, False),
        ({"event": ["exec_start"]}, True),
        ({"event": ["die"]}, False),
        ({"event": ["exec"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["c" * 12]}, True),
        ({"container": ["b"]}, False),
        ({"image": ["busybox"]}, True),
        ({"label": ["k"]}, True),
        ({"label": ["k=v"]}, True),
        ({"label": ["k=w"]}, False),
        ({"label": ["k=v", "other"]}, False),
        ({"label": ["k=v", "name=web"]}, True),
        ({"container": ["we"]}, True),
        ({"plugin": ["x"]}, False),
        ({"image": ["busy"]}, False),
        ({"image": ["busybox:latest"]}, True),
        ({"type": ["container"], "event": ["die"]}, False),
        ({"network": ["web"]}, True),  # as Docker: a name is compared whatever it is the name of
        ({"scope": ["local"]}, True),
        ({"scope": ["swarm"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], passes: bool) -> None:
    attributes = {"name": "web", "image": "busybox:latest", "k": "v"}
    value = json.loads(event("container", "exec_start: sh -c x", "c" * 64, attributes))
    assert matches(value, filters) is passes
    assert value["from"] == "busybox:latest" and value["timeNano"] // 10**9 == value["time"]


def test_one_event_does_not_drive_out_the_others(tmp_path: Path) -> None:
    """An image's labels and a command's words may be of any length."""
    place = str(tmp_path / "events")
    journal.tell(place, kind="container", action="create", identity="1", attributes={"name": "first"})
    labels = {f"{number:05}{chr(233) * 9000}": "\U0001f600" * 9000 for number in range(100)}
    for _ in range(20):
        attributes = {**labels, "name": "box", "image": "i" * 9000}
        action = "exec_create: " + "x" * (1 << 20)
        journal.tell(place, kind="container", action=action, identity="2", attributes=attributes)
    found = [json.loads(line) for line in journal.lines(place)]
    assert len(found) == 21 and found[0]["Actor"]["Attributes"]["name"] == "first"
    assert max(map(len, journal.lines(place))) <= 80 << 10
    last = found[-1]["Actor"]["Attributes"]
    assert last["name"] == "box" and last["image"].endswith("…") and len(last) > 3
    assert found[-1]["Action"].startswith("exec_create: xxx") and found[-1]["Action"].endswith("…")
