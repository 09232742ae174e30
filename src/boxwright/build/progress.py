"""What a build tells while it runs: typed events, given to a callback from any thread.

A step is named by an opaque `step` text; `StepStarted` comes first for each. Times are seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from boxwright.errors import Cancelled
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from boxwright.build.dockerfile.errors import Warning


DOCKERFILE = "internal dockerfile"  # the step that reads the Dockerfile


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step becomes visible. `name` is its line: ``[stage 2/5] RUN …``."""

    step: str
    name: str


@dataclass(frozen=True, slots=True)
class StepLog:
    """Output of a step: 1 is standard output, 2 standard error. `at` is seconds since the step began."""

    step: str
    stream: int
    data: bytes
    at: float


@dataclass(frozen=True, slots=True)
class StepStatus:
    """A named part of a step: ``transferring context``; `done` when it is complete. Sizes in bytes;
    a `total` of 0 is not known."""

    step: str
    id: str
    current: int = 0
    total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class StepCached:
    """The step's result was on record."""

    step: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepMissed:
    """The step is going to run, and why; only told when reasons were asked for."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """The step ran to its end."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepFailure:
    """The step failed; `cancelled` when something else failed first."""

    step: str
    message: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildWarning:
    """Something that works but is probably not meant. `rule` may be ''; `line`, the first of its lines up to `end`, is
    0 when it has none. `source` is the Dockerfile."""

    rule: str
    message: str
    line: int = 0
    url: str = ""
    description: str = ""
    excerpt: str = ""  # the lines of the Dockerfile
    end: int = 0
    filename: str = ""
    source: bytes = b""

    @classmethod
    def of(cls, warning: Warning, filename: str, source: bytes) -> BuildWarning:
        """What planning or a check found in this file."""
        from boxwright.build.dockerfile.errors import render_excerpt

        at = warning.location
        return cls(
            rule=warning.rule,
            message=warning.message,
            line=at.start if at else 0,
            end=max(at.start, at.end) if at else 0,
            url=warning.url,
            description=warning.description,
            excerpt=render_excerpt(filename, source, [at]) if at else "",
            filename=filename,
            source=source,
        )

    @property
    def short(self) -> str:
        """The warning in one line."""
        rule = f"{self.rule}: " if self.rule else ""
        return f"{rule}{self.message}" + (f" (line {self.line})" if self.line else "")


Event: TypeAlias = (
    StepStarted | StepLog | StepStatus | StepCached | StepMissed | StepDone | StepFailure | BuildWarning
)
Emit: TypeAlias = Callable[[Event], None]


@contextmanager
def showing(emit: Emit, step: str, name: str) -> Iterator[None]:
    """A step for as long as the block runs: it ends with the block, or fails with what the block raises."""
    began = time.monotonic()
    emit(StepStarted(step, name))
    try:
        yield
    except BaseException as error:
        emit(StepFailure(step, str(error), isinstance(error, Cancelled)))
        raise
    emit(StepDone(step, time.monotonic() - began))


def ignore(event: Event) -> None:
    """The callback where no progress is shown."""
