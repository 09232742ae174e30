"""kill -9 at random moments of a build: the next one works, the store is sound, and nothing is left behind for good."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import support.corpus as corpus
import support.images
from boxwright import Engine
from support import REAL_ROOT
from support.chance import chance, rounds
from support.waiting import eventually

ROUNDS = 10
rooted = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
]

COPYING = "FROM scratch\nCOPY . /a\nADD big.tar.gz /b/\nCOPY --from=0 /a /c\nWORKDIR /d\n".replace(
    "COPY --from=0 /a /c\n", "COPY a /c/\n"
)
RUNNING = (
    "FROM busybox AS one\nRUN for i in $(seq 200); do echo $i > /file$i; done\nFROM busybox AS two\nRUN --mount=type=cache,target=/k dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null\n"
    "FROM busybox\nCOPY --from=one /file1 /1\nCOPY --from=two /big /2\nRUN cat /1 /2 > /3\n"
)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / "a").mkdir(parents=True)
    for number in range(600):
        (directory / "a" / f"f{number}").write_bytes(os.urandom(2000))
    shutil.make_archive(str(directory / "big"), "gztar", directory / "a")
    return directory


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    yield engine
    if os.geteuid() == 0:
        corpus.leave(engine)
    engine.services.db.close()


def start(root: Path, *argv: str) -> subprocess.Popen[bytes]:
    environ = {"HOME": str(root), "PATH": os.environ["PATH"], "BOXWRIGHT_ROOT": str(root)}
    return subprocess.Popen(
        [sys.executable, "-m", "boxwright", *argv],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def check(engine: Engine, context: Path, dice: random.Random) -> None:
    words = ("build", "-q", "-t", "out", str(context))
    began = time.monotonic()
    first = start(engine.root, *words)
    out, error = first.communicate(timeout=120)
    assert first.returncode == 0, error
    seconds = time.monotonic() - began
    layers = engine.services.images_store.resolve_platform("out").layers
    killed: list[int] = []
    for _ in rounds(ROUNDS):
        # Something new each time, so that there is work to be killed in.
        shutil.copy(context / "Dockerfile", context / "a" / "f0")
        (context / "a" / "f1").write_bytes(os.urandom(500))
        process = start(engine.root, *words, "--no-cache")
        time.sleep(dice.uniform(seconds * 0.2, seconds * 1.1))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        killed.append(process.pid)
        assert engine.system.fsck() == []
    eventually(lambda: not [group for pid in killed for group in step_cgroups(pid)])
    again = start(engine.root, *words)
    out, error = again.communicate(timeout=120)
    assert again.returncode == 0, error
    assert (
        engine.services.images_store.resolve_platform("out").image_id
        == engine.services.images_store.resolve(out.decode().strip()).image_id
        or out
    )
    assert engine.system.fsck() == [] and len(layers) == len(
        engine.services.images_store.resolve_platform("out").layers
    )


def nothing_left(engine: Engine) -> None:
    """The collector takes what the dead held."""
    for name in os.listdir(engine.services.layers.root):  # a writer that was killed this second is left alone
        if name.startswith(".tmp-"):
            os.utime(engine.services.layers.root / name, (1, 1))
    engine.system.collect()
    assert os.listdir(engine.root / "work") == []
    assert not [n for n in os.listdir(engine.services.layers.root) if n.startswith(".tmp-")]
    with open("/proc/self/mounts") as mounts:
        assert not [line for line in mounts if f"{engine.root}/work/" in line]


@pytest.mark.soak
def test_copy(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text(COPYING)
    check(engine, context, chance("copy"))
    nothing_left(engine)


class TestRun:
    pytestmark = rooted

    @pytest.mark.soak
    def test_run(self, engine: Engine, context: Path) -> None:
        corpus.provide_bases(engine, support.images.busybox_tar(), "busybox")
        (context / "Dockerfile").write_text(RUNNING)
        check(engine, context, chance("run"))
        nothing_left(engine)
        deadline = time.monotonic() + 30
        while step_processes(engine.root) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert step_processes(engine.root) == []


def step_cgroups(pid: int) -> list[Path]:
    """Cgroups of the steps of a build."""
    return [*Path("/sys/fs/cgroup").glob(f"step-{pid}-*"), *Path("/sys/fs/cgroup").glob(f"*/step-{pid}-*")]


def step_processes(root: Path) -> list[str]:
    """Runtimes and shells of steps of this root."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if str(root) in line and pid.isdigit() and int(pid) != os.getpid():
            found.append(line)
    return found
