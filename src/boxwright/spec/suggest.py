"""Did you mean …? Small edit distances, without difflib (which costs more to import than a whole command)."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """Candidates that are near the word, nearest first; none when everything is far."""
    allowed = max(1, min(3, len(word.lstrip("-")) // 3))
    near = sorted((distance(word, c), c) for c in candidates)
    return [c for d, c in near if d <= allowed or (len(word.lstrip("-")) >= 3 and c.startswith(word))][:limit]


def distance(a: str, b: str) -> int:
    """Edit distance where swapping two neighbours counts as one (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before, previous = [i], row, before
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1]
