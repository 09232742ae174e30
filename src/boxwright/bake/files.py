"""The files of a definition: which are looked for, how each is read, and all of them as one."""

from __future__ import annotations

from pathlib import Path

from boxwright.bake import definition
from boxwright.bake.definition import Config, Definition, Outside
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl import json_syntax, source, syntax
from boxwright.bake.trees import Directory, File
from boxwright.build.gitref import is_url
from boxwright.errors import NotFound
from boxwright.spec.urls import public
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxwright.bake.hcl.tree import HclBody
    from boxwright.bake.trees import DefinitionTree

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
            if not names and path.exists() and not path.is_file():
                raise DefinitionInvalid(f"open {name}: it is no file")  # a FIFO would never end
            with path.open("rb") as file:
                found.append(File(name, file.read(source.LARGEST + 1)))
        except FileNotFoundError:
            if names:
                hint = "the URL of a definition stands before the targets" if is_url(name) else ""
                raise DefinitionMissing(
                    f"open {public(name)}: no such file or directory", hint=hint
                ) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "") or "cannot be read"
            raise DefinitionInvalid(f"open {name}: {why.lower()}") from None
    return found or _nothing(str(cwd))


def read_in(names: Sequence[str], tree: DefinitionTree, shown: str) -> list[File]:
    """The same of a tree that was brought here; `shown` is what it is called. Raises DefinitionMissing."""
    found = []
    for name in names or DEFAULTS:
        data = tree.read(name, source.LARGEST + 1)
        if data is not None:
            found.append(File(name, data, tree))
        elif names:
            hint = "cwd://- is standard input" if name == "-" else f"looked for it in {shown}"
            raise DefinitionMissing(f"open {name}: no such file or directory", hint=hint)
    return found or _nothing(shown)


def _nothing(where: str) -> list[File]:
    raise DefinitionMissing(
        "couldn't find a bake definition",
        hint=f"looked for {', '.join(DEFAULTS)} in {where}; name one with -f",
    )


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
    here = Directory(cwd)
    bodies: list[HclBody] = []
    composed: list[File] = []
    for file in files:
        body = _body(file)
        if body is None:
            composed.append(file if file.tree is not None else replace(file, tree=here))
        else:
            bodies.append(body)
    if composed:
        from boxwright.bake.compose import load

        config = load(composed, around.environ)
    if bodies:
        Definition(bodies, around).evaluate(config)
    config.paths = here.paths
    return config


def _body(file: File) -> HclBody | None:
    """A file as HCL or JSON; None when it is a compose file. Raises DefinitionInvalid."""
    name = file.name.lower()
    if name.endswith((".yml", ".yaml")):
        return None
    if name.endswith(".json"):
        return json_syntax.parse(file.data, file.name, definition.SCHEMA)
    if name.endswith(".hcl"):
        return syntax.parse(file.data, file.name)
    from boxwright.bake.compose import is_compose

    if is_compose(file):
        return None
    try:
        return syntax.parse(file.data, file.name)
    except DefinitionInvalid as error:
        try:
            return json_syntax.parse(file.data, file.name, definition.SCHEMA)
        except DefinitionInvalid:
            raise error from None
