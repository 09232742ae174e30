"""Views of a build's trees: what is asked for again, and what is not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from boxwright.build.views import Views
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import Layer, LayerMissing, LayerStore
from boxwright.spec.digest import Digest
from support.layer import layer_store, make_tar, member


def test_layers_that_the_build_holds_are_found_once(tmp_path: Path) -> None:
    """The others are asked for each time, so that one that the collector took is noticed and brought again."""
    asked: list[int] = []

    class Counted(LayerStore):
        def stack(self, diff_ids: Sequence[Digest]) -> list[Layer]:
            asked.append(len(diff_ids))
            return super().stack(diff_ids)

    plain = layer_store(tmp_path / "root")
    store = Counted(plain.store, plain.db)
    base, made, top = (ingest_tar(store, io.BytesIO(make_tar(member(name)))).diff_id for name in "abc")
    views = Views()
    views.held([made])
    for ids, names in (([base, made], ["a", "b"]), ([base, made, top], ["a", "b", "c"]), ([made], ["b"])):
        with views.of(ids, store) as view:
            assert view.listdir("") == names
    assert asked == [2, 2]
    store.remove(base)
    store.remove(made)
    with pytest.raises(LayerMissing):
        views.of([base, made], store)
    with views.of([made], store) as held:
        assert held.lstat("b") is not None
    views.close()
