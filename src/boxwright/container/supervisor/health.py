"""Health checks: run the test in the container at its interval, keep the last five results (moby daemon/health.go)."""

from __future__ import annotations

import os
import select

from boxwright.container.supervisor.telling import shown
from boxwright.runtime.spawn import exit_code
from boxwright.spec.text import to_json
from boxwright.spec.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.container.job import HealthPlan
    from boxwright.container.supervisor.loop import Loop
    from boxwright.container.supervisor.runner import Runner

_KEPT = 5
_MAX_OUTPUT = 4096
_SIGKILL = 9


class Health:
    """The checks of one run of the container's process. `directory` is the bundle's; `changed` is told of results,
    which are in `state`, and `told` of the processes (`telling.tell_exec`)."""

    def __init__(
        self,
        loop: Loop,
        runner: Runner,
        plan: HealthPlan,
        directory: str,
        state: dict[str, Any],
        changed: Callable[[], None],
        told: Callable[..., None],
    ) -> None:
        self._loop, self._runner, self._state, self._changed = loop, runner, state, changed
        self._told, self._words, self._identity = told, shown(plan.process["args"]), ""
        self._plan = plan
        self._file = f"{directory}/health.json"
        self._pid_file = f"{directory}/health.pid"
        self._result: dict[str, Any] = {"Status": "starting", "FailingStreak": 0, "Log": []}
        if isinstance(state.get("Health"), dict):  # of a run that another supervisor began
            self._result.update(state["Health"])
        self._timer = self._killer = 0
        self._pid = 0
        self._output = b""
        self._pipe = -1
        self._begun = ""
        self._since = 0.0
        self._timed_out = False

    def begin(self, ago: float = 0.0) -> None:
        """The container has started, so many seconds ago."""
        import time

        self._since = time.monotonic() - ago
        self._state["Health"] = self._result
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(fd, to_json(self._plan.process).encode("utf-8", "surrogatepass"))
        os.close(fd)
        self._next()

    def end(self) -> None:
        """The container has ended: the result of an unfinished check does not count."""
        self._loop.cancel(self._timer)
        self._loop.cancel(self._killer)
        self._drop_pipe()
        if self._pid:
            os.kill(self._pid, _SIGKILL)
        self._pid = 0
        # Docker calls what does not run unhealthy.
        self._result["Status"] = "unhealthy"

    def probe(self) -> None:
        """Check now."""
        self._loop.cancel(self._timer)
        if not self._pid:
            self._check()

    def _starting(self) -> bool:
        import time

        return bool(
            self._result["Status"] == "starting" and time.monotonic() - self._since < self._plan.start_period
        )

    def _next(self) -> None:
        interval = (
            self._plan.start_interval
            if self._starting() and self._plan.start_interval
            else self._plan.interval
        )
        self._timer = self._loop.after(interval, self._check)

    def _check(self) -> None:
        self._begun, self._output, self._timed_out = stamp(), b"", False
        self._identity = os.urandom(32).hex()
        self._told("create", self._identity, self._words)
        self._told("start", self._identity, self._words)
        read, write = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pid = self._runner.spawn(
                "exec", "--process", self._file, "--pid-file", self._pid_file, stdio=(null, write, write)
            )
        except OSError as error:  # the runtime was uninstalled
            os.close(read)
            self._record(-1, f"cannot run the check: {error.strerror}")
            self._next()
            return
        finally:
            os.close(write)
            os.close(null)
        os.set_blocking(read, False)
        self._pipe = read
        self._loop.watch(read, select.EPOLLIN, self._readable)
        self._loop.child(self._pid, self._done)
        self._killer = self._loop.after(self._plan.timeout, self._kill)

    def _readable(self, events: int) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._drop_pipe()
            return False
        self._output = (self._output + data)[:_MAX_OUTPUT]
        return True

    def _drop_pipe(self) -> None:
        if self._pipe >= 0:
            self._loop.forget(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _kill(self) -> None:
        self._timed_out = True
        self._kill_test()

    def _kill_test(self) -> None:
        """The test itself: the runtime that waits for it then ends by itself."""
        try:
            with open(self._pid_file) as file:
                os.kill(int(file.read()), _SIGKILL)
        except (OSError, ValueError):  # it did not get so far: the runtime hangs, perhaps in what it started
            if self._pid:
                os.killpg(self._pid, _SIGKILL)

    def _done(self, status: int) -> None:
        if not self._pid:
            return
        self._pid = 0
        self._loop.cancel(self._killer)
        try:
            os.unlink(self._pid_file)
        except FileNotFoundError:
            pass
        while self._pipe >= 0 and self._read():
            pass
        self._drop_pipe()
        code = os.waitstatus_to_exitcode(status)
        self._told("die", self._identity, exitCode=str(exit_code(status)))
        output = self._output.decode("utf-8", "replace")
        if self._timed_out:
            code, output = (
                -1,
                f"Health check exceeded timeout ({self._plan.timeout:g}s)"
                + (f": {output}" if output else ""),
            )
        self._record(code, output)
        self._next()

    def _record(self, code: int, output: str) -> None:
        result = self._result
        result["Log"] = [
            *result["Log"],
            {"Start": self._begun, "End": stamp(), "ExitCode": code, "Output": output},
        ][-_KEPT:]
        if code == 0:
            result["Status"], result["FailingStreak"] = "healthy", 0
        elif not self._starting():
            result["FailingStreak"] += 1
            if result["FailingStreak"] >= self._plan.retries:
                result["Status"] = "unhealthy"
        self._changed()
