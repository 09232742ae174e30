"""What `make coverage` runs programs with: our own code is started in the ways that it is started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from boxwright.container.session import interpreter
from support.measured import write_script


def test_a_supervisor_is_measured_too(tmp_path: Path) -> None:
    script = tmp_path / "python"
    write_script(script)
    words = interpreter(
        "import sys; print(sys.flags.no_site, sys.flags.isolated, sys.argv[2:])", "-S", "a b", ""
    )
    assert words[2] == "-S"
    said = subprocess.run([script, *words[1:]], capture_output=True, text=True, check=True).stdout
    assert said == "0 1 ['-S', 'a b', '']\n"
