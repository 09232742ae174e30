"""An OCI layout directory as both ends of a copy."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from boxwright.content.copy import copy
from boxwright.content.layout import Layout, LayoutInvalid, NoSuchName
from boxwright.content.local import BlobMissing
from boxwright.content.verify import ContentMismatch
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Manifest


def image(layout: Layout, text: bytes, *, subject: Descriptor | None = None) -> Descriptor:
    config, layer = Descriptor.of(b"{}", mt.OCI_CONFIG), Descriptor.of(text, mt.OCI_LAYER)
    layout.push(config, io.BytesIO(b"{}"))
    layout.push(layer, io.BytesIO(text))
    manifest = Manifest.compose(config, [layer], subject=subject)
    layout.push(manifest.descriptor, io.BytesIO(manifest.raw))
    return manifest.descriptor


def test_round_trip(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "one", create=True), Layout(tmp_path / "two", create=True)
    desc = image(one, b"layer")
    one.tag("v1", desc)
    referrer = image(one, b"signature", subject=desc)
    assert copy(one, "v1", two, "latest", referrers=True) == desc
    assert two.resolve("latest") == two.resolve(str(desc.digest)) == desc
    assert [d.digest for d in two.referrers(desc.digest)] == [referrer.digest]
    assert sorted(p.name for p in (two.path / "blobs/sha256").iterdir()) == sorted(
        p.name for p in (one.path / "blobs/sha256").iterdir()
    )
    assert json.loads((two.path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_names_move(tmp_path: Path) -> None:
    layout = Layout(tmp_path, create=True)
    first, second = image(layout, b"1"), image(layout, b"2")
    layout.tag("x", first)
    assert layout.resolve("") == first
    layout.tag("x", second)
    assert layout.resolve("x") == second
    layout.tag("y", first)
    with pytest.raises(NoSuchName, match="several"):
        layout.resolve("")
    with pytest.raises(NoSuchName) as caught:
        layout.resolve("z")
    assert "x, y" in caught.value.hint


def test_wrong_bytes_leave_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path, create=True)
    desc = Descriptor.of(b"right", mt.OCI_LAYER)
    for body in (b"wrong", b"right and more", b""):
        with pytest.raises(ContentMismatch):
            layout.push(desc, io.BytesIO(body))
    assert list((tmp_path / "blobs/sha256").iterdir()) == []
    with pytest.raises(BlobMissing):
        layout.open(desc)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifests": [5]}', "{}"])
def test_broken_index(tmp_path: Path, text: str) -> None:
    Layout(tmp_path, create=True)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(LayoutInvalid):
        Layout(tmp_path).resolve("x")


def test_no_layout(tmp_path: Path) -> None:
    with pytest.raises(LayoutInvalid, match=r"no index\.json"):
        Layout(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LayoutInvalid):
        Layout(tmp_path / "file/x", create=True)
