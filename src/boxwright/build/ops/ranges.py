"""What an earlier layer has already: the files of an unchanged directory are a range of its tar, headers and all.

A COPY of one directory of the build context looks its directories up among those that were placed before
(`context.placed`), takes what is the same as it is, and notes where everything stands in the layer that it made.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence

from boxwright.build.context.filetree import TreeNode
from boxwright.build.context.folders import FolderFiles
from boxwright.build.context.local import LocalContext
from boxwright.build.context.placed import run_key
from boxwright.build.context.tree import CopySource, SourceSet
from boxwright.build.ops.context import StepContext
from boxwright.build.ops.target import LayerBuilder, Range
from boxwright.layer.store import LayerMissing
from boxwright.layer.tree import WHITEOUT, spans
from boxwright.spec.digest import DiffID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from boxwright.build.ops.attributes import Attributes
    from boxwright.build.ops.copy import CopyOp

_WHITEOUT = os.fsdecode(WHITEOUT)


class Ranges:
    """For one copy; a context manager, which has the layers open that ranges are taken of."""

    def __init__(
        self, op: CopyOp, sets: Sequence[SourceSet], attributes: Attributes, ctx: StepContext
    ) -> None:
        self._tree: LocalContext | None = None
        self._path = ""
        self._ctx = ctx
        self._attributes = attributes
        uid, gid = attributes.owner_or_root
        self._manner = f"{uid}:{gid} {op.chmod} {attributes.mtime}"
        self._opened: dict[str, int | None] = {}
        self._from: dict[str, str] = {}  # directory of the layer -> of the context
        # Of several sources, one may be placed over another.
        if len(op.parts) == 1 and len(sets) == 1 and not op.parts[0].keep_times:
            tree, sources = sets[0].tree, sets[0].sources
            if isinstance(tree, LocalContext) and len(sources) == 1 and sources[0].whole:
                self._tree, self._path = tree, sources[0].path

    def walk(self, source: CopySource) -> Iterable[TreeNode | FolderFiles]:
        """What is to be placed of a directory: nodes, and files that `take` may be able to take at once."""
        return source.walk() if self._tree is None else self._tree.walk_folders(source.path)

    def files(self, folder: FolderFiles) -> Iterable[TreeNode]:
        """The same files as nodes."""
        assert self._tree is not None
        return self._tree.files_of(folder.path)

    def at(self, into: str, path: str) -> None:
        """Note that a directory of the context is placed there."""
        if self._tree is not None:
            self._from[into] = path

    def take(self, builder: LayerBuilder, folder: FolderFiles, into: str) -> bool:
        """Plan the files as ranges, if all of them stand in layers that are here."""
        assert self._tree is not None
        names = folder.names
        if not builder.is_new(into) or f"\0{_WHITEOUT}" in f"\0{folder.joined}":
            return False
        found: list[tuple[str, Range]] = []
        for start, end in folder.runs():
            taken = self._range(folder, into, names=names[start:end], start=start)
            if taken is None:
                return False
            found.append((names[start], taken))
        for name, taken in found:
            builder.take(f"{into}/{name}" if into else name, taken)
        return True

    def _range(self, folder: FolderFiles, into: str, names: list[str], start: int) -> Range | None:
        assert self._tree is not None
        end = start + len(names)
        placed = self._tree.find_placed(self._key(folder.own, names[0], count=len(names), into=into))
        source = self._open(placed[0]) if placed is not None else None
        if placed is None or source is None:
            return None
        chmod, (uid, gid) = self._attributes.chmod, self._attributes.owner_or_root
        modes = folder.modes[start:end]
        if chmod is not None:
            modes = array("H", [chmod.apply(mode, directory=False) for mode in modes])
        taken = Range(
            source=source,
            offset=placed[1],
            directory=os.fsencode(into),
            names=os.fsencode("\0".join(names)),
            modes=modes,
            sizes=folder.sizes[start:end],
            uid=uid,
            gid=gid,
            mtime=self._attributes.mtime,
        )
        # Otherwise headers have extensions: of long names, say.
        return taken if sum(spans(taken.sizes)) == placed[2] else None

    def learn(self, builder: LayerBuilder, layer: DiffID) -> None:
        """Note where everything stands in the layer that was written."""
        tree = self._tree
        if tree is None:
            return
        tree.summary(self._path)  # which the step's key is made of, next
        tree.note_placed(
            str(layer),
            [
                (
                    self._key(folder.own, run.first, count=run.files, into=run.directory),
                    run.offset,
                    run.length,
                )
                for run in builder.runs
                # Elsewhere a run has gaps: the layer leaves out what the base has.
                if run.directory in self._from
                and builder.is_new(run.directory)
                and (folder := tree.folder(self._from[run.directory])) is not None
                and not folder.links
            ],
        )

    def _key(self, own: str, first: str, count: int, into: str) -> bytes:
        return run_key(own=own, first=first, count=count, into=into, manner=self._manner)

    def _open(self, layer: str) -> int | None:
        """The layer's tar; what is open stays, whatever the collector does."""
        if layer not in self._opened:
            try:
                known = self._ctx.services.layers.get(DiffID.parse(layer))
                self._opened[layer] = os.open(known.tar_path, os.O_RDONLY | os.O_CLOEXEC)
            except (LayerMissing, OSError):
                self._opened[layer] = None
        return self._opened[layer]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._opened.values():
            if fd is not None:
                os.close(fd)
        self._opened.clear()
