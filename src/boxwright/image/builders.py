"""Names of the one builder that there is, as `buildx create` gives them: each a file under ROOT/builders, written
whole.

A script that makes a builder of its own, uses it and removes it does the same here; what it builds with is always the
same.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from boxwright.errors import Conflict, Invalid, NotFound, Unsupported
from boxwright.files.disk import make_directories, write_atomic
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "default"
DRIVERS = ("docker-container", "docker")
_ELSEWHERE = ("kubernetes", "remote", "cloud")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,127}")
_LARGEST = 1 << 20  # bytes of a file


class NoSuchBuilder(NotFound):
    """There is no builder of this name."""


class BuilderExists(Conflict):
    """The name is another builder's."""


class DriverElsewhere(Unsupported):
    """A driver that builds on other machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBuilder:
    """A name of the builder: `driver` is what was asked for, `nodes` the names of its nodes, `platforms` those that
    were typed; `created` is in unix seconds, 0 when unknown."""

    name: str
    driver: str = DRIVERS[0]
    nodes: tuple[str, ...] = ()
    endpoint: str = DEFAULT
    platforms: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    created: float = 0.0


class Builders:
    """The builders of one root."""

    def __init__(self, root: Path) -> None:
        self._folder = Places(root).builders

    def list(self) -> list[NamedBuilder]:
        """All, the default one first."""
        found = [NamedBuilder(name=DEFAULT, driver="docker", nodes=(DEFAULT,))]
        names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
        for name in names:
            if name.endswith(".json") and (builder := self._read(name.removesuffix(".json"))) is not None:
                found.append(builder)
        return found

    def get(self, name: str = "") -> NamedBuilder:
        """The builder of a name, '' for the current one. Raises NoSuchBuilder."""
        name = name or self.current
        if name == DEFAULT:
            return self.list()[0]
        found = self._read(name)
        if found is None:
            raise NoSuchBuilder(f'no builder "{name}" found', hint="boxwright buildx ls")
        return found

    @property
    def current(self) -> str:
        """The name that is used when none is typed."""
        try:
            name = (self._folder / "current").read_text(errors="replace")[:256]
        except OSError:
            return DEFAULT
        return name if self._read(name) is not None else DEFAULT

    def use(self, name: str) -> None:
        """Make a builder the current one. Raises NoSuchBuilder."""
        with self._changing():
            self.get(name)
            self._write("current", name.encode())

    def create(self, builder: NamedBuilder, *, append: bool = False) -> NamedBuilder:
        """Give the builder one more name. Raises Invalid, BuilderExists, DriverElsewhere."""
        checked(builder.name, builder.driver)
        with self._changing():
            old = self._read(builder.name) if builder.name != DEFAULT else self.get(DEFAULT)
            if old is not None and (not append or builder.name == DEFAULT):
                raise BuilderExists(
                    f'existing instance for "{builder.name}" but no append mode',
                    hint="--append adds a node, another --name makes another builder",
                )
            nodes = builder.nodes or (f"{builder.name}{len(old.nodes) if old else 0}",)
            made = {key: getattr(builder, key) for key in _KEYS}
            made |= {
                "driver": old.driver if old else builder.driver,
                "nodes": list(dict.fromkeys([*(old.nodes if old else ()), *nodes])),
                "created": time.time(),
            }
            self._write(f"{builder.name}.json", json.dumps(made).encode())
            return self.get(builder.name)

    def leave(self, name: str, node: str) -> None:
        """Take a node out of a builder, whose last one stays. Raises NoSuchBuilder, Conflict."""
        with self._changing():
            builder = self.get(name)
            rest = [one for one in builder.nodes if one != node]
            if len(rest) == len(builder.nodes):
                raise NoSuchBuilder(f'builder "{name}" has no node "{node}"')
            if not rest:
                raise Conflict(f'"{node}" is the last node of "{name}"', hint=f"boxwright buildx rm {name}")
            made = {key: getattr(builder, key) for key in _KEYS} | {"nodes": rest}
            self._write(f"{builder.name}.json", json.dumps(made).encode())

    def remove(self, name: str) -> None:
        """Forget a name. Raises NoSuchBuilder, Conflict for the default one."""
        if name == DEFAULT:
            raise Conflict(f"failed to remove {name}: context builder cannot be removed")
        with self._changing():
            self.get(name)
            (self._folder / f"{name}.json").unlink(missing_ok=True)

    def _read(self, name: str) -> NamedBuilder | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            with (self._folder / f"{name}.json").open("rb") as file:
                body = json.loads(file.read(_LARGEST))
        except (OSError, ValueError):
            return None
        if not isinstance(body, dict):
            return None

        def words(key: str) -> tuple[str, ...]:
            return tuple(map(str, body.get(key) or ()))

        return NamedBuilder(
            name=name,
            driver=str(body.get("driver") or DRIVERS[0]),
            endpoint=str(body.get("endpoint") or DEFAULT),
            created=float(body.get("created") or 0),
            nodes=words("nodes"),
            platforms=words("platforms"),
            flags=words("flags"),
            options=words("options"),
        )

    def _changing(self) -> Lock:
        """What is read until this ends is still true when it is written."""
        make_directories(self._folder)
        return Lock.on(self._folder)

    def _write(self, name: str, data: bytes) -> None:
        write_atomic(self._folder / name, data)


_KEYS = ("driver", "nodes", "endpoint", "platforms", "flags", "options", "created")


def checked(name: str, driver: str) -> None:
    """Raises Invalid, DriverElsewhere for what names no builder here."""
    if driver in _ELSEWHERE:
        raise DriverElsewhere(
            f'the driver "{driver}" builds on other machines, and Boxwright builds on this one',
            hint=f"--driver {DRIVERS[0]}, or none",
        )
    if driver not in DRIVERS:
        raise Invalid(f'failed to find driver "{driver}"', hint=" or ".join(DRIVERS))
    if not _NAME.fullmatch(name):
        raise Invalid(
            f'invalid builder name "{name}"', hint="a letter, then letters, digits, underscores, dots, dashes"
        )


def platforms_here(typed: Iterable[str] = ()) -> list[str]:
    """The platforms whose steps run here, natively or emulated, those that were typed first."""
    from boxwright.errors import Unsupported
    from boxwright.runtime.emulation import check_emulation
    from boxwright.spec.platform import Platform, host

    known = "amd64 386 arm64 arm/v7 arm/v6 riscv64 ppc64le s390x mips64le loong64".split()
    found = [*typed, str(host())]
    for word in known:
        platform = Platform.parse(f"linux/{word}")
        try:
            check_emulation(platform)
        except Unsupported:
            continue
        found.append(str(platform))
    return list(dict.fromkeys(found))
