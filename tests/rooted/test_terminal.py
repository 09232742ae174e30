"""Containers on a terminal: a real pty, keys, window sizes, detaching."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from boxwright.runtime.process import reap_orphans
from support.containers import IMAGE, Root, busybox_root
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("tty")) as root:
        yield root


class Terminal:
    """A command on a pty of its own."""

    def __init__(self, root: Root, *words: str, rows: int = 30, columns: int = 90) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "boxwright", *words],
            env=root.environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    assert text.encode() in self.seen, f"{text!r} did not come: {self.seen!r}"
        self.seen = self.seen.partition(text.encode())[2]

    def end(self) -> int:
        code = self.process.wait(20)
        os.close(self.master)
        return code


def test_a_shell(root: Root) -> None:
    terminal = Terminal(root, "run", "-it", "--rm", "--network", "none", IMAGE, "sh")
    terminal.type("echo $((6*7)) $TERM; stty size; tty\r")
    terminal.expect("42 xterm")
    terminal.expect("30 90")
    terminal.expect("/dev/pts/0")
    terminal.resize(40, 100)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    time.sleep(0.3)
    terminal.type("stty size\r")
    terminal.expect("40 100")
    terminal.type("exit 5\r")
    assert terminal.end() == 5


def test_control_c_is_a_key(root: Root) -> None:
    terminal = Terminal(
        root,
        "run",
        "-it",
        "--rm",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        "trap 'echo caught' INT; echo ready; sleep 1; echo after; exit 6",
    )
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.end() == 6


def test_detach_and_attach(root: Root) -> None:
    terminal = Terminal(root, "run", "-it", "--name", "tt", "--network", "none", IMAGE, "sh")
    terminal.type("echo he''re\r")
    terminal.expect("here")
    terminal.type("\x10\x11")
    terminal.expect("read escape sequence")
    assert terminal.end() == 0
    assert root.out("ps", "--format", "{{.Names}}") == "tt"
    again = Terminal(root, "attach", "--detach-keys", "ctrl-x", "tt")
    time.sleep(0.5)
    again.type("echo aga''in\r")
    again.expect("again")
    again.type("exit 3\r")
    assert again.end() == 3
    assert "again" in root.out("logs", "tt")
    root.run("rm", "tt")


def test_exec_with_a_terminal(root: Root) -> None:
    root.run("run", "-d", "--name", "te", "--network", "none", IMAGE, "sleep", "100")
    terminal = Terminal(root, "exec", "-it", "te", "sh")
    terminal.type("stty size; tty; exit 9\r")
    terminal.expect("30 90")
    terminal.expect("/dev/pts/")
    assert terminal.end() == 9
    root.run("rm", "-f", "te")


def test_start_interactively(root: Root) -> None:
    root.run("create", "-it", "--name", "ti", "--network", "none", IMAGE, "sh")
    terminal = Terminal(root, "start", "-ai", "ti")
    terminal.type("echo $((2+3))x; exit 1\r")
    terminal.expect("5x")
    assert terminal.end() == 1
    root.run("rm", "ti")


def test_a_terminal_is_needed_for_it(root: Root) -> None:
    assert "the input device is not a TTY" in root.run("run", "-it", "--rm", IMAGE, check=1).stderr
    assert root.out("run", "-t", "--rm", "--network", "none", IMAGE, "tty") == "/dev/pts/0"
    eventually(lambda: root.out("ps", "-aq") == "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 3), (signal.SIGHUP, 4)])
def test_signals_reach_the_container_and_the_terminal_is_put_back(
    root: Root, number: signal.Signals, code: int
) -> None:
    script = "trap 'exit 3' TERM; trap 'exit 4' HUP; echo up; while :; do sleep 0.1; done"
    terminal = Terminal(root, "run", "-it", "--rm", "--network", "none", IMAGE, "sh", "-c", script)
    terminal.expect("up")
    assert not termios.tcgetattr(terminal.master)[3] & termios.ECHO
    terminal.process.send_signal(number)
    assert terminal.process.wait(20) == code
    assert termios.tcgetattr(terminal.master)[3] & termios.ECHO
    terminal.end()


def test_an_exec_that_is_ended_puts_the_terminal_back(root: Root) -> None:
    root.run("run", "-d", "--network", "none", "--name", "kept", IMAGE, "sleep", "1000")
    terminal = Terminal(root, "exec", "-it", "kept", "sh", "-c", "echo up; sleep 1000")
    terminal.expect("up")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(20) == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal.master)[3] & termios.ECHO
    terminal.end()
    # Its terminal is gone, so the shell ends; where this process is a subreaper, it is ours to bury.
    pid = root.engine.containers.get("kept").state.pid
    eventually(lambda: reap_orphans() or not companions(pid))
    root.run("rm", "-f", "kept")


def companions(pid: int) -> list[str]:
    """The other processes in the PID namespace of one, zombies too."""

    def namespace(entry: str) -> str:
        try:
            return os.readlink(f"/proc/{entry}/ns/pid")
        except OSError:
            return ""

    own = namespace(str(pid))
    return [
        entry
        for entry in os.listdir("/proc")
        if entry.isdecimal() and int(entry) != pid and namespace(entry) == own
    ]


def test_the_third_signal_ends_the_client(root: Root) -> None:
    running = root.start(
        "run",
        "--rm",
        "--name",
        "deaf",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        "trap '' INT; echo up; sleep 1000",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None and running.stdout.readline() == b"up\n"
    deadline = time.monotonic() + 20
    while running.poll() is None and time.monotonic() < deadline:
        running.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert running.returncode == 1
    assert b"got 3 SIGTERM/SIGINTs, forcefully exiting" in running.communicate()[1]
    root.run("rm", "-f", "deaf")
