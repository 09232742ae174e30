"""Which repositories have a blob: what a push mounts from, and a pull fetches from."""

from __future__ import annotations

from pathlib import Path

from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from support.layer import layer_store

BLOB = Descriptor(mt.OCI_LAYER_GZIP, Digest.of(b"compressed"), 10)
LAYER = DiffID.parse(str(Digest.of(b"plain")))


def test_the_newest_repository_comes_first_and_eight_are_kept(tmp_path: Path) -> None:
    layers = layer_store(tmp_path)
    layers.note_origin([BLOB.digest], "r.example/a")  # of a blob that is not known: nothing to remember
    assert layers.origins(BLOB.digest) == []
    layers.record_blob(LAYER, BLOB, origin="r.example/first")
    for name in [*"abcdefgh", "c"]:
        layers.note_origin([BLOB.digest], f"r.example/{name}")
    assert layers.origins(BLOB.digest) == [f"r.example/{name}" for name in "chgfedba"]
