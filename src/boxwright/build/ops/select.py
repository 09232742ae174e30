"""The source side of COPY and ADD: what the source words mean, and the digest by which the step is keyed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from boxwright.build.context.filetree import FileTree
from boxwright.build.context.tree import CopySource, SourceMissing, SourceSet, fingerprint
from boxwright.build.context.tree import select as select_in
from boxwright.build.graph import Selection, Tree
from boxwright.build.ops.context import StepContext
from boxwright.spec import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.ops.copy import CopyOp, CopyPart
    from boxwright.build.ops.exec import ExecOp


def select(op: CopyOp, inputs: Sequence[Tree], ctx: StepContext) -> Selection:
    """What the operation would copy. `payload` has a SourceSet for each part that is not inline. Raises
    SourceMissing, PatternInvalid, LinkLoop."""
    trees: dict[tuple[str, int], FileTree] = {}
    sets: list[SourceSet] = []
    parts = [part for part in op.parts if part.origin != "inline"]
    for part in parts:
        tree = trees.setdefault((part.context, part.input), _tree(part, inputs, ctx))
        sets.append(_found(op, part, tree))

    if op.reads == "local":
        ctx.context_read(sum(found.size for found in sets))

    def digest() -> str:
        digests = [found.digest(times=part.keep_times) for part, found in zip(parts, sets)]
        return "sha256:" + hashes.sha256("".join(digests).encode()).hexdigest()

    def files() -> dict[str, str]:
        return {
            path: what
            for part, found in zip(parts, sets)
            for path, what in found.manifest(times=part.keep_times).items()
        }

    return Selection(digest, files, tuple(sets))


def select_mounts(op: ExecOp, inputs: Sequence[Tree], ctx: StepContext) -> Selection:
    """What the operation's content-keyed mounts show. Raises MountSourceMissing, LinkLoop."""
    from boxwright.build.ops.stepmounts import MountSourceMissing
    from boxwright.build.ops.viewtree import ViewTree

    trees: dict[int, ViewTree] = {}
    lines: list[str] = []
    sets: list[SourceSet] = []
    for mount in op.mounts:
        if not mount.by_content or mount.input is None:
            continue
        if mount.input not in trees:
            trees[mount.input] = ViewTree(ctx.view(inputs[mount.input]))
        tree = trees[mount.input]
        node = tree.resolve(mount.source)
        if node is None:
            raise MountSourceMissing(mount.source)
        below = tuple(tree.walk(node.path)) if node.type == "dir" else (node,)
        source = CopySource(node.path, "", directory=node.type == "dir", nodes=partial(tuple, below))
        sets.append(SourceSet(tree, (source,)))
        lines.append(f"{mount.input}\0{mount.source}\0{fingerprint(tree, node)}\0{node.mtime_ns}")

    def digest() -> str:
        whole = [*lines, *(found.digest(times=True) for found in sets)]
        return "sha256:" + hashes.sha256("\n".join(whole).encode("utf-8", "surrogateescape")).hexdigest()

    def files() -> dict[str, str]:
        return {path: what for found in sets for path, what in found.manifest(times=True).items()}

    return Selection(digest, files)


def _tree(part: CopyPart, inputs: Sequence[Tree], ctx: StepContext) -> FileTree:
    if part.origin == "context":
        return ctx.context(part.context)
    from boxwright.build.ops.viewtree import ViewTree

    return ViewTree(ctx.view(inputs[part.input]))


def _found(op: CopyOp, part: CopyPart, tree: FileTree) -> SourceSet:
    try:
        return select_in(tree, part.source, exclude=op.excludes, parents=op.parents)
    except SourceMissing as error:
        hint = (
            "the path is looked for in the build context"
            if part.origin == "context"
            else "the path is looked for from the root of the other stage or image"
        )
        raise SourceMissing(error.path, hint=error.hint or hint) from error
