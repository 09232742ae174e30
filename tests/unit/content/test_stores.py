"""The four places that images move between, on the suite that each of them must pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxwright.content.layout import Layout
from boxwright.content.lease import Lease
from boxwright.content.store import Source
from boxwright.image.archive import ArchiveSource
from boxwright.image.members import TarMembers
from boxwright.image.save import ArchiveSink, OciArchiveSink
from boxwright.image.target import LocalTarget
from boxwright.spec.reference import Reference
from suites.store_suite import Place, ReferringStoreSuite, StoreSuite
from support.image import engine
from support.registry import client, running


class TestLayout(ReferringStoreSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        layout = Layout(tmp_path / "place", create=True)
        yield Place(layout, lambda: Layout(tmp_path / "place"))


class TestLocalStore(ReferringStoreSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        services = engine(tmp_path / "root").services
        with Lease(services.db, "test") as lease:
            target = LocalTarget(services.images_store, lease, attaching=True)
            yield Place(target, lambda: target, "reg.io/team/app:")


class TestRegistry(ReferringStoreSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with running() as registry:
            name = f"{registry.host}/team/app"
            remote = client(tmp_path).remote(Reference.parse(name), push=True)
            yield Place(remote, lambda: remote, f"{name}:")


class TestArchive(StoreSuite):
    kind = ArchiveSink

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with ExitStack() as stack, (tmp_path / "place.tar").open("wb") as file:
            sink = self.kind(file)

            def source() -> Source:
                sink.close()
                file.flush()
                members = TarMembers(tmp_path / "place.tar")
                stack.callback(members.close)
                return ArchiveSource(members)

            yield Place(sink, source, "reg.io/team/app:", threads=1)


class TestOciArchive(TestArchive, ReferringStoreSuite):
    kind = OciArchiveSink
