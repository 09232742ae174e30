"""A whole start without a kernel's help: a real supervisor and a runtime that is a script; the tree is a directory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.container import frames
from boxwright.container.config import ContainerConfigInvalid, Limits
from boxwright.container.job import Job
from boxwright.container.records import MountPoint, State, save_state
from boxwright.container.remains import kept_job
from boxwright.container.session import Session, wait_gone
from boxwright.container.volumes import Volumes
from boxwright.errors import BoxwrightError, Unavailable, Unsupported
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.runtime.oci import ExecutableMissing
from boxwright.snapshot.mount import MountFailed
from support.few import Few
from support.mounts import Unmounted
from support.starts import ONE, Start, runnable


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Few]:
    yield runnable(tmp_path)
    assert not (tmp_path / "containers" / ONE / "attach.sock").exists()


def test_it_runs_with_what_the_record_says(few: Few) -> None:
    start = Start(few, merged={"User": "web"}, extra_hosts=("db:10.0.0.9",))
    assert start.run("exit 7") == 7
    process = start.bundle["process"]
    assert process["args"] == ["serve"] and "A=b" in process["env"]
    assert (process["user"]["uid"], process["user"]["gid"]) == (33, 34)
    assert start.bundle["root"]["path"] == str(start.box.rootfs)
    assert start.target("/etc/hosts")["source"] == str(start.box.directory / "hosts")
    assert "10.0.0.9\tdb" in (start.box.directory / "hosts").read_text()
    state = start.box.state
    assert (state.status, state.exit_code, state.error) == ("exited", 7, "")
    assert state.runtime[:2] == ("runc", str(few.root / "runtime"))
    assert (few.root / "verbs").read_text().split()[0] == "run"


def test_the_tree_is_mounted_anew_and_gets_what_docker_puts_there(few: Few) -> None:
    start = Start(few)
    start.run()
    assert start.mounts.done[:2] == [("detach", "rootfs"), ("attach", "rootfs", "overlay")]
    etc = start.box.rootfs / "etc"
    assert (start.box.rootfs / ".dockerenv").is_file() and os.readlink(etc / "mtab") == "/proc/mounts"
    # A container's own file is at its name, wherever the image's link leads.
    assert (etc / "resolv.conf").is_file() and not (etc / "resolv.conf").is_symlink()
    made = start.box.state.placeholders
    assert {"/.dockerenv", "/etc/hosts", "/etc/resolv.conf"} <= set(made) and "/etc/passwd" not in made
    start.run()
    assert start.box.state.placeholders == made  # a second start adds none


def test_the_tree_of_what_is_removed_waits_for_no_disk(few: Few) -> None:
    start = Start(few, auto_remove=True)
    start.run()
    assert ("attach", "rootfs", "overlay volatile") in start.mounts.done


def test_what_a_supervisor_is_told(few: Few) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 3 * 10**9}
    start = Start(
        few,
        auto_remove=True,
        tty=False,
        limits=Limits(memory=64 << 20),
        merged={"Healthcheck": check, "StdinOnce": True},
    )
    told: list[Any] = []
    session: Any = SimpleNamespace(
        supervisor_pid=77,
        send=lambda kind, value: told.append(value),
        expect=lambda *kinds: (frames.STARTED, 1),
    )
    start.launcher().start(session, wants=5, size=(24, 80), restarts=3)
    job = Job.of(told[0])
    assert (job.id, job.name, job.rootfs) == (ONE, "box", str(start.box.rootfs))
    assert tuple(job.runtime) == (str(few.root / "runtime"), "--root", str(few.root / "run/runtime"))
    assert job.auto_remove and job.stdin_once and job.wants == 5 and job.size == (24, 80)
    assert job.health is not None and job.health.interval == 3 and job.network is None
    assert [Path(path).name for path in job.oom_files] == ["memory.events", "memory.oom_control"]
    assert dict(job.reaper_environ) == {"PATH": "/bin"}  # nothing else of the environment
    assert ONE in job.reaper and str(few.root) in job.reaper
    assert [network for network, *_ in job.alone] == ["host"]
    assert job.state["RestartCount"] == 3


def test_mounts_are_ready_and_new_volumes_are_filled_once(few: Few) -> None:
    volume, _ = Volumes(few.root, few.db).create("vol")
    points = [
        MountPoint(kind="volume", target="/etc", name="vol").to_json(),
        MountPoint(kind="bind", target="/a/b", source=str(few.root)).to_json(),
    ]
    start = Start(few, mounts=points, fill=["/etc"])
    start.run()
    assert (volume.data / "passwd").read_text().startswith("root:")
    assert start.target("/etc")["source"] == str(volume.data)
    assert start.target("/a/b")["source"] == str(few.root) and (start.box.rootfs / "a/b").is_dir()
    for path in volume.data.iterdir():
        path.unlink()
    start.run()  # it is the user's now
    assert not list(volume.data.iterdir())


def test_seccomp_is_dockers_or_none(few: Few) -> None:
    start = Start(few)
    start.run()
    assert start.bundle["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"


def test_without_seccomp_there_is_none(few: Few) -> None:
    start = Start(few, security_opt=("seccomp=unconfined",))
    start.run()
    assert "seccomp" not in start.bundle["linux"]


# --- failures --------------------------------------------------------------------------------------


def test_what_cannot_be_mounted_is_said_and_undone(few: Few) -> None:
    start = Start(few, wrong="cannot mount overlay x: no space left on device")
    with Session.launch() as session:
        pid = session.supervisor_pid
        with pytest.raises(MountFailed, match="no space left"):
            start.launcher().start(session)
    assert wait_gone(pid)  # a supervisor without a job ends
    state = start.box.refresh()
    assert (state.status, state.exit_code) == ("created", 128) and "no space left" in state.error
    assert start.mounts.done[-1] == ("detach", "rootfs")


def test_a_source_that_is_gone_leaves_no_share_behind(few: Few) -> None:
    device = {"type": "none", "device": str(few.root), "o": "bind"}
    volumes = Unmounted(few.root, few.db)
    volume, _ = volumes.create("vol", options=device)
    points = [
        MountPoint(kind="volume", target="/v", name="vol").to_json(),
        MountPoint(kind="bind", target="/a", source=f"{few.root}/gone").to_json(),
    ]
    start = Start(few, mounts=points)
    with Session.launch() as session, pytest.raises(ContainerConfigInvalid, match="does not exist"):
        start.launcher(volumes=volumes).start(session)
    Lock.at(locks.VOLUME, str(volume.path / "lock"), wait=False).close()
    assert ("attach", "rootfs", "overlay") not in start.mounts.done


@pytest.mark.parametrize(
    ("said", "kind", "code", "words"),
    [
        ("executable file `serve` not found in $PATH", ExecutableMissing, 127, "serve"),
        ("something else", BoxwrightError, 128, "something else"),
        ("", BoxwrightError, 128, "runtime"),
    ],
)
def test_what_the_runtime_refuses_is_told_and_noted(
    few: Few, said: str, kind: type[BoxwrightError], code: int, words: str
) -> None:
    start = Start(few)
    text = json.dumps({"level": "error", "msg": said}) if said else ""
    (few.root / "refuses").write_text(text)
    with pytest.raises(kind, match="failed to create task for container: ") as told:
        start.run()
    assert words in str(told.value)
    state = start.box.refresh()
    assert (state.exit_code, state.error, state.status) == (code, str(told.value), "created")


@pytest.mark.parametrize(
    ("stage", "kind", "words"),
    [
        ("log", Unavailable, "failed to initialize logging driver: why"),
        ("setup", Unsupported, "cannot set up the container: why"),
    ],
)
def test_what_the_supervisor_could_not_do(few: Few, stage: str, kind: type[Exception], words: str) -> None:
    start = Start(few)
    value = {"stage": stage, "message": "why"}
    drained: list[bool] = []
    session: Any = SimpleNamespace(
        supervisor_pid=77,
        send=lambda *words: None,
        expect=lambda *kinds: (frames.FAILED, value),
        drain=lambda: drained.append(True),
    )
    with pytest.raises(kind, match=words):
        start.launcher().start(session)
    assert drained and start.box.refresh().exit_code == 128


def test_a_supervisor_that_is_killed_meanwhile_is_cleaned_up_after(few: Few) -> None:
    start = Start(few)
    (few.root / "program").write_text("exec sleep 1000")
    session = Session.launch()
    send = session.send

    def killed(kind: int, value: Any = None) -> None:
        save_state(start.box.directory, State(status="running", pid=1, supervisor="another-boot:1:1"))
        os.kill(session.supervisor_pid, signal.SIGKILL)
        assert wait_gone(session.supervisor_pid)
        send(kind, value)

    session.send = killed  # type: ignore[method-assign]
    with session, pytest.raises(Unavailable, match="supervisor has ended"):
        start.launcher().start(session)
    assert (few.root / "verbs").read_text().split() == ["delete"]
    assert start.box.refresh().exit_code == 128 and kept_job(start.box) is None
