"""copy: threads, progress, how it ends, and what an endless image is told."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

import pytest

from boxwright.content.copy import copy, move
from boxwright.content.local import IngestBusy
from boxwright.content.parallel import in_parallel
from boxwright.content.tree import for_platforms, load_tree
from boxwright.errors import Cancelled, Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest, ManifestInvalid
from boxwright.spec.platform import Platform


class Shelf:
    """A source and sink that notes what happens."""

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.names: dict[str, Descriptor] = {}
        self.events: list[str] = []

    def put(self, data: bytes, kind: str) -> Descriptor:
        desc = Descriptor.of(data, kind)
        self.content[desc.digest] = data
        return desc

    def image(self, text: bytes, platform: str = "") -> Descriptor:
        manifest = Manifest.compose(
            self.put(b"config" + text, mt.OCI_CONFIG),
            [self.put(text, mt.OCI_LAYER), self.put(text * 9, mt.OCI_LAYER)],
        )
        self.put(manifest.raw, manifest.media_type)
        return Descriptor.of(
            manifest.raw, manifest.media_type, platform=Platform.parse(platform) if platform else None
        )

    def resolve(self, name: str) -> Descriptor:
        return self.names[name]

    def open(self, desc: Descriptor) -> BinaryIO:
        return io.BytesIO(self.content[desc.digest])

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.content

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        self.content[desc.digest] = body.read()
        self.events.append(desc.media_type.rpartition(".")[2] if "index" not in desc.media_type else "index")

    def tag(self, name: str, desc: Descriptor) -> None:
        self.names[name] = desc
        self.events.append(f"name {name}")


def test_children_before_parents_and_the_name_last() -> None:
    one, two = Shelf(), Shelf()
    index = Index.compose([one.image(b"a", "linux/amd64"), one.image(b"b", "linux/arm64")])
    one.names["x"] = one.put(index.raw, index.media_type)
    copy(one, "x", two, "y", jobs=1)
    assert two.content == one.content
    assert two.events[-1] == "name y" and two.events[-2] == "index"
    assert two.events[:2] == ["v1+json", "v1+json"]  # configs first
    before = len(two.events)
    copy(one, "x", two, "y")
    assert two.events[before:] == ["name y"]


def test_several_platforms() -> None:
    one = Shelf()
    index = Index.compose(
        [one.image(b"a", "linux/amd64"), one.image(b"b", "linux/arm64"), one.image(b"c", "linux/s390x")]
    )
    one.names["x"] = one.put(index.raw, index.media_type)
    both = for_platforms([Platform.parse(p) for p in ("linux/amd64", "linux/arm64")], one)
    assert len(load_tree(one, one.names["x"], both).children) == 2


def test_two_sizes_for_one_digest() -> None:
    one = Shelf()
    layer = one.put(b"x" * 100, mt.OCI_LAYER)
    raw = Manifest.compose(
        one.put(b"{}", mt.OCI_CONFIG), [layer, Descriptor(mt.OCI_LAYER, layer.digest, 5)]
    ).raw
    one.names["x"] = one.put(raw, mt.OCI_MANIFEST)
    with pytest.raises(Exception, match="two sizes"):
        copy(one, "x", Shelf(), "y")


def test_a_wide_index_ends() -> None:
    one = Shelf()
    desc = one.image(b"a")
    for _ in range(5):
        index = Index.compose(
            [Descriptor(desc.media_type, desc.digest, desc.size, {"n": str(n)}) for n in range(9)]
        )
        desc = one.put(index.raw, index.media_type)
    one.names["x"] = desc
    with pytest.raises(ManifestInvalid, match="more than 4096 manifests"):
        copy(one, "x", Shelf(), "y")


def test_a_heavy_index_ends() -> None:
    one = Shelf()
    entries = []
    for n in range(9):
        raw = Manifest.compose(
            one.put(b"{}", mt.OCI_CONFIG), [], annotations={"a": str(n) + "x" * 7_900_000}
        ).raw
        entries.append(one.put(raw, mt.OCI_MANIFEST))
    index = Index.compose(entries)
    one.names["x"] = one.put(index.raw, index.media_type)
    with pytest.raises(ManifestInvalid, match="more than"):
        copy(one, "x", Shelf(), "y")


def test_the_first_failure_is_told_and_stops_the_others() -> None:
    stop = threading.Event()
    done: list[int] = []

    def work(n: int) -> None:
        if n == 1:
            raise Invalid("one is bad")
        for _ in range(100):
            if stop.is_set():
                raise Cancelled("stopped")
            time.sleep(0.01)
        done.append(n)

    began = time.monotonic()
    with pytest.raises(Invalid, match="one is bad"):
        in_parallel(3, range(20), work, stop=stop)
    assert time.monotonic() - began < 1.0 and not done


@pytest.mark.parametrize("jobs", [1, 4])
def test_everything_is_done(jobs: int) -> None:
    done: list[int] = []
    in_parallel(jobs, range(50), done.append, stop=threading.Event())
    assert sorted(done) == list(range(50))


def test_a_blob_that_another_process_fetches_is_waited_for() -> None:
    one = Shelf()
    desc = one.put(b"x", mt.OCI_LAYER)

    class Busy(Shelf):
        tries = 0

        def push(self, desc: Descriptor, body: BinaryIO) -> None:
            self.tries += 1
            if self.tries == 2:
                self.content[desc.digest] = b"x"
            raise IngestBusy("another process is writing it")

    assert move(one, Busy(), desc) == "exists"


def test_progress_hears_of_everything() -> None:
    heard: list[str] = []

    class Ear:
        def planned(self, blobs: Sequence[Descriptor]) -> None:
            heard.append(f"planned {len(blobs)}")

        def started(self, desc: Descriptor) -> None: ...

        def resumed(self, desc: Descriptor, offset: int) -> None: ...

        def advanced(self, desc: Descriptor, count: int) -> None:
            heard.append(f"advanced {count}")

        def done(self, desc: Descriptor, how: str) -> None:
            heard.append(how)

    one, two = Shelf(), Shelf()
    one.names["x"] = one.image(b"abc")
    two.content[Digest.of(b"abc")] = b"abc"
    copy(one, "x", two, "y", jobs=1, progress=Ear())
    assert heard == ["planned 3", "advanced 9", "copied", "advanced 27", "copied", "exists"]
