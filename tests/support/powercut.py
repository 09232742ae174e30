"""A disk that remembers every write and flush, and what it would have been had the power gone at any moment.

    Recorder   a FUSE file, which a loop device has below it: each request is logged before it is answered
    Cuts       images from such a log: all that was flushed, and any part of what was not

A device mapper that logs writes, NBD and ublk are in no container; /dev/fuse and loop devices mostly are.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from boxwright.files import syscalls
from support import unmount_below
from support.chance import seconds_to_run, seed_of_run

TYPE_CHECKING = False
if TYPE_CHECKING:  # the recording process needs no pytest
    import pytest

_RECORD = struct.Struct("<BQI")  # kind, offset, bytes that follow
_WRITE, _FLUSH = 0, 1
_SECTOR = 512

# --- the server, a process of its own ---------------------------------------------------------------

_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QII6Q10I")
_INIT = struct.Struct("<4I2H2I2H2I6I")
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE_OP = 2, 3, 4, 14, 15, 16
_STATFS, _RELEASE, _FSYNC, _FLUSH_OP, _INIT_OP, _INTERRUPT, _BATCH_FORGET = 17, 18, 20, 25, 26, 36, 42
_LARGEST = 1 << 20
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22


def serve(image: str, log: str, place: str) -> None:
    """Mount the file `image` over the file `place` until that is unmounted."""
    size = os.stat(image).st_size
    disk, out = os.open(image, os.O_RDWR), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=100000,user_id=0,group_id=0,max_read={_LARGEST}"
    syscalls.libc("mount", b"recorder", os.fsencode(place), b"fuse", 6, options.encode())
    print("mounted", flush=True)
    attributes = _ATTRIBUTES.pack(
        *(3600, 0, 0), *(1, size, size // 512, 0, 0, 0), *(0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)
    )
    while True:
        try:
            request = os.read(fuse, _LARGEST + 4096)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            if error.errno == errno.ENODEV:  # unmounted
                return
            raise
        _, kind, unique, *_ = _IN.unpack_from(request)
        body = memoryview(request)[_IN.size :]
        if kind in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            continue
        answer, code = b"", 0
        if kind == _INIT_OP:
            flags = struct.unpack_from("<I", body, 12)[0] & (_BIG_WRITES | _MAX_PAGES)
            answer = _INIT.pack(*(7, 31, 1 << 17, flags), *(16, 12), _LARGEST, 1, 256, 0, *(0,) * 8)
        elif kind in (_GETATTR, _SETATTR):
            answer = attributes
        elif kind == _OPEN:
            answer = bytes(16)
        elif kind == _READ:
            _, offset, count = struct.unpack_from("<QQI", body)
            answer = os.pread(disk, count, offset)
        elif kind == _WRITE_OP:
            _, offset, count = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + count]
            os.write(out, _RECORD.pack(_WRITE, offset, count) + data)
            os.pwrite(disk, data, offset)
            answer = struct.pack("<II", count, 0)
        elif kind == _FSYNC:
            os.write(out, _RECORD.pack(_FLUSH, 0, 0))
        elif kind == _STATFS:
            answer = bytes(80)
        elif kind not in (_RELEASE, _FLUSH_OP):
            code = -errno.ENOSYS
        os.write(fuse, _OUT.pack(_OUT.size + len(answer), code, unique) + answer)


# --- a recorded file system -------------------------------------------------------------------------


class Recorder:
    """An ext4 at `path`, as long as the block of `recorder` lasts."""

    def __init__(self, path: Path, base: Path, log: Path) -> None:
        self.path, self.base, self.log = path, base, log

    def position(self) -> int:
        """How much is logged: what was acknowledged until now must be in every image that is cut here or later."""
        return self.log.stat().st_size


def _run(*argv: object) -> str:
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout.strip()


def usable() -> str:
    """Why disks cannot be recorded here; '' when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "needs /dev/fuse and loop devices"
    if shutil.which("mkfs.ext4") is None:
        return "needs mkfs.ext4"
    return ""


@contextmanager
def recorder(directory: Path, *, size: int, block: int) -> Iterator[Recorder]:
    """A fresh file system of `size` bytes, whose journal does not commit by itself."""
    base, image, log = directory / "base", directory / "image", directory / "log"
    place, path = directory / "disk", directory / "mount"
    with open(base, "wb") as file:
        file.truncate(size)
    options = ("-b", block, "-J", "size=8", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "0")
    _run("mkfs.ext4", "-q", "-F", *options, base)
    _run("cp", "--sparse=always", base, image)
    place.touch()
    log.touch()
    path.mkdir()
    code = "import sys; from support.powercut import serve; serve(*sys.argv[1:])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    server = subprocess.Popen(
        [sys.executable, "-c", code, image, log, place], stdout=subprocess.PIPE, env=environ
    )
    device = ""
    try:
        assert server.stdout is not None and server.stdout.readline() == b"mounted\n"
        device = _run("losetup", "--show", "-f", place)
        _run("mount", "-o", "commit=600", device, path)
        try:
            yield Recorder(path, base, log)
        finally:
            unmount(path)
    finally:
        if device:
            subprocess.run(["losetup", "-d", device], check=False)
        subprocess.run(["umount", "-l", place], check=False)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGKILL)
            server.wait()
        assert server.stdout is not None
        server.stdout.close()


def unmount(path: Path) -> None:
    """With everything that is mounted below."""
    unmount_below(path)
    for _ in range(100):
        if subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    _run("umount", "-l", path)


# --- cuts -------------------------------------------------------------------------------------------


class Write(NamedTuple):
    """Where its record ends in the log, and what it wrote."""

    end: int
    offset: int
    data: bytes


class Cuts:
    """Images of one log, at positions that do not go back."""

    def __init__(self, recorded: Recorder, directory: Path) -> None:
        self._log = open(recorded.log, "rb")
        self._size = recorded.log.stat().st_size
        self._durable = directory / "durable"
        _run("cp", "--sparse=always", recorded.base, self._durable)
        self._pending: list[Write] = []

    def cut(self, position: int, image: Path, chance: random.Random) -> str:
        """Write the image that a cut left; returns which of the writes that no flush covered are in it."""
        self._advance(position)
        share = chance.choice([0.0, 0.5, 0.9, 1.0])
        _run("cp", "--sparse=always", self._durable, image)
        kept = [write for write in self._pending if chance.random() < share]
        with open(image, "r+b", buffering=0) as file:
            for write in kept:
                torn = chance.random() < 0.05
                length = _SECTOR * chance.randint(0, len(write.data) // _SECTOR) if torn else len(write.data)
                file.seek(write.offset)
                file.write(write.data[:length])
        return f"{len(kept)} of {len(self._pending)} unflushed writes"

    def _advance(self, position: int) -> None:
        with open(self._durable, "r+b", buffering=0) as durable:
            while self._log.tell() < min(position, self._size):
                kind, offset, count = _RECORD.unpack(self._log.read(_RECORD.size))
                data = self._log.read(count)
                if kind == _WRITE:
                    self._pending.append(Write(self._log.tell(), offset, data))
                    continue
                for write in self._pending:
                    durable.seek(write.offset)
                    durable.write(write.data)
                self._pending.clear()

    def close(self) -> None:
        self._log.close()


# --- a workload, and what cuts leave of it -----------------------------------------------------------

State = Mapping[tuple[str, str], str]  # what there is: (kind, name) -> id, or ''


class Work(Protocol):
    """What was done: `history` has the state after each of `words`, and where in the log it was acknowledged."""

    words: Sequence[object]
    history: Sequence[tuple[int, State]]


def in_rounds(
    title: str,
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    one_round: Callable[[Path, random.Random, float], int],
) -> None:
    """Rounds of a workload and its cuts, as long as the run is to take; `one_round` returns how many cuts it looked
    at."""
    seconds, seed = seconds_to_run(30), seed_of_run()
    with capsys.disabled():
        print(f"\n{title} with seed {seed}, for {seconds:g} s")
    chance, deadline, cuts, rounds = random.Random(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < deadline:
        place = directory / str(rounds)
        place.mkdir()
        cuts += one_round(place, chance, min(deadline, time.monotonic() + max(seconds / 2, 20)))
        rounds += 1
        subprocess.run(["rm", "-rf", place], check=True)
    with capsys.disabled():
        print(f"{cuts} cuts in {rounds} rounds")
    assert cuts >= 2


def worked(work: Work, step: Callable[[], None], deadline: float) -> None:
    """Steps of a workload for half of the time that is left."""
    half = time.monotonic() + (deadline - time.monotonic()) / 2
    while len(work.words) < 40 and time.monotonic() < half:
        step()


class Looked(NamedTuple):
    """How long a look at one cut takes, and what it finds wrong of the state that was acknowledged, of the one that
    may have come since, and of the command that was under way (None at the end)."""

    seconds: float
    check: Callable[[State, State, object], list[str]]


def look_at_cuts(disk: Recorder, work: Work, looked: Looked, chance: random.Random, deadline: float) -> int:
    """Cut until the deadline, and mount and check what is left; returns how many cuts there were."""
    directory = disk.path.parent
    cuts = Cuts(disk, directory)
    # Most at the moment after an acknowledgment, the others at any: there is nothing to be asked before the first.
    first, last = work.history[0][0], work.history[-1][0]
    places = sorted(
        chance.choice(work.history)[0] if chance.random() < 0.6 else chance.randrange(first, last + 1)
        for _ in range(max(2, int((deadline - time.monotonic()) / looked.seconds)))
    )
    done = 0
    for place in places:
        if time.monotonic() > deadline and done >= 2:
            break
        left = cuts.cut(place, directory / "cut", chance)
        index = max(n for n, (position, _) in enumerate(work.history) if position <= place)
        before, after = work.history[index][1], work.history[min(index + 1, len(work.history) - 1)][1]
        _run("mount", "-o", "loop", directory / "cut", disk.path)
        try:
            under_way = work.words[index] if index < len(work.words) else None
            wrong = looked.check(before, after, under_way)
        finally:
            unmount(disk.path)
        told = work.words[: index + 1]
        assert not wrong, f"cut at {place}, with {left}, after {told}:\n" + "\n".join(wrong)
        done += 1
    cuts.close()
    return done


def differences(before: State, after: State, found: State, passing: set[tuple[str, str]]) -> list[str]:
    """What is neither as it was acknowledged nor as it may have become; `passing` are those that may be either."""
    return [
        f"{' '.join(key)} is {found.get(key)}, not {before.get(key)} or {after.get(key)}"
        for key in sorted({*before, *after, *found} - passing)
        if found.get(key) not in (before.get(key), after.get(key))
    ]
