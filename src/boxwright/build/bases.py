"""Base images: from the store, or from a registry when they are not here, or when `--pull` asks for the newest.

Planning needs only a config. A base that is not here costs a manifest and a config; its layers are pulled when
a step really needs them, so that a build whose steps are all on record pulls nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from boxwright.build.dockerfile.text import suggestion
from boxwright.build.named import LAYOUT, NamedContexts
from boxwright.build.planning import Base
from boxwright.build.progress import Emit, showing
from boxwright.errors import BoxwrightError, Denied, NotFound, Unauthorized, Unavailable
from boxwright.image.catalog import familiar
from boxwright.spec.digest import DiffID
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference, ReferenceInvalid
from boxwright.spec.text import go_quote
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from boxwright.content.progress import Progress
    from boxwright.image.store import ImageStore, ResolvedImage
    from boxwright.registry.client.http import Http
    from boxwright.registry.client.remote import Remote
    from boxwright.spec.descriptor import Descriptor
    from boxwright.transfer.lent import LayerLender
else:
    Protocol = object  # what it is for is checked before it runs


class BaseNotFound(NotFound):
    """A FROM names an image that is neither here nor in its registry."""


class BaseUnreachable(Unavailable):
    """A FROM names an image that is not here, and its registry does not answer."""


class BaseDenied(Denied):
    """A FROM names an image that is not here, and its registry does not show it; it says the same of what it has
    not."""


_MISSING = (
    (NotFound, BaseNotFound),
    (Unavailable, BaseUnreachable),
    (Unauthorized, BaseDenied),
    (Denied, BaseDenied),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedImage:
    """An image (`target`) on its way to a `name`. `compress`: layers are plain, and leave the store compressed.
    `elsewhere` has layers that are not here."""

    target: Descriptor
    name: str
    compress: bool = True
    by_digest: bool = False
    insecure: bool = False
    elsewhere: LayerLender | None = None


class Registries(Protocol):
    """How bases that are not here are found and brought."""

    def peek(self, name: str, platform: Platform) -> Base:
        """The image as its registry has it now, without its layers."""

    def pull(self, name: str, platform: Platform, emit: Callable[[str, int, int], None]) -> None:
        """Bring the image into the store; `emit` hears (what, bytes so far, bytes in all)."""

    def push(self, image: PushedImage, progress: Progress) -> Descriptor:
        """Bring an image of the store's blobs to a registry; what it is called there."""

    def remote(self, name: str, *, push: bool = False, insecure: bool = False) -> Remote:
        """The repository of this name, with `push` to be written; `insecure`: also without TLS."""

    def http(self) -> Http:
        """Requests to what is no registry."""


@dataclass
class EngineBases:
    """Looks each name up once a build; `named` says which names are contexts'."""

    images: ImageStore
    registries: Registries
    emit: Emit
    pull: bool = False
    named: NamedContexts = NamedContexts()
    _known: dict[tuple[str, str], Base] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def image(self, name: str, platform: Platform) -> Base:
        """As `plan.Bases` says. Raises BaseNotFound and what a registry raises."""
        key = (name, str(platform))
        if key not in self._known:
            self._known[key] = self._look_up(name, platform)
        return self._known[key]

    def _look_up(self, name: str, platform: Platform) -> Base:
        whole = name.startswith(("sha256:", LAYOUT))
        try:
            full = name if whole else str(Reference.parse(name).with_default_tag())
        except ReferenceInvalid as error:
            raise ReferenceInvalid(f"failed to parse stage name {go_quote(name)}: {error}") from error
        step = f"metadata {full} {platform}"
        context = self.named.called(name)
        title = f"[{f'context {context}' if context else 'internal'}] load metadata for {full}"
        with showing(self.emit, step, title):
            try:
                base = None
                # What is named by its digest is the same everywhere, and may be here alone.
                if not name.startswith(LAYOUT) and (not self.pull or name.startswith("sha256:")):
                    base = self._local(name, full, platform)
                if base is None and name.startswith("sha256:"):
                    raise BaseNotFound(f"no image here is {name}", hint="a registry is asked for NAME@DIGEST")
                return base if base is not None else self.registries.peek(name, platform)
            except BoxwrightError as error:
                raise self._told(name=name, full=full, platform=platform, error=error) from error

    def _local(self, name: str, full: str, platform: Platform) -> Base | None:
        from boxwright.image.store import PlatformAbsent

        # A name is looked up, never the beginning of an ID.
        row = self.images.find(full)
        if row is None:
            return None
        try:
            return as_base(self.images.resolved(row, name, platform), full)
        except PlatformAbsent:
            return None

    def _told(self, name: str, full: str, platform: Platform, error: BoxwrightError) -> BoxwrightError:
        """The error of a look-up, with all places that were looked in, and what was perhaps meant."""
        kind = next((kind for meaning, kind in _MISSING if isinstance(error, meaning)), None)
        if kind is None or name.startswith(LAYOUT):
            return error  # which says all: a layout is a place of its own
        here = "no stage, named context or image here"
        where = f'{here} is called "{name}", and ' if not self.pull else ""
        hint = error.hint
        if not self.pull and (row := self.images.find(full)) is not None:
            where, hint = f"{name} is here for {row.platform} and not for {platform}, and ", ""
        elif meant := suggestion(name, self._local_names(), case_sensitive=True) if len(name) > 2 else "":
            hint = f"did you mean the image {meant}?"
        return kind(f"{where}{full} cannot be resolved: {error}", hint=hint)

    def _local_names(self) -> list[str]:
        names = [familiar(name) for row in self.images.rows() for name in row.names if "@" not in name]
        return [*names, *(name.removesuffix(":latest") for name in names)]

    def fetch(self, missing: Sequence[DiffID], emit: Callable[[str, int, int], None]) -> None:
        """Pull the bases that have these layers. Raises BaseNotFound when no base has one of them."""
        with self._lock:
            wanted = set(missing)
            for (name, _), base in list(self._known.items()):
                if wanted & set(base.config.diff_ids):
                    self.registries.pull(base.pinned or name, base.config.platform, emit)
                    wanted -= set(base.config.diff_ids)
            if wanted:
                raise BaseNotFound(
                    f"layer {min(wanted)} is not in the store and belongs to no base image of this build",
                    hint="build with --no-cache",
                )


def as_base(found: ResolvedImage, name: str) -> Base:
    """A stored image as planning sees it."""
    return Base(name, str(found.target.digest), found.config, image_id=str(found.image_id))
