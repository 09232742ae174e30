"""`exec` with a runtime that is a script: it runs the process of the OCI config on the host."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import execs
from boxwright.container.config import ContainerConfig
from boxwright.container.execs import ExecConfig, ExecMissing
from boxwright.container.records import Container, State, WrongState, save_state
from boxwright.content import journal
from boxwright.files.places import Places
from boxwright.rootfs.users import UserUnknown
from boxwright.spec.values import replace
from support.few import Few, added

ONE = "a1" * 32
RUNTIME = """#!{python}
import json, os, sys
words = sys.argv
process = json.load(open(words[words.index("--process") + 1]))
try:
    os.execvpe(process["args"][0], process["args"], {{"PATH": os.defpath}})
except OSError:
    message = 'exec: "' + process["args"][0] + '": executable file not found in $PATH'
    log = open(words[words.index("--log") + 1], "w")
    log.write(json.dumps({{"level": "error", "msg": message}}))
    log.close()
    sys.exit(1)
"""


@pytest.fixture
def box(tmp_path: Path) -> Container:
    program = tmp_path / "runtime"
    program.write_text(RUNTIME.format(python=sys.executable))
    program.chmod(0o755)
    merged = {"Env": ["A=image", "B=image"], "WorkingDir": "/srv", "User": "0"}
    box = added(Few(tmp_path), ONE, "box", merged=merged)
    runtime = ("runc", str(program), str(tmp_path / "state"), "")
    save_state(box.directory, State(status="running", pid=os.getpid(), runtime=runtime))
    box.refresh()
    return box


def root_of(box: Container) -> Path:
    return box.directory.parent.parent


def run(box: Container, *words: str, stdin: int = -1) -> tuple[int, bytes, bytes]:
    said: dict[int, bytes] = {1: b"", 2: b""}

    def output(stream: int, data: bytes) -> None:
        said[stream] += data

    services: Any = Few(root_of(box))
    code = execs.run(services, box, ExecConfig(words), stdin=stdin, output=output)
    return code, said[1], said[2]


def test_streams_and_exit_code(box: Container) -> None:
    assert run(box, "sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    read, write = os.pipe()
    os.write(write, b"fed")
    os.close(write)
    assert run(box, "cat", stdin=read) == (0, b"fed", b"")
    os.close(read)


def test_input_that_is_not_wanted_ends_nothing(box: Container) -> None:
    read, write = os.pipe()
    os.write(write, b"x" * 60000)
    assert run(box, "true", stdin=read)[0] == 0
    os.close(write)
    os.close(read)


def test_a_process_that_is_left_behind_does_not_hold_the_command(box: Container) -> None:
    assert run(box, "sh", "-c", "sleep 5 & echo done")[:2] == (0, b"done\n")


def test_a_command_that_is_not_there_is_dockers_127(box: Container) -> None:
    with pytest.raises(ExecMissing, match=r"OCI runtime exec failed: exec failed: .*nosuch") as info:
        run(box, "nosuch")
    assert info.value.exit_code == 127


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("paused", "is paused, unpause the container before exec"),
        ("exited", "is not running"),
        ("restarting", "is restarting, wait until the container is running"),
    ],
)
def test_only_a_running_container_takes_one(box: Container, status: str, message: str) -> None:
    save_state(box.directory, replace(box.state, status=status))
    with pytest.raises(WrongState, match=message):
        execs.process(box, ExecConfig(("x",)))


def test_the_process_has_what_the_container_has(box: Container) -> None:
    made = execs.process(box, ExecConfig(("x", "y"), env=("B=typed",), tty=True), size=(24, 80))
    env = dict(entry.split("=", 1) for entry in made["env"])
    assert made["args"] == ["x", "y"] and made["cwd"] == "/srv" and made["user"]["uid"] == 0
    assert (env["A"], env["B"], env["HOSTNAME"], env["TERM"]) == ("image", "typed", "h", "xterm")
    assert made["consoleSize"] == {"height": 24, "width": 80}
    assert execs.process(box, ExecConfig(("x",), workdir="/tmp"))["cwd"] == "/tmp"


def test_rights_are_the_containers_unless_it_is_asked_for_all(box: Container) -> None:
    box.record["config"] = ContainerConfig(image="i", cap_drop=("ALL",)).to_json()
    plain = execs.process(box, ExecConfig(("x",)))
    everything = execs.process(box, ExecConfig(("x",), privileged=True))
    assert plain["capabilities"]["bounding"] == []
    assert everything["capabilities"]["bounding"]


def test_a_user_that_is_not_there_is_told(box: Container) -> None:
    with pytest.raises(UserUnknown, match="no-such-user") as told:
        execs.process(box, ExecConfig(("x",), user="no-such-user"))
    assert told.value.exit_code == 1  # as Docker's client ends: the engine refused, nothing was started


def events(box: Container) -> list[dict[str, Any]]:
    """Of the container, oldest first."""
    return [json.loads(line) for line in journal.lines(str(Places(root_of(box)).events))]


def test_a_process_is_told_of_as_docker_does(box: Container) -> None:
    run(box, "sh", "-c", "exit 7")
    run(box, "true")
    with pytest.raises(ExecMissing):
        run(box, "nosuch")
    told = events(box)
    assert [(e["Action"], e["Actor"]["Attributes"].get("exitCode")) for e in told] == [
        ("exec_create: sh -c exit 7", None),
        ("exec_start: sh -c exit 7", None),
        ("exec_die", "7"),
        ("exec_create: true ", None),
        ("exec_start: true ", None),
        ("exec_die", "0"),
        ("exec_create: nosuch ", None),
        ("exec_start: nosuch ", None),
    ]
    ids = [e["Actor"]["Attributes"]["execID"] for e in told]
    assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4] == ids[5] != ids[6] == ids[7]
