"""Named contexts (``--build-context NAME=VALUE``): how they are written, and which one a word of a Dockerfile means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from boxwright.build.fields import RequestInvalid
from boxwright.errors import Invalid, NotFound, Unsupported
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

LAYOUT = "oci-layout://"  # begins the name of a base that lies in an OCI layout
_RESERVED = ("scratch", "context")  # words that keep their meaning


class NamedContextMissing(NotFound):
    """There is nothing where a named context was to be."""


class ContextUnsupported(Unsupported):
    """A named context of a kind that is not known here."""


@dataclass(frozen=True, slots=True)
class NamedContexts:
    """What names mean: `local` are directories, `images` images by what their base is called. Keys are as `key_of`
    makes them."""

    local: frozenset[str] = frozenset()
    images: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str, platform: Platform) -> str:
        """The key of the context that a word means for this platform; '' when it means none."""
        if name.lower() in _RESERVED:
            return ""
        plain = normal(name)
        found = (key for key in (f"{plain}::{platform}", plain) if key in self.local or key in self.images)
        return next(found, "")

    def called(self, image: str) -> str:
        """The context that an image is, '' for one that is none."""
        return next((key for key, value in self.images.items() if value == image), "")


def normal(name: str) -> str:
    """A name as contexts are compared: references in their short form, without ``:latest``."""
    try:
        return Reference.parse(name.lower()).familiar.removesuffix(":latest")
    except Invalid:
        return name.lower()


def key_of(name: str) -> str:
    """``name`` or ``name::platform`` as a key. Raises RequestInvalid."""
    plain, separator, platform = name.partition("::")
    try:
        if separator:
            platform = str(Platform.parse(platform))
        Reference.parse(plain.lower())
    except Invalid as error:
        raise RequestInvalid(f"invalid context name {name}: {error}") from error
    return f"{normal(plain)}{separator}{platform}"


@dataclass(frozen=True, slots=True)
class Value:
    """What a context is: `place` is a directory, a URL, or the name of a base image."""

    kind: Literal["directory", "remote", "image"]
    place: str


def parse_value(text: str) -> Value:
    """A directory, a repository, the URL of a tar, ``docker-image://REF``, ``oci-layout://DIR[:TAG|@DIGEST]``. Raises
    ContextMissing, ContextUnsupported, LayoutInvalid, NoSuchName."""
    from boxwright.build.gitref import is_url

    scheme, separator, rest = text.partition("://")
    if separator and scheme == "docker-image":
        return Value("image", rest)
    if text.startswith(LAYOUT):
        return Value("image", _pinned(rest))
    if is_url(text):
        return Value("remote", text)
    if os.path.isdir(text):
        return Value("directory", text)
    if text.startswith("target:"):
        raise ContextUnsupported(
            f"build context {text!r}: a target of another build is known to `bake` alone",
            hint="build it first, and give docker-image://NAME",
        )
    if separator:
        raise ContextUnsupported(
            f"build context {public(text)!r}: {scheme} sources are not supported",
            hint="give a directory, docker-image://NAME, oci-layout://DIRECTORY, or the URL of a repository or tar",
        )
    raise NamedContextMissing(f"build context {text!r} is not a directory")


def _pinned(text: str) -> str:
    """The name of the image in a layout, with its digest: what a tag says is looked up once. Raises LayoutInvalid,
    NoSuchName."""
    from boxwright.content.layout import Layout

    path, tag, digest = layout_path(text)
    if not os.path.isdir(path):
        raise NamedContextMissing(f"build context {LAYOUT + text!r}: there is no directory {path or text}")
    found = Layout(Path(path)).resolve(digest or tag or _only(Path(path)))
    return f"{LAYOUT}{os.path.abspath(path)}@{found.digest}"


def layout_path(text: str) -> tuple[str, str, str]:
    """The directory, the tag and the digest of ``DIR[:TAG|@DIGEST]``, '' for what is not there."""
    path, at, digest = text.partition("@")
    if at or os.path.isdir(path):
        return path, "", digest
    head, colon, tag = path.rpartition(":")
    return (head, tag, "") if colon else (path, "", "")


def _only(path: Path) -> str:
    """``latest`` where the layout has it; else '' for its only image."""
    from boxwright.content.layout import Layout

    return "latest" if "latest" in Layout(path).tags() else ""
