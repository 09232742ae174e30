"""Files that tell of packages, each as its own tool writes it."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

DATA = Path(__file__).parents[1] / "data/sbom"

DPKG = b"""Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Description: GNU C Library
 Version: this is no version
Homepage: https://www.gnu.org/software/libc/libc.html

Package: gone
Status: deinstall ok config-files
Version: 1

Package: login
Status: install ok installed
Version: 1:4.13
Architecture: amd64
"""

APK = b"""C:Q1abc
P:libcrypto3
V:3.1.4-r5
A:x86_64
L:Apache-2.0
o:openssl
U:https://www.openssl.org/
m:Ariadne <ariadne@example.org>
F:lib
R:libcrypto.so.3

P:busybox
V:1.36.1-r5
A:x86_64
o:busybox
"""

OS_RELEASE = b'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n'
METADATA = b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0+local\nLicense: BSD\n\nName: no\n"
PACKAGE_JSON = json.dumps({"name": "@sc/left-pad", "version": "1.3.0", "license": "WTFPL"}).encode()
LOCK = json.dumps(
    {
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "app", "version": "0.0.1"},
            "node_modules/a": {"version": "1.0.0", "license": "MIT"},
            "node_modules/a/node_modules/@s/b": {"version": "2.0.0"},
            "node_modules/linked": {"link": True, "resolved": "../x"},
        },
    }
).encode()
LOCK_1 = json.dumps(
    {"dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}}}}
).encode()
MODULES = (
    "path\texample.org/cmd/app\nmod\texample.org/App\t(devel)\t\n"
    "dep\tgolang.org/x/sys\tv0.1.0\th1:abc=\ndep\tgithub.com/old/one\tv1.0.0\n"
    "=>\tgithub.com/New/one\tv1.0.1\th1:def=\nbuild\tGOOS=linux\n"
)
CRATES = json.dumps(
    {
        "packages": [
            {"name": "app", "version": "0.1.0", "source": "local", "root": True},
            {"name": "serde", "version": "1.0.1", "source": "crates.io"},
            {"name": "cc", "version": "1.0.9", "source": "crates.io", "kind": "build"},
        ]
    }
).encode()


def rpm_database() -> bytes:
    """What rpm 4.18 wrote after `rpm -i --justdb` of one package: demo 4:1.2-3."""
    return gzip.decompress((DATA / "rpmdb.sqlite.gz").read_bytes())


def rpm_header(name: str, version: str, release: str, epoch: int) -> bytes:
    """A header as it lies in a database."""
    store, entries = bytearray(), []
    for tag, value in ((1000, name), (1001, version), (1002, release), (1022, "noarch")):
        entries.append((tag, 6, len(store), 1))
        store += value.encode() + b"\0"
    store += b"\0" * (-len(store) % 4)
    entries.append((1003, 4, len(store), 1))
    store += struct.pack(">I", epoch)
    return (
        struct.pack(">II", len(entries), len(store))
        + b"".join(struct.pack(">IIII", *e) for e in entries)
        + store
    )


def ndb(*headers: bytes) -> bytes:
    """``Packages.db`` with these packages."""
    out = bytearray(struct.pack("<4sIIII", b"RpmP", 0, 1, 1, len(headers) + 1).ljust(32, b"\0"))
    blobs = bytearray()
    for number, header in enumerate(headers, 1):
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        blob += b"\0" * (-len(blob) % 16)
        out += struct.pack("<4sIII", b"Slot", number, (4096 + len(blobs)) // 16, len(blob) // 16)
        blobs += blob
    return bytes(out.ljust(4096, b"\0") + blobs)


def elf(sections: dict[str, bytes], *, wide: bool = True, order: str = "<") -> bytes:
    """An ELF file with nothing but these sections."""
    names = b"\0" + b"".join(n.encode() + b"\0" for n in (*sections, ".shstrtab"))
    body, table = bytearray(b"\0" * 64), []
    for name, data in {**sections, ".shstrtab": names}.items():
        body += b"\0" * (-len(body) % 16)
        table.append((names.index(name.encode()), 1, 0, 0x1000 + len(body), len(body), len(data), 0, 0, 1, 0))
        body += data
    body += b"\0" * (-len(body) % 16)
    start = len(body)
    form = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    for entry in ((0,) * 10, *table):
        body += struct.pack(form, *entry)
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)) + b"\0" * 9
    if wide:
        head = struct.pack(
            order + "HHIQQQIHHHHHH", 2, 62, 1, 0, 0, start, 0, 64, 56, 0, 64, len(table) + 1, len(table)
        )
    else:
        head = struct.pack(
            order + "HHIIIIIHHHHHH", 2, 3, 1, 0, 0, start, 0, 52, 32, 0, 40, len(table) + 1, len(table)
        )
    body[: len(ident) + len(head)] = ident + head
    return bytes(body)


def go_program(modules: str = MODULES, **how: bool | str) -> bytes:
    """A program as Go's linker since 1.18 marks it."""

    def text(data: bytes) -> bytes:
        size, out = len(data), bytearray()
        while size >= 0x80:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes((*out, size)) + data

    marked = b"<" * 16 + modules.encode() + b">" * 16
    info = (b"\xff Go buildinf:" + bytes((8, 2))).ljust(32, b"\0") + text(b"go1.22.1") + text(marked)
    return elf({".go.buildinfo": info}, **how)  # type: ignore[arg-type]


def rust_program(crates: bytes = CRATES) -> bytes:
    """A program as cargo-auditable marks it."""
    return elf({".text": b"\x90" * 5, ".dep-v0": zlib.compress(crates)})
