"""A real OCI runtime: steps, containers, exec, terminals, errors, and what is left after a kill."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.files import syscalls
from boxwright.runtime import probe
from boxwright.runtime.oci import (
    ContainerMissing,
    ContainerState,
    ExecutableMissing,
    ExecutableRefused,
    Runtime,
)
from boxwright.runtime.process import PIPE, Stdio, become_subreaper, spawn
from boxwright.runtime.step import StepCancelled, run_step
from boxwright.runtime.tty import ConsoleSocket, set_window_size
from boxwright.spec import runtimespec
from boxwright.spec.seccomp import compile_profile, default_profile
from support import REAL_ROOT
from support.runtime import any_runtime, busybox_tree, container_spec

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="containers need root")]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = any_runtime(tmp_path / "state")
    yield runtime
    for state in runtime.states():
        runtime.delete(state.id, force=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox_tree(tmp_path_factory.mktemp("tree") / "rootfs")


class Collected:
    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""

    def __call__(self, stream: int, data: bytes) -> None:
        if stream == 1:
            self.stdout += data
        else:
            self.stderr += data


def step(runtime: Runtime, tmp_path: Path, tree: Path, *argv: str, **more: object) -> tuple[int, Collected]:
    output = Collected()
    code = run_step(runtime, tmp_path / "bundles", container_spec(tree, *argv, **more), output=output)
    assert os.listdir(tmp_path / "bundles") == []
    assert runtime.states() == []
    return code, output


# --- steps ------------------------------------------------------------------------------------------


def test_output_and_exit_code(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    code, output = step(runtime, tmp_path, tree, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (code, output.stdout, output.stderr) == (42, b"out\n", b"err\n")


def test_a_signal_counts_as_in_the_shell(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    assert step(runtime, tmp_path, tree, "sh", "-c", "sh -c 'kill -9 $$'; exit $?")[0] == 137


def test_much_output(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    _, output = step(
        runtime, tmp_path, tree, "sh", "-c", "head -c 3000000 /dev/zero; head -c 1000000 /dev/zero >&2"
    )
    assert (len(output.stdout), len(output.stderr)) == (3_000_000, 1_000_000)


def test_input(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"hello")
    os.close(write)
    output = Collected()
    assert (
        run_step(runtime, tmp_path / "bundles", container_spec(tree, "cat"), output=output, stdin=read) == 0
    )
    os.close(read)
    assert output.stdout == b"hello"


def test_what_goes_on_in_the_background_ends_with_the_step(
    runtime: Runtime, tmp_path: Path, tree: Path
) -> None:
    start = time.monotonic()
    assert step(runtime, tmp_path, tree, "sh", "-c", "sleep 1000 & exit 0")[0] == 0
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("/no/such", ExecutableMissing),
        ("nosuch", ExecutableMissing),
        ("/bin", ExecutableRefused),
        ("/etc/plain", ExecutableRefused),
    ],
)
def test_programs_that_cannot_run(
    runtime: Runtime, tmp_path: Path, tree: Path, program: str, error: type[Exception]
) -> None:
    (tree / "etc/plain").write_text("x")
    output = Collected()
    with pytest.raises(error, match=program) as caught:
        run_step(runtime, tmp_path / "bundles", container_spec(tree, program), output=output)
    assert caught.value.exit_code == (127 if error is ExecutableMissing else 126)  # type: ignore[attr-defined]
    assert output.stderr == b""  # the runtime's complaint is the error's message, not the step's output
    assert runtime.states() == []


def test_a_missing_working_directory_is_no_missing_program(
    runtime: Runtime, tmp_path: Path, tree: Path
) -> None:
    spec = container_spec(tree, "true")
    spec["process"]["cwd"] = "/etc/plain/x"
    (tree / "etc/plain").write_text("x")
    with pytest.raises(Exception, match="etc/plain") as caught:
        run_step(runtime, tmp_path / "bundles", spec, output=Collected())
    assert not isinstance(caught.value, ExecutableMissing)


def test_cancel(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    start = time.monotonic()
    with pytest.raises(StepCancelled):
        run_step(
            runtime,
            tmp_path / "bundles",
            container_spec(tree, "sleep", "1000"),
            output=Collected(),
            cancel=cancel,
        )
    assert time.monotonic() - start < 10
    assert runtime.states() == []
    assert os.listdir(tmp_path / "bundles") == []


def test_an_error_of_the_reader_ends_the_step(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    def output(stream: int, data: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_step(
            runtime,
            tmp_path / "bundles",
            container_spec(tree, "sh", "-c", "echo x; sleep 1000"),
            output=output,
        )
    assert runtime.states() == []


def test_kill_9_leaves_no_process(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    program = tmp_path / "build.py"
    program.write_text(
        "import json, sys\nfrom pathlib import Path\n"
        "from boxwright.runtime.probe import find_runtime\nfrom boxwright.runtime.step import run_step\n"
        "run_step(find_runtime(Path(sys.argv[1])), Path(sys.argv[2]), json.load(open(sys.argv[3])), output=lambda n, data: print(data, flush=True))\n"
    )
    (tmp_path / "spec.json").write_text(json.dumps(container_spec(tree, "sh", "-c", "echo up; sleep 1000")))
    process = spawn(
        [
            sys.executable,
            str(program),
            str(tmp_path / "state"),
            str(tmp_path / "bundles"),
            str(tmp_path / "spec.json"),
        ],
        stdio=Stdio(stdout=PIPE),
    )
    assert os.read(process.stdout, 100)  # the step is running
    (state,) = runtime.states()
    process.kill()
    process.wait(5)
    process.close()
    deadline = time.monotonic() + 30
    while runtime.states() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert runtime.states() == []
    assert not _runs(state.pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- containers -------------------------------------------------------------------------------------


def bundle(tmp_path: Path, tree: Path, *argv: str, **more: object) -> Path:
    where = tmp_path / "bundle"
    where.mkdir(exist_ok=True)
    (where / "config.json").write_text(json.dumps(container_spec(tree, *argv, **more)))
    return where


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Only for a while: orphans of other tests are for init, which reaps them."""
    become_subreaper()
    yield
    syscalls.libc("prctl", 36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


@pytest.mark.usefixtures("subreaper")
def test_life_of_a_container(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    read, write = os.pipe()
    runtime.create(
        bundle(tmp_path, tree, "sh", "-c", "echo started; sleep 1000"),
        "c1",
        stdio=Stdio(stdout=write),
        pid_file=tmp_path / "pid",
    )
    os.close(write)
    pid = int((tmp_path / "pid").read_text())
    assert runtime.state("c1").status == "created"
    runtime.start("c1")
    assert os.read(read, 100) == b"started\n"
    state = runtime.state("c1")
    assert (state.status, state.pid) == ("running", pid)
    assert pid in runtime.ps("c1")
    runtime.pause("c1")
    assert runtime.state("c1").status == "paused"
    runtime.resume("c1")
    runtime.update("c1", runtimespec.Resources(memory=64 << 20).json())
    said = tmp_path / "said"
    with open(said, "wb") as out:
        running = runtime.exec(
            "c1",
            {"args": ["sh", "-c", "echo $X; exit 5"], "cwd": "/", "env": ["PATH=/bin", "X=y"]},
            stdio=Stdio(stdout=out.fileno()),
        )
        assert running.wait() == 5
        assert running.error() is None
    assert said.read_text() == "y\n"
    running = runtime.exec("c1", {"args": ["nosuch"], "cwd": "/", "env": ["PATH=/bin"]})
    assert running.wait() != 0
    assert isinstance(running.error(), ExecutableMissing)
    runtime.kill("c1", 9)
    # The first process of a PID namespace ends after all others in it are reaped, a program that did not start too.
    while os.waitpid(-1, 0) != (pid, 9):
        pass
    with pytest.raises(ContainerState):
        runtime.kill("c1", 9)
    runtime.delete("c1")
    with pytest.raises(ContainerMissing):
        runtime.state("c1")
    with pytest.raises(ContainerMissing):
        runtime.delete("c1")
    runtime.delete("c1", force=True)
    os.close(read)


def test_a_name_is_used_once(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    runtime.create(bundle(tmp_path, tree, "sleep", "9"), "twice")
    with pytest.raises(ContainerState):
        runtime.create(tmp_path / "bundle", "twice")
    runtime.delete("twice", force=True)


def test_a_terminal(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    with ConsoleSocket(tmp_path) as console:
        runtime.create(
            bundle(tmp_path, tree, "sh", "-c", "stty size; read line; echo got $line", terminal=True),
            "tty",
            console_socket=console.path,
        )
        master = console.receive()
    set_window_size(master, 33, 111)
    runtime.start("tty")
    seen = b""
    while b"33 111" not in seen:
        seen += os.read(master, 1000)
    os.write(master, b"hello\n")
    while b"got hello" not in seen:
        seen += os.read(master, 1000)
    os.close(master)
    runtime.delete("tty", force=True)
    assert list(tmp_path.glob("tty-*")) == []


# --- what Docker's defaults do ----------------------------------------------------------------------


def test_defaults_inside(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    caps = runtimespec.capabilities()
    seccomp = compile_profile(default_profile(), capabilities=caps, architecture="amd64", kernel=(6, 1))
    script = "cat /proc/self/status | tr '\\t' ' '; echo x > /proc/sys/kernel/hostname || echo readonly; ls /proc/scsi | cat; hostname; ls /dev"
    _, output = step(runtime, tmp_path, tree, "sh", "-c", script, seccomp=seccomp)
    text = output.stdout.decode()
    assert "CapEff: 00000000a80425fb" in text
    assert "Seccomp: 2" in text
    assert "readonly" in text
    assert "\ntest\n" in text
    assert {"null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx"} <= set(text.split())


def test_a_user_has_no_capabilities(runtime: Runtime, tmp_path: Path, tree: Path) -> None:
    _, output = step(
        runtime, tmp_path, tree, "sh", "-c", "id -u; cat /proc/self/status | tr '\\t' ' '", uid=1000
    )
    assert output.stdout.startswith(b"1000\n")
    assert b"CapEff: 0000000000000000" in output.stdout


# --- finding a runtime ------------------------------------------------------------------------------


def test_the_answer_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = any_runtime(tmp_path / "state")
    tried: list[str] = []
    monkeypatch.setattr(probe, "try_runtime", lambda runtime, directory: tried.append(runtime.name) or "")
    assert probe.find_runtime(tmp_path / "state") == first
    assert tried == []
    (tmp_path / "state" / "runtime.json").write_text("torn{")
    probe.find_runtime(tmp_path / "state")
    assert len(tried) == 1


def test_a_runtime_that_does_not_work_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no containers today >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(probe.NoRuntime, match="broken"):
        probe.find_runtime(tmp_path / "state", wanted=str(broken))
    with pytest.raises(probe.NoRuntime, match="nosuch is not installed"):
        probe.find_runtime(tmp_path / "state", wanted="nosuch")
    assert not [name for name in os.listdir(tmp_path / "state") if name.startswith("probe-")]
