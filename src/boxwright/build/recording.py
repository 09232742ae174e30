"""Writes down what a build tells, while it runs: a line an event, and the row of the history that names them.

What the build's programs say is kept whole. What we say ourselves (names, arguments, errors) is kept without the
accounts of URLs; proxies and contents of secrets are in nothing that is told.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress

from boxwright.build.progress import (
    BuildWarning,
    StepCached,
    StepDone,
    StepFailure,
    StepLog,
    StepMissed,
    StepStarted,
    StepStatus,
)
from boxwright.errors import BoxwrightError
from boxwright.files.disk import DiskError
from boxwright.image.builds import CANCELED, COMPLETED, FAILED, BuildRecord, BuildRecords
from boxwright.spec.urls import redacted
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.build.progress import Emit, Event

_TAIL = 25  # lines of a failed step's output that the record has


class Recording:
    """The record of one build on its way. Threads may share it; a disk that takes no more ends the record and not the
    build, whose result stands: `emit` hears what the history lacks."""

    def __init__(self, records: BuildRecords, record: BuildRecord, emit: Emit) -> None:
        self._records, self._record, self._emit = records, record, emit
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._over: dict[int, bool] = {}  # steps that ended, and whether on record
        self._ran = False  # whether a step of the Dockerfile did: ours, which never last, end in every build
        self._whole = True
        self._log = -1
        self._lost: BoxwrightError | None = None  # why there is no row
        try:
            records.begin(record)
            self._log = records.open_log(record.id)
        except DiskError as error:
            self._lost, self._whole = error, False
        except OSError:
            self._whole = False

    def add(self, event: Event) -> None:
        """Write an event down."""
        with self._lock:
            body = self._body(event)
            if body:
                self._write({"at": time.time(), **body})

    def _number(self, step: str) -> int:
        return self._numbers.setdefault(step, len(self._numbers) + 1)

    def _body(self, event: Event) -> dict[str, Any]:
        if isinstance(event, BuildWarning):
            where = {"rule": event.rule, "line": event.line, "url": event.url}
            return {"kind": "warning", "text": redacted(event.message), **where}
        number = self._number(event.step)
        match event:
            case StepStarted():
                return {"kind": "started", "step": number, "name": redacted(event.name)}
            case StepLog():
                data = event.data.decode("utf-8", "surrogateescape")
                return {
                    "kind": "log",
                    "step": number,
                    "stream": event.stream,
                    "after": event.at,
                    "data": data,
                }
            case StepStatus():
                if not event.done:  # progress within a step is of no use afterwards
                    return {}
                sizes = {"current": event.current, "total": event.total}
                return {"kind": "status", "step": number, "text": redacted(event.id), **sizes}
            case StepMissed():
                return {"kind": "missed", "step": number, "text": redacted(event.reason)}
            case StepCached():
                self._over[number] = True
                return {"kind": "cached", "step": number, "text": redacted(event.reason)}
            case StepDone():
                self._over[number] = False
                self._ran = self._ran or event.step.startswith("sha256:")  # the name of a vertex
                return {"kind": "done", "step": number, "seconds": event.seconds}
            case StepFailure():
                self._over[number] = False
                why = redacted(event.message)
                return {"kind": "failed", "step": number, "text": why, "cancelled": event.cancelled}

    def _write(self, body: Mapping[str, Any]) -> None:
        if not self._whole:
            return
        line = memoryview((json.dumps(body, separators=(",", ":")) + "\n").encode())
        try:
            while line:
                line = line[os.write(self._log, line) :]
        except OSError:  # the disk is full: the build meets that itself, where it matters
            self._whole = False

    def finish(self, details: Mapping[str, Any], error: BaseException | None) -> None:
        """The build is over."""
        from boxwright.errors import Cancelled

        status = COMPLETED
        if error is not None:
            status = CANCELED if isinstance(error, (Cancelled, KeyboardInterrupt)) else FAILED
            details = {**details, "error": told(error)}
        cut = not self._whole
        if cut:
            details = {**details, "log": "cut: the disk took no more"}
        with self._lock:
            cached = sum(self._over.values())
            # What any client could run again at once need not survive a power cut.
            durable = self._ran or error is not None
            self._close(wait=durable)
        if self._lost is None:
            try:
                self._records.finish(
                    replace(
                        self._record,
                        ended=time.time(),
                        status=status,
                        total=len(self._numbers),
                        completed=len(self._over),
                        cached=cached,
                        details=details,
                    ),
                    durable=durable,
                )
            except BoxwrightError as failure:  # what the build itself came to is not changed by that
                self._lost = failure
        if self._lost is not None:
            self._emit(
                BuildWarning(rule="", message=f"the history lacks this build, or its end: {self._lost}")
            )
        elif cut:
            self._emit(BuildWarning(rule="", message="the log of this build is cut: the disk took no more"))

    def _close(self, *, wait: bool) -> None:
        log, self._log, self._whole = self._log, -1, False
        if log >= 0:
            if wait:
                with suppress(OSError):  # a disk that fails: the build met that where it matters
                    os.fsync(log)
            os.close(log)


def told(error: BaseException) -> dict[str, Any]:
    """A failure as the record has it: its sentence, the step, the end of its output, the lines of the Dockerfile."""
    from boxwright.build.request import BuildFailed

    if not isinstance(error, BuildFailed):
        return {"message": redacted(str(error))}
    return {
        "message": redacted(str(error.cause)),
        "name": redacted(error.step),
        "logs": list(error.tail)[-_TAIL:],
        "sources": redacted(error.excerpt()),
    }
