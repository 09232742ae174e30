"""import: from a tar to an image."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from boxwright.engine import Engine
from boxwright.errors import BoxwrightError, Corrupt, Invalid
from boxwright.image.changes import ChangeInvalid
from boxwright.layer.scan import TarInvalid
from boxwright.registry.client.fetch import DownloadFailed, DownloadMissing, ImportFileMissing
from boxwright.registry.client.peers import PeerAbsent, PeerUnreachable
from support.image import engine, imported, rootfs, sound
from support.web import Asked, Reply, answering


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    return engine(tmp_path / "root", SOURCE_DATE_EPOCH="1700000000")


def test_config_and_history(eng: Engine) -> None:
    imported(eng, "app:1", changes=['CMD ["x"]', "ENV A=b"], message="made by hand", platform="linux/arm64")
    shown = eng.images.inspect("app:1", platform="linux/arm64")
    assert shown["Config"]["Cmd"] == ["x"] and shown["Config"]["Env"] == ["A=b"]
    assert (shown["Architecture"], shown["Os"], shown["Comment"], shown["Created"]) == (
        "arm64",
        "linux",
        "made by hand",
        "2023-11-14T22:13:20Z",
    )
    assert (
        len(shown["RootFS"]["Layers"]) == 1
        and shown["RepoTags"] == ["app:1"]
        and shown["Size"] == len(b"content\n")
    )
    (line,) = eng.images.history("app:1")
    assert (line.comment, line.size, line.tags) == ("made by hand", 8, ("app:1",))
    assert sound(eng.services.images_store, "app:1")


def test_the_same_tar_gives_the_same_image(eng: Engine, tmp_path: Path) -> None:
    assert imported(eng, "a") == imported(engine(tmp_path / "other", SOURCE_DATE_EPOCH="1700000000"), "b")


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_any_compression_gives_the_same_layer(eng: Engine, pack: Callable[[bytes], bytes]) -> None:
    path = eng.root.parent / "in"
    path.write_bytes(pack(rootfs("a")))
    eng.images.import_(str(path), "packed")
    imported(eng, "plain", "a")
    assert len(eng.services.layers.all()) == 1
    assert eng.images.history("packed")[0].comment == f"Imported from {path}"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"not a tar" * 100, TarInvalid),
        (b"\x1f\x8b\x08garbage" * 90, Corrupt),
        (gzip.compress(rootfs("a"))[:-20], Corrupt),
        (rootfs("a")[:700], Invalid),
    ],
)
def test_bad_tars_leave_nothing(eng: Engine, data: bytes, error: type[BoxwrightError]) -> None:
    with pytest.raises(error):
        eng.images.import_(io.BytesIO(data), "app")
    assert eng.images.list() == [] and eng.services.layers.all() == []
    eng.system.collect()
    assert list(eng.services.layers.root.iterdir()) == []


def test_bad_arguments_are_refused_before_the_first_byte(eng: Engine) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("was read")

    for name, changes, error in (
        ("UPPER", [], Invalid),
        ("ok", ["RUN x"], ChangeInvalid),
        ("a@sha256:" + "0" * 63, [], Invalid),
    ):
        with pytest.raises(error):
            eng.images.import_(Unread(), name, changes=changes)


def test_missing_and_odd_sources(eng: Engine, tmp_path: Path) -> None:
    with pytest.raises(ImportFileMissing):
        eng.images.import_(str(tmp_path / "nosuch"))
    with pytest.raises(Invalid, match="is a directory"):
        eng.images.import_(str(tmp_path))
    with pytest.raises(Invalid):
        eng.images.import_("a\0b")
    with pytest.raises(Invalid):
        eng.images.import_("http://[bad")


def answer(asked: Asked) -> Reply:
    data = rootfs("a")
    torn = Reply(data[:2000], length=len(data))
    known = {"/missing": Reply(status=404), "/broken": Reply(status=500), "/torn": torn}
    return known.get(asked.path, Reply(data))


@pytest.fixture
def server() -> Iterator[str]:
    with answering(answer) as site:
        yield site.url


def test_urls(eng: Engine, server: str) -> None:
    row = eng.images.import_(f"{server}/rootfs.tar", "web")
    assert eng.images.history("web")[0].comment == f"Imported from {server}/rootfs.tar"
    imported(eng, "plain", "a")
    assert row.bytes == 16 and len(eng.services.layers.all()) == 1
    for path, error in (("missing", DownloadMissing), ("broken", DownloadFailed), ("torn", PeerUnreachable)):
        with pytest.raises(error):
            eng.images.import_(f"{server}/{path}", "bad")
    with pytest.raises(PeerAbsent, match=r"cannot reach 127\.0\.0\.1:1: connection refused"):
        eng.images.import_("http://127.0.0.1:1/x", "bad")
