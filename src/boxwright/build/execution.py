"""Which code does an operation: the one place that knows both the values and what runs them.

What an operation does not need is not imported for it: a build that is answered from records loads no sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.build.graph import Op, Outcome, Selection, Tree
from boxwright.build.ops.context import StepContext
from boxwright.build.ops.copy import CopyOp
from boxwright.build.ops.exec import ExecOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True)
class OpExecution:
    """One vertex's operation, with what it needs to run; the solver's `Execution`."""

    op: Op
    ctx: StepContext

    def select(self, inputs: Sequence[Tree]) -> Selection | None:
        """What would be read of the content-keyed input; None when the operation reads ``none``."""
        op, ctx = self.op, self.ctx
        if op.reads == "none":
            return None
        if isinstance(op, CopyOp):
            from boxwright.build.ops.select import select

            return select(op, inputs, ctx)
        if isinstance(op, ExecOp):
            from boxwright.build.ops.select import select_mounts

            return select_mounts(op, inputs, ctx)
        from boxwright.build.ops.http import HttpOp, select_download

        if isinstance(op, HttpOp):
            return select_download(op, ctx)
        from boxwright.build.ops.git import GitOp, select_commit

        assert isinstance(op, GitOp)
        return select_commit(op, ctx)

    def run(self, inputs: Sequence[Tree], selection: Selection | None) -> Outcome:
        """Do it. Raises what the operation's code raises, see there."""
        op, ctx = self.op, self.ctx
        if isinstance(op, ExecOp):
            from boxwright.build.ops.sandbox import run_in_sandbox

            return run_in_sandbox(op, inputs, ctx)
        if isinstance(op, CopyOp):
            from boxwright.build.ops.place import place

            return place(op=op, inputs=inputs, selection=selection, ctx=ctx)
        if isinstance(op, WorkdirOp):
            from boxwright.build.ops.workdir import make_workdir

            return make_workdir(op, inputs, ctx)
        from boxwright.build.ops.http import HttpOp, download

        if isinstance(op, HttpOp):
            return download(op, selection, ctx)
        from boxwright.build.ops.git import GitOp, checkout

        assert isinstance(op, GitOp), "what is settled at birth never runs"
        return checkout(op, selection, ctx)
