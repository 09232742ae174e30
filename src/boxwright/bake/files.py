"""The files of a definition: which are looked for, how each is read, and all of them as one."""

from __future__ import annotations

from pathlib import Path

from boxwright.bake import definition
from boxwright.bake.definition import Config, Definition, Outside
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl import json_syntax, source, syntax
from boxwright.errors import NotFound
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from boxwright.bake.hcl.tree import HclBody

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
DEFAULTS = (
    *COMPOSE,
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)


class DefinitionMissing(NotFound):
    """There is no definition where it was looked for."""


@dataclass(frozen=True, slots=True)
class File:
    name: str
    data: bytes


def read(names: Sequence[str], cwd: Path, stdin: bytes | None = None) -> list[File]:
    """The files of these names, or those of the usual names that there are. Raises DefinitionMissing,
    DefinitionInvalid."""
    found = []
    for name in names or DEFAULTS:
        if name == "-":
            found.append(File("-", stdin or b""))
            continue
        path = cwd / name
        try:
            with path.open("rb") as file:
                found.append(File(name, file.read(source.LARGEST + 1)))
        except FileNotFoundError:
            if names:
                raise DefinitionMissing(f"open {name}: no such file or directory") from None
        except OSError as error:
            raise DefinitionInvalid(f"open {name}: {(error.strerror or 'cannot be read').lower()}") from None
    if not found:
        raise DefinitionMissing(
            "couldn't find a bake definition",
            hint=f"looked for {', '.join(DEFAULTS)} in {cwd}; name one with -f",
        )
    return found


def parse(files: Sequence[File], around: Outside, cwd: Path) -> Config:
    """All files as one. Raises DefinitionInvalid."""
    sources = {file.name: file.data for file in files}
    try:
        return _parse(files, around, cwd)
    except DefinitionInvalid as error:
        raise error.among(sources) from None
    except RecursionError:
        raise DefinitionInvalid("the definition is nested too deeply") from None


def _parse(files: Sequence[File], around: Outside, cwd: Path) -> Config:
    config = Config()
    bodies: list[HclBody] = []
    composed: list[File] = []
    for file in files:
        body = _body(file, around.environ, cwd)
        if body is None:
            composed.append(file)
        else:
            bodies.append(body)
    if composed:
        from boxwright.bake.compose import load

        config = load(composed, around.environ, cwd)
    if bodies:
        Definition(bodies, around).evaluate(config)
    return config


def _body(file: File, environ: Mapping[str, str], cwd: Path) -> HclBody | None:
    """A file as HCL or JSON; None when it is a compose file. Raises DefinitionInvalid."""
    name = file.name.lower()
    if name.endswith((".yml", ".yaml")):
        return None
    if name.endswith(".json"):
        return json_syntax.parse(file.data, file.name, definition.SCHEMA)
    if name.endswith(".hcl"):
        return syntax.parse(file.data, file.name)
    from boxwright.bake.compose import is_compose

    if is_compose(file, environ, cwd):
        return None
    try:
        return syntax.parse(file.data, file.name)
    except DefinitionInvalid as error:
        try:
            return json_syntax.parse(file.data, file.name, definition.SCHEMA)
        except DefinitionInvalid:
            raise error from None
