"""A build on a terminal: steps with their times, the last lines of those that run, rewritten in place."""

from __future__ import annotations

import re
import time

from boxwright.build.progress import (
    StepCached,
    StepDone,
    StepFailure,
    StepLog,
    StepMissed,
    StepStarted,
    StepStatus,
)
from boxwright.cli.progress.screen import Screen
from boxwright.cli.progress.view import View, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context

_RESULTS = ("exporting", "pushing")
_LOG_LINES = 6  # of a running step, as BuildKit shows
# What a program says to its terminal is for no other: colours, cursor movements, titles, bells.
_CONTROLS = (
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[()*+#]?.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class _Line:
    """A step on the screen."""

    __slots__ = ("began", "ended", "log", "name", "state", "status")

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = time.monotonic()
        self.ended: float | None = None
        self.state = "running"  # cached, done, failed, cancelled
        self.log: list[str] = []
        self.status: dict[str, str] = {}


class Terminal(View):
    """Redraws what still changes; finished steps scroll away above when there is no room."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._began = time.monotonic()
        self._steps: dict[str, _Line] = {}
        self._partial: dict[str, str] = {}
        self._screen = Screen(ctx, self._lines, self._lock)

    def __enter__(self) -> Terminal:
        self._screen.start()
        return self

    def close(self) -> None:
        self._screen.stop()

    def show(self, event: Any) -> None:
        if isinstance(event, StepStarted):
            self._steps.setdefault(event.step, _Line(_readable(event.name)))
            return
        line = self._steps.get(event.step)
        if line is None:
            return
        match event:
            case StepLog():
                text = self._partial.pop(event.step, "") + event.data.decode("utf-8", "replace")
                *whole, rest = text.split("\n")
                line.log = (line.log + [_readable(w) for w in whole])[-_LOG_LINES:]
                self._partial[event.step] = rest
            case StepStatus():
                line.status[event.id] = _readable(status_text(event))
            case StepMissed():
                line.status["why"] = _readable(f"because: {event.reason}")
            case StepCached():
                self._end(line, "cached")
            case StepDone():
                self._end(line, "done", event.seconds)
            case StepFailure():
                self._end(line, "cancelled" if event.cancelled else "failed")

    @staticmethod
    def _end(line: _Line, state: str, seconds: float | None = None) -> None:
        line.state = state
        line.ended = line.began + seconds if seconds is not None else time.monotonic()
        if state != "failed":
            line.log.clear()

    def _lines(self, columns: int, room: int | None) -> list[str]:
        done = sum(line.ended is not None for line in self._steps.values())
        state = " FINISHED" if self._screen.stopped and done == len(self._steps) else ""
        head = f"[+] Building {time.monotonic() - self._began:.1f}s ({done}/{len(self._steps)}){state}"
        body: list[str] = []
        for line in self._steps.values():
            body.append(self._step(line, columns))
            # What was made, and under which names, is what people look for in the end.
            if line.state == "running" or (line.state == "done" and line.name.startswith(_RESULTS)):
                body += [
                    self.ctx.paint(f" => => {text}"[: columns - 1], "faint") for text in line.status.values()
                ]
                body += [self.ctx.paint(f" => => # {text}"[: columns - 1], "faint") for text in line.log]
        if room is not None and len(body) > room:
            body = body[-room:]
        return [head, *body]

    def _step(self, line: _Line, columns: int) -> str:
        seconds = f"{(line.ended or time.monotonic()) - line.began:.1f}s"
        word = {"cached": "CACHED ", "failed": "ERROR ", "cancelled": "CANCELED "}.get(line.state, "")
        text = f" => {word}{line.name}"
        space = max(columns - len(seconds) - 2, 8)
        text = text[:space].ljust(space)
        colour = {"cached": "cyan", "done": "cyan", "failed": "red", "cancelled": "yellow"}.get(line.state)
        return (self.ctx.paint(text, colour) if colour else text) + " " + seconds


def _readable(text: str) -> str:
    """What a line of output looks like in the end: overwritten and control characters gone, tabs as blanks."""
    return re.sub(_CONTROLS, "", text.rstrip("\r").rpartition("\r")[2]).expandtabs()
