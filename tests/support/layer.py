"""Stores, hand-made tars and mounts for the tests of layers."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.files.syscalls import call
from boxwright.layer.store import Layer, LayerStore

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_SET_STRING, _CMD_CREATE = 1, 6


def layer_store(root: Path) -> LayerStore:
    """A fresh or existing root."""
    return LayerStore(LocalStore(root), Database(root / "boxwright.db"))


def member(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """One entry for `make_tar`; fields are TarInfo's."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def make_tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive by the standard library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def raw_header(
    name: bytes,
    *,
    flag: bytes = b"0",
    size: bytes | int = 0,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[bytes, bytes] = (b"", b""),
    prefix: bytes = b"",
    rest: dict[int, bytes] | None = None,
) -> bytes:
    """A header with exactly these fields and a right checksum; `rest` overwrites bytes at offsets."""
    block = bytearray(512)
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    for at, value in (
        (0, name),
        (100, mode),
        (108, uid),
        (116, gid),
        (124, field),
        (136, mtime),
        (156, flag),
        (157, link),
        (257, magic),
        (329, device[0]),
        (337, device[1]),
        (345, prefix),
        *(rest or {}).items(),
    ):
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@contextmanager
def mounted(layer: Layer) -> Iterator[int]:
    """The layer's index, mounted by the kernel and attached nowhere: a descriptor of its root."""
    context = call(_FSOPEN, b"erofs", 1)
    fd = -1
    try:
        options = [(b"source", layer.index_path), *((b"device", path) for path in layer.devices)]
        for key, path in options:
            call(_FSCONFIG, context, _SET_STRING, key, os.fsencode(path), 0)
        call(_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        fd = call(_FSMOUNT, context, 1, 0)
        yield fd
    finally:
        os.close(context)
        if fd >= 0:
            os.close(fd)


def census(root: int | Path, *, content: bool = True) -> dict[str, tuple[Any, ...]]:
    """Everything about a tree: path -> (type and mode, uid, gid, mtime in ns, rdev, what it holds, xattrs, hard link group)."""
    out: dict[str, tuple[Any, ...]] = {}
    groups: dict[tuple[int, int], str] = {}
    base = f"/proc/self/fd/{root}" if isinstance(root, int) else str(root)
    todo: list[str] = [""]
    while todo:
        path = todo.pop()
        full = base + "/" + path
        try:
            st = os.lstat(full if path else base + "/.")
        except FileNotFoundError:
            # overlayfs lists a whiteout that hides nothing when its directory exists in one layer alone.
            continue
        held: Any = None
        if stat.S_ISLNK(st.st_mode):
            held = os.readlink(full)
        elif stat.S_ISREG(st.st_mode):
            held = Path(full).read_bytes() if content else st.st_size
        elif stat.S_ISDIR(st.st_mode):
            todo += [f"{path}/{name}" if path else name for name in sorted(os.listdir(full), reverse=True)]
        xattrs = (
            {
                name: os.getxattr(full, name, follow_symlinks=False)
                for name in os.listxattr(full, follow_symlinks=False)
            }
            if path
            else {}
        )
        group = "" if stat.S_ISDIR(st.st_mode) else groups.setdefault((st.st_dev, st.st_ino), path)
        out[path] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, st.st_rdev, held, xattrs, group)
    return out


def expected(*tars: bytes) -> dict[str, tuple[Any, ...]]:
    """What `census` must find for one layer, according to the standard library's reader alone. Raises KeyError for
    hard links to nothing and for names below what is no directory."""
    (data,) = tars
    nodes: dict[str, tuple[Any, ...]] = {"": (oct(0o40755), 0, 0, 0, 0, None, {}, "")}
    kinds = {
        tarfile.REGTYPE: stat.S_IFREG,
        tarfile.AREGTYPE: stat.S_IFREG,
        tarfile.CONTTYPE: stat.S_IFREG,
        tarfile.GNUTYPE_SPARSE: stat.S_IFREG,
        tarfile.DIRTYPE: stat.S_IFDIR,
        tarfile.SYMTYPE: stat.S_IFLNK,
        tarfile.CHRTYPE: stat.S_IFCHR,
        tarfile.BLKTYPE: stat.S_IFBLK,
        tarfile.FIFOTYPE: stat.S_IFIFO,
    }
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        for info in tar:
            path = os.path.normpath(info.name).lstrip("/")
            path = "" if path == "." else path
            for parent in _parents(path):
                if not nodes.setdefault(parent, (oct(0o40755), 0, 0, 0, 0, None, {}, ""))[0].startswith(
                    "0o4"
                ):
                    raise KeyError(parent)
            if info.type == tarfile.LNKTYPE:
                target = nodes[os.path.normpath(info.linkname).lstrip("/")]
                _drop(nodes, path)
                nodes[path] = target
                continue
            kind = kinds[info.type]
            held: Any = None
            if kind == stat.S_IFREG:
                file = tar.extractfile(info)
                held = file.read() if file else b""
            elif kind == stat.S_IFLNK:
                held, info.mode = info.linkname, 0o777  # links have no other mode
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
                for key, value in info.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            seconds, _, fraction = str(info.pax_headers.get("mtime", int(info.mtime))).partition(".")
            nanoseconds = int(fraction.ljust(9, "0")[:9]) if fraction else 0
            mtime = int(seconds) * 10**9 + (-nanoseconds if seconds.startswith("-") else nanoseconds)
            rdev = os.makedev(info.devmajor, info.devminor) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
            if not (kind == stat.S_IFDIR and nodes.get(path, ("",))[0].startswith("0o4")):
                _drop(nodes, path)
            nodes[path] = (
                oct(kind | info.mode & 0o7777),
                info.uid,
                info.gid,
                mtime,
                rdev,
                held,
                xattrs,
                "" if kind == stat.S_IFDIR else path,
            )
    return _regroup(nodes)


def _parents(path: str) -> Sequence[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _drop(nodes: dict[str, tuple[Any, ...]], path: str) -> None:
    for name in [n for n in nodes if n == path or n.startswith(path + "/")]:
        del nodes[name]


def _regroup(nodes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Name each hard link group after its member that a walk meets first."""
    members: dict[int, str] = {}
    for path in _walk_order(nodes):
        members.setdefault(id(nodes[path]), path)
    return {
        path: (*node[:-1], "" if node[0].startswith("0o4") else members[id(node)])
        for path, node in nodes.items()
    }


def _walk_order(nodes: dict[str, tuple[Any, ...]]) -> list[str]:
    return sorted(nodes, key=lambda path: path.split("/"))
