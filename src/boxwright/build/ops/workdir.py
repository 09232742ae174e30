"""WORKDIR: a layer with the directory, where it does not exist yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.build.graph import BaseOp, Outcome, Tree
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.errors import Invalid
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class WorkdirRefused(Invalid):
    """The working directory cannot be made."""

    def __init__(self, path: str, way: str) -> None:
        what = "it" if path == way else way
        super().__init__(
            f"cannot make the working directory {path}: {what} is there and is not a directory",
            hint="choose another WORKDIR, or remove the file first",
        )


@dataclass(frozen=True, slots=True)
class WorkdirOp(BaseOp):
    """Makes `path` and its missing parents, mode 0755, owned by `user`, or by root while there is no such user. An
    existing directory stays as it is, and then the layer is empty."""

    kind: ClassVar[str] = "workdir/1"

    path: str  # absolute, clean
    user: str = ""
    epoch: int | None = None

    def definition(self) -> Mapping[str, object]:
        return {"path": self.path, "user": self.user, "epoch": self.epoch}


def make_workdir(op: WorkdirOp, inputs: Sequence[Tree], ctx: StepContext) -> Outcome:
    """The layer of the directory. Raises WorkdirRefused."""
    from boxwright.build.ops.target import LayerBuilder, NotDirectory
    from boxwright.build.ops.viewtree import ViewTree
    from boxwright.rootfs.users import UserUnknown, resolve_user

    view = ctx.view(inputs[0])
    uid, gid = 0, 0
    if op.user:
        try:
            found = resolve_user(view, op.user)
            uid, gid = found.uid, found.gid
        except UserUnknown:
            pass  # a step may make the user later; one that runs as it says what is missing
    target = LayerBuilder(ViewTree(view), layer_time(op.epoch, len(inputs[0].layers)))
    try:
        target.make_directory(path=op.path, mode=0o755, uid=uid, gid=gid)
    except NotDirectory as error:
        raise WorkdirRefused(op.path, error.path) from error
    return target.write(ctx)
