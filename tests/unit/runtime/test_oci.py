"""What runtimes say, as typed errors. The sentences are runc 1.1's and crun 1.8's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BoxwrightError, Unsupported
from boxwright.runtime import oci
from boxwright.runtime.oci import (
    ContainerMissing,
    ContainerState,
    ExecutableMissing,
    ExecutableRefused,
    FirstWords,
    Runtime,
    RuntimeFailed,
    last_error,
    translate,
)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        # Another process deleted it at the same time.
        ("cannot rm state directory `/run/x/c1`: No such file or directory", ContainerMissing),
        (
            'runc run failed: unable to start container process: exec: "/x": stat /x: no such file or directory',
            ExecutableMissing,
        ),
        (
            'runc create failed: unable to start container process: exec: "x": executable file not found in $PATH',
            ExecutableMissing,
        ),
        ("executable file `/x` not found in $PATH: No such file or directory", ExecutableMissing),
        (
            'runc run failed: unable to start container process: exec: "/bin": permission denied',
            ExecutableRefused,
        ),
        ('exec failed: unable to start container process: exec: "/bin": is a directory', ExecutableRefused),
        ("open executable: Operation not permitted", ExecutableRefused),
        ("open executable: Permission denied", ExecutableRefused),
        ("the path `/bin` is not a regular file: Operation not permitted", ExecutableRefused),
        ("the path `/etc/motd` exists but it is not executable: Operation not permitted", ExecutableRefused),
        ("cannot open `/etc/motd/x`: Not a directory", ExecutableRefused),
        ("open `/etc/motd/x`: Not a directory", ExecutableRefused),
        ("executable file `/no/such` not found: No such file or directory", ExecutableMissing),
        ("exec container process `/bad`: Exec format error", ExecutableRefused),
        (
            'runc run failed: unable to start container process: chdir to cwd ("/x") set in config.json failed: permission denied',
            RuntimeFailed,
        ),
        ("container does not exist", ContainerMissing),
        ("exec failed: container does not exist", ContainerMissing),
        ("error opening file `/run/crun/x/status`: No such file or directory", ContainerMissing),
        ("cannot open directory '/run/crun/x': No such file or directory", ContainerMissing),
        ("container not running", ContainerState),
        ("container with given ID already exists", ContainerState),
        ("cannot start a container that has stopped", ContainerState),
        ("cgroups in hybrid mode not supported, drop all controllers from cgroupv2", Unsupported),
        ("something else", RuntimeFailed),
    ],
)
def test_sentences(message: str, kind: type[BoxwrightError]) -> None:
    assert type(translate(message, "runc")) is kind


def test_the_message_begins_where_dockers_does() -> None:
    error = translate(
        'runc run failed: unable to start container process: exec: "x": executable file not found in $PATH',
        "runc",
    )
    assert str(error) == 'unable to start container process: exec: "x": executable file not found in $PATH'
    assert error.exit_code == 127


def test_logs() -> None:
    log = b'{"level":"warning","msg":"careful"}\n{"level":"error","msg":"first"}\n{"level":"error","msg":"last"}\n'
    assert last_error(log) == "last"
    assert last_error(b'{"level":"info","msg":"fine"}\n') == ""
    assert last_error(b"panic: not JSON\n") == "panic: not JSON"
    several = b'{\n  "msg": "open `\\/a`: first",\n  "level": "error"\n}\n'
    assert last_error(several) == "open `/a`: first"
    assert last_error(several + log) == "last" and last_error(log + several) == "open `/a`: first"
    assert last_error(b"") == ""


@pytest.mark.parametrize(
    ("said", "program", "told"),
    [
        (
            "executable file `x` not found in $PATH: No such file or directory",
            "x",
            'exec: "x": executable file not found in $PATH',
        ),
        (
            "executable file `/no/x` not found in $PATH: No such file or directory",
            "/no/x",
            'exec: "/no/x": stat /no/x: no such file or directory',
        ),
        (
            "open executable: Operation not permitted",
            "",
            'exec: "": executable file not found in $PATH',
        ),
        ("open executable: Operation not permitted", "/bin", 'exec: "/bin": permission denied'),
        ("exec container process `/x`: Exec format error", "/x", 'exec: "/x": exec format error'),
    ],
)
def test_crun_is_told_in_the_words_of_runc(said: str, program: str, told: str) -> None:
    error = translate(said, "crun", program)
    assert str(error) == f"unable to start container process: {told}"
    missing = "not found" in told or "no such file" in told
    assert isinstance(error, ExecutableMissing if missing else ExecutableRefused)


class _Said:
    """A runtime whose log says something."""

    program = ""

    def __init__(self, text: str) -> None:
        self.text = text

    def said(self) -> str:
        return self.text

    def ended_within(self, seconds: float) -> bool:
        return True


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("", b"warning\nno such program\n"),
        ("no such program", b"warning\n"),
        ("another", b"warning\nno such program\n"),
    ],
)
def test_the_runtimes_complaint_is_not_the_process_s_output(log: str, shown: bytes) -> None:
    first = FirstWords(_Said(log))  # type: ignore[arg-type]
    assert first.take(b"warning\n") == b""
    assert first.take(b"no such program\n") == b""
    assert first.waiting
    assert first.settle() == shown
    assert not first.waiting
    assert first.take(b"later") == b"later"


def test_what_reads_like_a_complaint_waits_for_the_end() -> None:
    runtime = _Said("")
    first = FirstWords(runtime)  # type: ignore[arg-type]
    first.take(b"open executable: Permission denied\n")
    assert first.settle() == b""
    runtime.text = "open executable: Permission denied"
    assert first.settle(over=True) == b""


def test_a_moment_without_a_word_settles_nothing() -> None:
    first = FirstWords(_Said("no such program"))  # type: ignore[arg-type]
    assert first.settle() == b""
    assert first.take(b"no such program\n") == b""
    assert first.settle(over=True) == b""


def test_what_only_reads_like_a_complaint_is_shown_in_the_end() -> None:
    first = FirstWords(_Said(""))  # type: ignore[arg-type]
    first.take(b"open executable: mine\n")
    assert first.settle() == b""
    assert first.settle(over=True) == b"open executable: mine\n"


def test_a_runtime_that_hangs_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "hangs"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr(oci, "PATIENCE", 0.2)
    runtime = Runtime(name="hangs", program=str(program), version="1", root=tmp_path / "state")
    with pytest.raises(RuntimeFailed, match=r"^hangs did not answer within 0\.2 seconds, and was killed$"):
        runtime.delete("c1", force=True)
