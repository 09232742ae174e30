"""Where trees come from: nothing at all, or an image."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.graph import BaseOp
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


@dataclass(frozen=True, slots=True)
class ImageOp(BaseOp):
    """A base image. Its layers are known from its config, so that its vertex is settled at birth; the layers
    themselves come when a step needs them (`StepContext.ensure`)."""

    kind: ClassVar[str] = "image/1"

    digest: str  # of the platform's manifest
    platform: str

    def definition(self) -> Mapping[str, object]:
        return {"digest": self.digest, "platform": self.platform}
