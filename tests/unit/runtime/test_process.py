"""Running programs: output, input, codes, time limits, descriptors."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from boxwright.runtime.process import (
    PIPE,
    ProgramFailed,
    ProgramMissing,
    ProgramTimeout,
    Stdio,
    find_program,
    run,
    spawn,
)
from support.descriptors import none_left_open


def test_output_and_code_are_collected() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_large_input_and_output_do_not_deadlock() -> None:
    data = os.urandom(1 << 20)
    assert run(["cat"], input=data).stdout == data


def test_input_that_no_process_reads_is_no_error() -> None:
    assert run(["true"], input=b"x" * (1 << 20)).code == 0


def test_failure_says_what_the_program_said() -> None:
    with pytest.raises(ProgramFailed, match="sh failed with exit code 7: no such luck") as caught:
        run(["sh", "-c", "echo no such luck >&2; exit 7"])
    assert caught.value.completed.code == 7


def test_missing_program() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program-here is not installed"):
        run(["no-such-program-here"])
    with pytest.raises(ProgramMissing, match="/nowhere/x is not"):
        find_program("/nowhere/x")


def test_a_file_that_is_no_program_is_a_clear_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\x7fELF nothing")
    bad.chmod(0o755)
    with pytest.raises(Exception, match=r"cannot run .*bad: Exec format error"):
        run([str(bad)])


def test_timeout_kills() -> None:
    start = time.monotonic()
    with pytest.raises(ProgramTimeout):
        run(["sleep", "30"], timeout=0.1)
    assert time.monotonic() - start < 5


def test_killed_counts_as_the_shell_counts() -> None:
    process = spawn(["sleep", "30"])
    process.kill(15)
    assert process.wait(5) == 143


def test_the_child_can_die_of_sigpipe() -> None:
    # Python ignores SIGPIPE; a child that inherited that would write on for ever.
    process = spawn(["yes"], stdio=Stdio(stdout=PIPE))
    os.read(process.stdout, 10)
    process.close()
    assert process.wait(5) == 128 + 13


def test_only_named_descriptors_are_passed(tmp_path: Path) -> None:
    def inheritable(fd: int) -> bool:
        try:
            return os.get_inheritable(fd)
        except OSError:  # the one that listdir had open
            return False

    inherited = {
        fd for fd in map(int, os.listdir("/proc/self/fd")) if inheritable(fd)
    }  # from the process that started the tests
    with open(tmp_path / "f", "w+b", buffering=0) as file:
        done = run(["sh", "-c", "echo hello >&5; ls /proc/self/fd"], fds={5: file.fileno()})
        assert (tmp_path / "f").read_bytes() == b"hello\n"
        passed = {int(n) for n in done.stdout.split()}
    assert passed - inherited <= {0, 1, 2, 3, 4, 5}  # 3 or 4: what ls opened


def test_descriptors_may_change_places(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with open(tmp_path / "a", "rb") as one, open(tmp_path / "b", "rb") as two:
        done = run(
            ["sh", "-c", f"cat /proc/self/fd/{two.fileno()} /proc/self/fd/{one.fileno()}"],
            fds={one.fileno(): two.fileno(), two.fileno(): one.fileno()},
        )
    assert done.stdout == b"ab"  # one has the place of two


def test_working_directory_and_environment(tmp_path: Path) -> None:
    done = run(["sh", "-c", 'pwd; echo $A; echo "$1"', "x", "a b"], cwd=tmp_path, env={"A": "B c"})
    assert done.stdout.decode() == f"{tmp_path}\nB c\na b\n"


def test_no_descriptor_is_left_open() -> None:
    with none_left_open():
        for _ in range(5):
            run(["true"])
            with pytest.raises(ProgramTimeout):
                run(["sleep", "9"], timeout=0.01)
