"""The suite of trees that COPY reads from, on a context and on layers of every kind."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.context.local import LocalContext
from boxwright.build.ops.viewtree import ViewTree
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.view import LayersView
from suites.filetree_suite import FileTreeSuite, make_tree
from support.layer import layer_store, make_tar, member


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


class TestContext(FileTreeSuite):
    @pytest.fixture
    def tree(self, top: Path) -> Iterator[LocalContext]:
        with LocalContext(top) as context:
            yield context


class TestKnownContext(FileTreeSuite):
    """One whose digests and listings an earlier build wrote down."""

    @pytest.fixture
    def tree(self, top: Path, tmp_path: Path) -> Iterator[LocalContext]:
        with LocalContext(top, cache=tmp_path / "cache") as before:
            for node in before.walk(""):
                if node.type == "file":
                    before.digest(node)
            before.save()
        with LocalContext(top, cache=tmp_path / "cache") as context:
            yield context


def packed(layers: LayerStore, top: Path) -> Layer:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        tar.add(top, ".")
    return ingest_tar(layers, io.BytesIO(out.getvalue()))


class _LayersSuite(FileTreeSuite):
    """A subclass has a fixture `stack`: layers, the lowest first."""

    @pytest.fixture
    def layers(self, tmp_path: Path) -> LayerStore:
        return layer_store(tmp_path / "root")

    @pytest.fixture
    def tree(self, stack: list[Layer]) -> Iterator[Any]:
        with LayersView(stack) as view:
            yield ViewTree(view)


class TestTarLayer(_LayersSuite):
    @pytest.fixture
    def stack(self, layers: LayerStore, top: Path) -> list[Layer]:
        return [packed(layers, top)]


class TestTreeLayer(_LayersSuite):
    @pytest.fixture
    def stack(self, layers: LayerStore, top: Path) -> list[Layer]:
        return [adopt_tree(layers, top)]


class TestStack(_LayersSuite):
    """Below the tree lies what it covers and what is taken away above it."""

    @pytest.fixture
    def stack(self, layers: LayerStore, top: Path) -> list[Layer]:
        below = make_tar(
            member("a/file", data=b"older"),
            member("dangling", data=b"a file once"),
            member("nothing", data=b"taken away above"),
        )
        above = make_tar(member(".wh.nothing"))
        return [
            ingest_tar(layers, io.BytesIO(below)),
            packed(layers, top),
            ingest_tar(layers, io.BytesIO(above)),
        ]
