"""Pages as tests: types in what the ``console`` blocks of a page show, and compares what comes back.

A line ``$ command`` is typed; the lines up to the next one are its output. A block after ``<!-- file: NAME -->`` is
written to that file first. In a shown output, a line ``…`` stands for any lines. What differs from run to run (ids,
sizes, times) is compared as kinds, not as values.

``PYTHONPATH=tests python -m support.docs PAGE`` runs a page and writes the real output into it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
_VOLATILE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "ID"),
    (
        re.compile(
            r"\b(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour|day|week|month|year)s?)( ago)?\b"
        ),
        "AGO",
    ),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:e[+-]\d+)? ?(?:B|kB|MB|GB|KiB|MiB|GiB)(?![a-z])"), "SIZE"),
    (re.compile(r"\b\d+(?:\.\d+)? ?m?s\b"), "SPAN"),
    (re.compile(r"\bv?\d+\.\d+\.\d+\S*"), "VERSION"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass
class Command:
    """One typed line: what the page shows, and where the shown output lies in the page."""

    line: str
    shown: str
    start: int
    end: int


@dataclass
class File:
    """A file that the page asks to write."""

    name: str
    content: str


def steps(page: str) -> Iterator[Command | File]:
    """What a reader of the page would do, in order."""
    for block in _BLOCK.finditer(page):
        if block["file"]:
            yield File(block["file"], block["body"])
        elif block["kind"] == "console":
            yield from _commands(block["body"], block.start("body"))


def _commands(body: str, offset: int) -> Iterator[Command]:
    line, shown, start = "", "", 0
    at = offset
    for row in body.splitlines(keepends=True):
        at += len(row)
        if row.startswith("$ "):
            if line:
                yield Command(line, shown, start, start + len(shown))
            line, shown, start = row[2:].rstrip("\n"), "", at
        elif line.endswith("\\") and not shown:
            line += "\n" + row.rstrip("\n")
            start = at
        else:
            shown += row
    if line:
        yield Command(line, shown, start, start + len(shown))


class Desk:
    """Where a page is tried: an empty directory, an empty store, `boxwright` on the PATH."""

    def __init__(self, directory: Path) -> None:
        self.cwd = directory / "desk"
        self.cwd.mkdir()
        programs = directory / "bin"
        programs.mkdir()
        (programs / "boxwright").write_text(f'#!/bin/sh\nexec {sys.executable} -m boxwright "$@"\n')
        (programs / "boxwright").chmod(0o755)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.lower().endswith("_proxy")
            or name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "LANG")
        }
        self.environ = kept | {
            "PATH": f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.cwd),
            "BOXWRIGHT_ROOT": str(directory / "root"),
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "TZ": "UTC",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }

    def type(self, line: str) -> tuple[str, int]:
        """Output (both streams) and exit code."""
        script = f'{line}\ncode=$?; pwd >"$BOXWRIGHT_ROOT.cwd"; exit $code'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        where = Path(self.environ["BOXWRIGHT_ROOT"] + ".cwd")
        if where.exists():
            self.cwd = Path(where.read_text().strip())
        return done.stdout.decode("utf-8", "replace"), done.returncode

    def write(self, file: File) -> None:
        """Make a file of the page."""
        path = self.cwd / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)

    def close(self) -> None:
        """End containers, unmount, and delete the store."""
        self.type("boxwright ps -aq | xargs -r boxwright rm -f")
        root = Path(self.environ["BOXWRIGHT_ROOT"])
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{root}/")), reverse=True):
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(root, ignore_errors=True)


def same(shown: str, real: str) -> bool:
    """Whether the real output is of the kind that the page shows."""
    wanted = [_plain(line) for line in shown.rstrip("\n").split("\n")]
    pattern = "\n".join(r"(?:.*\n?)*?" if line.strip() == "…" else re.escape(line) for line in wanted)
    pattern = pattern.replace("(?:.*\\n?)*?\n", "(?:.*\\n)*?")
    return (
        re.fullmatch(pattern, "\n".join(_plain(line) for line in real.rstrip("\n").split("\n"))) is not None
    )


def _plain(line: str) -> str:
    for pattern, kind in _VOLATILE:
        line = pattern.sub(kind, line)
    return line.rstrip()


def rewritten(page: str, directory: Path) -> str:
    """The page with the output that its commands have now; shown outputs with ``…`` are kept if they fit."""
    desk, parts, at = Desk(directory), [], 0
    try:
        for step in steps(page):
            if isinstance(step, File):
                desk.write(step)
                continue
            real, code = desk.type(step.line)
            print(f"$ {step.line}\n{real}" + (f"[{code}]\n" if code else ""), end="")
            keep = step.shown and ("…\n" in step.shown or step.shown.endswith("…")) and same(step.shown, real)
            text = step.shown if keep else "".join(line.rstrip() + "\n" for line in real.splitlines())
            parts += [page[at : step.start], text]
            at = step.end
    finally:
        desk.close()
    return "".join(parts) + page[at:]


if __name__ == "__main__":
    import tempfile

    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(name)
            path.write_text(rewritten(path.read_text(), Path(scratch)))
