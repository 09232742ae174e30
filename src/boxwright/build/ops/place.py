"""Copying: selected sources onto a destination, with BuildKit's rules (Dockerfile reference, "COPY")."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.build.context.filetree import FileTree, TreeNode
from boxwright.build.context.folders import FolderFiles
from boxwright.build.context.tree import CopySource, SourceSet
from boxwright.build.dockerfile.chmod import parse_chmod
from boxwright.build.graph import Outcome, Selection, Tree
from boxwright.build.ops.attributes import Attributes, NodeContent
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.build.ops.ranges import Ranges
from boxwright.build.ops.target import Inline, LayerBuilder, Planned
from boxwright.build.ops.viewtree import ViewTree
from boxwright.spec.hints import NamedTuple
from boxwright.spec.text import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.ops.copy import CopyOp, CopyPart
    from boxwright.layer.view import LayersView

_MOST = 2**32 - 1  # of a user's or group's number, as the kernel has them


def place(op: CopyOp, inputs: Sequence[Tree], selection: Selection | None, ctx: StepContext) -> Outcome:
    """Make the layer of a COPY or ADD. Raises CopyRefused, DockerfileError, ArchiveInvalid, DiskFull."""
    if selection is None:
        from boxwright.build.ops.select import select

        selection = select(op, inputs, ctx)
    base = Tree() if op.independent else inputs[0]
    view = ctx.view(base) if base.layers else None
    attributes = Attributes(
        owner=owner(op.chown, view),
        chmod=parse_chmod(op.chmod) if op.chmod else None,
        mtime=layer_time(op.epoch, len(base.layers)),
        latest=None if op.epoch is None else layer_time(op.epoch, 0),
    )
    builder = LayerBuilder(ViewTree(view) if view is not None else None, attributes.mtime)
    sets = iter(selection.payload)
    with Ranges(op=op, sets=selection.payload, attributes=attributes, ctx=ctx) as ranges:
        placing = _Placing(builder=builder, op=op, attributes=attributes, ctx=ctx, ranges=ranges)
        for part in op.parts:
            if part.origin == "inline":
                _inline(placing, part)
            else:
                _place_set(placing, part, next(sets))
        outcome = builder.write(ctx)
        ranges.learn(builder, outcome.added[0])
        return outcome


def owner(text: str, view: LayersView | None) -> tuple[int, int] | None:
    """What ``--chown`` means in a tree: numbers directly (the group is the user's number unless it is given), names
    by the tree's passwd and group files, except for root. An absent user is root. Raises UserUnknown."""
    if not text:
        return None
    user, _, group = text.partition(":")
    uid = _number(user)
    gid = _number(group) if group else uid
    if uid is not None and gid is not None:
        return uid, gid
    from boxwright.rootfs.users import UserUnknown, resolve_user

    if view is None:
        missing = f"user {user}" if uid is None else f"group {group}"
        raise UserUnknown(
            f"unable to find {missing}: the image has no /etc/passwd and no /etc/group",
            hint="use numbers: --chown=UID:GID",
        )
    found = resolve_user(view, f"{user if uid is None else uid}" + (f":{group}" if group else ""))
    return found.uid, found.gid if gid is None else gid


def _number(name: str) -> int | None:
    """The user or group that needs no file."""
    return 0 if name in ("", "root") else whole_number(name, _MOST)


class _Placing(NamedTuple):
    """One copy under way."""

    builder: LayerBuilder
    op: CopyOp
    attributes: Attributes
    ctx: StepContext
    ranges: Ranges


def _inline(placing: _Placing, part: CopyPart) -> None:
    builder, op, attributes, _, _ = placing
    data = part.data.encode("utf-8", "surrogateescape")
    uid, gid = attributes.owner_or_root
    mode = attributes.chmod.apply(0o644, directory=False) if attributes.chmod is not None else 0o644
    entry = Planned(
        type="file",
        mode=mode,
        uid=uid,
        gid=gid,
        mtime_ns=attributes.mtime,
        size=len(data),
        content=Inline(data),
    )
    builder.other(_file_target(builder=builder, op=op, name=part.source, attributes=attributes), entry)


def _place_set(placing: _Placing, part: CopyPart, found: SourceSet) -> None:
    builder, op, attributes, ctx, _ = placing
    for source in found:
        if source.directory:
            _directory(placing, part, found.tree, source=source)
            continue
        node = source.nodes[0]
        if part.unpack and node.type == "file":
            from boxwright.build.ops.unpack import unpack

            if unpack(
                builder=builder, dest=op.dest, tree=found.tree, node=node, attributes=attributes, ctx=ctx
            ):
                continue
        entry = attributes.plan(node, keep_times=part.keep_times, content=NodeContent(found.tree, node))
        if part.mode is not None and attributes.chmod is None:
            entry = entry._replace(mode=part.mode)
        builder.other(_file_target(builder=builder, op=op, name=source.name, attributes=attributes), entry)


def _file_target(builder: LayerBuilder, op: CopyOp, name: str, attributes: Attributes) -> str:
    """Where a file goes: into a destination that is a directory, else it becomes the destination."""
    owner_ids = attributes.owner_or_root
    if op.dest.endswith("/"):
        real = builder.make_directory(op.dest, attributes.directory_mode, *owner_ids)
        return f"{real}/{name}" if real else name
    builder.make_directory(op.dest.rpartition("/")[0], attributes.directory_mode, *owner_ids)
    real = builder.real(op.dest)
    found = builder.lookup(real) if real else None
    if not real or (found is not None and found.type == "dir"):
        return f"{real}/{name}" if real else name
    builder.make_directory(real.rpartition("/")[0], attributes.directory_mode, *owner_ids)
    return real


def _directory(placing: _Placing, part: CopyPart, tree: FileTree, source: CopySource) -> None:
    """The contents of a directory. The destination itself keeps its attributes, directories inside take the
    source's."""
    builder, op, attributes, _, ranges = placing
    top = builder.make_directory(op.dest, attributes.directory_mode, *attributes.owner_or_root)
    prefix = top + "/" if top else ""
    plan, directory, other, keep = attributes.plan, builder.directory, builder.other, part.keep_times
    cut = len(source.path) + 1 if source.path else 0

    def file(node: TreeNode) -> None:
        other(prefix + node.path[cut:], plan(node, keep_times=keep, content=NodeContent(tree, node)))

    ranges.at(top, source.path)
    for node in ranges.walk(source):
        if isinstance(node, FolderFiles):
            if not ranges.take(builder, node, prefix + node.path[cut:] if node.path[cut:] else top):
                for one in ranges.files(node):
                    file(one)
        elif node.type == "dir":
            into = prefix + node.path[cut:]
            directory(into, plan(node, keep_times=keep))
            ranges.at(into, node.path)
        else:
            file(node)
