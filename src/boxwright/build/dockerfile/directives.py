"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top (Dockerfile reference)."""

from __future__ import annotations

from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.text import SPACES
from boxwright.spec.values import dataclass

_BLANKS = "\t\n\f\r "
_KNOWN = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive: lower-case name, value, line."""

    name: str
    value: str
    line: int


class DirectiveReader:
    """Reads lines as long as they are directives."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.done = False

    def read(self, line: str, number: int) -> Directive | None:
        """The directive in the next line; None, and the end of the search, when it is another line.

        Raises DockerfileError for a directive given twice.
        """
        if self.done:
            return None
        name, equals, value = line.removeprefix("#").lstrip(SPACES).partition("=")
        name = name.rstrip(_BLANKS).lower()
        value = value.strip(_BLANKS) or value.rstrip("\n")[-1:]
        if not line.startswith("#") or name not in _KNOWN or not equals or not value or "\n" in value:
            self.done = True
            return None
        if name in self._seen:
            where = SourceRange(number, number)
            raise DockerfileError(f"only one {name} parser directive can be used", ranges=(where,))
        self._seen.add(name)
        return Directive(name, value, number)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What `# check=` (or BUILDKIT_DOCKERFILE_CHECK) sets for the build checks."""

    skip: tuple[str, ...] = ()
    skip_all: bool = False
    error: bool = False
    experimental: tuple[str, ...] = ()
    experimental_all: bool = False


def parse_check(value: str) -> CheckOptions:
    """Read `skip=A,B;error=true;experimental=C`. Raises DockerfileError."""
    skip: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    skip_all = experimental_all = error = False
    for part in filter(None, value.split(";")):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise DockerfileError(f'invalid check option "{part}"')
        names = tuple(name.strip() for name in text.split(","))
        if key == "skip":
            skip_all, skip = (True, skip) if text.lower() == "all" else (skip_all, skip + names)
        elif key == "experimental":
            experimental_all, experimental = (
                (True, experimental) if text.lower() == "all" else (experimental_all, experimental + names)
            )
        elif key == "error":
            if text not in ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"):
                raise DockerfileError(f'failed to parse check option "error": {text} is no boolean')
            error = text in ("1", "t", "T", "TRUE", "true", "True")
        else:
            raise DockerfileError(f'invalid check option "{key}"')
    return CheckOptions(
        skip=skip,
        skip_all=skip_all,
        error=error,
        experimental=experimental,
        experimental_all=experimental_all,
    )
