"""Where a definition lies: the directory in which the command runs, or a checkout that was brought for it.

What a definition names beside itself (files of variables, other compose files) is read from the same place: one that
lies in a repository reads its repository.
"""

from __future__ import annotations

from pathlib import Path

from boxwright.rootfs.root import Root, UnsafePath
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # what it is for is checked before it runs


class DefinitionTree(Protocol):
    """Files by path."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The beginning of a regular file; None when there is none. Raises OSError."""


@dataclass(frozen=True, slots=True)
class File:
    """A definition. `tree` is where it reads what it names; None is the working directory."""

    name: str
    data: bytes
    tree: DefinitionTree | None = None


class Directory:
    """A directory of this machine. `paths` are those of the files that were read, which can lie outside of it."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self.paths: set[str] = set()

    def read(self, path: str, limit: int) -> bytes | None:
        """As `DefinitionTree` says."""
        place = self._top / path
        try:
            if not place.is_file():
                return None
        except ValueError:  # a NUL
            return None
        self.paths.add(path)
        with place.open("rb") as file:
            return file.read(limit)


class Checkout:
    """A tree whose owner is unknown: links, ``..`` and absolute paths stay in it."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def read(self, path: str, limit: int) -> bytes | None:
        """As `DefinitionTree` says."""
        with Root.at(self._top) as root:
            try:
                return root.read(path, limit)
            except UnsafePath:
                return None
