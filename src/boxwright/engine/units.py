"""What starts a root's containers at boot: a systemd unit, and a generator that asks for it (systemd.generator(7)).

The generator is a script and no link in `multi-user.target.wants`, so that a machine whose Boxwright was uninstalled,
or is not mounted yet, boots without a failed unit. Both files name their maker in a line of their own, by which they
are known as ours; another's file is neither replaced nor removed.
"""

from __future__ import annotations

import os
from pathlib import Path

from boxwright.errors import Conflict, Invalid
from boxwright.files import whole
from boxwright.spec import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USUAL_ROOT = "/var/lib/boxwright"
_MARK = "# made by: boxwright system install-units"
_UNITS, _GENERATORS = "etc/systemd/system", "etc/systemd/system-generators"

_UNIT = """{mark}
[Unit]
Description=Boxwright's containers in {shown}
Wants=network-online.target
After=network-online.target local-fs.target
RequiresMountsFor={mounts}
ConditionPathExists={store}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}
# Each container has a supervisor of its own, which ends with it and not with this unit.
KillMode=process
TasksMax=infinity
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
"""

_GENERATOR = """#!/bin/sh
{mark}
# Called early at boot with three directories for units; the first is for what is usual.
set -eu
[ -x {program} ] || exit 0
[ -e {unit} ] || exit 0
mkdir -p "$1/multi-user.target.wants"
ln -sf {unit} "$1/multi-user.target.wants/{name}"
"""


class NotOurs(Conflict):
    """A file where a unit is to be is another program's, or was changed so that it no longer says whose it is."""


class RootUnfit(Invalid):
    """A path that a unit cannot name."""


def command(program: Sequence[str], root: str) -> list[str]:
    """What is run at boot."""
    return [*program, "--root", root, "system", "up"]


def init_line(program: Sequence[str], root: Path) -> str:
    """The same as a line for a shell."""
    import shlex

    return shlex.join(command(program, _fit(root)))


def runs_systemd() -> bool:
    """Whether systemd is this machine's init (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def install(program: Sequence[str], root: Path, top: Path) -> list[Path]:
    """Write both files below the directory `top`; returns them. Raises NotOurs before anything is written,
    RootUnfit."""
    texts = _texts(program, _fit(root), top)
    for path in texts:
        _check(path)
    for path, (text, mode) in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(str(path), text.encode("utf-8", "surrogateescape"), mode=mode)
    return list(texts)


def remove(root: Path, top: Path) -> list[Path]:
    """Remove what `install` wrote; returns what was there. Raises NotOurs before anything is removed."""
    there = [path for path in _paths(root, top) if os.path.lexists(path)]
    for path in there:
        _check(path)
    for path in there:
        path.unlink()
    return there


def _paths(root: Path, top: Path) -> tuple[Path, Path]:
    name = "boxwright"
    if str(root) != USUAL_ROOT:  # several roots of one machine have a unit each
        name += "-" + hashes.sha256(os.fsencode(root)).hexdigest()[:12]
    return top / _UNITS / f"{name}.service", top / _GENERATORS / name


def _check(path: Path) -> None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            ours = _MARK.encode() in file.read(4096).splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotOurs(f"cannot tell whose {path} is: {error.strerror}") from error
    if not ours:
        raise NotOurs(
            f"{path} is there, and was not written by `boxwright system install-units`",
            hint="move it away, or keep it and install nothing",
        )


def _texts(program: Sequence[str], root: str, top: Path) -> dict[Path, tuple[str, int]]:
    import shlex

    unit, generator = _paths(Path(root), top)
    specified = root.replace("%", "%%")
    text = _UNIT.format(
        mark=_MARK,
        shown=specified,
        mounts=_quoted(specified),
        store=specified + "/boxwright.db",
        command=" ".join(
            _quoted(word.replace("%", "%%").replace("$", "$$")) for word in command(program, root)
        ),
    )
    script = _GENERATOR.format(
        mark=_MARK,
        program=shlex.quote(program[0]),
        unit=shlex.quote(f"/{_UNITS}/{unit.name}"),
        name=unit.name,
    )
    return {unit: (text, 0o644), generator: (script, 0o755)}


def _fit(root: Path) -> str:
    text = str(root)
    if any(ord(c) < 32 or ord(c) == 127 or "\ud800" <= c <= "\udfff" for c in text) or text.endswith("\\"):
        raise RootUnfit(f"a unit cannot name the root {text!r}")
    return text


def _quoted(word: str) -> str:
    """systemd.syntax(7), "Quoting"."""
    if all(c.isalnum() or c in "/-_.:=@%$+," for c in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
