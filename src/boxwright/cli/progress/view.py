"""What every view of a build has: its lock, and the warnings that it tells when the build is over."""

from __future__ import annotations

import threading

from boxwright.build.progress import BuildWarning, StepStatus
from boxwright.spec.units import build_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.progress import Event
    from boxwright.cli.context import Context


def status_text(event: StepStatus) -> str:
    """``transferring context: 1.27kB done``."""
    text = event.id
    if event.total or event.current:
        text += f": {build_size(event.current)}"
    if event.total and event.current != event.total:
        text += f" / {build_size(event.total)}"
    return text + (" done" if event.done else "")


class View:
    """Shows nothing; collects warnings. A context manager around the build."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.warnings: list[BuildWarning] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, BuildWarning):
                self.warnings.append(event)
            else:
                self.show(event)

    def show(self, event: Any) -> None:
        """One event, under the lock."""

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The build is over; what is still to be said is said."""

    def tell_warnings(self) -> None:
        """The warnings after everything else, each with its page and its lines."""
        count = len(self.warnings)
        if not count:
            return
        self.ctx.err(f"\n {count} warning{'s' if count > 1 else ''} found:")
        for warning in self.warnings:
            self.ctx.err(f" - {warning.short}")
            if warning.description:
                self.ctx.err(warning.description)
            if warning.url:
                self.ctx.err(f"More info: {warning.url}")
            for line in warning.excerpt.splitlines():
                self.ctx.err(line)
            self.ctx.err()
