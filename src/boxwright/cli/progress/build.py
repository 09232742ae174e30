"""How a build shows itself: BuildKit's plain lines, JSON, or nothing but errors. The terminal's own is
`cli.progress.terminal`.

Events come from any thread; a view is called under its own lock.
"""

from __future__ import annotations

import sys
import time

from boxwright.build.progress import (
    DOCKERFILE,
    StepCached,
    StepDone,
    StepFailure,
    StepLog,
    StepMissed,
    StepStarted,
    StepStatus,
)
from boxwright.cli.progress.view import View, status_text
from boxwright.errors import Invalid
from boxwright.spec.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.progress import BuildWarning
    from boxwright.cli.context import Context

_EVERY = 1.0  # seconds between two lines of one status
_SAID = float("inf")
KINDS = ("auto", "plain", "tty", "quiet", "none", "rawjson")


def check_kind(kind: str) -> None:
    """Whether ``--progress`` takes this; '' is not given. Raises Invalid."""
    if kind and kind not in KINDS:
        raise Invalid(f"invalid progress mode {kind!r}: there are {', '.join(KINDS)}")


def make(ctx: Context, kind: str, *, quiet: bool) -> View:
    """The view that ``--progress`` and ``-q`` ask for; 'auto' goes by the terminal. Raises Invalid."""
    typed, kind = kind, kind or ctx.settings.progress or "auto"
    check_kind(kind)
    if quiet and typed not in ("", "auto", "quiet"):
        raise Invalid(f"progress={typed} and quiet cannot be used together")
    if quiet or kind in ("quiet", "none"):
        return Quiet(ctx)
    if kind == "tty" and not ctx.stderr_is_tty:
        if typed:
            raise Invalid(
                "--progress=tty needs a terminal, and standard error is none", hint="--progress=plain"
            )
        kind = "plain"
    if kind == "auto":
        kind = "tty" if ctx.stderr_is_tty else "plain"
    if kind == "tty":
        from boxwright.cli.progress.terminal import Terminal

        return Terminal(ctx)
    return Plain(ctx) if kind == "plain" else RawJson(ctx)


class Quiet(View):
    """Nothing at all, as Docker's ``-q``: what is told by name (`check=error=true`, a failure) is an error."""

    def tell_warnings(self) -> None:
        """None."""


class _Shown:
    """A step in the plain view."""

    __slots__ = ("began", "line", "name", "number", "told")

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.began = time.monotonic()
        self.line: dict[int, tuple[float, bytes]] = {}  # unfinished lines by stream
        self.told: dict[str, float] = {}  # when each status was last shown


class Plain(View):
    """One line an event, numbered by step; lines of parallel steps never mix within a line."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._steps: dict[str, _Shown] = {}
        self._current: _Shown | None = None
        self._numbers = 0

    def show(self, event: Any) -> None:
        if isinstance(event, StepStarted):
            if event.step not in self._steps:
                self._numbers += 1
                self._steps[event.step] = _Shown(self._numbers, event.name)
            return
        step = self._steps.get(event.step)
        if step is None:
            return
        if isinstance(event, StepLog):
            self._log(step, event)
        elif isinstance(event, StepStatus):
            now = time.monotonic()
            # A line for every block would be thousands of lines for a layer.
            if event.done or now - step.told.get(event.id, -_EVERY) >= _EVERY:
                if step.told.get(event.id) != _SAID:
                    self._say(step, status_text(event))
                step.told[event.id] = _SAID if event.done else now
        elif isinstance(event, StepMissed):
            self._say(step, f"runs because: {event.reason}")
        else:
            self._end(step, event)

    def _log(self, step: _Shown, event: StepLog) -> None:
        at, pending = step.line.pop(event.stream, (event.at, b""))
        for line in (pending + event.data).splitlines(keepends=True):
            if not line.endswith((b"\n", b"\r")):
                step.line[event.stream] = at, line
                return
            self._say(step, f"{at:.3f} {line.decode('utf-8', 'replace').rstrip()}", raw=True)
            at = event.at

    def _end(self, step: _Shown, event: Any) -> None:
        for at, line in step.line.values():
            self._say(step, f"{at:.3f} {line.decode('utf-8', 'replace').rstrip()}", raw=True)
        step.line.clear()
        match event:
            case StepCached():
                self._say(step, "CACHED" + (f" ({event.reason})" if event.reason else ""))
            case StepDone():
                self._say(step, f"DONE {event.seconds:.1f}s")
            case StepFailure():
                self._say(step, "CANCELED" if event.cancelled else f"ERROR: {event.message}")
        self.ctx.err()
        self._current = None

    def _say(self, step: _Shown, text: str, *, raw: bool = False) -> None:
        """A line of a step; `raw`: the step's own program said it."""
        if self._current is not step:
            if self._current is not None:
                self.ctx.err(f"#{self._current.number} ...\n")
            self.ctx.err(f"#{step.number} {step.name}")
            self._current = step
        (self.ctx.relay if raw else self.ctx.err)(f"#{step.number} {text}")


class RawJson(View):
    """One JSON object a line on standard error, in the form of BuildKit's solve status."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._started: dict[str, tuple[str, str]] = {}

    def show(self, event: Any) -> None:
        self._write(self._body(event))

    def tell_warnings(self) -> None:
        if self.warnings:
            self._write({"warnings": [_warning(one) for one in self.warnings]})

    @staticmethod
    def _write(body: dict[str, Any]) -> None:
        import json

        if body:
            sys.stderr.write(json.dumps(body) + "\n")
            sys.stderr.flush()

    def _body(self, event: Any) -> dict[str, Any]:
        import base64

        digest = _digest(event.step)
        match event:
            case StepStarted():
                self._started[event.step] = event.name, stamp()
                return {"vertexes": [self._vertex(event.step)]}
            case StepLog():
                data = base64.b64encode(event.data).decode()
                return {
                    "logs": [{"vertex": digest, "stream": event.stream, "data": data, "timestamp": stamp()}]
                }
            case StepStatus():
                status = {
                    "id": event.id,
                    "vertex": digest,
                    "name": event.id,
                    "total": event.total,
                    "current": event.current,
                    "timestamp": stamp(),
                }
                return {"statuses": [{**status, "completed": stamp()} if event.done else status]}
            case StepCached():
                return {"vertexes": [self._vertex(event.step, completed=stamp(), cached=True)]}
            case StepDone():
                return {"vertexes": [self._vertex(event.step, completed=stamp())]}
            case StepFailure():
                return {"vertexes": [self._vertex(event.step, completed=stamp(), error=event.message)]}
        return {}

    def _vertex(self, step: str, **more: Any) -> dict[str, Any]:
        name, started = self._started.get(step, (step, ""))
        return {"digest": _digest(step), "name": name, "started": started, **more}


def _warning(warning: BuildWarning) -> dict[str, Any]:
    import base64

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    body: dict[str, Any] = {
        "vertex": _digest(DOCKERFILE),
        "level": 1,
        "short": encoded(warning.short.encode()),
        "detail": [encoded(warning.description.encode())],
        "url": warning.url,
        "sourceInfo": {
            "filename": warning.filename,
            "data": encoded(warning.source),
            "language": "Dockerfile",
        },
    }
    if warning.line:
        body["range"] = [{"start": {"line": warning.line}, "end": {"line": warning.end}}]
    return body


def _digest(step: str) -> str:
    import hashlib

    return step if step.startswith("sha256:") else "sha256:" + hashlib.sha256(step.encode()).hexdigest()
