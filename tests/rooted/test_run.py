"""Containers as users run them: the command line on real containers."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.config import ContainerConfig
from boxwright.runtime.oci import ExecutableMissing, ExecutableRefused
from support.containers import IMAGE, Root
from support.waiting import eventually

pytestmark = [pytest.mark.rooted, pytest.mark.usefixtures("cleared")]


def lean(*words: str) -> tuple[str, ...]:
    return ("run", "--rm", "--network", "none", *words)


def test_output_streams_and_exit_code(root: Root) -> None:
    done = root.run(*lean(IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"), check=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((IMAGE, "nosuch"), 127, 'exec: "nosuch": executable file not found in $PATH'),
        ((IMAGE, "/etc/motd"), 126, "permission denied"),
        ((IMAGE, "/etc"), 126, 'exec: "/etc": '),
        (("--device", "/dev/nosuch", IMAGE), 127, 'adding custom device "/dev/nosuch": no such file or'),
        (("--nosuch", IMAGE), 125, "unknown flag: --nosuch"),
        (("-p", "99999", IMAGE), 125, "invalid containerPort: 99999"),
        (("-v", "vol:b", IMAGE), 125, "mount path must be absolute"),
        (("--pull", "never", "nosuch"), 125, "No such image"),
        (("-u", "nobody-here", IMAGE, "true"), 125, "unable to find user nobody-here"),
        (("--memory", "1k", IMAGE, "true"), 125, "Minimum memory limit allowed is 6MB"),
        (("--network", "container:nosuch", IMAGE, "true"), 125, "No such container: nosuch"),
        (("--network", "nosuch", IMAGE, "true"), 125, "network nosuch not found"),
        (("--cap-add", "NOPE", IMAGE, "true"), 125, "unknown capability"),
        (("--hostname", os.fsdecode(b"a\xff"), IMAGE, "true"), 125, "'a\\udcff' is not valid UTF-8"),
        (
            ("--mount", "type=bind,source=/no/such/path,target=/x", IMAGE, "true"),
            125,
            "bind source path does not exist",
        ),
    ],
)
def test_failures_of_run_itself(root: Root, words: tuple[str, ...], code: int, text: str) -> None:
    network = () if "--network" in words else ("--network", "none")
    done = root.run("run", "--rm", *network, *words, check=code)
    assert text in done.stderr and "Traceback" not in done.stderr
    assert root.out("ps", "-aq") == ""


def test_without_a_command_it_says_so(root: Root) -> None:
    root.run("import", "-", "empty", input=b"\0" * 1024)
    assert "No command specified" in root.run("run", "empty", check=125).stderr


def test_a_rm_container_leaves_nothing(root: Root) -> None:
    root.run(*lean(IMAGE, "true"))
    assert root.engine.containers.list(all=True) == []
    assert os.listdir(root.path / "containers") == []
    assert not [name for name in os.listdir(root.path / "work") if len(name) == 64]


def test_only_the_tree_of_a_rm_container_is_not_wanted_after_a_power_cut(root: Root) -> None:
    show = (IMAGE, "sh", "-c", "grep ' / overlay ' /proc/mounts | tr ', ' '\\n'")
    volatile = {"volatile", "fsync=volatile"}  # as older and newer kernels show it
    assert volatile & set(root.out(*lean(*show)).split("\n"))
    kept = root.out("run", "--network", "none", *show).split("\n")
    assert not volatile & set(kept) and any(option.startswith("upperdir=") for option in kept)


def test_a_rm_container_that_was_not_started_can_be_started_again(root: Root, tmp_path: Path) -> None:
    """The mark that overlayfs leaves in a tree that may be torn after a power cut refuses the next mount of it."""
    options = ("--rm", "--network", "none", "-v", f"{tmp_path}:/host")
    (tmp_path / "entry").write_text("#!/bin/sh\ntouch /new\n")
    root.run("create", "--name", "again", *options, IMAGE, "/host/entry")
    container = root.engine.containers.get("again")
    with pytest.raises(ExecutableRefused):
        root.engine.containers.start(container)
    (tmp_path / "entry").chmod(0o755)
    root.run("start", "--attach", "again")
    assert root.out("ps", "-aq") == ""


def test_environment_user_and_directory(root: Root, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=a b\nHOME_TOWN\n")
    root.environ["HOME_TOWN"] = "Oslo"
    words = (
        "-e",
        "A=1",
        "-e",
        "HOME_TOWN",
        "--env-file",
        str(tmp_path / "env"),
        "-w",
        "/opt/new",
        "-u",
        "app",
        "-h",
        "box",
    )
    lines = root.out(
        *lean(*words, IMAGE, "sh", "-c", "env | sort; pwd; id; hostname; cat /etc/hostname")
    ).splitlines()
    for line in (
        "A=1",
        "FROM_FILE=a b",
        "HOME_TOWN=Oslo",
        "HOME=/home/app",
        "HOSTNAME=box",
        "/opt/new",
        "box",
    ):
        assert line in lines
    identity = next(line for line in lines if line.startswith("uid="))
    assert identity.startswith("uid=1000(app) gid=1000(app)") and "10(wheel)" in identity
    assert not any(line.startswith("TERM=") for line in lines)


def test_standard_input_reaches_the_program(root: Root) -> None:
    data = os.urandom(3 << 20)
    done = subprocess.run(
        [sys.executable, "-m", "boxwright", *lean("-i", IMAGE, "cat")],
        env=root.environ,
        input=data,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == data


def test_a_large_output_arrives_whole(root: Root) -> None:
    assert len(root.run(*lean(IMAGE, "head", "-c", "20000000", "/dev/zero")).stdout) == 20_000_000


def test_a_slow_reader_gets_everything(root: Root) -> None:
    process = root.start(*lean(IMAGE, "head", "-c", "8000000", "/dev/zero"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    time.sleep(1.5)  # the supervisor's queue for its client is full by now
    assert len(process.stdout.read()) == 8_000_000
    process.stdout.close()
    assert process.wait(30) == 0


def test_output_that_no_client_reads_does_not_hang(root: Root) -> None:
    pipeline = f"{sys.executable} -m boxwright {' '.join(lean(IMAGE, 'yes'))} | head -n 3"
    done = subprocess.run(["bash", "-c", pipeline], env=root.environ, capture_output=True, timeout=60)
    assert done.stdout == b"y\ny\ny\n"
    eventually(lambda: not root.engine.containers.list(all=True) or root.clean() is None)


def test_signals_are_passed_on(root: Root) -> None:
    script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    process = root.start(*lean(IMAGE, "sh", "-c", script), stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 3
    assert process.stdout.read() == b"got it\n"
    process.stdout.close()


def test_the_client_may_die(root: Root) -> None:
    process = root.start(
        "run",
        "--network",
        "none",
        "--name",
        "alone",
        IMAGE,
        "sh",
        "-c",
        "echo ready; sleep 0.6; echo more; exit 5",
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert root.out("wait", "alone") == "5"
    assert root.out("logs", "alone") == "ready\nmore"


def test_detached_rm_container_removes_itself(root: Root) -> None:
    identity = root.out("run", "-d", "--rm", "--network", "none", IMAGE, "sleep", "0.2")
    assert len(identity) == 64
    eventually(
        lambda: (
            root.engine.containers.list(all=True) == [] and not (root.path / "containers" / identity).exists()
        )
    )


def test_the_life_of_a_container(root: Root) -> None:
    identity = root.out(
        "create", "--network", "none", "--name", "life", IMAGE, "sh", "-c", "echo run; exec sleep 100"
    )
    assert root.out("ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}") == "life created Created"
    assert root.out("start", "life") == "life"
    assert root.out("ps", "-q", "--no-trunc") == identity
    assert root.out("start", identity[:8]) == identity[:8]  # again: no error
    assert (
        "container is running: stop the container before removing or force remove"
        in root.run("rm", "life", check=1).stderr
    )
    root.run("pause", "life")
    assert "(Paused)" in root.out("ps", "--format", "{{.Status}}")
    root.run("unpause", "life")
    root.run("rename", "life", "afterlife")
    assert root.out("stop", "-t", "0", "afterlife") == "afterlife"
    assert root.out("wait", "afterlife") == "137"
    assert root.out("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    root.run("restart", "-t", "0", "afterlife")
    assert root.out("ps", "--format", "{{.Names}}") == "afterlife"
    root.run("restart", "-t", "0", "afterlife")
    assert root.out("logs", "afterlife") == "run\nrun\nrun"
    assert root.out("kill", "afterlife") == "afterlife"
    assert "is not running" in root.run("kill", "afterlife", check=1).stderr
    assert root.out("rm", "afterlife") == "afterlife"
    assert "No such container: afterlife" in root.run("rm", "afterlife", check=1).stderr


def test_stop_asks_first(root: Root) -> None:
    root.run(
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "polite",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done",
    )
    eventually(lambda: root.out("logs", "polite") == "ready")
    root.run("stop", "polite")
    assert root.out("wait", "polite") == "9"


@pytest.mark.parametrize("lost", ["state", "directory", "both directories"])
def test_a_created_container_starts_whatever_a_power_cut_took(root: Root, lost: str) -> None:
    box = root.out("create", "--network", "none", "-w", "/made/here", IMAGE, "pwd")
    work = root.path / "work" / box
    if lost == "state":
        (work / "state").write_text("")
    else:
        shutil.rmtree(work)
    if lost == "both directories":
        shutil.rmtree(root.path / "containers" / box)
    assert root.out("start", "-a", box) == "/made/here"
    assert root.out("diff", box).splitlines()[-1] == "A /made/here"


def test_a_row_is_made_after_its_tree_and_goes_before_it(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    containers, snapshots = root.engine.containers, root.engine.services.snapshots
    before = sorted(os.listdir(root.path / "work"))

    def cut(*words: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    def rows() -> Sequence[object]:
        with root.engine.services.db.read() as sql:
            return sql.execute("SELECT id FROM containers").fetchall()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(snapshots, "prepare", lambda *words: cut() if rows() == [] else None)
        containers.create(ContainerConfig(image=IMAGE))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(containers, "_insert", cut)
        containers.create(ContainerConfig(image=IMAGE))
    assert rows() == [] and sorted(os.listdir(root.path / "work")) == before, "an attempt leaves nothing"
    box = containers.create(ContainerConfig(image=IMAGE))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(snapshots, "discard", cut)
        containers.remove(box)
    assert rows() == [] and (root.path / "work" / box.id / "state").exists()
    root.out("system", "prune", "-f")
    assert sorted(os.listdir(root.path / "work")) == before and not box.directory.exists()


def test_names_conflict(root: Root) -> None:
    first = root.out("create", "--name", "taken", IMAGE)
    message = f'Conflict. The container name "/taken" is already in use by container "{first}". You have to remove (or rename) that container to be able to reuse that name.'
    assert message in root.run("create", "--name", "taken", IMAGE, check=1).stderr
    assert "Invalid container name (a/b)" in root.run("create", "--name", "a/b", IMAGE, check=1).stderr


def test_exec(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "ce", "-e", "A=1", IMAGE, "sleep", "100")
    done = root.run(
        "exec",
        "-e",
        "B=2",
        "-w",
        "/tmp",
        "-u",
        "app",
        "ce",
        "sh",
        "-c",
        "echo $A$B; pwd; id -u; echo oops >&2; exit 4",
        check=4,
    )
    assert (done.stdout, done.stderr) == ("12\n/tmp\n1000\n", "oops\n")
    assert root.out("exec", "-i", "ce", "cat", input="typed") == "typed"
    assert "executable file not found" in root.run("exec", "ce", "nosuch", check=127).stderr
    assert "permission denied" in root.run("exec", "ce", "/etc/motd", check=126).stderr
    for words in (
        ["nosuch"],
        ["/etc/motd"],
        ["-w", "/nosuch", "true"],
    ):  # 1, as Docker: nothing was waited for
        options = words[:2] if len(words) > 1 else []
        root.run("exec", "-d", *options, "ce", words[-1], check=1)
    for detached in ([], ["-d"]):
        assert (
            "unable to find user nosuch"
            in root.run("exec", *detached, "-u", "nosuch", "ce", "true", check=1).stderr
        )
    root.run("exec", "-d", "ce", "sh", "-c", "echo done > /tmp/mark")
    eventually(lambda: root.run("exec", "ce", "cat", "/tmp/mark", check=None).stdout == "done\n")
    root.run("stop", "-t", "0", "ce")
    assert "is not running" in root.run("exec", "ce", "true", check=1).stderr


def test_exec_has_variables_of_a_file_and_all_rights(root: Root, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=of-the-file\n")
    root.run("run", "-d", "--network", "none", "--name", "rights", IMAGE, "sleep", "100")
    assert (
        root.out("exec", "--env-file", str(tmp_path / "env"), "rights", "sh", "-c", "echo $A")
        == "of-the-file"
    )
    look = ("rights", "sh", "-c", "grep CapEff /proc/self/status")
    assert root.out("exec", "--privileged", *look) > root.out("exec", *look)
    root.run("rm", "-f", "rights")


_SUBREAPER = """
import sys
from boxwright import Engine
from boxwright.container.execs import ExecConfig, TerminalExec, run_detached
from boxwright.runtime.process import become_subreaper

become_subreaper()
engine = Engine(sys.argv[1])
containers = engine.containers
container = containers.get("cs")
run_detached(engine.services, container, ExecConfig(("sleep", "0.2")))
with TerminalExec(engine.services, container, ExecConfig(("sleep", "0.2"), tty=True), (24, 80)):
    pass
containers.remove(container, force=True)
print("gone")
"""


def test_what_a_subreaper_started_and_left_alone_does_not_keep_a_container(root: Root) -> None:
    """A zombie in a container's PID namespace keeps its first process from ending."""
    root.run("run", "-d", "--network", "none", "--name", "cs", IMAGE, "sleep", "100")
    done = subprocess.run(
        [sys.executable, "-c", _SUBREAPER, str(root.path)],
        env=root.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "gone\n", done.stderr


_ZOMBIE = """
import os, sys
from boxwright import Engine
from boxwright.container import execs, manager
from boxwright.runtime.process import reap_orphans

manager._STOP_GRACE = 0.5
engine = Engine(sys.argv[1])
container = engine.containers.get("cz")
# Our child, which nothing waits for: its zombie keeps the container from ending.
child = execs.TerminalExec(engine.services, container, execs.ExecConfig(("sleep", "100"), tty=True), None)
for end in (lambda: engine.containers.stop(container, seconds=0), lambda: engine.containers.kill(container), lambda: engine.containers.remove(container, force=True)):
    try:
        end()
    except manager.DoesNotEnd as error:
        print(error)
reap_orphans()
engine.containers.remove(container, force=True)
"""


def test_what_does_not_end_is_not_waited_for_without_end(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "cz", IMAGE, "sleep", "100")
    done = subprocess.run(
        [sys.executable, "-c", _ZOMBIE, str(root.path)],
        env=root.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "container cz was killed, but has not ended within 0.5 seconds\n" * 3, done.stderr
    assert root.out("ps", "-aq") == ""


def test_logs(root: Root) -> None:
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "cl",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; done; echo bad >&2; printf end",
    )
    done = root.run("logs", "cl")
    assert (done.stdout, done.stderr) == ("1\n2\n3\nend", "bad\n")
    assert root.run("logs", "-n", "2", "cl").stdout == "end"
    stamped = root.run("logs", "-t", "--tail", "all", "cl").stdout.splitlines()
    assert stamped[0].endswith("Z 1") and stamped[0][4] == "-"
    assert (
        root.out("logs", "--since", "1h", "cl") == "1\n2\n3\nend"
        and root.out("logs", "--until", "1h", "cl") == ""
    )
    entries = [
        json.loads(line)
        for line in (
            root.path
            / "containers"
            / root.out("ps", "-aq", "--no-trunc")
            / (root.out("ps", "-aq", "--no-trunc") + "-json.log")
        )
        .read_text()
        .splitlines()
    ]
    assert entries[0] == {"log": "1\n", "stream": "stdout", "time": entries[0]["time"]}


def test_logs_follow_to_the_end(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "cf", IMAGE, "sh", "-c", "echo a; sleep 0.4; echo b")
    assert root.out("logs", "-f", "cf") == "a\nb"


def test_logs_rotate(root: Root) -> None:
    words = ("--log-opt", "max-size=10k", "--log-opt", "max-file=3")
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "cr",
        *words,
        IMAGE,
        "sh",
        "-c",
        "for i in $(seq 1 2000); do echo line $i; done; sleep 0.1; for i in $(seq 2001 2010); do echo line $i; done",
    )
    directory = next((root.path / "containers").iterdir())
    files = sorted(p.name for p in directory.iterdir() if "json.log" in p.name)
    assert len(files) <= 3 and root.out("logs", "cr").splitlines()[-1] == "line 2010"


def test_restart_on_failure(root: Root) -> None:
    root.run(
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "again",
        "--restart",
        "on-failure:2",
        IMAGE,
        "sh",
        "-c",
        "echo try; exit 3",
    )
    assert root.out("wait", "again") == "3"
    assert root.out("logs", "again") == "try\ntry\ntry"
    assert root.out("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again") == "2 exited"


def test_restart_always_until_stopped(root: Root) -> None:
    root.run(
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "ever",
        "--restart",
        "always",
        IMAGE,
        "sh",
        "-c",
        "sleep 0.05",
    )
    eventually(lambda: int(root.out("inspect", "-f", "{{.RestartCount}}", "ever")) >= 1)
    root.run("stop", "-t", "0", "ever")
    assert root.out("inspect", "-f", "{{.State.Status}}", "ever") == "exited"


def test_health(root: Root) -> None:
    words = (
        "--health-cmd",
        "test -e /tmp/well && echo fine",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "--health-timeout",
        "2s",
    )
    root.run("run", "-d", "--network", "none", "--name", "ch", *words, IMAGE, "sleep", "100")

    def status() -> str:
        return root.out("inspect", "-f", "{{.State.Health.Status}}", "ch")

    assert status() in ("starting", "unhealthy")
    eventually(lambda: status() == "unhealthy")
    root.run("exec", "ch", "touch", "/tmp/well")
    eventually(lambda: status() == "healthy")
    assert "(healthy)" in root.out("ps", "--format", "{{.Status}}")
    health = json.loads(root.out("inspect", "-f", "{{json .State.Health}}", "ch"))
    assert (
        health["Log"][-1]["Output"] == "fine\n"
        and health["Log"][-1]["ExitCode"] == 0
        and len(health["Log"]) <= 5
    )


def test_killed_supervisor_is_noticed(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "orphan", IMAGE, "sleep", "1000")
    container = root.engine.containers.get("orphan")
    pid = container.state.pid
    os.kill(container.state.supervisor_pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not container.refresh().supervised and not container.state.alive)
    assert root.out("ps", "-a", "--format", "{{.Status}}").startswith("Exited (255)")
    eventually(lambda: not Path(f"/proc/{pid}/root/etc").exists())
    assert str(container.rootfs) not in Path("/proc/self/mounts").read_text()
    root.run("start", "orphan")
    assert root.out("ps", "--format", "{{.Names}}") == "orphan"


def test_defaults_inside(root: Root) -> None:
    out = root.out(
        *lean(
            IMAGE,
            "sh",
            "-c",
            "grep Cap /proc/self/status; grep Seccomp: /proc/self/status; cat /proc/self/mounts; echo $$; ls /sys/class/net; cat /etc/hosts",
        )
    )
    assert "CapEff:\t00000000a80425fb" in out or "CapEff:" in out
    assert "Seccomp:\t2" in out
    assert "\n1\n" in out and "lo" in out.split("\n1\n")[1].split()
    assert "127.0.0.1\tlocalhost" in out


def test_rights(root: Root) -> None:
    assert root.run(*lean("--read-only", IMAGE, "touch", "/x"), check=1).stderr.startswith(
        "touch: /x: Read-only file system"
    )
    root.run(*lean("--read-only", "--tmpfs", "/x", IMAGE, "touch", "/x/y"))
    assert (
        "Operation not permitted"
        in root.run(*lean("--cap-drop", "ALL", IMAGE, "chown", "1", "/tmp"), check=1).stderr
    )
    assert "NoNewPrivs:\t1" in root.out(
        *lean("--security-opt", "no-new-privileges", IMAGE, "cat", "/proc/self/status")
    )
    assert "Seccomp:\t0" in root.out(
        *lean("--security-opt", "seccomp=unconfined", IMAGE, "cat", "/proc/self/status")
    )
    assert "Seccomp:\t0" in root.out(*lean("--privileged", IMAGE, "cat", "/proc/self/status"))
    assert root.out(*lean("--device", "/dev/null:/dev/mine", IMAGE, "ls", "-l", "/dev/mine")).startswith("c")
    assert (
        root.out(*lean("--ulimit", "nofile=100:200", IMAGE, "sh", "-c", "ulimit -n; ulimit -Hn"))
        == "100\n200"
    )
    assert (
        root.out(*lean("--shm-size", "1m", IMAGE, "sh", "-c", "df -k /dev/shm | tail -n 1")).split()[1]
        == "1024"
    )
    assert root.out(*lean("--pid", "host", IMAGE, "sh", "-c", "test $$ != 1; echo $?")) == "0"


@pytest.mark.skipif(not any(map(shutil.which, ("docker-init", "tini", "catatonit"))), reason="needs tini")
def test_init(root: Root) -> None:
    assert root.out(*lean("--init", IMAGE, "sh", "-c", "cat /proc/1/comm")) in (
        "docker-init",
        "tini",
        "catatonit",
    )


def test_memory_limit_kills_and_says_so(root: Root) -> None:
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "big",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        IMAGE,
        "sh",
        "-c",
        "x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo $x | wc -c",
        check=None,
    )
    assert root.out("inspect", "-f", "{{.State.OOMKilled}} {{.HostConfig.Memory}}", "big").endswith(
        " 16777216"
    )


def test_diff_commit_and_export(root: Root) -> None:
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "cd",
        IMAGE,
        "sh",
        "-c",
        "echo new > /opt/new; rm /etc/motd; mkdir /srv",
    )
    assert root.out("diff", "cd").splitlines() == ["C /etc", "D /etc/motd", "C /opt", "A /opt/new", "A /srv"]
    image = root.out(
        "commit", "-a", "me", "-m", "why", "-c", "ENV X=1", "-c", "CMD cat /opt/new", "cd", "made:1"
    )
    assert image.startswith("sha256:")
    assert root.out(*lean("made:1")) == "new"
    config = json.loads(root.out("image", "inspect", "-f", "{{json .Config}}", "made:1"))
    assert (
        "X=1" in config["Env"]
        and config["Cmd"] == ["/bin/sh", "-c", "cat /opt/new"]
        and not config.get("Hostname")
    )
    history = root.out("history", "--no-trunc", "--format", "{{.Comment}}", "made:1").splitlines()
    assert history[0] == "why"
    listing = (
        subprocess.run(
            ["tar", "-t"],
            input=subprocess.run(
                [sys.executable, "-m", "boxwright", "export", "cd"],
                env=root.environ,
                capture_output=True,
                check=True,
            ).stdout,
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .splitlines()
    )
    assert "opt/new" in listing and "etc/motd" not in listing and "bin/sh" in listing
    root.run("rmi", "made:1")


def test_mount_points_of_the_runtime_are_no_part_of_a_commit(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "cm", IMAGE, "sleep", "100")
    assert root.out("diff", "cm") == ""
    root.run("commit", "cm", "same")
    layer = json.loads(root.out("image", "inspect", "-f", "{{json .RootFS.Layers}}", "same"))[-1]
    names = (
        subprocess.run(
            ["tar", "-tf", str(root.path / "layers" / layer.replace(":", "-") / "layer.tar")],
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .split()
    )
    assert [n for n in names if n not in ("etc/", "sbin/", "run/", "./")] == []
    root.run("rmi", "same")


def test_marks_of_a_container_are_inside_and_in_no_commit(root: Root) -> None:
    root.run(
        "run",
        "--network",
        "none",
        "--name",
        "cm",
        IMAGE,
        "sh",
        "-c",
        "test -f /.dockerenv && readlink /etc/mtab",
    )
    assert root.out("logs", "cm") == "/proc/mounts" and root.out("diff", "cm") == ""
    root.run("start", "-a", "cm")
    assert root.out("diff", "cm") == ""


def test_stats_of_a_named_container_end_with_it(root: Root) -> None:
    root.run("run", "-d", "--name", "seen", IMAGE, "sleep", "100")
    watching = root.start("stats", "--format", "{{.Container}}", "seen", stdout=subprocess.PIPE)
    assert watching.stdout is not None
    assert watching.stdout.readline() == b"seen\n"
    root.run("rm", "-f", "seen")
    watching.communicate(timeout=30)
    assert watching.returncode == 0


def test_top_stats_port_inspect_update(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "ct", "-l", "a=b", IMAGE, "sleep", "1000")
    assert "sleep 1000" in root.out("top", "ct") and root.out("top", "ct", "-o", "pid,args").splitlines()[
        0
    ].split() == ["PID", "COMMAND"]
    stats = json.loads(root.out("stats", "--no-stream", "--format", "json", "ct"))
    assert stats["Name"] == "ct" and stats["PIDs"] == "1" and stats["MemUsage"] != "0B / 0B"
    identity = root.out("inspect", "-f", "{{.Id}}", "ct")
    asked = ("stats", "--no-stream", "--format", "{{.Container}} {{.ID}}")
    assert root.out(*asked, identity[:7]) == f"{identity[:7]} {identity[:12]}"
    assert f"{identity} {identity[:12]}" in root.out(*asked).splitlines()
    root.run("update", "--memory", "64m", "--memory-swap", "64m", "--restart", "always", "ct")
    shown = json.loads(root.out("inspect", "ct"))[0]
    assert (
        shown["HostConfig"]["Memory"] == 64 << 20 and shown["HostConfig"]["RestartPolicy"]["Name"] == "always"
    )
    assert (
        shown["Config"]["Labels"] == {"a": "b"}
        and shown["Name"] == "/ct"
        and shown["State"]["Running"] is True
    )
    assert (
        root.out("ps", "-q", "--filter", "label=a=b", "--filter", "name=ct", "--filter", "status=running")
        == shown["Id"][:12]
    )
    assert root.out("ps", "-q", "--filter", "label=a=c") == ""


def test_prune(root: Root) -> None:
    root.run("run", "--network", "none", IMAGE, "true")
    root.run("run", "-d", "--network", "none", "--name", "stays", IMAGE, "sleep", "100")
    assert "Deleted Containers:" in root.out("container", "prune", "-f")
    assert root.out("ps", "-a", "--format", "{{.Names}}") == "stays"


def test_cidfile(root: Root, tmp_path: Path) -> None:
    identity = root.out("create", "--cidfile", str(tmp_path / "cid"), IMAGE)
    assert (tmp_path / "cid").read_text() == identity
    assert (
        "container ID file found"
        in root.run("create", "--cidfile", str(tmp_path / "cid"), IMAGE, check=1).stderr
    )


def test_joining_another_containers_namespaces(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "first", "-h", "host1", IMAGE, "sleep", "100")
    assert (
        root.out(
            "run",
            "--rm",
            "--network",
            "container:first",
            "--pid",
            "container:first",
            IMAGE,
            "sh",
            "-c",
            "hostname; cat /proc/1/comm",
        )
        == "host1\nsleep"
    )


def test_trusting_the_hosts_certificates(root: Root) -> None:
    bundle = "/run/boxwright/ca-certificates.crt"
    out = root.out(
        *lean(
            "--trust-host-ca",
            "-e",
            "PIP_CERT=/mine",
            IMAGE,
            "sh",
            "-c",
            f"echo $SSL_CERT_FILE $PIP_CERT; head -c 5 {bundle}; touch {bundle} 2>/dev/null || echo readonly",
        )
    )
    lines = out.splitlines()
    assert lines[0] == f"{bundle} /mine" and len(lines[1]) >= 1
    assert root.out(*lean(IMAGE, "sh", "-c", "echo x$SSL_CERT_FILE")) == "x"


def test_the_sdk(root: Root) -> None:
    data = os.urandom(1 << 20)
    done = root.engine.run(IMAGE, "sh", "-c", "echo err >&2; cat; exit 3", input=data, network="none")
    assert (done.exit_code, done.stdout, done.stderr) == (3, data, b"err\n")
    with pytest.raises(ExecutableMissing):
        root.engine.run(IMAGE, "nosuch", network="none")
    assert root.engine.containers.list(all=True) == []


def test_what_the_client_refuses_has_its_own_exit_code(root: Root) -> None:
    assert "the input device is not a TTY" in root.run(*lean("-it", IMAGE, "true"), check=1).stderr
    assert (
        "cannot specify both --attach and --detach"
        in root.run("run", "-d", "-a", "stdout", IMAGE, check=1).stderr
    )
    assert root.out("ps", "-aq") == ""


def test_a_group_is_given_once(root: Root) -> None:
    done = root.out(
        *lean(
            "--group-add",
            "10",
            "--group-add",
            "10",
            "--group-add",
            "0",
            IMAGE,
            "grep",
            "Groups",
            "/proc/self/status",
        )
    )
    assert done.split() == ["Groups:", "0", "10"]


def test_a_dotted_hostname_has_a_short_name_too(root: Root) -> None:
    hosts = root.out("run", "--rm", "-h", "web.example.org", IMAGE, "cat", "/etc/hosts")
    assert hosts.splitlines()[-1].split()[1:] == ["web.example.org", "web"]


def limited(*words: str, root: Root, files: int = 0, processes: int = 0) -> subprocess.CompletedProcess[str]:
    """A command that may open so many files, or start so few processes."""
    group = Path(f"/sys/fs/cgroup/pids/boxwright-test-{os.getpid()}")
    if processes and not group.parent.is_dir():
        pytest.skip("there is no pids controller of version 1 here")

    def lower() -> None:
        import resource

        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        if processes:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    if processes:
        group.mkdir()
        (group / "pids.max").write_text(str(processes))
    try:
        return subprocess.run(
            [sys.executable, "-m", "boxwright", *words],
            env=root.environ,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=lower,
        )
    finally:
        if processes:
            eventually(lambda: not (group / "cgroup.procs").read_text())
            group.rmdir()


def test_few_files_are_enough_or_said(root: Root) -> None:
    assert limited(*lean(IMAGE, "echo", "ran"), root=root, files=64).stdout == "ran\n"
    for files in (12, 16, 24):
        done = limited(*lean(IMAGE, "echo", "ran"), root=root, files=files)
        assert done.stdout == "ran\n" or done.stderr.startswith("Error: "), done.stderr
        assert "internal error" not in done.stderr and "Traceback" not in done.stderr
    assert root.out("ps", "-aq") == ""


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6])
def test_few_processes_are_a_sentence(root: Root, tmp_path: Path, processes: int) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN --network=none true\nCOPY Dockerfile /\n")
    for words in (lean(IMAGE, "echo", "ran"), ("build", "--no-cache", str(tmp_path)), ("images",)):
        done = limited(*words, root=root, processes=processes)
        assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert root.out("ps", "-aq") == ""


def test_a_container_that_is_removed_while_it_is_committed(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxwright.container.catalog import NoSuchContainer

    root.run("create", "--name", "gone", "--network", "none", IMAGE, "true")
    containers = root.engine.containers

    @contextmanager
    def paused(*arguments: object) -> Iterator[None]:
        containers.remove(containers.get("gone"))
        os.stat("/no/upper")  # as the tree's own is not there any more
        yield

    monkeypatch.setattr(containers, "paused", paused)
    with pytest.raises(NoSuchContainer, match="No such container"):
        containers.commit(containers.get("gone"))


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/d", ["d", "d/f", "d/sub", "d/sub/g"]),
        ("/d/", ["d", "d/f", "d/sub", "d/sub/g"]),
        ("/d/.", [".", "./f", "./sub", "./sub/g"]),
        ("/d/f", ["f"]),
        ("/l", ["l"]),
        ("/l/", ["l", "l/f", "l/sub", "l/sub/g"]),
        ("/l/.", [".", "./f", "./sub", "./sub/g"]),
        ("/d/f/", []),
        ("/d/f/.", []),
    ],
)
def test_what_cp_writes_to_standard_output(root: Root, path: str, names: list[str]) -> None:
    script = "mkdir -p /d/sub; echo a > /d/f; echo b > /d/sub/g; ln -s d /l"
    root.run("run", "--name", "cp", "--network", "none", IMAGE, "sh", "-c", script)
    done = subprocess.run(
        [sys.executable, "-m", "boxwright", "cp", f"cp:{path}", "-"],
        env=root.environ,
        capture_output=True,
        timeout=60,
    )
    if names:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            assert sorted(tar.getnames()) == names
    else:
        assert done.returncode == 1 and not done.stdout
        assert done.stderr.decode() == f"Error: lstat {path}: not a directory\n"
