"""Annotations of an image: of its manifests, of its index, and of the descriptors that name those.

`--annotation` writes ``[level[platform][,level…]:]KEY=VALUE``, an output's attribute
``annotation[-level][[platform]].KEY=VALUE``; both become `Annotation` values (docs.docker.com, "Annotations").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from boxwright.build.fields import RequestInvalid
from boxwright.errors import Invalid, Unsupported
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.transfer.manifest_lists import IndexNotes

MANIFEST, INDEX = "manifest", "index"
MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR = "manifest-descriptor", "index-descriptor"
_LEVELS = (INDEX, INDEX_DESCRIPTOR, MANIFEST, MANIFEST_DESCRIPTOR)
# Texts, which `re` compiles at their first use and keeps: few builds have annotations
_WHERE = r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z"
_ATTRIBUTE = r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)\Z"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation. `platform` '' is every platform; the two index levels have none."""

    level: str
    key: str
    value: str
    platform: str = ""


def parse_annotations(given: Mapping[str, str]) -> tuple[Annotation, ...]:
    """What ``--annotation`` gave, by the text before ``=``. Raises RequestInvalid."""
    found: list[Annotation] = []
    for name, value in given.items():
        levels, colon, key = name.partition(":")
        if not colon:
            levels, key = MANIFEST, name
        for word in levels.split(","):
            match = re.match(_WHERE, word)
            if match is None:
                raise RequestInvalid(
                    f"invalid annotation type {word!r}, expected type and optional platform in square brackets"
                )
            found.append(_annotation(level=match[1], platform=match[2] or "", key=key, value=value))
    return tuple(found)


def index_notes(given: Mapping[str, str]) -> IndexNotes:
    """The annotations of an index over images as they are, by the text before ``=``; those without a level are its
    own. Raises RequestInvalid, Unsupported."""
    from boxwright.transfer.manifest_lists import IndexNotes

    found = parse_annotations(
        {key if ":" in key else f"{INDEX}:{key}": value for key, value in given.items()}
    )
    entries: dict[str, dict[str, str]] = {}
    for one in found:
        if one.level not in (INDEX, MANIFEST_DESCRIPTOR):
            raise Unsupported(
                f"{one.level} annotations are not supported here", hint="build --annotation has them"
            )
        if one.level == MANIFEST_DESCRIPTOR:
            entries.setdefault(one.platform, {})[one.key] = one.value
    return IndexNotes(at(found, INDEX), entries)


def parse_attribute(name: str, value: str) -> Annotation | None:
    """An output's attribute, if it is an annotation. Raises RequestInvalid."""
    match = re.match(_ATTRIBUTE, name)
    return (
        _annotation(level=match[1] or MANIFEST, platform=match[2] or "", key=match[3], value=value)
        if match is not None
        else None
    )


def _annotation(level: str, platform: str, key: str, value: str) -> Annotation:
    if level not in _LEVELS:
        raise RequestInvalid(f"unknown annotation type {level!r}", hint=f"one of {', '.join(_LEVELS)}")
    try:
        normal = str(Platform.parse(platform)) if platform else ""
    except Invalid as error:
        raise RequestInvalid(f"invalid platform {platform!r}: {error}") from error
    return Annotation(level=level, key=key, value=value, platform=normal)


def check_annotations(annotations: Iterable[Annotation], platforms: Sequence[str], *, index: bool) -> None:
    """Whether there is something for each to stand at, when an image for these platforms is made, with an `index`
    over it or not. Raises RequestInvalid."""
    for one in annotations:
        if one.platform and one.platform not in platforms:
            raise RequestInvalid(
                f"invalid annotation: no platform {one.platform} found in source",
                hint=f"built are {', '.join(platforms)}",
            )
        if one.level in (INDEX, INDEX_DESCRIPTOR) and not index:
            raise RequestInvalid(
                "index annotations not supported for single platform export",
                hint="an image for several platforms, or with attestations, has an index",
            )


def at(annotations: Iterable[Annotation], level: str, platform: str = "") -> dict[str, str]:
    """Those of a level, and where they are for one platform only, of this one."""
    chosen = [one for one in annotations if one.level == level]
    if level in (INDEX, INDEX_DESCRIPTOR):
        return {one.key: one.value for one in chosen}
    for_all = {one.key: one.value for one in chosen if not one.platform}
    return {**for_all, **{one.key: one.value for one in chosen if one.platform == platform != ""}}
