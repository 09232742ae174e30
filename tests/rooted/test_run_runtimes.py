"""Containers and the OCI runtime that they were started with, while the host's choice changes."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.engine import Engine
from boxwright.runtime.emulation import EmulationMissing, check_emulation
from boxwright.settings import load
from boxwright.spec.platform import Platform
from support.containers import IMAGE, Root, busybox_root
from support.image import docker_archive
from support.layer import make_tar, member
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("runtimes")) as root:
        yield root


@pytest.fixture
def own(root: Root, tmp_path: Path) -> Path:
    """A runtime of this test's own, which works here and can be taken away."""
    found = root.engine.services.runtime
    return Path(shutil.copy(found.program, tmp_path / f"{found.name}-of-ours"))


@pytest.fixture(autouse=True)
def cleared(root: Root) -> Iterator[None]:
    yield
    root.clean()


def cgroups(container: str) -> list[Path]:
    """Those of a container under the usual parent, in every hierarchy."""
    top = Path("/sys/fs/cgroup")
    return [*top.glob(f"boxwright/{container}"), *top.glob(f"*/boxwright/{container}")]


def test_started_under_one_and_used_under_another(root: Root, own: Path) -> None:
    before = Root(root.path, BOXWRIGHT_RUNTIME=str(own))
    before.run("run", "-d", "--network", "none", "--name", "running", IMAGE, "sleep", "1000")
    before.run("create", "--network", "none", "--name", "stopped", IMAGE, "sleep", "1000")
    assert root.out("exec", "running", "echo", "here") == "here"
    assert "sleep 1000" in root.out("top", "running")
    for verb in ("pause", "unpause"):
        root.run(verb, "running")
    root.run("update", "--memory", "64m", "running")
    root.run("restart", "-t", "0", "running")
    root.run("stop", "-t", "0", "running")
    for name in ("running", "stopped"):
        root.run("start", name)
        assert root.engine.containers.get(name).state.runtime[1] == root.engine.services.runtime.program
        assert root.out("exec", name, "echo", "again") == "again"
    root.run("rm", "-f", "running", "stopped")


def test_a_container_chooses_its_runtime(root: Root, own: Path) -> None:
    root.run(
        "run", "-d", "--network", "none", "--runtime", str(own), "--name", "chosen", IMAGE, "sleep", "1000"
    )
    container = root.engine.containers.get("chosen")
    assert container.state.runtime[1] == str(own)
    assert root.out("inspect", "-f", "{{.HostConfig.Runtime}}", "chosen") == str(own)
    assert root.out("exec", "chosen", "echo", "here") == "here"
    refused = root.run("create", "--runtime", "nosuch", IMAGE, check=1)
    assert "unknown or invalid runtime name: nosuch" in refused.stderr


def test_a_runtime_that_was_uninstalled_stops_nothing_but_itself(root: Root, own: Path) -> None:
    root.run(
        "run", "-d", "--network", "none", "--runtime", str(own), "--name", "left", IMAGE, "sleep", "1000"
    )
    container = root.engine.containers.get("left")
    own.unlink()
    assert f"{own} is not" in root.run("exec", "left", "true", check=None).stderr
    root.run("pause", "left", check=1)
    assert container.refresh().running and container.state.supervised
    root.run("stop", "-t", "0", "left")
    assert container.refresh().status == "exited"
    root.run("start", "left", check=1)
    root.run("rm", "left")
    assert not cgroups(container.id)


def test_a_killed_supervisor_of_an_uninstalled_runtime(root: Root, own: Path) -> None:
    root.run(
        "run", "-d", "--network", "none", "--runtime", str(own), "--name", "orphan", IMAGE, "sleep", "1000"
    )
    container = root.engine.containers.get("orphan")
    pid = container.state.pid
    own.unlink()
    os.kill(container.state.supervisor_pid, signal.SIGKILL)
    eventually(lambda: not container.refresh().supervised)
    assert root.out("ps", "-a", "--format", "{{.Status}}").startswith("Up ")
    root.run("rm", "-f", "orphan")
    eventually(lambda: not Path(f"/proc/{pid}/root/etc").exists())
    assert not cgroups(container.id)


def test_the_choice_by_name_is_remembered_apart(root: Root, own: Path) -> None:
    engine = Engine(settings=load({**root.environ, "BOXWRIGHT_RUNTIME": str(own)}))
    assert engine.services.runtime.program == str(own)
    assert (
        Engine(settings=load(root.environ)).services.runtime.program == root.engine.services.runtime.program
    )
    assert (root.path / "cache" / f"runtime-{own.name}.json").exists()


@pytest.mark.parametrize("runtime", [name for name in ("crun", "runc") if shutil.which(name)])
def test_readonly_parts_of_proc_are_as_tight_as_proc(root: Root, runtime: str) -> None:
    text = root.out("run", "--rm", "--network", "none", "--runtime", runtime, IMAGE, "cat", "/proc/mounts")
    flags = {line.split()[1]: set(line.split()[3].split(",")) for line in text.splitlines()}
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"):
        assert flags[path] >= {"ro", "nosuid", "nodev", "noexec"}, path


@pytest.mark.parametrize("runtime", [name for name in ("crun", "runc") if shutil.which(name)])
@pytest.mark.parametrize(
    ("content", "reason"),
    [("#!/no/such/interpreter\\n", "no such file or directory"), ("garbage\\n", "exec format error")],
)
def test_a_program_that_the_kernel_does_not_run(
    root: Root, runtime: str, content: str, reason: str, tmp_path: Path
) -> None:
    chosen = Root(root.path, BOXWRIGHT_RUNTIME=runtime)
    make = f"printf '{content}' > /p; chmod 755 /p"
    chosen.run("run", "--name", "made", "--network", "none", IMAGE, "sh", "-c", make)
    chosen.run("commit", "made", "broken")
    line = f"exec /p: {reason}\n"
    for terminal in ((), ("-t",)):
        done = chosen.run("run", "--name", "box", "--network", "none", *terminal, "broken", "/p", check=1)
        assert (done.stdout + done.stderr).replace("\r", "") == line
        assert chosen.run("logs", "box").stdout.replace("\r", "") + chosen.run("logs", "box").stderr == line
        chosen.run("rm", "box")
    chosen.run("run", "-d", "--name", "box", "--network", "none", "broken", "sleep", "60")
    assert chosen.run("exec", "box", "/p", check=1).stderr.removeprefix("Error: ") == line
    (tmp_path / "Dockerfile").write_text('FROM broken\nRUN --network=none ["/p"]\n')
    said = chosen.run("build", str(tmp_path), check=1).stderr
    assert line in said and '{"msg"' not in said


def test_a_step_for_another_cpu_says_what_is_missing(root: Root, tmp_path: Path) -> None:
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0" + bytes(100)
    platform = Platform("linux", "arm64")
    try:
        check_emulation(platform)
        pytest.skip("programs of arm64 run here")
    except EmulationMissing as error:
        missing = str(error)
    tar = make_tar(member("p", data=elf, mode=0o755))
    root.engine.images.load(io.BytesIO(docker_archive([(["arm:1"], [tar])], architecture="arm64")))
    (tmp_path / "Dockerfile").write_text('FROM arm:1\nRUN --network=none ["/p"]\n')
    done = root.run("build", "--platform", "linux/arm64", str(tmp_path), check=1)
    assert f"failed to solve: {missing}" in done.stderr
    assert missing in root.run("run", "--rm", "--platform", "linux/arm64", "arm:1", "/p", check=125).stderr


_DIES = """#!/bin/sh
for word; do
    case $word in run) verb=run ;; probe-*) probe=1 ;; esac
done
if [ "$verb" ] && [ ! "$probe" ]; then
    {dies}
fi
exec {program} "$@"
"""


@pytest.mark.parametrize(
    ("dies", "why"),
    [
        ("kill -9 $$", "the runtime did not terminate successfully: signal 9"),
        ("exit 3", "the runtime did not terminate successfully: exit status 3"),
        ("exit 0", "the runtime started nothing"),
        # The container runs, and the supervisor is not told of it.
        (
            '{program} "$@" >/dev/null 2>&1; kill -9 $$',
            "the runtime did not terminate successfully: signal 9",
        ),
    ],
    ids=["killed", "fails", "does-nothing", "killed-after"],
)
def test_a_runtime_that_dies_at_the_start_leaves_nothing(
    root: Root, tmp_path: Path, dies: str, why: str
) -> None:
    real = root.engine.services.runtime
    wrapper = tmp_path / f"{real.name}-dies"
    wrapper.write_text(_DIES.format(dies=dies.format(program=real.program), program=real.program))
    wrapper.chmod(0o755)
    options = ("--network", "none", "--runtime", str(wrapper), "--restart", "always", "--name", "dies")
    done = root.run("run", "-d", *options, IMAGE, "sleep", "1000", check=125)
    sentence = f"failed to create task for container: {wrapper.name}: {why}"
    assert sentence in done.stderr
    container = root.engine.containers.get("dies")
    said = root.out(
        "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.Error}}", "dies"
    )
    assert said == f"created 128 0 {sentence}"
    eventually(lambda: not container.refresh().supervised)
    eventually(lambda: not [group for group in cgroups(container.id) if (group / "cgroup.procs").read_text()])
    root.run("rm", "dies")
    assert not cgroups(container.id) and container.id not in Path("/proc/self/mounts").read_text()
