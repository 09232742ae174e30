"""The Dockerfile reference: each instruction has its section and an example, and what it says to differ exists."""

from __future__ import annotations

import json
import re

import support.corpus
import support.differences as differences
from boxwright.build.dockerfile import instructions
from support import DATA
from support.docs import Command, steps


def test_every_instruction_has_an_example() -> None:
    sections = re.split(r"^## ", differences.PAGE.read_text(), flags=re.MULTILINE)[1:]
    shown = {
        name: section
        for section in sections
        for name in section.partition("\n")[0].split(", ")
        if name.isupper()
    }
    classes = [value for value in vars(instructions).values() if isinstance(value, type)]
    assert set(shown) == {c.name for c in classes if issubclass(c, instructions.Instruction) and c.name}
    for name, section in shown.items():
        assert any(isinstance(step, Command) for step in steps(section)), name
        assert re.search(rf"^{name}\b", section, re.MULTILINE), f"no {name} in its example"


def test_the_known_differences_are_cases_of_the_comparisons() -> None:
    cases = {case["name"] for case in json.loads((DATA / "dockerfiles.json").read_text())}
    cases |= {support.corpus.title(case) for case in support.corpus.cases()}
    assert differences.known() and set(differences.known()) <= cases
