"""The `--flags` of an instruction: which are known, how often, with which kind of value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.text import did_you_mean


class Flags:
    """What an instruction accepts, then what it was given."""

    def __init__(
        self, *, text: Sequence[str] = (), yes_no: Sequence[str] = (), several: Sequence[str] = ()
    ) -> None:
        self._text, self._yes_no, self._several = text, yes_no, several
        self._values: dict[str, list[str]] = {}

    def read(self, words: Iterable[str]) -> Flags:
        """Take the flags of a node. Raises DockerfileError. Returns itself."""
        for word in words:
            flag, equals, value = word.partition("=")
            name = flag[2:]
            if name in self._yes_no:
                value = self._truth(flag, equals, value)
            elif name in self._text or name in self._several:
                if not equals:
                    raise DockerfileError(f"missing a value on flag: {flag}")
            else:
                known = (*self._text, *self._yes_no, *self._several)
                raise DockerfileError(did_you_mean(f"unknown flag: {flag}", name, known))
            if name in self._values and name not in self._several:
                raise DockerfileError(f"duplicate flag specified: {flag}")
            self._values.setdefault(name, []).append(value)
        return self

    @staticmethod
    def _truth(flag: str, equals: str, value: str) -> str:
        if equals and not value:
            raise DockerfileError(f"missing a value on flag: {flag}")
        if value.lower() not in ("true", "false", ""):
            raise DockerfileError(f"expecting boolean value for flag {flag}, not: {value}")
        return value.lower() or "true"

    def text(self, name: str) -> str:
        """The value, '' when not given."""
        return self._values.get(name, [""])[0]

    def truth(self, name: str) -> bool | None:
        """The value, None when not given."""
        given = self._values.get(name)
        return None if given is None else given[0] == "true"

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeatable flag."""
        return tuple(self._values.get(name, ()))
