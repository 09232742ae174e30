"""The power goes at any moment: what was acknowledged is there, what was removed stays away, and the store is sound.

A workload of real commands runs on a disk that logs every write and flush. Then images of what a cut would have left are
mounted, one after another, and looked at with the same commands. A command that was under way may have happened or not.

`BOXWRIGHT_SOAK=<seconds>` takes that long (`make soak`); `BOXWRIGHT_SEED` repeats a run, whose seed is printed.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.images import busybox_tar, have_busybox
from support.powercut import (
    Looked,
    Recorder,
    State,
    differences,
    in_rounds,
    look_at_cuts,
    recorder,
    usable,
    worked,
)

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.skipif(bool(usable()), reason=usable()),
    pytest.mark.skipif(not have_busybox(), reason="busybox-static is not installed"),
]

_NAMES = 4  # of each kind: few, so that they meet


class Store:
    """The command line on a root of its own."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.environ = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "BOXWRIGHT_ROOT": str(root),
            "BOXWRIGHT_TRUST_HOST_CA": "never",
        }

    def run(self, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "boxwright", *words],
            env=self.environ,
            input=input,
            capture_output=True,
            timeout=120,
        )

    def out(self, *words: str, input: bytes = b"") -> str:
        done = self.run(*words, input=input)
        assert done.returncode == 0, (words, done.stderr.decode())
        return done.stdout.decode().strip()

    def state(self) -> State:
        """As the listing commands tell it."""
        found: dict[tuple[str, str], str] = {}
        for line in self.out(
            "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
        ).splitlines():
            name, identity = line.split()
            if "<none>" not in name:
                found["image", name] = identity
        for line in self.out("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines():
            name, identity = line.split()
            found["container", name] = identity
        for kind in ("volume", "network"):
            for name in self.out(kind, "ls", "--format", "{{.Name}}").splitlines():
                found[kind, name] = ""
        for name in ("bridge", "host", "none"):
            found.pop(("network", name), None)
        return found


class Workload:
    """Random commands; `history` has the state after each, and where in the log it was acknowledged."""

    def __init__(self, disk: Recorder, store: Store, chance: random.Random) -> None:
        self._disk, self._store, self._chance = disk, store, chance
        self._made = 0
        self.words: list[tuple[str, ...]] = []
        self.history: list[tuple[int, State]] = [(disk.position(), {})]
        self._do("import", "-c", 'CMD ["true"]', "-", "base:0", input=busybox_tar())

    def _do(self, *words: str, input: bytes = b"") -> None:
        self.words.append(words)
        self._store.out(*words, input=input)
        # A listing writes too: what it says is compared from the moment of the acknowledgment on.
        position = self._disk.position()
        self.history.append((position, self._store.state()))

    def step(self) -> None:
        """One command."""
        commands: list[Callable[[], None]] = [self._image, self._image, self._container, self._container]
        self._chance.choice(
            [*commands, self._volume, self._network, self._removal, self._removal, self._prune]
        )()

    def _one(self, kind: str) -> str:
        here = sorted(name for found, name in self.history[-1][1] if found == kind)
        return self._chance.choice(here) if here else ""

    def _image(self) -> None:
        self._made += 1
        name, stamp = f"i{self._chance.randrange(_NAMES)}:1", f"stamp {self._made}\n".encode()
        way = self._chance.choice(["import", "tag", "build", "commit", "load"])
        base = self._one("image")
        if way == "import":
            with io.BytesIO(busybox_tar()) as tar, tarfile.open(fileobj=tar, mode="a") as archive:
                info = tarfile.TarInfo("stamp")
                info.size = len(stamp)
                archive.addfile(info, io.BytesIO(stamp))
                archive.close()
                self._do("import", "-c", 'CMD ["true"]', "-", name, input=tar.getvalue())
        elif way == "tag":
            self._do("tag", base, name)
        elif way == "build":
            text = f"FROM {base}\nRUN --network=none echo {self._made} >/made && rm -f /stamp\nENV N={self._made}\n"
            self._do("build", "-q", "-t", name, "-", input=text.encode())
        elif way == "load":
            done = self._store.run("save", base)
            self._do("load", "-q", input=done.stdout)
        elif box := self._one("container"):
            self._do("commit", "-c", f"ENV C={self._made}", box, name)

    def _container(self) -> None:
        name, base = f"c{self._chance.randrange(_NAMES)}", self._one("image")
        if name == self._one("container") or ("container", name) in self.history[-1][1]:
            self._do("rm", "-f", name)
            return
        words = ("--name", name, "--network", "none")
        volume = self._one("volume")
        more = ("-v", f"{volume}:/v") if volume else ()
        way = self._chance.choice(["create", "create", "run", "run --rm", "run -d"])
        if way == "create":
            self._do("create", *words, *more, "-w", "/work/here", base, "true")
        elif way == "run":
            self._do("run", *words, *more, base, "sh", "-c", "echo x >/written")
        elif way == "run --rm":
            self._do("run", "--rm", *words, base, "true")
        else:
            self._do("run", "-d", *words, base, "sleep", "600")

    def _volume(self) -> None:
        self._do("volume", "create", f"vol{self._chance.randrange(_NAMES)}")

    def _network(self) -> None:
        name = f"net{self._chance.randrange(_NAMES)}"
        self._do("network", "rm" if ("network", name) in self.history[-1][1] else "create", name)

    def _removal(self) -> None:
        kind = self._chance.choice(["image", "container", "volume"])
        name = self._one(kind)
        if not name or name == "base:0":
            return
        if kind == "volume" and self._store.out("ps", "-aq", "--filter", f"volume={name}"):
            return
        self._do(*{"image": ("rmi", "-f"), "container": ("rm", "-f"), "volume": ("volume", "rm")}[kind], name)

    def _prune(self) -> None:
        self._do(
            *self._chance.choice(
                [("image", "prune", "-f"), ("builder", "prune", "-af"), ("system", "prune", "-f")]
            )
        )


def _check(
    store: Store, before: State, after: State, under_way: tuple[str, ...], chance: random.Random
) -> list[str]:
    """What does not hold: `before` was acknowledged, `after` may have happened since."""
    found = store.state()
    passing = {("container", under_way[3])} if under_way[:2] == ("run", "--rm") else set()
    wrong = differences(before, after, found, passing)
    for kind, name in found:
        if kind == "volume" and not (store.root / "volumes" / name / "_data").is_dir():
            wrong.append(f"volume {name} has no directory")
    done = store.run("system", "fsck")
    if done.returncode:
        wrong.append(f"fsck: {done.stdout.decode()}{done.stderr.decode()}")
    boxes = sorted(name for kind, name in found.keys() - passing if kind == "container")
    for name in chance.sample(boxes, min(2, len(boxes))):
        done = store.run("start", name)
        if done.returncode:
            wrong.append(f"start {name}: {done.stderr.decode()}")
        if (done := store.run("rm", "-f", name)).returncode:
            wrong.append(f"rm -f {name}: {done.stderr.decode()}")
    for name in sorted(name for kind, name in found if kind == "image")[:1]:
        done = store.run("run", "--rm", "--network", "none", name, "true")
        if done.returncode:
            wrong.append(f"run {name}: {done.stderr.decode()}")
    return wrong


def test_what_was_acknowledged_survives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_rounds("power cuts", tmp_path, capsys, _round)


def _round(directory: Path, chance: random.Random, deadline: float) -> int:
    """One workload and cuts of it, until the deadline; how many."""
    with recorder(directory, size=160 << 20, block=chance.choice([1024, 4096])) as disk:
        store = Store(disk.path / "root", directory)
        work = Workload(disk, store, chance)
        worked(work, work.step, deadline)
        for kind, name in work.history[-1][1]:
            if kind == "container":
                store.out("rm", "-f", name)

    def check(before: State, after: State, under_way: Any) -> list[str]:
        return _check(store, before, after, under_way or (), chance) if before else []

    return look_at_cuts(disk, work, Looked(1.2, check), chance, deadline)
