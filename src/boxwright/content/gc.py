"""The collector's mark: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def mark(roots: Iterable[T], references: Callable[[T], Iterable[T]]) -> set[T]:
    """Everything that can be reached from the roots."""
    live: set[T] = set()
    todo = list(roots)
    while todo:
        node = todo.pop()
        if node not in live:
            live.add(node)
            todo.extend(references(node))
    return live
