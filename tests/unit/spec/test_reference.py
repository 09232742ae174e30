"""The grammar of references as distribution/reference spells it, beside the patterns that compile sooner."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from boxwright.spec import reference

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?\Z", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z", re.ASCII)


@given(st.text("aA0.-_:[]/", max_size=12))
@example("a.-b")
@example("a-.b")
@example("a--b.c")
@example("[::1]:5000")
@example("a..b")
def test_a_domain_is_what_the_grammar_says(text: str) -> None:
    assert bool(re.match(rf"{reference._DOMAIN}\Z", text, re.ASCII)) == bool(DOMAIN.match(text))


@given(st.text("a0._-/A", max_size=12))
@example("a__b/c")
@example("a___b")
@example("a/-b")
@example("a_/b")
@example("a--b")
def test_a_path_is_what_the_grammar_says(text: str) -> None:
    assert bool(re.match(rf"{reference._PATH}\Z", text, re.ASCII)) == bool(PATH.match(text))
