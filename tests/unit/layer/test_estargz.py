"""eStargz blobs of any layer: what they inflate to, and what cannot be one. How they are read by their table is in
tests/unit/build/test_output_forms.py."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import Invalid, Unsupported
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.estargz import TOC_NAME, footer, make_estargz
from boxwright.layer.store import LayerStore
from support.layer import layer_store, make_tar, member

FOOTER_SIZE = 51  # bytes, says the specification


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[LayerStore]:
    layers = layer_store(tmp_path)
    yield layers
    layers.db.close()


def table(blob: bytes) -> list[dict[str, Any]]:
    at = int(blob[-FOOTER_SIZE:][16:32], 16)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[at:-FOOTER_SIZE]))) as tar:
        file = tar.extractfile(TOC_NAME)
        assert file is not None
        entries: list[dict[str, Any]] = json.load(file)["entries"]
    return entries


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_tar_is_in_it_byte_for_byte(layers: LayerStore, format: int) -> None:
    tar = make_tar(
        member("d/", tarfile.DIRTYPE),
        member("d/" + "long" * 20, data=os.urandom(5000)),
        member("d/empty"),
        member("d/.wh.gone"),
        format=format,
    )
    desc, diff_id = make_estargz(ingest_tar(layers, io.BytesIO(tar)), layers.store)
    blob = layers.store.read(desc.digest)
    plain = gzip.decompress(blob)
    assert plain.startswith(tar) and str(diff_id) == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert blob.endswith(footer(int(blob[-35:-19], 16))) and len(footer(1)) == FOOTER_SIZE
    assert [e["name"].rstrip("/") for e in table(blob)] == ["d", "d/" + "long" * 20, "d/empty", "d/.wh.gone"]
    again, _ = make_estargz(ingest_tar(layers, io.BytesIO(tar)), layers.store)
    assert again == desc


@pytest.mark.parametrize(
    ("name", "mtime", "said"),
    [("x", 1 << 60, None), ("x", -(1 << 40), None), ("x", -1, "1969-12-31T23:59:59Z"), ("x", 0, None)],
)
def test_times_of_any_archive(layers: LayerStore, name: str, mtime: int, said: str | None) -> None:
    tar = make_tar(member(name, data=b"x", mtime=mtime), format=tarfile.GNU_FORMAT)
    desc, _ = make_estargz(ingest_tar(layers, io.BytesIO(tar)), layers.store)
    assert table(layers.store.read(desc.digest))[0].get("modtime") == said


@pytest.mark.parametrize(
    ("name", "message"), [("\udcff", "is not UTF-8"), (TOC_NAME, "own table"), ("./" + TOC_NAME, "own table")]
)
def test_what_a_table_cannot_say(layers: LayerStore, name: str, message: str) -> None:
    tar = make_tar(member(name, data=b"x"), format=tarfile.GNU_FORMAT)
    with pytest.raises(Unsupported, match=message):
        make_estargz(ingest_tar(layers, io.BytesIO(tar)), layers.store)
    assert os.listdir(layers.store.places.ingest("x").parent) == []


def test_sparse_files_are_refused(layers: LayerStore) -> None:
    said = {"major": "1", "minor": "0", "name": "x", "realsize": "1024"}
    headers = {f"GNU.sparse.{key}": value for key, value in said.items()}
    tar = make_tar(member("y", data=b"1\n512\n512\n".ljust(512, b"\0") + b"d" * 512, pax_headers=headers))
    with pytest.raises(Invalid, match="sparse"):
        make_estargz(ingest_tar(layers, io.BytesIO(tar)), layers.store)
