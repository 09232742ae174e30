"""The tests with every process of theirs measured: ``make coverage``, or ``python -m support.measured [ARGS of pytest]``.

A command, a worker of xdist and a server are started by Python's start-up hook, whatever their environment is. The
supervisor and the janitor look at no site-packages and so at no hook; under measurement `sys.executable` is a script
that lets them. Threads that are started without `threading`, which is too slow to load there, are followed like others.
What is killed with SIGKILL, and what a child does between fork and exec, is not counted.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
_SITE = Path(sysconfig.get_path("purelib"))
_HOOK = _SITE / "boxwright_measured.pth"
# Without what keeps the hook away; the other options mean the same.
_SCRIPT = """#!/bin/sh
# {python}, looking at site-packages even when asked not to
for word; do
    shift
    [ "$word" = -S ] && [ -z "$kept" ] || set -- "$@" "$word"
    [ "$word" = -c ] && kept=1
done
exec {python} "$@"
"""
_MODULE = """import _thread, os, sys, threading
import coverage
begin = _thread.start_new_thread

def followed(function, *arguments):
    def work(*given, **named):
        sys.settrace(threading.gettrace())
        return function(*given, **named)

    return begin(work, *arguments)

_thread.start_new_thread = followed
os.environ["COVERAGE_PROCESS_START"] = {config!r}
try:
    coverage.process_startup()
finally:
    del os.environ["COVERAGE_PROCESS_START"]
sys.executable = {script!r}
"""


@contextmanager
def measuring(data: Path) -> Iterator[None]:
    """Until the end of the block each process of this interpreter leaves its lines in `data`."""
    data.mkdir(exist_ok=True)
    data.chmod(0o1777)  # containers' helpers are other users
    script, config = data / "python", data / "coveragerc"
    write_script(script)
    config.write_text(configuration(data))
    module = _SITE / "boxwright_measured.py"
    write_module(module, config, script)
    _HOOK.write_text("import boxwright_measured\n")
    try:
        yield
    finally:
        _HOOK.unlink()
        module.unlink()


def write_script(path: Path) -> None:
    """An interpreter that runs the hook even for those that ask for none."""
    path.write_text(_SCRIPT.format(python=sys.executable))
    path.chmod(0o755)


def write_module(path: Path, config: Path, script: Path) -> None:
    """What the hook imports: `script` is the interpreter of what this process starts."""
    path.write_text(_MODULE.format(config=str(config), script=str(script)))


def configuration(data: Path, *, source: Path = REPOSITORY / "src") -> str:
    """What coverage is told. Absolute: the processes stand in many directories."""
    return f"""[run]
source = {source}
data_file = {data / "lines"}
parallel = true
patch =
    _exit
    fork
disable_warnings = no-data-collected, module-not-measured, module-not-imported, couldnt-parse
[report]
exclude_also =
    if TYPE_CHECKING:
"""


def main(argv: list[str]) -> int:
    """Returns pytest's exit code; the table of lines is printed, by file, the least covered last."""
    data = Path(sys.prefix) / "coverage"
    for old in data.glob("lines*"):
        old.unlink()
    with measuring(data):
        code = subprocess.run([sys.executable, "-m", "pytest", *argv], check=False).returncode
    coverage = [sys.executable, "-m", "coverage"]
    config = f"--rcfile={data / 'coveragerc'}"
    subprocess.run([*coverage, "combine", "-q", config], check=True)
    subprocess.run([*coverage, "report", config, "--sort=-cover"], check=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
