"""Containers beside docker and podman: life, lists, logs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.measure import Command, Figure, compare

if TYPE_CHECKING:
    from bench.cases import Row, Setup

_IMAGE = "bench-busybox"
_AT_ONCE = (
    f'for n in $(seq 50); do "$@" run -d --name bench-$n {_IMAGE} busybox sleep 1000 >/dev/null & done; wait; '
    '[ "$("$@" ps -q | wc -l)" -ge 50 ]'
)
_LOG = "busybox yes 'a line of a log, of the length that such lines have, more or less' | busybox head -c 300000000"
_Prefixes = Mapping[str, Sequence[str]]


def _quietly(prefix: Sequence[str], *argv: str, check: bool = True) -> None:
    subprocess.run([*prefix, *argv], check=check, capture_output=True)


def _after(prefix: Sequence[str], *orders: Sequence[str]) -> Callable[[], None]:
    """Orders that are given, untimed, before each run; what is not there yet need not go."""

    def give() -> None:
        for order in orders:
            _quietly(prefix, *order, check=order[0] != "rm")

    return give


def _compared(prefixes: _Prefixes, argv: Sequence[str], *before: Sequence[str]) -> dict[str, Figure]:
    return compare([Command(name, [*p, *argv], before=_after(p, *before)) for name, p in prefixes.items()])


def containers(setup: Setup) -> Iterator[Row]:
    """exec, run -d, rm -f, inspect, rmi."""
    setup.busybox()
    everybody = setup.everybody()
    started = ("run", "-d", "--name", "bench-one", _IMAGE, "busybox", "sleep", "1000")
    gone = ("rm", "-f", "bench-one")
    yield "run -d", _compared(everybody, started, gone), "1/3 of docker"
    yield "rm -f", _compared(everybody, gone, gone, started), "1/3 of docker"
    for prefix in everybody.values():
        _after(prefix, gone, started)()
    yield "exec true", _compared(everybody, ("exec", "bench-one", "true")), "1/2 of docker"
    yield "inspect of a container", _compared(everybody, ("inspect", "bench-one")), "0.7 of docker"
    tagged = ("tag", _IMAGE, "bench-name:1")
    yield "rmi of a name", _compared(everybody, ("rmi", "bench-name:1"), tagged), "0.7 of docker"
    for prefix in everybody.values():
        _quietly(prefix, *gone)


def many(setup: Setup) -> Iterator[Row]:
    """50 containers at once, 500 in the list, a log of 300 MB."""
    setup.busybox()
    both = {name: prefix for name, prefix in setup.everybody().items() if name != "podman"}

    def clear(prefix: Sequence[str]) -> Callable[[], None]:
        return lambda: _quietly(prefix, "rm", "-f", *(f"bench-{n}" for n in range(1, 51)), check=False)

    commands = [
        Command(name, ["sh", "-c", _AT_ONCE, "sh", *prefix], before=clear(prefix))
        for name, prefix in both.items()
    ]
    yield "50 run -d at once", compare(commands, runs=3), "1/3 of docker"
    for prefix in both.values():
        clear(prefix)()
        for _ in range(500):
            _quietly(prefix, "create", "--label", "bench=1", _IMAGE, "true")
    yield "ps -a, 500 containers", _compared(both, ("ps", "-a")), "under 0.05 s"
    for prefix in both.values():
        _quietly(prefix, "container", "prune", "-f")
        _quietly(prefix, "run", "--name", "bench-log", _IMAGE, *("sh", "-c", _LOG))
    yield "logs of 300 MB", _compared(both, ("logs", "bench-log")), "100 MB/s: under 3 s"
    for prefix in both.values():
        _quietly(prefix, "rm", "-f", "bench-log")
