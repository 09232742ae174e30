"""The known differences from BuildKit: the table of docs/dockerfile.md, which people read and the comparisons hold to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/dockerfile.md"


@cache
def known() -> Mapping[str, str]:
    """Case of a comparison -> what differs in it."""
    _, _, section = PAGE.read_text().partition("\n## Known differences\n")
    section = section.partition("\n## ")[0]
    found: dict[str, str] = {}
    for row in re.findall(r"^\| (?!---)(.+) \|$", section, re.MULTILINE):
        what, *_, cases = row.split(" | ")
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", cases), what)
    return found


def check(case: str, wrong: list[str]) -> None:
    """Fail for a case that differs and is not known to, and for one that is known to and does not."""
    if case in known():
        assert wrong, f"{case} does not differ any more: take it out of {PAGE.name} ({known()[case]})"
    else:
        assert not wrong, "\n".join(wrong)
