"""A root with busybox for the containers of one file of tests, and none of them left after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.containers import Root, busybox_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("root")) as root:
        yield root


@pytest.fixture
def cleared(root: Root) -> Iterator[None]:
    """Its containers and volumes go with the test."""
    yield
    for container in root.engine.containers.list(all=True):
        root.engine.containers.remove(container, force=True, volumes=True)
    for volume in root.engine.containers.volumes.list():
        root.engine.containers.volumes.remove(volume.name)
