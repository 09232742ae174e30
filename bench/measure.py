"""Timing whole processes: wall seconds and peak memory from the operating system's own accounting."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """One side of a comparison. `before` runs untimed ahead of each run, so that every run does the same work."""

    name: str
    argv: Sequence[str]
    before: Callable[[], None] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: Path | None = None
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of the runs: seconds, and the largest process's peak resident bytes."""

    seconds: float
    peak: int


class RunFailed(Exception):
    """A timed command failed; its output is in the message."""


def once(command: Command) -> Figure:
    """Run and reap one process."""
    if command.before:
        command.before()
    with tempfile.TemporaryFile() as output:
        stdin = open(command.stdin, "rb") if command.stdin else subprocess.DEVNULL
        start = time.perf_counter()
        process = subprocess.Popen(
            command.argv,
            stdin=stdin,
            stdout=output,
            stderr=output,
            env={**os.environ, **command.env},
            cwd=command.cwd,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if command.stdin:
            stdin.close()  # type: ignore[union-attr]
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")[-2000:]
            raise RunFailed(f"{' '.join(command.argv)} ended with {process.returncode}:\n{said}")
    return Figure(seconds, usage.ru_maxrss * 1024)


def compare(commands: Sequence[Command], runs: int = 5) -> dict[str, Figure]:
    """Run the commands in turn, A B C A B C …, after one uncounted round, so that drift hits all alike."""
    samples: dict[str, list[Figure]] = {c.name: [] for c in commands}
    for counted in [False] + [True] * runs:
        for command in commands:
            figure = once(command)
            if counted:
                samples[command.name].append(figure)
    return {
        name: Figure(statistics.median(f.seconds for f in figures), max(f.peak for f in figures))
        for name, figures in samples.items()
    }


class Daemon:
    """A process for the length of a `with` block, in a session of its own so that its children end with it."""

    def __init__(
        self, argv: Sequence[str], ready: Callable[[], bool], log: Path, seconds: float = 30
    ) -> None:
        self._argv, self._ready, self._log, self._seconds = argv, ready, log, seconds

    def __enter__(self) -> Daemon:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + self._seconds
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RunFailed(
                    f"{self._argv[0]} did not start:\n{self._log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.1)
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
