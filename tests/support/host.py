"""What keeps the host whole while the tests run, and the check that it was.

Every process that runs tests as root has a network and a mount namespace of its own, entered before the first test:
daemons (a dockerd without a bridge deletes the host's `docker0`), bridges, firewall rules and mounts end with it. With
`--check-host` (`make test` gives it) the session looks at the host before and after, and fails on a difference.

A pytest plugin.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from boxwright.files import syscalls
from support import REAL_ROOT, newer
from support.namespaces import NEWNET, NEWNS, isolate

PATIENCE = 45.0  # seconds: the janitor of an idle bridge waits for half a minute
# What every descendant inherits, containers too, and nothing resets: the soft limit of POSIX message queues' bytes.
_MARK = resource.RLIMIT_MSGQUEUE

# skopeo and podman remember there in which repository they saw a blob; no setting moves it.
_KEPT_BY_PEERS = ("/var/lib/containers",)
# What is gone of these ended by itself: nothing that the tests can reach removes those of others.
_COME_AND_GO = ("cgroups", "mounts", "processes")
# Parents that engines make for the cgroups of their containers, and keep for the next one.
_PARENTS = ("/boxwright", "/libpod_parent", "/libpod_parent/conmon")

Picture = Mapping[str, list[str]]


class Host:
    """The namespaces that were there before `isolate`, held by descriptors."""

    def __init__(self) -> None:
        self._spaces = {
            NEWNET: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC),
            NEWNS: os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC),
        }
        self._home = str(Path.home())

    def enter(self, *kinds: int) -> None:
        """Go (back) into namespaces of these kinds; a mount namespace only in a process with one thread."""
        for kind in kinds:
            syscalls.libc("setns", self._spaces[kind], kind)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """The host's network, for the calling thread and what it starts."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.enter(NEWNET)
        try:
            yield
        finally:
            syscalls.libc("setns", own, NEWNET)
            os.close(own)

    def look(self, mark: int = 0) -> Picture:
        """A picture of the host, taken from its own namespaces whatever this thread's are."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if REAL_ROOT:
                    self.enter(NEWNET, NEWNS)
                with open(writer, "w") as out:
                    json.dump(picture(self._home, mark), out)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with open(reader) as stream:
            text = stream.read()
        assert os.waitpid(pid, 0)[1] == 0, "the host cannot be looked at"
        found: Picture = json.loads(text)
        return found


def picture(home: str, mark: int = 0) -> Picture:
    """What tests could change on a host, as sorted lines by kind."""
    kinds = {
        "links and addresses": _addresses(),
        "routes": _output("ip", "route", "show", "table", "all") + _output("ip", "rule"),
        "iptables": _rules("iptables-save") + _rules("iptables-legacy-save"),
        "ip6tables": _rules("ip6tables-save") + _rules("ip6tables-legacy-save"),
        "nft": _rules("nft", "list", "ruleset"),
        "mounts": [re.sub(r"^\S+ \S+ ", "", line) for line in _lines("/proc/self/mountinfo")],
        "loop devices": [
            f"{file.parent.parent.name} {''.join(_lines(str(file)))}"
            for file in Path("/sys/block").glob("loop*/loop/backing_file")
        ],
        "emulators": _names("/proc/sys/fs/binfmt_misc"),
        "settings": [
            f"{name} = {' '.join(_lines(name))}"
            for name in (
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/net/ipv6/conf/all/forwarding",
                "/proc/sys/kernel/core_pattern",
            )
        ],
        "cgroups": [str(path) for path in _cgroups(mark)],
        "files": [
            path
            for place in ("/etc", "/var/lib", home)
            for name in _names(place)
            if (path := f"{place}/{name}") not in _KEPT_BY_PEERS
        ],
        "processes": _marked(mark) if mark else [],
    }
    return {kind: sorted(lines) for kind, lines in kinds.items()}


def differences(before: Picture, after: Picture) -> list[str]:
    """One line a thing that came or went."""
    found = []
    for kind in sorted({*before, *after}):
        old, new = before.get(kind, []), after.get(kind, [])
        if kind not in _COME_AND_GO:
            found += [f"{kind}: gone: {line}" for line in _without(old, new)]
        found += [f"{kind}: left: {line}" for line in _without(new, old)]
    return found


def _without(lines: Iterable[str], others: Iterable[str]) -> list[str]:
    from collections import Counter

    return sorted((Counter(lines) - Counter(others)).elements())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _output(*argv: str) -> list[str]:
    if not shutil.which(argv[0]):
        return []
    return subprocess.run(
        argv, capture_output=True, text=True, errors="replace", check=False
    ).stdout.splitlines()


def _rules(*argv: str) -> list[str]:
    """Rules without what moves by itself: comments with the time, counters."""
    counters = re.compile(r"\[\d+:\d+\]|packets \d+ bytes \d+")
    return [counters.sub("", line) for line in _output(*argv) if not line.startswith("#")]


def _addresses() -> list[str]:
    found: list[str] = []
    for link in json.loads("".join(_output("ip", "-j", "addr")) or "[]"):
        found.append(link["ifname"])
        found += [
            f"{link['ifname']} {a['local']}/{a['prefixlen']}" for a in link["addr_info"] if "local" in a
        ]
    return found


def _cgroups(mark: int) -> Iterator[Path]:
    """All but, with a mark, those in which only processes of others are: other programs of the host may make some."""
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        for path in (Path(folder, name) for name in names):
            members = {
                pid for below, _, _ in os.walk(path) for pid in _lines(f"{below}/cgroup.procs") if mark
            }
            if not members or any(_has(mark, pid) for pid in members):
                yield path


def _remove_parents(kept: Container[str]) -> None:
    """Empty parents of containers' cgroups that were not there before. One in use stays, and will be named."""
    for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if folder.endswith(_PARENTS) and folder not in kept:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _has(mark: int, pid: str) -> bool:
    limits = "\n".join(_lines(f"/proc/{pid}/limits"))
    return re.search(rf"^Max msgqueue size +{mark} ", limits, re.M) is not None


def _marked(mark: int) -> list[str]:
    """Processes that descend from the session with this mark."""
    found = []
    family = {os.getpid(), os.getppid()}  # who looks, and the session
    for pid in filter(str.isdigit, _names("/proc")):
        if _has(mark, pid):
            words = "".join(_lines(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()
            if int(pid) not in family and words:
                found.append(f"{pid} {words}")
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check-host", action="store_true", help="fail when the tests changed the host")


_host = pytest.StashKey[Host]()
_before = pytest.StashKey[tuple[Picture, int]]()


def pytest_configure(config: pytest.Config) -> None:
    newer.use()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores interrupts, and so would every program that a test starts and interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    host = config.stash[_host] = Host()
    if config.getoption("--check-host") and not hasattr(config, "workerinput"):
        soft, hard = resource.getrlimit(_MARK)
        mark = (soft if soft > 1 << 16 else 1 << 19) - os.getpid() % (1 << 15) - 1
        resource.setrlimit(_MARK, (mark, hard))
        config.stash[_before] = host.look(mark), mark
    distributes = bool(getattr(config.option, "tx", None)) and not hasattr(config, "workerinput")
    if REAL_ROOT and not distributes:
        isolate()
    if not distributes:  # programs keep caches and settings at home
        home = tempfile.TemporaryDirectory(prefix="home-")
        config.add_cleanup(home.cleanup)
        os.environ["HOME"] = home.name


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _before not in session.config.stash:
        return
    before, mark = session.config.stash[_before]
    _remove_parents(before["cgroups"])
    end = time.monotonic() + PATIENCE
    while found := differences(before, session.config.stash[_host].look(mark)):
        if time.monotonic() > end:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            session.config.stash[_found] = found
            return
        time.sleep(1)


_found = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if found := config.stash.get(_found, []):
        terminalreporter.section("the tests changed the host", red=True)
        for line in found:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _outside(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that need the network (the marker `network`) are in the host's; they may make no links and no rules."""
    if REAL_ROOT and request.node.get_closest_marker("network"):
        with request.config.stash[_host].network():
            yield
    else:
        yield
