"""The environment as a definition sees it, which notes the variables that the definition asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class AskedVariables(Mapping[str, str]):
    """Variables, and in `asked` the names that were looked up in them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class LayeredVariables(Mapping[str, str]):
    """Variables of several places, the first that has a name counting. No place is read whole."""

    def __init__(self, *places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> str:
        for place in self._places:
            if name in place:
                return place[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for place in self._places for name in place})

    def __len__(self) -> int:
        return sum(1 for _ in self)
