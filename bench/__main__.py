"""`python -m bench [NAME …]`: run the comparisons (all of them without names) and print one table."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import inputs, networks, registry
from bench.cases import CASES, Setup
from bench.measure import Figure, RunFailed
from bench.peers import Peers, unmount_below


def _row(title: str, figures: dict[str, Figure], goal: str) -> str:
    own = figures["boxwright"]
    cells = [f"{own.seconds:8.3f} s", f"{own.peak / 1e6:6.0f} MB"]
    for name, figure in figures.items():
        if name != "boxwright":
            cells.append(f"{name} {figure.seconds:.3f} s (ours is {own.seconds / figure.seconds:.2f} of it)")
    return f"{title:<44} {cells[0]} {cells[1]}   {'; '.join(cells[2:]) or '-'}   goal: {goal}"


def _compile() -> None:
    """Byte-compile the package, as an installer does: an editable install in an environment with
    PYTHONDONTWRITEBYTECODE would otherwise be compiled anew in every run that is timed."""
    import compileall

    import boxwright

    compileall.compile_dir(str(Path(boxwright.__file__).parent), quiet=1)


def _prepare() -> Path | None:
    """Daemons make bridges and rules: in a network of our own, they end with us. Returns where current peers are."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import support.newer
    from support.namespaces import isolate

    if os.geteuid() == 0:
        inputs.debian()  # fetched while there is a network, and kept
        isolate()
    return support.newer.fetched()


def main(names: list[str]) -> int:
    """Returns 1 when a comparison could not run."""
    _compile()
    newer = _prepare()
    if names == ["registry"]:  # servers, not whole processes: a table of its own
        with tempfile.TemporaryDirectory(prefix="boxwright-bench-", dir="/var/tmp") as work:
            return registry.main(Path(work))
    if names == ["networks"]:  # parts of a start: a table of its own as well
        with tempfile.TemporaryDirectory(prefix="boxwright-bench-", dir="/var/tmp") as work:
            return networks.main(Path(work))
    unknown = set(names) - set(CASES)
    if unknown or os.geteuid() != 0:
        print(f"usage: python -m bench [{' '.join(CASES)} | registry | networks]  (as root)", file=sys.stderr)
        return 2
    failed = False
    with tempfile.TemporaryDirectory(prefix="boxwright-bench-", dir="/var/tmp") as work, ExitStack() as stack:
        stack.callback(unmount_below, Path(work))
        setup = Setup(Path(work), Peers(Path(work), stack, newer))
        stack.callback(setup.close)
        print(f"peers: {(newer / 'versions').read_text().strip() if newer else 'as installed here'}")
        print(f"{'medians of five, whole processes':<44} {'ours':>10} {'peak':>9}   peers")
        for name in names or CASES:
            try:
                for title, figures, goal in CASES[name](setup):
                    print(_row(title, figures, goal), flush=True)
            except RunFailed as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
