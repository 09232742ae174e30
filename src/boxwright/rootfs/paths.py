"""A path inside a root, whatever the tree is read from: a directory's descriptor, a view of layers, a build context, a
plan, the members of an archive.

Symbolic links are followed inside the tree: absolute ones start at its top, ``..`` stops there. What differs from tree
to tree is told by a cursor: how a link is read, and whether what is absent ends the walk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # what it is for is checked before it runs

MOST_LINKS = 40  # as the kernel's


class TooManyLinks(OSError):
    """Symbolic links lead in a circle, or to more links than are followed; `filename` is the path."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), path)


class Cursor(Protocol):
    """A directory of the tree, at first its top."""

    def link(self, name: str) -> str | None:
        """Where the name in this directory leads, when it is a symbolic link."""

    def down(self, name: str) -> None:
        """Into that directory, which is no link."""

    def up(self) -> None:
        """To the directory above; the top has none."""

    def restart(self) -> None:
        """Back to the top."""


def walk(cursor: Cursor, path: str, *, follow_last: bool = True, most: int = MOST_LINKS) -> tuple[str, bool]:
    """Move the cursor to the directory in which the path ends; the name there ('' is the directory itself), and whether
    it has to be a directory (``name/``). Raises TooManyLinks, and what the cursor raises."""
    todo = path.split("/")[::-1]
    links = 0
    while todo:
        name = todo.pop()
        if not name or name == ".":
            continue
        if name == "..":
            cursor.up()
            continue
        last = not todo or not any(part not in ("", ".") for part in todo)
        target = cursor.link(name) if follow_last or not last else None
        if target is None:
            if last:
                return name, bool(todo)
            cursor.down(name)
            continue
        links += 1
        if links > most:
            raise TooManyLinks(path)
        if target.startswith("/"):
            cursor.restart()
        todo += target.split("/")[::-1]
    return "", True


class Names:
    """The cursor of a tree that is asked by whole paths, relative to its top; what is absent is kept as it is
    written."""

    def __init__(self, link: Callable[[str], str | None]) -> None:
        self._link = link
        self.above: list[str] = []

    def link(self, name: str) -> str | None:
        return self._link("/".join((*self.above, name)))

    def down(self, name: str) -> None:
        self.above.append(name)

    def up(self) -> None:
        del self.above[-1:]

    def restart(self) -> None:
        self.above.clear()


def real(
    path: str, link: Callable[[str], str | None], *, follow_last: bool = True, most: int = MOST_LINKS
) -> str:
    """The path relative to the top without links and dots ('' is the top); `link` says where a relative path without
    links leads when it is a link itself. What does not exist stays as written. Raises TooManyLinks."""
    names = Names(link)
    name, _ = walk(names, path, follow_last=follow_last, most=most)
    return "/".join((*names.above, name)) if name else "/".join(names.above)
