"""A build on a terminal: steps with their times, the last lines of those that run, rewritten in place.

Hand-written escape sequences: what draws tables would take longer to import than a build that is fully on record.
"""

from __future__ import annotations

import re
import sys
import threading
import time

from boxwright.build.progress import (
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepMissed,
    StepStarted,
    StepStatus,
)
from boxwright.cli.progress.view import View, status_text
from boxwright.runtime.tty import window_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context

_REFRESH = 0.1  # seconds
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
        self._drawn = 0
        self._stop = threading.Event()
        self._partial: dict[str, str] = {}
        self._thread = threading.Thread(target=self._refresh, name="progress", daemon=True)

    def __enter__(self) -> Terminal:
        self._thread.start()
        return self

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._draw(final=True)

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
            case StepFailed():
                self._end(line, "cancelled" if event.cancelled else "failed")

    @staticmethod
    def _end(line: _Line, state: str, seconds: float | None = None) -> None:
        line.state = state
        line.ended = line.began + seconds if seconds is not None else time.monotonic()
        if state != "failed":
            line.log.clear()

    def _refresh(self) -> None:
        while not self._stop.wait(_REFRESH):
            with self._lock:
                self._draw()

    def _draw(self, *, final: bool = False) -> None:
        rows, columns = window_size(sys.stderr.fileno()) or (24, 80)
        lines = self._lines(columns, None if final else max(rows - 2, 4))
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        sys.stderr.write(
            up
            + "".join(f"\r\x1b[2K{self.ctx.shown(line)}\n" for line in lines)
            + ("\x1b[0J" if len(lines) < self._drawn else "")
        )
        sys.stderr.flush()
        self._drawn = len(lines)

    def _lines(self, columns: int, room: int | None) -> list[str]:
        done = sum(line.ended is not None for line in self._steps.values())
        state = " FINISHED" if self._stop.is_set() and done == len(self._steps) else ""
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
