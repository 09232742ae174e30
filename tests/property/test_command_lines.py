"""Whatever is typed after a command's name, its parser gives values or a UsageError: the types of options never
raise anything else."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.cli.commands import COMMANDS
from boxwright.cli.flags import HelpRequested, Parser, UsageError
from boxwright.cli.parsers import load

VALUES = [
    "",
    "0",
    "-1",
    "1",
    "99999999999999999999",
    "1.5",
    "64m",
    "1gb",
    "9" * 400 + "g",
    "nan",
    "inf",
    "1e999",
    "a=b",
    "a=",
    "=b",
    "a",
    "8080:80",
    "127.0.0.1::80/udp",
    "99999",
    "1-2:3-4",
    "[::1]:1:2",
]
VALUES += [
    "type=bind,src=/,dst=/x",
    "type=",
    "src",
    "/a:/b:ro",
    ":",
    "::",
    "no",
    "always",
    "on-failure:3",
    "nofile=1:2",
    "nofile=x",
    "linux/arm64",
    "a/b/c/d/e",
    "10s",
    "1h30m",
    "-5s",
    "0x10",
    "é",
    "\udcff",
    "\0",
    "{{",
    "true",
    "\n",
]
NAMES = sorted({row[:2]: name for name, row in sorted(COMMANDS.items())}.values())


@cache
def parser(name: str) -> Parser:
    return load(name)[0]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_words(name: str, data: st.DataObject) -> None:
    options = [n for option in parser(name).options for n in option.names]
    one = st.sampled_from(VALUES) | st.text(max_size=6)
    typed = (
        st.tuples(st.sampled_from(options), one).map(lambda pair: [f"{pair[0]}={pair[1]}"])
        | st.tuples(st.sampled_from(options), one).map(list)
        if options
        else st.just([])
    )
    words = [
        word for group in data.draw(st.lists(typed | one.map(lambda w: [w]), max_size=5)) for word in group
    ]
    try:
        parser(name).parse_args(words)
    except (UsageError, HelpRequested):
        pass


@pytest.mark.parametrize("name", NAMES)
def test_every_option_with_every_value(name: str) -> None:
    for option in parser(name).options:
        for value in VALUES:
            try:
                parser(name).parse_args([f"{option.names[0]}={value}"])
            except (UsageError, HelpRequested):
                pass
