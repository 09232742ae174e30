"""Reading a log in pieces of many lines."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.container import logs
from boxwright.container.records import Container
from boxwright.container.supervisor.logfile import LogFile
from support.few import recorded

SEPARATOR = '","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n{"log":"'


def merged(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One piece for all that follows each other on one stream."""
    return [
        (stream, "".join(text for _, text in run)) for stream, run in groupby(pieces, lambda piece: piece[0])
    ]


def same(one: Container) -> list[tuple[str, str]]:
    """What both ways of reading say."""
    pieces = merged(list(logs.texts(one)))
    assert pieces == merged([(entry.stream, entry.text) for entry in logs.read(one)])
    return pieces


@given(
    said=st.lists(
        st.tuples(
            st.sampled_from((1, 2)),
            st.one_of(
                st.binary(max_size=40), st.sampled_from((b'","\\', b'\\"', SEPARATOR.encode(), b"\r\n"))
            ),
        ),
        max_size=30,
    ),
    block=st.integers(1, 400),
)
def test_pieces_say_what_the_lines_say(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, bytes]], block: int
) -> None:
    one = recorded(tmp_path_factory.mktemp("log"))
    log = LogFile(str(one.log_path), max_size=1500, max_files=3)
    for stream, data in said:
        log.write(stream, data)
    log.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_BLOCK", block)
        same(one)


@pytest.mark.parametrize(
    "torn",
    [
        "torn\n",
        '{"log":"torn\n',
        '{"log":"torn\\n","stream":"stdout"\n',
        '{"log":"torn\\n","stream":"other","time":"x"}\n',
        'torn","stream":"stdout","time":"x"}\n',
        '{"log":"a","stream":"stdout","time":"x"}torn\n',
        '{"log":"a"b","stream":"stdout","time":"x"}\n',
        "\n",
        '{"log":"torn" ',
    ],
)
def test_a_torn_line_takes_no_other_along(tmp_path: Path, torn: str) -> None:
    one = recorded(tmp_path)
    lines = [
        json.dumps({"log": f"{n}\n", "stream": "stdout", "time": "x"}, separators=(",", ":")) + "\n"
        for n in range(4)
    ]
    one.log_path.write_text("".join(lines[:2]) + torn + "".join(lines[2:]))
    expected = "0\n1\n3\n" if not torn.endswith("\n") else "0\n1\n2\n3\n"
    assert same(one) == [("stdout", expected)]


def test_an_empty_log_says_nothing(tmp_path: Path) -> None:
    one = recorded(tmp_path)
    assert same(one) == []
    one.log_path.touch()
    assert same(one) == []
