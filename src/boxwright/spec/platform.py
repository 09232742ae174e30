"""Platforms: normal forms, the host's own, and which of several manifests fits best.

Rules as containerd's platforms package applies them (spelling, variants, fall-backs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from boxwright.errors import Invalid
from boxwright.spec.text import is_name, whole_number
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "armv8l": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "loongarch64": ("loong64", ""),
}
_KNOWN = frozenset(
    "386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x sparc64 wasm".split()
)
_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows".split()
)
_LEVELS = 99  # no more minor versions of an instruction set are told apart


class PlatformInvalid(Invalid):
    """The text is no platform."""


@dataclass(frozen=True, slots=True)
class Platform:
    """``os/architecture[/variant]``, in normal form when it came from `parse` or `from_json`."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    written: str | None = field(
        default=None, compare=False, repr=False
    )  # the variant as a document had it, for writing it again

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64/v8``, ``arm64`` or ``linux`` (the host supplies the rest). Raises PlatformInvalid."""
        parts = text.strip().split("/")
        if not 1 <= len(parts) <= 3 or not all(is_name(part, least=1) for part in parts):
            raise PlatformInvalid(
                f"invalid platform {text!r}: wanted os/architecture[/variant], such as linux/arm64"
            )
        if len(parts) > 1:
            return cls._normal(parts[0], parts[1], parts[2] if len(parts) > 2 else "")
        word = parts[0].lower()
        word = {"macos": "darwin"}.get(word, word)
        if word in _SYSTEMS:
            return cls._normal(word, host().architecture, host().variant)
        if word in _KNOWN or word in _ARCHITECTURES:
            return cls._normal("linux", word)
        raise PlatformInvalid(
            f"unknown operating system or architecture {text!r}: wanted something like linux/arm64"
        )

    @classmethod
    def _normal(
        cls,
        system: str,
        architecture: str,
        variant: str = "",
        version: str = "",
        features: tuple[str, ...] = (),
        written: str | None = None,
    ) -> Platform:
        system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
        system = {"macos": "darwin"}.get(system, system)
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if architecture == "amd64" and variant == "v1":
            variant = ""
        elif architecture == "arm64":
            variant = {"8": "", "v8": "", "v8.0": "", "9": "v9", "v9.0": "v9"}.get(variant, variant)
        elif architecture == "arm":
            variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        return cls(
            os=system,
            architecture=architecture,
            variant=variant,
            os_version=version,
            os_features=features,
            written=written,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Platform:
        """From a descriptor's ``platform`` or an image config."""
        features, variant = value.get("os.features"), str(value.get("variant") or "")
        return cls._normal(
            system=str(value.get("os") or ""),
            architecture=str(value.get("architecture") or ""),
            variant=variant,
            version=str(value.get("os.version") or ""),
            features=tuple(str(f) for f in features) if isinstance(features, (list, tuple)) else (),
            written=variant,
        )

    def to_json(self) -> dict[str, Any]:
        """The descriptor form, without empty fields."""
        out: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            out["os.version"] = self.os_version
        if self.os_features:
            out["os.features"] = list(self.os_features)
        if variant := self.variant if self.written is None else self.written:
            out["variant"] = variant
        return out

    @property
    def whole(self) -> bool:
        """Whether it names a system and an architecture."""
        return bool(self.os and self.architecture)

    def or_host(self) -> Platform:
        """The same with what it leaves out taken from the host, as Docker takes it."""
        if self.whole:
            return self
        here = host()
        variant = self.variant or ("" if self.architecture else here.variant)
        return Platform._normal(
            system=self.os or here.os,
            architecture=self.architecture or here.architecture,
            variant=variant,
            version=self.os_version,
            features=self.os_features,
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def accepts(self) -> list[Platform]:
        """What can run where this platform was asked for, best first."""

        def of(architecture: str, *variants: str) -> list[Platform]:
            return [Platform(self.os, architecture, v) for v in variants]

        arch, variant = self.architecture, self.variant
        if arch == "amd64":
            level = _level(variant, "123456789") or 1
            return of("amd64", *(f"v{n}" for n in range(level, 1, -1)), "") + of("386", "")
        if arch == "arm":
            level = _level(variant, "56789") or 7
            return of("arm", *(f"v{n}" for n in range(level, 4, -1)))
        if arch == "arm64":
            before, dot, after = (variant or "v8").partition(".")
            major, minor = _level(before, "89"), whole_number(after if dot else "0", _LEVELS)
            if not major or minor is None:
                major, minor = 8, 0
            nines = [f"v9.{n}" if n else "v9" for n in range(minor, -1, -1)] if major == 9 else []
            top = minor + 5 if major == 9 else minor
            eights = [f"v8.{n}" if n else "" for n in range(top, -1, -1)]
            return of("arm64", *nines, *eights) + of("arm", "v8", "v7", "v6", "v5")
        return of(arch, variant)

    def rank(self, candidate: Platform) -> int | None:
        """How well `candidate` serves this request: 0 is best, None not at all."""
        if candidate.os != self.os:
            return None
        if self.os_features and not set(candidate.os_features) <= set(self.os_features):
            return None
        if (
            self.os_version
            and candidate.os_version
            and self.os_version.split(".")[:3] != candidate.os_version.split(".")[:3]
        ):
            return None
        plain = Platform(candidate.os, candidate.architecture, candidate.variant)
        try:
            return self.accepts().index(plain)
        except ValueError:
            return None


def _level(variant: str, known: str) -> int:
    """The number of a variant of one digit, such as ``v7``; 0 when it is none of those."""
    return int(variant[1]) if len(variant) == 2 and variant[0] == "v" and variant[1] in known else 0


def choose(wanted: Platform, candidates: Iterable[tuple[int, Platform]]) -> int | None:
    """The position of the best fitting candidate, or None."""
    ranked = [(rank, position) for position, p in candidates if (rank := wanted.rank(p)) is not None]
    return min(ranked)[1] if ranked else None


@cache
def host() -> Platform:
    """The platform of this machine, always with os linux on Linux."""
    import os

    name = os.uname()
    return Platform._normal(name.sysname, name.machine)
