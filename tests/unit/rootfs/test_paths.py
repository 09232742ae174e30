"""One path, one place: every tree in which paths are resolved agrees with the kernel (openat2, RESOLVE_IN_ROOT)."""

from __future__ import annotations

import errno
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.build.context.local import LocalContext
from boxwright.build.ops.target import LayerBuilder
from boxwright.build.ops.viewtree import ViewTree
from boxwright.errors import Invalid
from boxwright.files import syscalls
from boxwright.image.members import follow
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.view import LayersView
from boxwright.rootfs.paths import MOST_LINKS, TooManyLinks, real
from boxwright.rootfs.root import Root, walk_in_root
from support.layer import layer_store, make_tar, member

LINKS = {
    "bin": "usr/bin",
    "usr/abs": "/usr",
    "usr/bin/up": "../../../..",
    "out": "../../etc/./file",
    "file-as-dir": "etc/file/",
    "loop": "usr/loop",
    "usr/loop": "/loop",
    "dangling": "nowhere/yet",
    "odd": "nowhere/../etc",
}
PARTS = (
    "etc",
    "usr",
    "bin",
    "file",
    "abs",
    "up",
    "out",
    "file-as-dir",
    "loop",
    "dangling",
    "odd",
    "..",
    ".",
    "",
)
PATHS = sorted({"/".join(parts) for count in (1, 2, 3) for parts in itertools.product(PARTS, repeat=count)})
MISSING = (errno.ENOENT, errno.ENOTDIR)
Answer = str | int  # where the path really is, or why nowhere


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("paths") / "top"
    (top / "etc").mkdir(parents=True)
    (top / "etc/file").write_text("x")
    (top / "usr/bin").mkdir(parents=True)
    (top / "usr/bin/file").write_text("x")
    for name, target in LINKS.items():
        (top / name).symlink_to(target)
    return top


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayersView]:
    members = [member("etc/file", data=b"x"), member("usr/bin/file", data=b"x")]
    members += [member(name, b"2", linkname=target) for name, target in LINKS.items()]
    layers = layer_store(tmp_path_factory.mktemp("root"))
    with LayersView([ingest_tar(layers, io.BytesIO(make_tar(*members)))]) as view:
        yield view


def opened(top: Path, open_: Callable[[int, str, int], int], path: str) -> Answer:
    with Root.at(top) as root:
        try:
            fd = open_(root.fd, path or "/", os.O_PATH)
        except OSError as error:
            return errno.ENOENT if error.errno in MISSING else error.errno or 0
        try:
            return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), top)
        finally:
            os.close(fd)


@pytest.fixture(scope="module")
def kernel(top: Path) -> dict[str, Answer]:
    import struct

    def openat2(root: int, path: str, flags: int) -> int:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, 0x10)
        return syscalls.call(syscalls.OPENAT2, root, os.fsencode(path), how, len(how))

    try:
        return {path: opened(top, openat2, path) for path in PATHS}
    except OSError as error:
        pytest.skip(f"no openat2: {error}")


def compare(kernel: dict[str, Answer], found: Callable[[str], Answer], *, absent: bool = True) -> None:
    """`absent`: a path that leads nowhere is told; else it is kept as written, and not compared."""
    wrong = []
    for path, wanted in kernel.items():
        try:
            answer = found(path)
        except (Invalid, OSError) as error:
            assert "link" in str(error), error
            answer = errno.ELOOP
        if answer != wanted and (absent or wanted != errno.ENOENT):
            wrong.append((path, wanted, answer))
    assert not wrong, f"{len(wrong)} of {len(kernel)}: {wrong[:5]}"


def test_the_kernel_finds_all_kinds(kernel: dict[str, Answer]) -> None:
    assert {errno.ENOENT, errno.ELOOP, ".", "etc/file", "usr/bin"} <= set(kernel.values())


def test_descriptors(top: Path, kernel: dict[str, Answer]) -> None:
    compare(kernel, lambda path: opened(top, walk_in_root, path))


def test_names_in_a_root(top: Path, kernel: dict[str, Answer]) -> None:
    with Root.at(top) as root:
        compare(kernel, lambda path: root.resolve(path).strip("/") or ".", absent=False)


def test_a_view(view: LayersView, kernel: dict[str, Answer]) -> None:
    def found(path: str) -> Answer:
        node = view.resolve(path)
        return errno.ENOENT if node is None else node.path or "."

    compare(kernel, found)
    compare(kernel, found)  # with its directories known


def test_a_context(top: Path, kernel: dict[str, Answer]) -> None:
    with LocalContext(top) as context:

        def found(path: str) -> Answer:
            node = context.resolve(path)
            return errno.ENOENT if node is None else node.path or "."

        compare(kernel, found)


def test_a_plan(view: LayersView, kernel: dict[str, Answer]) -> None:
    builder = LayerBuilder(ViewTree(view), 0)
    compare(kernel, lambda path: builder.real(path) or ".", absent=False)


def test_an_archive(kernel: dict[str, Answer]) -> None:
    compare(kernel, lambda path: follow(path, LINKS) or ".", absent=False)


def test_the_limit_is_the_kernels() -> None:
    chain = {str(n): str(n + 1) for n in range(MOST_LINKS)}
    assert real("0", chain.get) == str(MOST_LINKS)
    with pytest.raises(TooManyLinks, match="Too many levels of symbolic links: 'x/0'"):
        real("x/0", {**{f"x/{k}": v for k, v in chain.items()}, f"x/{MOST_LINKS}": "0"}.get)
    assert real("0/y", {"0": "/z"}.get, follow_last=False) == "z/y"
    assert real("y/0", {"y/0": "/z"}.get, follow_last=False) == "y/0"
