"""Where trees come from: nothing at all, or an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.build.graph import BaseOp, Outcome, Selection, Tree
from boxwright.build.ops.context import StepContext
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ScratchOp(BaseOp):
    """``FROM scratch``: no layers. Its vertex is settled at birth."""

    kind: ClassVar[str] = "scratch/1"

    def definition(self) -> Mapping[str, object]:
        return {}

    def run(self, inputs: Sequence[Tree], selection: Selection | None, ctx: StepContext) -> Outcome:
        return Outcome(())


@dataclass(frozen=True, slots=True)
class ImageOp(BaseOp):
    """A base image. Its layers are known from its config, so that its vertex is settled at birth; the layers
    themselves come when a step needs them (`StepContext.ensure`)."""

    kind: ClassVar[str] = "image/1"

    digest: str  # of the platform's manifest
    platform: str

    def definition(self) -> Mapping[str, object]:
        return {"digest": self.digest, "platform": self.platform}

    def run(self, inputs: Sequence[Tree], selection: Selection | None, ctx: StepContext) -> Outcome:
        return Outcome(())
