"""The check that the tests leave the host as it was, and the namespaces that see to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import REAL_ROOT
from support.host import differences

TESTS = Path(__file__).parent.parent

HARMLESS = "def test_nothing(): pass\n"
LEAVES = """
import subprocess
def test_leaves_a_process_and_a_file():
    subprocess.run(["setsid", "-f", "sleep", "61"], stdin=-3, stdout=-3, stderr=-3, check=True)
    open("{home}/forgotten", "w").close()
"""
STAYS_IN_ITS_SPACE = """
import os, subprocess
def test_changes_its_own_network_and_mounts():
    subprocess.run(["ip", "link", "add", "docker0", "type", "bridge"], check=True)
    subprocess.run(["ip", "addr", "add", "10.1.2.3/24", "dev", "docker0"], check=True)
    assert "docker0" in os.listdir("/sys/class/net")
    subprocess.run(["mount", "-t", "tmpfs", "none", "{home}"], check=True)
    subprocess.run(["iptables", "-A", "FORWARD", "-j", "DROP"], check=True)
"""


INTERRUPTS = """
import signal, subprocess
def test_a_program_that_is_interrupted_ends():
    program = subprocess.Popen(["sleep", "60"])
    program.send_signal(signal.SIGINT)
    try:
        assert program.wait(20) == -signal.SIGINT
    finally:
        program.kill()
"""

FINDS_THE_PEERS = """
import shutil
def test_a_peer_that_was_fetched_is_found(): assert shutil.which("crane") == "{home}/peers/bin/crane"
"""


def session(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A session of the tests of one file, whose host's home is a directory of ours."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (tmp_path / "test_it.py").write_text(text.format(home=home))
    program = "import support.host, sys, pytest; support.host.PATIENCE = 0; sys.exit(pytest.main(sys.argv[1:], [support.host]))"
    return subprocess.run(
        [sys.executable, "-c", program, "-q", "--check-host", "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, "HOME": str(home), "PEERS": str(home / "peers"), "PYTHONPATH": str(TESTS)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )


def ours(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the report names, but for what others on this machine may do meanwhile."""
    shared = ("cgroups: ", "mounts: ", "loop devices: ", "files: left: /etc", "files: left: /var")
    return [
        line
        for line in done.stdout.splitlines()
        if (": left: " in line or ": gone: " in line) and not line.startswith(shared)
    ]


def test_what_came_and_went_is_named() -> None:
    before = {"routes": ["a", "b", "b"], "links": ["lo", "docker0"], "nft": [], "mounts": ["/x"]}
    after = {"routes": ["b", "c"], "links": ["lo"], "cgroups": ["x"]}
    assert differences(before, after) == [
        "cgroups: left: x",
        "links: gone: docker0",
        "routes: gone: a",
        "routes: gone: b",
        "routes: left: c",
    ]
    assert differences(before, before) == []


def test_a_session_that_leaves_things_fails(tmp_path: Path) -> None:
    done = session(tmp_path, LEAVES)
    process, file = sorted(ours(done), reverse=True)
    pid = process.removeprefix("processes: left: ").split()[0]
    os.kill(int(pid), signal.SIGKILL)
    assert file == f"files: left: {tmp_path}/home/forgotten" and process.endswith(" sleep 61")
    assert done.returncode == 1 and "the tests changed the host" in done.stdout


def test_a_session_in_the_background_can_interrupt(tmp_path: Path) -> None:
    """Background jobs of a shell begin with SIGINT ignored, which programs inherit."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = session(tmp_path, INTERRUPTS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "1 passed" in done.stdout, done.stdout


def test_a_session_uses_the_peers_that_were_fetched(tmp_path: Path) -> None:
    peers = tmp_path / "home/peers"
    (peers / "bin").mkdir(parents=True)
    (peers / "versions").touch()
    (peers / "bin/crane").touch(0o755)
    done = session(tmp_path, FINDS_THE_PEERS)
    assert "1 passed" in done.stdout, done.stdout


def test_a_session_that_leaves_nothing_passes(tmp_path: Path) -> None:
    assert ours(session(tmp_path, HARMLESS)) == []


@pytest.mark.skipif(not REAL_ROOT, reason="namespaces need root")
def test_links_rules_and_mounts_of_a_test_are_its_own(tmp_path: Path) -> None:
    done = session(tmp_path, STAYS_IN_ITS_SPACE)
    assert "1 passed" in done.stdout, done.stdout
    assert ours(done) == [] and str(tmp_path / "home") not in done.stdout


@pytest.mark.skipif(not REAL_ROOT, reason="namespaces need root")
def test_this_process_is_apart() -> None:
    assert os.readlink("/proc/thread-self/ns/net") != os.readlink(f"/proc/{os.getppid()}/ns/net")
