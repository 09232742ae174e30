"""Archives made to hurt: every one ends in a clear error or harmlessly, in bounded memory and time."""

from __future__ import annotations

import gzip
import io
import os
import resource
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from boxwright.errors import BoxwrightError
from boxwright.layer import tree as tree_module
from boxwright.layer.apply import unpack
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.compress import open_decompressed
from boxwright.layer.scan import Scanner, TarInvalid
from boxwright.layer.tree import LayerTree
from boxwright.layer.view import LayersView
from support import REAL_ROOT
from support.layer import layer_store, make_tar, member, raw_header

END = bytes(1024)


class Endless(io.RawIOBase):
    """Pieces from an iterator, as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def absorb(pieces: Iterator[bytes]) -> None:
    scanner, tree = Scanner(), LayerTree()
    for piece in pieces:
        for header in scanner.feed(piece):
            tree.add(header)
    scanner.finish()


def pax(records: bytes) -> bytes:
    return raw_header(b"p", flag=b"x", size=len(records)) + records + bytes(-len(records) % 512)


def test_entries_without_number_end_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_MOST_ENTRIES", 5000)
    with pytest.raises(TarInvalid, match="more than"):
        absorb(raw_header(b"f%d" % n) for n in range(10_000))
    with pytest.raises(TarInvalid, match="more than"):
        absorb(raw_header(b"d/%d/" % n + b"x/" * 40 + b"f") for n in range(10_000))
    with pytest.raises(TarInvalid, match="too many"):
        absorb(
            raw_header(b"f") if not n else raw_header(b"h%d" % n, flag=b"1", link=b"f") for n in range(10_000)
        )


def test_text_without_end_ends_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_MOST_TEXT", 1 << 20)
    record = b"t" * 4000
    with pytest.raises(TarInvalid, match="too long"):
        absorb(
            raw_header(b"l", flag=b"K", size=4000) + record + bytes(96) + raw_header(b"s%d" % n, flag=b"2")
            for n in range(10_000)
        )
    attribute = b"60026 SCHILY.xattr.user.k=" + b"v" * 59_999 + b"\n"
    with pytest.raises(TarInvalid, match="too"):
        absorb(pax(attribute) + raw_header(b"s%d" % n, flag=b"5") for n in range(100))


def test_a_bomb_of_zeros_takes_no_memory(tmp_path: Path) -> None:
    """300 MB of one file in 300 KB of gzip; read whole, and refused by a limit."""
    size = 300 << 20
    compressed = io.BytesIO()
    with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=1) as out:
        out.write(raw_header(b"zeros", size=size))
        block = bytes(1 << 20)
        for _ in range(300):
            out.write(block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compressed.seek(0)
    scanner = Scanner()
    stream = open_decompressed(compressed)
    buffer = bytearray(1 << 20)
    while count := stream.readinto(buffer):  # type: ignore[attr-defined]
        scanner.feed(memoryview(buffer)[:count])
    scanner.finish()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 << 10
    compressed.seek(0)
    with pytest.raises(BoxwrightError, match="more than"):
        open_decompressed(compressed, limit=1 << 20).read()


def test_a_sparse_giant_is_a_hole_not_a_disk_full(tmp_path: Path) -> None:
    header = raw_header(
        b"giant",
        flag=b"S",
        size=512,
        magic=b"ustar  \0",
        rest={386: b"%011o\0%011o\0" % (0, 512), 483: b"\x80" + (1 << 40).to_bytes(11, "big")},
    )
    layer = ingest_tar(layer_store(tmp_path), io.BytesIO(header + b"x" * 512 + END))
    assert layer.bytes == 1 << 40
    assert sum(path.stat().st_blocks * 512 for path in layer.path.iterdir()) < 1 << 20


def test_giants_beyond_every_address_are_refused(tmp_path: Path) -> None:
    many = b"".join(
        raw_header(
            b"g%d" % n,
            flag=b"S",
            size=0,
            magic=b"ustar  \0",
            rest={483: b"\x80" + (1 << 40).to_bytes(11, "big")},
        )
        for n in range(3)
    )
    store = layer_store(tmp_path)
    with pytest.raises(TarInvalid, match="2 TiB"):
        ingest_tar(store, io.BytesIO(many + END))
    assert os.listdir(store.root) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda n: raw_header(b"l%d" % n, flag=b"2", link=b"l%d" % (n + 1)) + raw_header(b"l0/f%d" % n),
        lambda n: raw_header(b"s", flag=b"2", link=b"a/../" * 19) + raw_header(b"s/f%d" % n),
        lambda n: raw_header(b"x/" * 40 + b"d%d/" % n, flag=b"5"),
        lambda n: raw_header(b"d", flag=b"5" if n % 2 else b"0") + raw_header(b"d%d/f" % n),
        lambda n: raw_header(b"same"),
        lambda n: raw_header(b".wh.x%d" % n),
    ],
)
def test_time_grows_with_the_archive_only(make: Callable[[int], bytes]) -> None:
    start = time.process_time()
    try:
        absorb(make(n) for n in range(4000))
    except TarInvalid:
        pass
    assert time.process_time() - start < 3


def test_a_whole_attack_stays_inside(tmp_path: Path) -> None:
    """Whatever the archive tries, neither a view nor an unpacked tree touches what lies outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    attack = make_tar(
        member("abs", tarfile.SYMTYPE, linkname=str(outside)),
        member("abs/victim", data=b"theirs"),
        member("rel", tarfile.SYMTYPE, linkname="../../../outside"),
        member("rel/victim", data=b"theirs"),
        member(str(outside / "victim"), data=b"theirs"),
        member("d/", tarfile.DIRTYPE),
        member("d", tarfile.SYMTYPE, linkname=str(outside)),
        member("d/.wh.victim"),
        member("d/.wh..wh..opq"),
        member("hl", tarfile.LNKTYPE, linkname="abs"),
    )
    layer = ingest_tar(layer_store(tmp_path / "root"), io.BytesIO(attack))
    for overlay in (True, False):
        if overlay and not REAL_ROOT:
            continue
        target = tmp_path / f"target{overlay}"
        target.mkdir()
        unpack(layer, target, overlay=overlay, as_root=os.geteuid() == 0)
        assert (outside / "victim").read_text() == "mine" and os.listdir(outside) == ["victim"]
    with LayersView([layer]) as view:
        assert view.read("abs/victim") == b"theirs"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "./../evil"])
def test_names_that_leave_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TarInvalid, match="out of the layer"):
        ingest_tar(layer_store(tmp_path), io.BytesIO(raw_header(name.encode()) + END))


def test_cut_off_everywhere(tmp_path: Path) -> None:
    data = make_tar(
        member("a", data=b"1" * 700),
        member("n" * 150, data=b"2", pax_headers={"SCHILY.xattr.user.k": "v"}),
        member("d/", tarfile.DIRTYPE),
    )
    for end in range(0, len(data), 97):
        scanner = Scanner()
        try:
            scanner.feed(data[:end])
            scanner.finish()
        except TarInvalid:
            pass


def test_a_memory_limit_is_never_met(tmp_path: Path) -> None:
    """100,000 small entries in a process that may use 100 MB of addresses more than it has."""
    if sys.gettrace() is not None:
        pytest.skip("under a tracer")

    def pieces() -> Iterator[bytes]:
        for n in range(100):
            yield b"".join(raw_header_fast(b"d%d/file-%d" % (n, m)) for m in range(1000))

    template = raw_header(b"")

    def raw_header_fast(name: bytes) -> bytes:
        block = name.ljust(100, b"\0") + template[100:148] + b" " * 8 + template[156:]
        return block[:148] + b"%06o\0 " % sum(block) + block[156:]

    code = os.fork()
    if code == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + (100 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            layer = ingest_tar(layer_store(tmp_path), cast(BinaryIO, Endless(pieces())))
            os._exit(0 if layer.entries == 100_100 else 3)
        except BaseException:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 0
