"""`kill -9` of anything at any moment of many lives: commands, supervisors, runtimes, the containers' processes.

A host of its own has a network with a published port, a volume, restart policies and --rm. After every round each state
is true, and after all of them nothing is left: no mount, cgroup, rule, address, interface, namespace, process, row.

`python tests/faults/test_life_killed.py ROUNDS` runs that many, and prints the seed.
"""

from __future__ import annotations

import glob
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from support.chance import chance, seconds_to_run
from support.containers import IMAGE
from support.netns import Host, private_host
from support.waiting import eventually

pytestmark = [pytest.mark.rooted, pytest.mark.soak]

_NAMES = ("one", "two", "three", "four")
_OPTIONS = (
    ("--network", "lan", "-p", "80"),
    ("--network", "lan", "--restart", "always"),
    ("--network", "none", "--restart", "on-failure:3"),
    ("--network", "bridge", "-v", "data:/data", "--restart", "unless-stopped"),
    ("--network", "lan", "-v", "/anonymous", "--rm"),
    (
        "--network",
        "none",
        "-m",
        "64m",
        "--pids-limit",
        "50",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
    ),
)
_PROGRAMS = (
    ("sleep", "1000"),
    ("sh", "-c", "sleep 0.1; exit 3"),
    ("true",),
    ("sh", "-c", "while :; do echo x; sleep 0.05; done"),
)


class Lives:
    """One host and its dice."""

    def __init__(self, host: Host, dice: random.Random) -> None:
        self.host, self.dice = host, dice
        self.root = str(host.root)
        host.run("network", "create", "lan")
        self.rules, self.links = host.rules(), host.links()
        self.namespaces = self._namespaces()  # those that the host holds by a mount
        self.killed: set[str] = set()  # what kinds of processes were

    def round(self) -> None:
        """A few commands at once, and a kill of one of the processes of this root."""
        dice = self.dice
        begun = [self.host.begin(*self._command()) for _ in range(dice.randint(1, 3))]
        for _ in range(dice.randint(0, 3)):
            time.sleep(dice.uniform(0.0, 0.25))
            mine = self.processes()
            if mine:
                victim = dice.choice(mine)
                try:
                    kind = Path(f"/proc/{victim}/comm").read_text().strip()
                    os.kill(victim, signal.SIGKILL)
                except (ProcessLookupError, FileNotFoundError):
                    continue
                self.killed.add(kind)
        for process in begun:
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{process.args} hangs:\n{self.tree()}") from None

    def _command(self) -> tuple[str, ...]:
        dice, name = self.dice, self.dice.choice(_NAMES)
        return dice.choice(
            (
                ("run", "-d", "--name", name, *dice.choice(_OPTIONS), IMAGE, *dice.choice(_PROGRAMS)),
                ("run", "-d", "--name", name, *dice.choice(_OPTIONS), IMAGE, *dice.choice(_PROGRAMS)),
                ("create", "--name", name, *dice.choice(_OPTIONS), IMAGE, *dice.choice(_PROGRAMS)),
                ("start", name),
                ("restart", "-t", "0", name),
                ("stop", "-t", "0", name),
                ("kill", name),
                ("rm", "-f", name),
                ("rm", "-fv", name),
                ("exec", "-d", name, "sleep", "0.2"),
                ("exec", name, "true"),
                ("pause", name),
                ("unpause", name),
                ("ps", "-a"),
                ("system", "up"),
                ("container", "prune", "-f"),
                ("network", "disconnect", "lan", name),
                ("network", "connect", "lan", name),
            )
        )

    def processes(self) -> list[int]:
        """Of this root: commands, supervisors, runtimes and what runs in containers."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and self._mine(entry):
                found.append(int(entry))
        return found

    def _mine(self, pid: str) -> bool:
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if any(one in groups or one[:12].encode() in words for one in self._ids()):
                return True  # what runs in it; its supervisor, and the runtime
            if b"boxwright" in words and self.root.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                return True  # a command
            return self.root.encode() in words
        except OSError:
            return False

    def _ids(self) -> list[str]:
        try:
            return os.listdir(f"{self.root}/containers")
        except FileNotFoundError:
            return []

    def tree(self) -> str:
        """What runs, for a failure's message."""
        return subprocess.run(["ps", "-ef", "--forest"], capture_output=True, text=True).stdout

    def true(self) -> None:
        """Every state is what the kernel says."""
        listed = self.host.run("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Status}}").stdout
        for line in listed.splitlines():
            identity = line.split()[0]
            shown = self.host.run(
                "inspect", "-f", "{{.State.Status}} {{.State.Pid}} {{.State.Running}}", identity, check=None
            ).stdout.split()
            if not shown:  # --rm, meanwhile
                continue
            status, pid = shown[0], int(shown[1])
            assert status in ("created", "running", "paused", "restarting", "exited"), line
            if status in ("created", "exited"):
                assert pid == 0, (line, shown)

    def gone(self, known: set[str]) -> None:
        """All is removed, and nothing is left of it."""
        for _ in range(3):
            ids = self.host.out("ps", "-aq").split()
            if not ids:
                break
            self.host.run("rm", "-fv", *ids, check=None)
        assert self.host.out("ps", "-aq") == "", self.host.out("ps", "-a")
        self.host.run("container", "prune", "-f")
        self.host.run("volume", "prune", "-af")
        self.host.run("image", "prune", "-f")
        self.host.run("network", "ls")
        eventually(lambda: not self._ids(), 20)
        deadline = time.monotonic() + 20
        while left := self.left(known):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        with self.host_db() as rows:
            assert rows == {"containers": 0, "addresses": 0, "volumes": 0, "leases": 0}, rows

    def host_db(self) -> Any:
        sql = sqlite3.connect(f"{self.root}/boxwright.db")
        try:
            tables = ("containers", "addresses", "volumes", "leases")
            return nullcontext({t: sql.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables})
        finally:
            sql.close()

    def left(self, known: set[str]) -> list[str]:
        """What there still is of containers that are no more."""
        found = []
        if mounts := [
            m for m in self.host.sh("cat /proc/self/mounts").splitlines() if f"{self.root}/containers" in m
        ]:
            found.append(f"mounts {mounts}")
        if namespaces := self._namespaces() - self.namespaces:
            found.append(f"namespaces {namespaces}")
        tops = [Path("/sys/fs/cgroup/boxwright"), *Path("/sys/fs/cgroup").glob("*/boxwright")]
        if groups := [str(top / one) for top in tops for one in known if (top / one).exists()]:
            found.append(f"cgroups {groups}")
        names = re.compile("|".join(i[:12] for i in known) or "$.")
        if rules := [line for line in self.host.rules().splitlines() if names.search(line)]:
            found.append(f"rules {rules}")
        if veths := [
            link for link in self.host.links() - self.links if link.startswith("bwv") or "veth" in link
        ]:
            found.append(f"interfaces {veths}")
        if mine := self.processes():
            found.append(f"processes {mine}")
        if work := [w for w in os.listdir(f"{self.root}/work") if w in known]:
            found.append(f"work {work}")
        if locks := self._locks():
            found.append(f"locks {locks}")
        return found

    def _namespaces(self) -> set[str]:
        mounts = self.host.sh("cat /proc/self/mountinfo").splitlines()
        return {m for m in mounts if " - nsfs " in m}

    def _locks(self) -> list[str]:
        """Lock files of janitors whose networks are no more: that of a killed one waits for the network's next."""
        with closing(sqlite3.connect(f"{self.root}/boxwright.db")) as sql:
            listed = "".join(record for (record,) in sql.execute("SELECT record FROM networks"))
        waiting = [name.rpartition(".")[2] for name in glob.glob("network.lock.*", root_dir=self.root)]
        return [bridge for bridge in waiting if bridge not in listed]


def soak(host: Host, dice: random.Random, rounds: int, seconds: float) -> int:
    lives, known = Lives(host, dice), set[str]()
    deadline, number = time.monotonic() + seconds, 0
    while number < rounds and time.monotonic() < deadline:
        lives.round()
        known |= set(lives._ids())
        number += 1
        if number % 10 == 0:
            lives.true()
            host.run("network", "rm", "lan", check=None)
            lives.gone(known)
            host.run("network", "create", "lan", check=None)
            known.clear()
            print(number, "rounds", flush=True)
    known |= set(lives._ids())
    lives.gone(known)
    host.run("network", "rm", "lan")
    assert not lives.left(known)
    assert number < 50 or {"boxwright", "python"} <= {kind.partition(":")[0] for kind in lives.killed}
    return number


def test_kills_at_random_lose_nothing(tmp_path: Path) -> None:
    seconds = seconds_to_run(20)
    with private_host(tmp_path) as host:
        assert soak(host, chance("lives"), 1 << 30, seconds) > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, private_host(Path(folder)) as host:
        print(soak(host, chance("lives"), int(sys.argv[1]), float("inf")), "rounds")
