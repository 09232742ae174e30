"""COPY and ADD of what is at hand: files of the build context, of another stage or image, or written in the
Dockerfile. Nothing is unpacked and no file is made: the entries go straight into a layer's tar."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.graph import BaseOp, Reads
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPart:
    """One source. `origin`: ``context`` (the build context, or the local context named `context`), ``input``
    (vertex input number `input`) or ``inline`` (`data`, a heredoc, under the file name `source`)."""

    origin: Literal["context", "input", "inline"]
    source: str
    input: int = 0
    context: str = ""
    data: str = ""
    unpack: bool = False  # ADD: an archive is unpacked
    mode: int | None = None  # for a download: 0600
    keep_times: bool = False  # files keep the times they have; else they get the layer's

    def definition(self) -> dict[str, object]:
        """Its part of the key; which local context it is does not count, its content does."""
        return {
            "origin": self.origin,
            "source": self.source,
            "input": self.input,
            "data": self.data,
            # The rules' number: by the first, links of an archive led out of its destination.
            "unpack": 2 if self.unpack else False,
            "mode": self.mode,
            "keep_times": self.keep_times,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOp(BaseOp):
    """Copies all `parts` to `dest` (absolute; a trailing slash means a directory)."""

    kind: ClassVar[str] = "copy/2"

    parts: tuple[CopyPart, ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    epoch: int | None = None

    @property
    def reads(self) -> Reads:
        origins = {part.origin for part in self.parts}
        if "context" in origins:
            return "local"
        return "input" if "input" in origins else "none"

    @property
    def reads_alone(self) -> bool:
        return self.reads == "local" and all(part.origin != "input" for part in self.parts)

    @property
    def selects(self) -> tuple[int, ...]:
        if self.reads != "input":
            return ()
        return tuple(sorted({part.input for part in self.parts if part.origin == "input"}))

    @property
    def independent(self) -> bool:
        # A named owner is looked up in the base's passwd file.
        return self.link and not self.chmod and not any(c.isalpha() for c in self.chown)

    def definition(self) -> Mapping[str, object]:
        return {
            "parts": [part.definition() for part in self.parts],
            "dest": self.dest,
            "chown": self.chown,
            "chmod": self.chmod,
            "link": self.link,
            "parents": self.parents,
            "excludes": list(self.excludes),
            "epoch": self.epoch,
        }
