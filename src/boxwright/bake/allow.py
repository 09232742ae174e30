"""What a definition may reach on this machine: the working directory, and what was allowed on the command line.

A definition is text from outside. A context, a secret, an agent, a cache or an output that lies elsewhere, the host's
network and privileges are granted by the user who runs the build, not by the author of the definition.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from boxwright.bake.entries import csv_fields
from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.names import CWD
from boxwright.build.gitref import is_url
from boxwright.build.named import LAYOUT, layout_path
from boxwright.build.options import at_home
from boxwright.errors import Denied
from boxwright.spec.text import go_quote
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from boxwright.bake.target import BakeTarget

_KEYS = (
    "network.host",
    "security.insecure",
    "ssh",
    "device",
    "fs.read",
    "fs.write",
    "fs",
    "image.push",
    "image.load",
    "image",
)


def one_line(text: str) -> str:
    """Text of a definition for a line that people decide by: it neither ends the line nor begins another."""
    return text if text.isprintable() else go_quote(text)


class PrivilegesWanted(Denied):
    """A definition wants more than it was allowed: `wants` for people, `flags` as they are allowed. `shown`: people
    have seen it."""

    def __init__(self, flags: Sequence[str], wants: Sequence[str]) -> None:
        self._words = " ".join(shlex.quote(one_line(f"--allow={flag}")) for flag in flags)
        super().__init__("additional privileges requested", hint=f"give {self._words} to grant them")
        self.flags, self.wants = tuple(flags), tuple(wants)
        self.shown = False

    def render(self) -> str:
        """The list; '' when it was shown."""
        return (
            ""
            if self.shown
            else f"{self._listed()}\nPass {go_quote(self._words)} to grant requested privileges.\n"
        )

    def question(self) -> str:
        """The list, for people who are asked whether they grant it."""
        said = f"In order to not see this message in the future pass {go_quote(self._words)}"
        return f"{self._listed()}\n{said} to grant requested privileges.\n"

    def _listed(self) -> str:
        """What is wanted, a line each."""
        said = "Your build is requesting privileges for following possibly insecure capabilities:\n\n"
        return said + "".join(f" - {one_line(want)}\n" for want in self.wants)


@dataclass(slots=True)
class Allowed:
    """What was granted. Paths are as they were typed, relative to the working directory."""

    network: bool = False
    insecure: bool = False
    ssh: bool = False
    every_device: bool = False
    devices: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    write: list[str] = field(default_factory=list)

    def grant(self, names: Iterable[str]) -> None:
        """Entitlements that were typed for a target."""
        for name in names:
            self.network |= name == "network.host"
            self.insecure |= name == "security.insecure"

    def grant_entries(self, setting: str, entries: Iterable[Any]) -> None:
        """Paths of settings that were typed for a target."""
        for entry in entries:
            if setting in ("cache-from", "cache-to") and entry.type == "local":
                key, paths = ("src", self.read) if setting == "cache-from" else ("dest", self.write)
                paths += [entry.options[key]] if key in entry.options else []
            elif setting == "secret" and entry.src:
                self.read.append(entry.src)
            elif setting == "ssh":
                self.read += entry.paths
            elif setting == "output" and entry.dest:
                self.write.append(entry.dest)

    def take(self, words: Iterable[str]) -> None:
        """``--allow``, or what was granted at a prompt. Raises DefinitionInvalid."""
        for word in words:
            key, _, value = word.partition("=")
            if key not in _KEYS or (key in ("network.host", "security.insecure", "ssh") and value):
                raise DefinitionInvalid(
                    f'unknown entitlement key "{key}"', hint=f"there are {', '.join(_KEYS)}"
                )
            self.network |= key == "network.host"
            self.insecure |= key == "security.insecure"
            self.ssh |= key == "ssh"
            if key == "device":
                self.every_device |= not value
                self.devices |= set(csv_fields(value)[:1])
            if key in ("fs", "fs.read"):
                self.read.append(value)
            if key in ("fs", "fs.write"):
                self.write.append(value)


def parse(words: Iterable[str]) -> Allowed:
    """``--allow``. Raises DefinitionInvalid."""
    found = Allowed()
    found.take(words)
    return found


def check(
    targets: Iterable[BakeTarget],
    allowed: Allowed,
    cwd: Path,
    *,
    files: bool = True,
    paths: Iterable[str] = (),
) -> None:
    """Raises PrivilegesWanted when targets reach further than they may; `files`: also what they read and write, and
    the `paths` that their definition has read."""
    flags: list[str] = []
    wants: list[str] = []
    rest = list(targets)
    entitled = {one for target in rest for one in target.get("entitlements") or ()}
    if "network.host" in entitled and not allowed.network:
        flags.append("network.host")
        wants.append("Running build containers that can access host network")
    if "security.insecure" in entitled and not allowed.insecure:
        flags.append("security.insecure")
        wants.append("Running privileged containers that can make system changes")
    for one in sorted(entitled):
        key, _, value = one.partition("=")
        if key != "device":
            continue
        device = next(iter(csv_fields(value)), "")
        if not allowed.every_device and (not device or device not in allowed.devices):
            flags.append(f"device={device}" if device else "device")
            wants.append(f"Access to device {device}" if device else "Access to CDI devices")
    if files:
        _check_files(targets=rest, allowed=allowed, cwd=cwd, paths=paths, flags=flags, wants=wants)
    if flags:
        raise PrivilegesWanted(flags, wants)


def _check_files(
    targets: list[BakeTarget],
    allowed: Allowed,
    cwd: Path,
    *,
    paths: Iterable[str],
    flags: list[str],
    wants: list[str],
) -> None:
    if not allowed.ssh and any(not agent.paths for target in targets for agent in target.get("ssh") or ()):
        flags.append("ssh")
        wants.append("Forwarding default SSH agent socket")
    read = _outside({p for target in targets for p in reads(target)} | set(paths), allowed.read, cwd)
    written = _outside({p for target in targets for p in writes(target)}, allowed.write, cwd)
    for paths, key, what in (
        (read & written, "fs", "Read and write access"),
        (read - written, "fs.read", "Read access"),
        (written - read, "fs.write", "Write access"),
    ):
        for path in sorted(paths):
            shown = _shown(path, cwd)
            flags.append(f"{key}={shown}")
            wants.append(f"{what} to path {shown}")


def reads(target: BakeTarget) -> set[str]:
    """The paths of this machine that a target reads."""
    found: set[str] = set()
    context = target.get("context") or "."
    dockerfile = target.get("dockerfile") or "Dockerfile"
    here = "" not in target.inside and not is_url(context)
    if here:
        found.add(context)
    if not target.get("dockerfile-inline"):
        if dockerfile.startswith(CWD):
            found.add(dockerfile)
        elif here and not dockerfile.startswith(("http://", "https://")):
            found.add(os.path.join(context.removeprefix(CWD), dockerfile))
    for name, value in (target.get("contexts") or {}).items():
        if name in target.inside:
            continue
        if is_local(value):
            found.add(value)
        elif value.startswith(LAYOUT):
            found.add(layout_path(value.removeprefix(LAYOUT))[0])
    for entry in target.get("cache-from") or ():
        if entry.type == "local" and "src" in entry.options:
            found.add(entry.options["src"])
    # A secret that names neither a file nor a variable may be the file of its name.
    found |= {at_home(one.src or one.id) for one in target.get("secret") or () if one.src or not one.env}
    found |= {at_home(path) for agent in target.get("ssh") or () for path in agent.paths}
    return {path.removeprefix(CWD) for path in found}


def writes(target: BakeTarget) -> set[str]:
    """The paths of this machine that a target writes."""
    found = {entry.dest for entry in target.get("output") or () if entry.dest and entry.dest != "-"}
    for entry in target.get("cache-to") or ():
        if entry.type == "local" and "dest" in entry.options:
            found.add(entry.options["dest"])
    return found


def is_local(place: str) -> bool:
    """Whether a named context is a path of this machine."""
    return not is_url(place) and not place.startswith(("target:", "docker-image://", LAYOUT))


def _outside(paths: set[str], granted: Iterable[str], cwd: Path) -> set[str]:
    """The paths, links followed, that lie in none of the granted ones."""
    if "*" in granted:
        return set()
    tops = [os.path.realpath(cwd / one) for one in (".", *granted)]
    found: set[str] = set()
    for path in sorted({os.path.realpath(cwd / one) for one in paths}, key=len):
        inside = any(path == top or top == "/" or path.startswith(top + "/") for top in tops)
        there = _existing(path)
        if not inside and not any(there == other or there.startswith(other + "/") for other in found):
            found.add(there)
    return found


def _existing(path: str) -> str:
    """The part of a path that is there."""
    while path != "/" and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _shown(path: str, cwd: Path) -> str:
    relative = os.path.relpath(path, os.path.realpath(cwd))
    return path if relative.startswith("../..") else relative
