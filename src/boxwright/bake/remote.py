"""Definitions that are somewhere else: in a repository or an archive, whose folders are their contexts, or alone at a
URL."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import urlsplit

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.files import read_in
from boxwright.bake.trees import Checkout, File
from boxwright.build.ops.context import Secret
from boxwright.build.request import Brought
from boxwright.errors import NotFound
from boxwright.rootfs.root import found_in
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FolderMissing(NotFound):
    """A definition names a context that its repository does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeSource:
    """What is at `url`: a definition (`data`), or a tree of files at `top` with the `commit` that it is of; `dated` as
    `Brought` has it."""

    url: str
    data: bytes | None = None
    top: Path = Path()
    commit: str = ""
    dated: bool = False

    @property
    def is_tree(self) -> bool:
        """Whether there are folders beside the definition."""
        return self.data is None

    def files(self, names: Sequence[str]) -> list[File]:
        """The definitions of these names. Raises DefinitionMissing, DefinitionInvalid."""
        shown = public(self.url)
        if self.data is None:
            return read_in(names, Checkout(self.top), shown)
        if names:
            raise DefinitionInvalid(
                f"{shown} is a definition and has no file {names[0]}",
                hint=f"cwd://{names[0]} is one of this directory",
            )
        return [File(shown, self.data, Nothing())]

    def folder(self, path: str) -> tuple[str, Brought]:
        """A folder as a context: what it is called, and where it lies. Links stay in the tree. Raises FolderMissing."""
        try:
            inside, mode = found_in(self.top, path)
        except OSError:
            mode = 0
        if not stat.S_ISDIR(mode):
            raise FolderMissing(f"{public(self.url)} has no directory {path!r}")
        return self._called(inside.strip("/")), Brought(Path(f"{self.top}{inside}"), self.commit, self.dated)

    def _called(self, path: str) -> str:
        if not path:
            return self.url
        _, mark, fragment = self.url.partition("#")
        return self.url + ("#:" if not mark else "/" if ":" in fragment else ":") + path


def git_accounts(url: str, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """What buildx's variables say for repositories, for the host of this one alone."""
    from boxwright.build.gitref import parse_git

    repository = parse_git(url)
    host = urlsplit(repository.url).hostname if repository is not None else None
    return tuple(
        Secret(f"GIT_AUTH_{kind}.{host}", value=word.encode("utf-8", "surrogateescape"))
        for kind in ("TOKEN", "HEADER")
        if host and (word := environ.get(f"BUILDX_BAKE_GIT_AUTH_{kind}")) is not None
    )


class Nothing:
    """What lies beside a definition that is alone."""

    def read(self, path: str, limit: int) -> bytes | None:
        """As `bake.trees.DefinitionTree` says."""
        return None
