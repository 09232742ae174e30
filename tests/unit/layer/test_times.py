"""Layers with other times: everything else of them stays, and a layer that is old enough is itself."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import LayerStore
from boxwright.layer.tarstream import open_tar
from boxwright.layer.times import with_times
from support.layer import layer_store, make_tar, member

EPOCH = 1_000_000


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[LayerStore]:
    layers = layer_store(tmp_path)
    yield layers
    layers.db.close()


def members(layers: LayerStore, diff_id: object) -> list[tuple[object, ...]]:
    layer = next(one for one in layers.all() if one.diff_id == diff_id)
    with open_tar(layer) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        out: list[tuple[object, ...]] = []
        for info in tar:
            file = tar.extractfile(info) if info.isreg() else None
            pax = {k: v for k, v in info.pax_headers.items() if k.startswith("SCHILY")}
            content = file.read() if file is not None else b""
            what = (info.name, info.type, info.mode, info.uid, info.gid, info.linkname, pax, content)
            out.append((*what, info.devmajor, info.devminor, info.mtime))
        return out


def test_everything_else_stays(layers: LayerStore) -> None:
    times = {"late": 3 * EPOCH, "early": 7, "late/": 2 * EPOCH}
    tar = make_tar(
        member("d", tarfile.DIRTYPE, mtime=times["late/"], mode=0o1777),
        member("d/" + "long" * 40, data=b"x" * 3000, mtime=times["late"], uid=5, gid=6),
        member("d/old", data=b"old", mtime=times["early"], pax_headers={"SCHILY.xattr.user.a": "b"}),
        member("d/hard", tarfile.LNKTYPE, linkname="d/old", mtime=times["early"]),
        member("d/link", tarfile.SYMTYPE, linkname="x" * 150, mtime=times["late"]),
        member("d/.wh.gone", mtime=times["late"]),
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mtime=times["late"]),
    )
    layer = ingest_tar(layers, io.BytesIO(tar))
    before = members(layers, layer.diff_id)
    clamped = with_times(layers, layer, EPOCH, exactly=False)
    after = members(layers, clamped.diff_id)
    assert [one[:-1] for one in after] == [one[:-1] for one in before]
    assert [one[-1] for one in after] == [EPOCH, EPOCH, 7, 7, EPOCH, EPOCH, EPOCH]
    assert with_times(layers, clamped, EPOCH, exactly=False) == clamped
    exact = with_times(layers, layer, EPOCH, exactly=True)
    assert {one[-1] for one in members(layers, exact.diff_id) if ".wh." not in str(one[0])} == {EPOCH}
    assert exact.diff_id == with_times(layers, clamped, EPOCH, exactly=True).diff_id
