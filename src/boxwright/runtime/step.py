"""One process in a container of its own, run to its end in the foreground: a RUN step.

The container's PID namespace ends with its first process, and the kernel ends everything else in it. If *this* process
is killed (SIGKILL), its guard (`runtime.guard`) kills the runtime and the container; nothing of a step outlives the
build."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path

from boxwright.errors import Cancelled
from boxwright.runtime import filters
from boxwright.runtime.adapt import adapt
from boxwright.runtime.guard import Guard
from boxwright.runtime.oci import FirstWords, Running, Runtime
from boxwright.runtime.process import DEVNULL, Stdio
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


Output = Callable[[int, bytes], None]  # (1 stdout or 2 stderr, bytes)

_CHUNK = 1 << 16
_TICK = 0.05  # how long a cancelled step may go on
_PREFIX = "step-"


class StepCancelled(Cancelled):
    """The step was cancelled and its processes are gone."""


def run_step(
    runtime: Runtime,
    bundle_root: Path,
    spec: Mapping[str, Any],
    *,
    output: Output,
    stdin: int | None = None,
    cancel: threading.Event | None = None,
    guard: Guard | None = None,
) -> int:
    """Run an OCI config to its end; returns the exit code of its process.

    The bundle is made under `bundle_root` (only config.json; the spec's root path should be absolute). `output` is
    called from this thread, as bytes arrive. `guard` is the runtime's, for several steps; None: this one
    has its own. Raises ExecutableMissing, ExecutableRefused or RuntimeFailed when the process could not be started,
    StepCancelled once `cancel` is set.
    """
    identity = f"{_PREFIX}{os.getpid()}-{_start_time(os.getpid())}-{os.urandom(6).hex()}"
    bundle = bundle_root / identity
    bundle.mkdir(parents=True)
    try:
        config, keep = adapt(runtime, spec)
        (bundle / "config.json").write_bytes(json.dumps(config).encode())
        step = _Step(
            runtime=runtime,
            bundle=bundle,
            identity=identity,
            program=str(spec["process"]["args"][0]),
            keep=keep,
        )
        with nullcontext(guard) if guard is not None else closing(Guard(runtime)) as own:
            return _run(
                step=step,
                output=output,
                stdin=DEVNULL if stdin is None else stdin,
                cancel=cancel,
                guard=own,
            )
    finally:
        (bundle / "config.json").unlink(missing_ok=True)
        bundle.rmdir()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What the runtime is to run, and where. `program` is named when it cannot be started."""

    runtime: Runtime
    bundle: Path
    identity: str
    program: str
    keep: str


def _run(step: _Step, output: Output, *, stdin: int, cancel: threading.Event | None, guard: Guard) -> int:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        running = step.runtime.run(
            step.bundle,
            step.identity,
            stdio=Stdio(stdin=stdin, stdout=out_write, stderr=err_write),
            program=step.program,
        )
    finally:
        os.close(out_write)
        os.close(err_write)
    told, ended = "", False
    try:
        told = guard.begun(step.identity, running.process.pid)
        _relay(
            running=running,
            stdout=out_read,
            stderr=err_read,
            output=output,
            cancel=cancel,
            keep=(str(step.runtime.root / step.identity), step.keep) if step.keep else None,
        )
        code = running.wait()
        ended = True
    finally:
        if not ended:
            _kill(step.runtime, running, step.identity)
        os.close(out_read)
        os.close(err_read)
        if told:
            guard.ended(told)
    error = running.error()
    if error is not None:
        raise error
    return code


def _relay(
    running: Running,
    stdout: int,
    stderr: int,
    output: Output,
    cancel: threading.Event | None,
    keep: tuple[str, str] | None,
) -> None:
    streams = {stdout: 1, stderr: 2}
    first = FirstWords(running)
    poller = select.poll()
    for fd in streams:
        poller.register(fd, select.POLLIN)

    def tell(stream: int, data: bytes) -> None:
        if data:
            output(stream, data)

    deadline = None
    while streams:
        ready = poller.poll(_TICK * 1000)
        if cancel is not None and cancel.is_set():
            raise StepCancelled("the step was cancelled")
        if keep is not None and filters.keep(*keep):
            keep = None
        for fd, _ in ready:
            chunk = os.read(fd, _CHUNK)
            if fd == stderr and chunk:
                tell(2, first.take(chunk))
                continue
            if (fd == stdout and chunk) or fd == stderr:
                tell(2, first.settle(over=fd == stderr))
            tell(streams[fd], chunk)
            if not chunk:
                poller.unregister(fd)
                del streams[fd]
        if not ready:
            tell(2, first.settle())
        # A process that left the container's PID namespace cannot exist, but one may hold the pipes for it (a mount
        # helper of the host): the runtime's end is the step's end, even while another process still holds them.
        if not ready and running.process.poll() is not None:
            deadline = deadline or time.monotonic() + 1
            if time.monotonic() > deadline:
                tell(2, first.settle(over=True))
                return


def _kill(runtime: Runtime, running: Running, identity: str) -> None:
    # The runtime may still be building the container: kill what there is until the runtime is gone.
    while running.process.poll() is None:
        runtime.delete(identity, force=True)
        poller = threading.Event()
        poller.wait(0.02)
    running.wait()
    runtime.delete(identity, force=True)


def _start_time(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        return (
            "gone" if fields[0] in b"ZXx" else fields[19].decode()
        )  # a zombie has ended; its parent may never look
    except (OSError, IndexError):
        return "gone"
