"""Names of targets: what may be one, what a pattern matches, and what a wrong one was probably meant to be."""

from __future__ import annotations

import re

from boxwright.bake.errors import DefinitionInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from boxwright.bake.errors import SourcePlace

CWD = "cwd://"  # before a path: of the directory that the command runs in, wherever the definition lies
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def check_name(name: str, place: SourcePlace | None = None) -> None:
    """Raises DefinitionInvalid."""
    if not _NAME.fullmatch(name):
        raise DefinitionInvalid(
            'only "[a-zA-Z0-9_-]+" are allowed', summary="Invalid name" if place else "", place=place
        )


def sanitized(name: str) -> str:
    """A service's name as a target's: compose allows dots."""
    return name.replace(".", "_")


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern of Go's ``path.Match``."""
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern.replace("[^", "[!"))


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is most like one; '' when none is."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known)[:2000], n=1, cutoff=0.6)
    return found[0] if found else ""
