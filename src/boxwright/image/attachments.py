"""What a build of the history left in the store: its images, and the statements beside them."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.errors import BoxwrightError
from boxwright.image.builds import BuildRecord
from boxwright.image.store import ImageStore
from boxwright.spec import intoto
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index, Manifest, parse
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, slots=True)
class BuildAttachment:
    """A blob of a build: its `type` is the media type, of a statement that of what it says."""

    descriptor: Descriptor
    type: str
    platform: str = ""


def attachments(images: ImageStore, record: BuildRecord) -> list[BuildAttachment]:
    """Those that are still here, each once. What was removed, or is in a registry only, is not among them."""
    found: dict[str, BuildAttachment] = {}
    for output in record.details.get("outputs", ()):
        for desc in _places(images, output):
            try:
                for one in _of(images, desc, _shown(desc.platform)):
                    found.setdefault(str(one.descriptor.digest), one)
                break
            except BoxwrightError:
                continue  # removed since
    return list(found.values())


def _places(images: ImageStore, output: Any) -> Iterator[Descriptor]:
    """What the output says, which a push may have in another form than the store; then what is here of its image."""
    try:
        yield Descriptor.from_json(output["descriptor"])
        rows = images.same_image(str(output["image"]))
    except (BoxwrightError, KeyError, TypeError):
        return
    for row in sorted(rows, key=lambda row: (bool(row.names), row.added), reverse=True):
        yield images.descriptor(row)


def _of(images: ImageStore, desc: Descriptor, platform: str = "") -> Iterator[BuildAttachment]:
    content = parse(images.store.read(desc.digest), desc.media_type)
    yield BuildAttachment(desc, desc.media_type, platform)
    if isinstance(content, Index):
        platforms = {entry.digest: _shown(entry.platform) for entry in content.manifests}
        for entry in content.manifests:
            about = intoto.about(entry)
            yield from _of(images, entry, platforms.get(about, "") if about else platforms[entry.digest])
    elif isinstance(content, Manifest):
        for layer in content.layers:
            if layer.media_type == intoto.STATEMENT and images.store.size(layer.digest) is not None:
                yield BuildAttachment(
                    layer, layer.annotations.get(intoto.PREDICATE_TYPE, layer.media_type), platform
                )


def _shown(platform: Platform | None) -> str:
    return str(platform) if platform is not None else ""
