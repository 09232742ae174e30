"""What every place that images move to and from must do, whether it is a directory, the store, an archive or a
registry (`content.store`)."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.content.copy import copy
from boxwright.content.layout import Layout
from boxwright.content.store import Referring, Sink, Source
from boxwright.content.tree import ContentNode, everything, load_tree
from boxwright.errors import Corrupt, NotFound
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass
from support.image import oci_files, rootfs, write_files


@dataclass(frozen=True)
class Place:
    """`sink` takes images, from so many threads; `source` then gives them: an archive is closed before it is read.
    Names are made of `named` and a tag."""

    sink: Sink
    source: Callable[[], Source]
    named: str = ""
    threads: int = 4

    def take(self, layout: Layout, name: str, tag: str, **options: Any) -> Descriptor:
        return copy(layout, name, self.sink, self.named + tag, jobs=self.threads, **options)


def given(directory: Path, *files: str) -> tuple[Layout, Descriptor]:
    """An image of two layers in a layout."""
    write_files(directory, oci_files([rootfs("same"), rootfs(*files)]))
    layout = Layout(directory)
    return layout, layout.resolve("")


def index_of(layout: Layout, *images: tuple[Layout, Descriptor, str]) -> Descriptor:
    """An index over images of platforms, in a layout that has them then."""
    entries = []
    for source, desc, platform in images:
        copy(source, str(desc.digest), layout, "")
        entries.append(Descriptor(desc.media_type, desc.digest, desc.size, platform=Platform.parse(platform)))
    index = Index.compose(entries)
    layout.push(index.descriptor, io.BytesIO(index.raw))
    layout.tag("all", index.descriptor)
    return index.descriptor


def content(source: Source, top: Descriptor) -> dict[Digest, bytes]:
    """All bytes of an image."""
    found: dict[Digest, bytes] = {}

    def add(node: ContentNode) -> None:
        found[node.desc.digest] = node.content.raw
        for desc in node.content.references() if isinstance(node.content, Manifest) else ():
            with source.open(desc) as body:
                found[desc.digest] = body.read()

    for node in load_tree(source, top, everything).walk():
        add(node)
    return found


class _Seen:
    """How each blob came over."""

    def __init__(self) -> None:
        self.how: dict[Digest, str] = {}

    def planned(self, blobs: object) -> None: ...
    def started(self, desc: Descriptor) -> None: ...
    def resumed(self, desc: Descriptor, offset: int) -> None: ...
    def advanced(self, desc: Descriptor, count: int) -> None: ...

    def done(self, desc: Descriptor, how: str) -> None:
        self.how[desc.digest] = how


class StoreSuite:
    """Subclasses have a fixture `place`, which is empty."""

    def test_an_image_comes_out_as_it_went_in(self, place: Place, tmp_path: Path) -> None:
        layout, desc = given(tmp_path / "given", "a")
        assert isinstance(place.sink, Sink)
        assert place.take(layout, "", "1") == desc
        source = place.source()
        assert isinstance(source, Source)
        assert source.resolve(f"{place.named}1").digest == desc.digest
        assert content(source, desc) == content(layout, desc)

    def test_an_index_comes_with_all_its_images(self, place: Place, tmp_path: Path) -> None:
        both = Layout(tmp_path / "both", create=True)
        desc = index_of(
            both,
            (*given(tmp_path / "one", "a"), "linux/amd64"),
            (*given(tmp_path / "two", "b"), "linux/arm64"),
        )
        place.take(both, "all", "all")
        source = place.source()
        assert source.resolve(f"{place.named}all").digest == desc.digest
        assert content(source, desc) == content(both, desc)

    def test_what_is_there_is_not_sent_again(self, place: Place, tmp_path: Path) -> None:
        first, second = given(tmp_path / "one", "a")[0], given(tmp_path / "two", "b")[0]
        seen = [_Seen(), _Seen(), _Seen()]
        for layout, tag, how in zip((first, first, second), "122", seen, strict=True):
            place.take(layout, "", tag, progress=how)
        ways = [sorted(one.how.values()) for one in seen]
        assert ways == [["copied"] * 3, ["exists"] * 3, ["copied", "copied", "exists"]]

    def test_what_was_not_pushed_is_not_there(self, place: Place) -> None:
        blob = Descriptor.of(b"never pushed", mt.OCI_LAYER)
        assert not place.sink.exists(blob)
        source = place.source()
        with pytest.raises(NotFound):
            source.resolve(f"{place.named}none")
        with pytest.raises(NotFound), source.open(blob) as body:
            body.read()

    @pytest.mark.parametrize(
        "damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[::-1]]
    )
    def test_wrong_bytes_are_never_an_image(
        self, place: Place, damage: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        layout, desc = given(tmp_path / "given", "a")
        layer = max(load_tree(layout, desc, everything).content.references(), key=lambda one: one.size)  # type: ignore[union-attr]
        path = layout.blob_path(layer.digest)
        good = path.read_bytes()
        path.write_bytes(damage(good))
        with pytest.raises(Corrupt):
            place.take(layout, "", "1")
        assert not place.sink.exists(layer) and not place.sink.exists(desc)

    def test_a_name_goes_to_the_later_image(self, place: Place, tmp_path: Path) -> None:
        for name in ("one", "two"):
            layout, desc = given(tmp_path / name, name)
            place.take(layout, "", "1")
        assert place.source().resolve(f"{place.named}1").digest == desc.digest


class ReferringStoreSuite(StoreSuite):
    """Of those that know what refers to an image."""

    def test_what_refers_to_an_image_comes_along(self, place: Place, tmp_path: Path) -> None:
        layout, desc = given(tmp_path / "given", "a")
        config = Descriptor.of(b"{}", mt.OCI_CONFIG)
        layout.push(config, io.BytesIO(b"{}"))
        signature = Manifest.compose(config, [], subject=desc)
        layout.push(signature.descriptor, io.BytesIO(signature.raw))
        place.take(layout, str(desc.digest), "1", referrers=True)
        source = place.source()
        assert isinstance(source, Referring)
        assert [one.digest for one in source.referrers(desc.digest)] == [signature.descriptor.digest]
        assert source.resolve(f"{place.named}1").digest == desc.digest
