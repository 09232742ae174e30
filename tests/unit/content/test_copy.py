"""`copy` between two in-memory places."""

from __future__ import annotations

import io
from typing import BinaryIO

import pytest

from boxwright.content.copy import copy
from boxwright.content.tree import PlatformMissing, for_platform
from boxwright.content.verify import ContentMismatch
from boxwright.errors import NotFound
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest, ManifestInvalid
from boxwright.spec.platform import Platform


class Memory:
    """A Source and Sink that remembers the order of what it was given."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.names: dict[str, Descriptor] = {}
        self.pushed: list[Digest] = []

    def add(self, data: bytes, media_type: str, **more: object) -> Descriptor:
        desc = Descriptor.of(data, media_type, **more)
        self.blobs[desc.digest] = data
        return desc

    def image(self, word: bytes, platform: Platform | None = None) -> Descriptor:
        config = self.add(b'{"config":"%s"}' % word, mt.OCI_CONFIG)
        manifest = Manifest.compose(config, [self.add(word * n, mt.OCI_LAYER) for n in (1, 2)])
        return self.add(manifest.raw, manifest.media_type, platform=platform)

    def resolve(self, name: str) -> Descriptor:
        if name not in self.names:
            raise NotFound(name)
        return self.names[name]

    def open(self, desc: Descriptor) -> BinaryIO:
        return io.BytesIO(self.blobs[desc.digest])

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.blobs

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        self.blobs[desc.digest] = body.read()
        self.pushed.append(desc.digest)

    def tag(self, name: str, desc: Descriptor) -> None:
        assert desc.digest in self.blobs
        self.names[name] = desc


AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def source() -> Memory:
    memory = Memory()
    memory.names["one"] = memory.image(b"one")
    index = Index.compose([memory.image(b"amd", AMD), memory.image(b"arm", ARM)])
    memory.names["many"] = memory.add(index.raw, index.media_type)
    return memory


def test_children_come_before_parents_and_nothing_twice(source: Memory) -> None:
    sink = Memory()
    desc = copy(source, "many", sink, "there", jobs=1)
    assert sink.names == {"there": desc}
    assert sink.pushed[-1] == desc.digest
    assert len(sink.pushed) == len(set(sink.pushed)) == 1 + 2 * 4
    again = list(sink.pushed)
    copy(source, "many", sink, "other")
    assert sink.pushed == again


def test_one_platform_leaves_the_index_sparse(source: Memory) -> None:
    sink = Memory()
    desc = copy(source, "many", sink, "there", select=for_platform(ARM, source))
    assert desc == source.names["many"]
    assert len(sink.blobs) == 5


def test_a_missing_platform_names_those_there_are(source: Memory) -> None:
    with pytest.raises(PlatformMissing) as caught:
        copy(source, "many", Memory(), "there", select=for_platform(Platform("linux", "s390x"), source))
    assert "linux/amd64" in caught.value.hint


def told(memory: Memory, word: bytes, architecture: str, platform: Platform | None = None) -> Descriptor:
    """An image whose config says its platform."""
    config = memory.add(
        b'{"os":"linux","architecture":"%s","author":"%s"}' % (architecture.encode(), word), mt.OCI_CONFIG
    )
    manifest = Manifest.compose(config, [memory.add(word, mt.OCI_LAYER)])
    return memory.add(manifest.raw, manifest.media_type, platform=platform)


@pytest.mark.parametrize("said", [None, Platform("linux", ""), Platform("", "")])
def test_the_config_decides_for_an_entry_that_does_not_say_its_platform(said: Platform | None) -> None:
    memory = Memory()
    arm, silent = told(memory, b"arm", "arm64", ARM), told(memory, b"amd", "amd64", said)
    index = Index.compose([arm, silent])
    assert [e.digest for e in for_platform(AMD, memory)(index)] == [silent.digest]
    del memory.blobs[silent.digest]  # what fits is not read for nothing
    assert [e.digest for e in for_platform(ARM, memory)(index)] == [arm.digest]


def test_what_says_nothing_and_is_something_else_is_not_chosen() -> None:
    memory = Memory()
    other = Manifest.compose(memory.add(b"{}", mt.OCI_EMPTY), [])
    index = Index.compose(
        [
            told(memory, b"arm", "arm64", ARM),
            memory.add(other.raw, other.media_type),
            told(memory, b"x", "arm"),
        ]
    )
    with pytest.raises(PlatformMissing) as caught:
        for_platform(AMD, memory)(index)
    assert "linux/arm/v7" in caught.value.hint


def test_an_index_in_an_index_is_looked_into_when_nothing_else_fits() -> None:
    memory = Memory()
    inner = Index.compose([told(memory, b"amd", "amd64", AMD)])
    nested = memory.add(inner.raw, inner.media_type)
    index = Index.compose([told(memory, b"arm", "arm64", ARM), nested])
    assert [e.digest for e in for_platform(AMD, memory)(index)] == [nested.digest]


def test_wrong_manifest_bytes_are_refused(source: Memory) -> None:
    desc = source.names["one"]
    source.blobs[desc.digest] = source.blobs[desc.digest].replace(b"sha256", b"sha512", 1)
    sink = Memory()
    with pytest.raises(ContentMismatch):
        copy(source, "one", sink, "there")
    assert not sink.blobs


def test_endless_nesting_is_refused() -> None:
    memory = Memory()
    desc = memory.image(b"x")
    for _ in range(20):
        index = Index.compose([desc])
        desc = memory.add(index.raw, index.media_type)
    memory.names["deep"] = desc
    with pytest.raises(ManifestInvalid, match="nested"):
        copy(memory, "deep", Memory(), "there")


def test_a_failure_tags_nothing(source: Memory) -> None:
    class Broken(Memory):
        def push(self, desc: Descriptor, body: BinaryIO) -> None:
            if desc.media_type == mt.OCI_LAYER and desc.size == 6:
                raise ContentMismatch("broken")
            super().push(desc, body)

    sink = Broken()
    with pytest.raises(ContentMismatch):
        copy(source, "one", sink, "there", jobs=4)
    assert not sink.names
    assert source.names["one"].digest not in sink.blobs


def test_manifests_are_read_and_stored_in_parallel_and_the_index_last() -> None:
    """Each waits for the others: one after the other, none would ever go on."""
    import threading

    count = 4
    gates = {"read": threading.Barrier(count, timeout=20), "stored": threading.Barrier(count, timeout=20)}

    class Waiting(Memory):
        def open(self, desc: Descriptor) -> BinaryIO:
            if desc.media_type in mt.MANIFESTS:
                gates["read"].wait()
            return super().open(desc)

        def push(self, desc: Descriptor, body: BinaryIO) -> None:
            if desc.media_type in mt.MANIFESTS:
                gates["stored"].wait()
            super().push(desc, body)

    source, sink = Waiting(), Waiting()
    entries = [source.image(b"%d" % n, Platform("linux", f"cpu{n}")) for n in range(count)]
    source.names["all"] = source.add(Index.compose(entries).raw, mt.OCI_INDEX)
    root = copy(source, "all", sink, "all")
    assert sink.names == {"all": root} and sink.blobs == source.blobs
    assert sink.pushed[-1] == root.digest and set(sink.pushed[-1 - count : -1]) == {e.digest for e in entries}


def test_two_sizes_for_one_manifest_are_refused(source: Memory) -> None:
    """Read once for one entry, it is checked against the other as well."""
    good = source.image(b"x", AMD)
    source.names["lie"] = source.add(
        Index.compose([good, Descriptor(good.media_type, good.digest, good.size + 1, platform=ARM)]).raw,
        mt.OCI_INDEX,
    )
    with pytest.raises(ContentMismatch):
        copy(source, "lie", Memory(), "x")
