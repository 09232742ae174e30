"""The end of a step's output, as a failure has it."""

from __future__ import annotations

from boxwright.build.progress import StepLog
from boxwright.build.said import Said


def said(*pieces: tuple[float, bytes]) -> Said:
    found = Said()
    for at, data in pieces:
        found.add(StepLog(step="s", stream=1, data=data, at=at))
    return found


def test_a_line_has_the_time_of_its_beginning() -> None:
    found = said((1.0, b"a\nb"), (2.0, b"c\n"), (3.0, b""), (4.0, b"\nlast\r\n"))
    assert found.tail() == ["1.000 a", "1.000 bc", "4.000 ", "4.000 last"]
    assert found.text == "a\nbc\n\nlast\r\n"


def test_the_last_lines() -> None:
    found = said(*((float(n), b"%d\n" % n) for n in range(100)))
    assert found.tail() == [f"{n}.000 {n}" for n in range(75, 100)]


def test_a_line_without_end_is_kept_in_part() -> None:
    found = said((0.5, b"first\n"), *((float(n), b"x" * (1 << 20)) for n in range(1, 4)), (9.0, b"end"))
    assert found.tail() == ["1.000 " + "x" * ((1 << 20) - 3) + "end"]
    assert len(found.text) == 1 << 20
