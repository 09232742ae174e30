"""A package that was found, and the small things that readers share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from boxwright.spec.values import dataclass, field

MOST_TEXT = 512  # characters of a name or version; longer ones are no package's
_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package. `kind` is what said so (dpkg, apk, rpm, python, npm, go, cargo), `purl` its package URL,
    `place` the file that tells of it, `layer` the diff ID of that file's layer, '' when it has none."""

    kind: str
    name: str
    version: str
    purl: str
    license: str = ""
    supplier: str = ""
    homepage: str = ""
    place: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What ``/etc/os-release`` says: parts of the package URLs of distributions' packages."""

    id: str = ""
    version: str = ""

    @property
    def qualifier(self) -> str:
        """``debian-12``."""
        return "-".join(part for part in (self.id, self.version) if part)


@dataclass(frozen=True, slots=True)
class Found:
    """What readers are told beside a file's content."""

    path: str
    distribution: Distribution = field(default_factory=Distribution)


def usable(*words: str) -> bool:
    """Whether names and versions can be a package's: printable, without blanks, not empty and not endless."""
    return all(len(word) <= MOST_TEXT and _NAME.match(word) is not None for word in words)


def line(text: str) -> str:
    """A text for people in one printable line."""
    words = " ".join(text.split())
    return "".join(c for c in words if c.isprintable())[:MOST_TEXT]


def stanzas(data: bytes, wanted: frozenset[str]) -> Iterator[Mapping[str, str]]:
    """Paragraphs of ``Key: value`` lines, as dpkg and Python metadata write them; only the first line of each wanted
    value."""
    found: dict[str, str] = {}
    for raw in data.split(b"\n"):
        if not raw.strip():
            if found:
                yield found
            found = {}
        elif raw[:1] not in (b" ", b"\t"):
            key, colon, value = raw.partition(b":")
            name = key.decode("ascii", "replace").lower()
            if colon and name in wanted and name not in found:
                found[name] = value.decode("utf-8", "replace").strip()
    if found:
        yield found


def os_release(data: bytes) -> Distribution:
    """``ID`` and ``VERSION_ID``."""
    values: dict[str, str] = {}
    for raw in data.decode("utf-8", "replace").splitlines():
        key, equals, value = raw.partition("=")
        if equals:
            values[key.strip()] = value.strip().strip("\"'")
    parts = [values.get(key, "") for key in ("ID", "VERSION_ID")]
    return Distribution(*(part if not part or usable(part) else "" for part in parts))
