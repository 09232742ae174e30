"""What a container uses: cgroup files, its network interfaces, its processes."""

from __future__ import annotations

import time
from pathlib import Path

from boxwright.container.records import Container, WrongState, cgroup_of
from boxwright.runtime.host import host
from boxwright.spec.hints import NamedTuple

_CGROUP = Path("/sys/fs/cgroup")


class Sample(NamedTuple):
    """One look. Times in nanoseconds, sizes in bytes; all 0 when the container does not run."""

    moment: float = 0.0
    cpu: int = 0
    memory: int = 0
    memory_limit: int = 0
    pids: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0


def sample(container: Container) -> Sample:
    """Now."""
    state = container.refresh()
    if not state.running:
        return Sample()
    path = cgroup_of(container)
    received, sent = _network(state.pid)
    now = time.monotonic()
    if host().cgroup_v2:
        directory = _CGROUP / path.lstrip("/")
        cpu = _fields(directory / "cpu.stat").get("usage_usec", 0) * 1000
        memory = _number(directory / "memory.current") - _fields(directory / "memory.stat").get(
            "inactive_file", 0
        )
        limit = _number(directory / "memory.max")
        read, written = _io_v2(directory / "io.stat")
        pids = _number(directory / "pids.current")
    else:
        cpu = _number(_CGROUP / "cpuacct" / path.lstrip("/") / "cpuacct.usage")
        store = _CGROUP / "memory" / path.lstrip("/")
        memory = _number(store / "memory.usage_in_bytes") - _fields(store / "memory.stat").get(
            "total_inactive_file", 0
        )
        limit = _number(store / "memory.limit_in_bytes")
        read, written = _io_v1(
            _CGROUP / "blkio" / path.lstrip("/") / "blkio.throttle.io_service_bytes_recursive"
        )
        pids = _number(_CGROUP / "pids" / path.lstrip("/") / "pids.current")
    total = _fields(Path("/proc/meminfo")).get("MemTotal:", 0) * 1024
    return Sample(
        moment=now,
        cpu=cpu,
        memory=max(memory, 0),
        memory_limit=limit if 0 < limit < total else total,
        pids=pids,
        received=received,
        sent=sent,
        read=read,
        written=written,
    )


def cpu_percent(before: Sample, after: Sample) -> float:
    """Of one processor, so that four busy ones are 400."""
    span = after.moment - before.moment
    return (after.cpu - before.cpu) / span / 1e7 if span > 0 and after.cpu >= before.cpu else 0.0


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _fields(path: Path) -> dict[str, int]:
    found = {}
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[1].isdecimal():
                found[words[0]] = int(words[1])
    except OSError:
        pass
    return found


def _io_v1(path: Path) -> tuple[int, int]:
    read = written = 0
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) == 3:
                read += int(words[2]) if words[1] == "Read" else 0
                written += int(words[2]) if words[1] == "Write" else 0
    except (OSError, ValueError):
        pass
    return read, written


def _io_v2(path: Path) -> tuple[int, int]:
    read = written = 0
    try:
        for word in path.read_text().split():
            key, _, value = word.partition("=")
            read += int(value) if key == "rbytes" else 0
            written += int(value) if key == "wbytes" else 0
    except (OSError, ValueError):
        pass
    return read, written


def _network(pid: int) -> tuple[int, int]:
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev") as file:
            for line in file:
                name, colon, rest = line.partition(":")
                if colon and name.strip() != "lo":
                    words = rest.split()
                    received, sent = received + int(words[0]), sent + int(words[8])
    except (OSError, ValueError, IndexError):
        pass
    return received, sent


def processes(container: Container, pids: list[int], arguments: str) -> tuple[list[str], list[list[str]]]:
    """`top`: titles and rows as the host's ``ps`` prints them with these arguments. Raises WrongState."""
    from boxwright.container.config import ContainerConfigInvalid
    from boxwright.runtime.process import ProgramFailed, run

    if not container.state.running:
        raise WrongState(f"container {container.id} is not running")
    words = arguments.split() or ["-ef"]
    try:
        lines = run(["ps", *words], check=True).stdout.decode(errors="replace").splitlines()
    except ProgramFailed as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise ContainerConfigInvalid(f"ps: {reason.strip().splitlines()[0]}") from error
    titles = lines[0].split()
    if "PID" not in titles:
        raise ContainerConfigInvalid("Couldn't find PID field in ps output")
    at = titles.index("PID")
    wanted = set(map(str, pids))
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > at and row[at] in wanted]
