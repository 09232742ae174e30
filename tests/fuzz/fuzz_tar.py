"""Fuzz what reads untrusted archives: decompression, the scanner, the tree, the index, and reading it back.

    python tests/fuzz/fuzz_tar.py [SECONDS] [SEED]       a mutation loop, 10 seconds by default
    python tests/fuzz/fuzz_tar.py --atheris [libFuzzer options]   coverage-guided, when atheris is installed
    python tests/fuzz/fuzz_tar.py --mount [SECONDS]      as root: the kernel mounts and walks every index too

Anything but BoxwrightError is a finding: the input is kept as crash-<digest>.tar and the traceback is shown.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from boxwright.errors import BoxwrightError
from boxwright.layer import erofs
from boxwright.layer.scan import Scanner
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.tree import LayerTree
from boxwright.layer.view import LayersView
from boxwright.spec.digest import DiffID
from support.layer import census, layer_store, make_tar, member, mounted, raw_header


def seeds() -> list[bytes]:
    """Archives of every dialect."""
    common = [
        member("a/", tarfile.DIRTYPE),
        member("a/b", data=b"x" * 600),
        member("l", tarfile.SYMTYPE, linkname="a"),
        member("l/in"),
        member("h", tarfile.LNKTYPE, linkname="a/b"),
        member("n" * 150, data=b"y"),
        member("c", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("a/.wh.x"),
        member("a/.wh..wh..opq"),
        member("p", tarfile.FIFOTYPE),
        *(member(f"many/{n}" + "z" * n) for n in range(40)),
    ]
    pax = [
        member(
            "q",
            data=b"y",
            pax_headers={
                "SCHILY.xattr.user.k": "v",
                "mtime": "1.5",
                "uid": "3000000",
                "LIBARCHIVE.xattr.user.z": "aGk",
            },
        ),
        member("s", data=b"z" * 10, pax_headers={"GNU.sparse.map": "0,10", "GNU.sparse.size": "4096"}),
    ]
    table = b"1\n0\n10\n".ljust(512, b"\0")
    one = make_tar(
        member(
            "t",
            data=table + b"z" * 10,
            pax_headers={
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.realsize": "9000",
                "GNU.sparse.name": "t",
            },
        )
    )
    old = raw_header(
        b"o",
        flag=b"S",
        size=10,
        magic=b"ustar  \0",
        rest={386: b"%011o\0%011o\0" % (100, 10), 482: b"\1", 483: b"%011o\0" % 5000},
    )
    old += bytes(512) + b"d" * 10 + bytes(502) + bytes(1024)
    return [
        make_tar(*common, *pax),
        make_tar(*common, format=tarfile.GNU_FORMAT),
        make_tar(*common[:5], format=tarfile.USTAR_FORMAT),
        one,
        old,
    ]


def check(data: bytes, store: LayerStore | None = None) -> None:
    """Run one input. Raises only for a finding."""
    scanner, tree = Scanner(), LayerTree()
    try:
        for at in range(0, len(data), 1000):
            for header in scanner.feed(data[at : at + 1000]):
                tree.add(header)
        scanner.finish()
        if any(segments for _, segments in tree.sparse.values()) or any(
            size > len(data) for size in tree.size
        ):
            return  # what is expanded would be written to the disk
        with tempfile.TemporaryDirectory() as temporary:
            layer = index_of(Path(temporary), tree, data)
            with LayersView([layer]) as view:
                for node in view.walk():
                    if node.type == "file":
                        view.content(node)
            if store is not None:
                with mounted(layer) as root:
                    census(root)
    except BoxwrightError:
        pass


def index_of(directory: Path, tree: LayerTree, data: bytes) -> Layer:
    (directory / "layer.tar").write_bytes(data)
    fd = os.open(directory / "index.erofs", os.O_WRONLY | os.O_CREAT)
    try:
        summary = erofs.write_index(tree, len(data), fd)
    finally:
        os.close(fd)
    if summary.sparse:
        with (directory / "sparse.data").open("wb") as sparse:
            sparse.truncate(summary.sparse)
            for source, offset, length in erofs.sparse_parts(tree):
                sparse.seek(offset)
                sparse.write(data[source : source + length])
    return Layer(
        diff_id=DiffID("sha256", "0" * 64),
        kind="tar",
        path=directory,
        tar_size=len(data),
        bytes=summary.bytes,
        entries=summary.entries,
    )


def mutate(raw: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not raw:
            return
        at = chance.randrange(len(raw))
        if chance.random() < 0.7:  # most bytes of an archive are padding: aim at headers
            at = (
                at // 512 * 512
                + chance.choice((0, 1, 100, 108, 116, 124, 136, 156, 157, 257, 329, 345, 386, 483))
                + chance.randrange(4)
            )
        what = chance.randrange(5)
        if what == 0:
            raw[at : at + 1] = bytes((chance.randrange(256),))
        elif what == 1:
            raw[at : at + chance.randrange(12)] = chance.choice(
                (b"\xff" * 8, b"\x80\0\0\0\0\0", b"../", b"\0", b"77777777", b"/", b".wh.", b"99")
            )
        elif what == 2:
            block = at // 512 * 512
            raw[block:block] = raw[block : block + 512 * chance.randrange(1, 4)]
        elif what == 3:
            block = at // 512 * 512
            del raw[block : block + 512 * chance.randrange(1, 3)]
        elif at < len(raw):
            raw[at] ^= 1 << chance.randrange(8)
    if chance.random() < 0.9:
        repair(raw)


def repair(raw: bytearray) -> None:
    """Right checksums, so that mutations reach what lies behind them."""
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar":
            raw[at + 148 : at + 156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])


def loop(seconds: float, seed: int, store: LayerStore | None) -> int:
    chance = random.Random(seed)
    corpus = seeds()
    for data in corpus:
        check(data, store)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        raw = bytearray(chance.choice(corpus))
        mutate(raw, chance)
        count += 1
        try:
            check(bytes(raw), store)
        except Exception:
            name = f"crash-{hashlib.sha256(raw).hexdigest()[:12]}.tar"
            Path(name).write_bytes(raw)
            traceback.print_exc()
            sys.stderr.write(f"kept as {name} (seed {seed}, input {count})\n")
            return 1
    sys.stderr.write(f"{count} inputs, nothing found (seed {seed})\n")
    return 0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--atheris"]:
        import atheris  # type: ignore[import-not-found]

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *arguments[1:]], lambda data: check(bytes(data)))
        atheris.Fuzz()
        return 0
    with_mount = arguments[:1] == ["--mount"]
    rest = arguments[1:] if with_mount else arguments
    seconds = float(rest[0]) if rest else 10
    seed = int(rest[1]) if len(rest) > 1 else random.SystemRandom().randrange(1 << 32)
    with tempfile.TemporaryDirectory() as temporary:
        return loop(seconds, seed, layer_store(Path(temporary)) if with_mount else None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
