"""A runtime that stops answering after the container has started: what waits for it ends, and says why."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.container.execs import ExecConfig
from boxwright.runtime import oci
from boxwright.runtime.oci import RuntimeFailed
from support.containers import IMAGE, Root
from support.waiting import eventually

pytestmark = [pytest.mark.rooted, pytest.mark.usefixtures("cleared")]
MARK = "7654.321"  # how long the runtime sleeps, by which it is found

Begin = Callable[..., None]


@pytest.fixture
def runtime(root: Root, tmp_path: Path) -> Iterator[Path]:
    """One that answers until a file says which verb hangs."""
    found = root.engine.services.runtime
    script = tmp_path / f"{found.name}-that-hangs"
    script.write_text(
        f"#!/bin/sh\nfor verb in $(cat {tmp_path}/hangs 2>/dev/null); do\n"
        f'case " $* " in *" $verb "*) sleep {MARK};; esac\ndone\nexec {found.program} "$@"\n'
    )
    script.chmod(0o755)
    yield script
    (tmp_path / "hangs").unlink(missing_ok=True)


def hang(runtime: Path, *verbs: str) -> None:
    (runtime.parent / "hangs").write_text(" ".join(verbs))


def sleepers() -> list[int]:
    """The processes in which it hangs."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and MARK.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def box(root: Root, runtime: Path, *options: str) -> None:
    root.run(
        "run",
        "-d",
        "--network",
        "none",
        "--runtime",
        str(runtime),
        "--name",
        "box",
        *options,
        IMAGE,
        "sleep",
        "1000",
    )


def test_exec(root: Root, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a terminal."""
    box(root, runtime)
    container = root.engine.containers.get("box")
    hang(runtime, "exec")
    monkeypatch.setattr(oci, "PATIENCE", 1.0)
    from boxwright.container import execs

    services = root.engine.services
    said = "did not answer within 1 seconds, and was killed"
    with pytest.raises(RuntimeFailed, match=said):
        execs.run(services, container, ExecConfig(("true",)), stdin=-1, output=lambda *_: None)
    with pytest.raises(RuntimeFailed, match=said):
        execs.TerminalExec(services, container, ExecConfig(("true",), tty=True), None)
    for pid in sleepers():  # what the runtime had started is not ours to know
        os.kill(pid, 9)
    hang(runtime)
    assert root.out("exec", "box", "echo", "fine") == "fine"
    assert not list(container.directory.glob("exec-*"))


def test_a_slow_start_is_no_hang(root: Root, runtime: Path) -> None:
    box(root, runtime)
    runtime.write_text(runtime.read_text().replace(f"sleep {MARK}", "sleep 1.2"))
    hang(runtime, "exec")
    assert root.out("exec", "-i", "box", "cat", input="slowly") == "slowly"


def test_a_health_check(root: Root, runtime: Path) -> None:
    """It exceeds its own time, and leaves no process behind."""
    box(
        root,
        runtime,
        "--health-cmd",
        "true",
        "--health-interval",
        "200ms",
        "--health-timeout",
        "300ms",
        "--health-retries",
        "2",
    )
    container = root.engine.containers.get("box")
    hang(runtime, "exec")
    eventually(lambda: (container.refresh().health or {}).get("Status") == "unhealthy")
    health = container.refresh().health
    assert health and health["Log"][-1]["Output"].startswith("Health check exceeded timeout (0.3s)")
    hang(runtime)
    eventually(lambda: (container.refresh().health or {}).get("Status") == "healthy")
    eventually(lambda: not sleepers())


def test_a_kill_beside_a_restart_waits_for_the_run_that_it_ended(root: Root) -> None:
    root.run(
        *("run", "-d", "--network", "none", "--name", "box", IMAGE, "sh", "-c"),
        "trap '' TERM; while :; do sleep 0.1; done",
    )
    container = root.engine.containers.get("box")
    first = container.refresh().pid
    restart = root.start("restart", "-t", "20", "box", stdout=subprocess.DEVNULL)
    time.sleep(0.5)  # it has sent its signal, and waits
    begun = time.monotonic()
    root.engine.containers.kill(container)
    assert time.monotonic() - begun < 10
    assert restart.wait(30) == 0
    assert container.refresh().running and container.state.pid != first
