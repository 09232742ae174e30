"""What a container uses, read off files that look like a host's."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from boxwright.container import stats
from boxwright.container.config import ContainerConfigInvalid
from boxwright.container.records import Container, State, WrongState, save_state
from boxwright.container.stats import Sample, cpu_percent, processes, sample
from support.few import Few, added

ONE = "a1" * 32


@pytest.fixture
def box(tmp_path: Path) -> Container:
    box = added(Few(tmp_path), ONE, "box")
    save_state(box.directory, State(status="running", pid=os.getpid()))
    box.refresh()
    return box


def host(monkeypatch: pytest.MonkeyPatch, top: Path, *, v2: bool, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(stats, "_CGROUP", top)
    monkeypatch.setattr(stats, "host", lambda: SimpleNamespace(cgroup_v2=v2))


def test_one_hierarchy(box: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = f"boxwright/{ONE}"
    files = {
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
        "memory.current": "9000\n",
        "memory.stat": "anon 1\ninactive_file 2000\n",
        "memory.max": "100000\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
        "pids.current": "3\n",
    }
    host(monkeypatch, tmp_path / "cg", v2=True, files={f"{of}/{name}": text for name, text in files.items()})
    found = sample(box)
    assert (found.cpu, found.memory, found.memory_limit) == (1_500_000, 7000, 100_000)
    assert (found.read, found.written, found.pids) == (11, 22, 3) and found.moment > 0


def test_many_hierarchies(box: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        f"cpuacct/boxwright/{ONE}/cpuacct.usage": "77\n",
        f"memory/boxwright/{ONE}/memory.usage_in_bytes": "500\n",
        f"memory/boxwright/{ONE}/memory.stat": "total_inactive_file 600\n",
        f"memory/boxwright/{ONE}/memory.limit_in_bytes": "9223372036854771712\n",
        f"blkio/boxwright/{ONE}/blkio.throttle.io_service_bytes_recursive": "8:0 Read 5\n8:0 Write 6\nTotal 11\n",
        f"pids/boxwright/{ONE}/pids.current": "4\n",
    }
    host(monkeypatch, tmp_path / "cg", v2=False, files=files)
    found = sample(box)
    assert (found.cpu, found.memory, found.read, found.written, found.pids) == (77, 0, 5, 6, 4)
    # No limit is shown as all that the machine has.
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert found.memory_limit == total


def test_a_cgroup_that_is_gone_or_says_nonsense_counts_nothing(
    box: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = f"boxwright/{ONE}"
    host(
        monkeypatch,
        tmp_path / "cg",
        v2=True,
        files={f"{of}/memory.max": "max\n", f"{of}/io.stat": "rbytes=x"},
    )
    found = sample(box)
    assert (found.cpu, found.memory, found.read, found.pids) == (0, 0, 0, 0) and found.memory_limit > 0


def test_what_does_not_run_uses_nothing(box: Container) -> None:
    save_state(box.directory, State(status="exited"))
    assert sample(box) == Sample()


def test_the_network_is_counted_without_the_loopback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (
        "Inter-|   Receive\n face |bytes packets\n"
        "    lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n"
        "  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n"
    )
    (tmp_path / "dev").write_text(text)
    real = open
    monkeypatch.setattr("builtins.open", lambda path, *rest: real(tmp_path / "dev", *rest))
    found = stats._network(1)
    monkeypatch.undo()
    assert found == (11, 22)
    assert stats._network(2**22) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [
        (Sample(moment=1.0, cpu=0), Sample(moment=2.0, cpu=4_000_000_000), 400.0),
        (Sample(moment=1.0, cpu=0), Sample(moment=1.0, cpu=5), 0.0),
        (Sample(moment=1.0, cpu=9), Sample(moment=2.0, cpu=5), 0.0),  # it was started anew
    ],
)
def test_percents_are_of_one_processor(before: Sample, after: Sample, percent: float) -> None:
    assert cpu_percent(before, after) == percent


def test_top_shows_the_containers_processes_alone(box: Container) -> None:
    titles, rows = processes(box, [os.getpid()], "-eo pid,comm")
    assert titles == ["PID", "COMMAND"] and [row[0] for row in rows] == [str(os.getpid())]
    assert processes(box, [os.getpid()], "")[0][0] == "UID"
    with pytest.raises(ContainerConfigInvalid, match="Couldn't find PID field"):
        processes(box, [], "-eo comm")
    with pytest.raises(ContainerConfigInvalid, match="ps: "):
        processes(box, [], "--no-such-option")
    save_state(box.directory, State(status="exited"))
    box.refresh()
    with pytest.raises(WrongState, match="is not running"):
        processes(box, [], "")
