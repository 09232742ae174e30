"""What `make coverage` runs programs with: our own code is started in the ways that it is started in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import coverage

from boxwright.container.session import interpreter
from support.measured import configuration, write_module, write_script


def test_a_supervisor_is_measured_too(tmp_path: Path) -> None:
    script = tmp_path / "python"
    write_script(script)
    words = interpreter(
        "import sys; print(sys.flags.no_site, sys.flags.isolated, sys.argv[2:])", "-S", "a b", ""
    )
    assert words[2] == "-S"
    said = subprocess.run([script, *words[1:]], capture_output=True, text=True, check=True).stdout
    assert said == "0 1 ['-S', 'a b', '']\n"


def test_a_thread_of_the_supervisor_is_measured_too(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from _thread import allocate_lock, start_new_thread\n"
        "ended = allocate_lock()\n"
        "ended.acquire()\n"
        "def work(lock):\n"
        "    lock.release()\n"
        "start_new_thread(work, (ended,))\n"
        "ended.acquire()\n"
    )
    config = tmp_path / "coveragerc"
    config.write_text(configuration(tmp_path, source=tmp_path))
    write_module(tmp_path / "measured.py", config, tmp_path / "python")
    # Without the hook of a run that is measured itself.
    code = "import sys; sys.path[:0] = sys.argv[1:]; import measured, program"
    places = [path for path in sys.path if path.endswith("-packages")]
    python = Path(sys.prefix) / "bin/python"
    subprocess.run([python, "-I", "-S", "-c", code, tmp_path, *places], check=True)
    (lines,) = tmp_path.glob("lines*")
    data = coverage.CoverageData(str(lines))
    data.read()
    assert sorted(data.lines(str(tmp_path / "program.py")) or ()) == [1, 2, 3, 4, 5, 6, 7]
