"""Readers of packages take any bytes: mutated files of their kind end, in packages whose words are words."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.build.attest.sbom import binaries, languages, rpm, system
from boxwright.build.attest.sbom.package import Found, usable
from support import sbom as files

READERS = {
    "dpkg": (system.dpkg, files.DPKG),
    "apk": (system.apk, files.APK),
    "sqlite": (rpm.sqlite, files.rpm_database()),
    "ndb": (rpm.ndb, files.ndb(files.rpm_header("a", "1", "2", 3))),
    "python": (languages.python, files.METADATA),
    "npm": (languages.npm, files.PACKAGE_JSON),
    "lock": (languages.npm_lock, files.LOCK),
    "lock 1": (languages.npm_lock, files.LOCK_1),
    "go": (lambda data, found: binaries.binary(io.BytesIO(data), found), files.go_program()),
    "go 32": (
        lambda data, found: binaries.binary(io.BytesIO(data), found),
        files.go_program(wide=False, order=">"),
    ),
    "rust": (lambda data, found: binaries.binary(io.BytesIO(data), found), files.rust_program()),
}
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=8)), max_size=12)


@pytest.mark.parametrize("name", READERS)
@given(changes=CHANGES, cut=st.integers(0, 1 << 20), head=st.booleans())
def test_mutated_files(name: str, changes: list[tuple[int, bytes]], cut: int, head: bool) -> None:
    reader, whole = READERS[name]
    data = bytearray(whole)
    reach = min(len(data), 200) if head else len(data)
    for at, new in changes:
        place = at % reach
        data[place : place + len(new)] = new
    if cut % 3 == 0:
        del data[cut % len(data) :]
    for package in reader(bytes(data), Found("x")):
        assert usable(package.name) and (not package.version or usable(package.version))
        assert package.purl.startswith("pkg:") and package.purl.isascii() and " " not in package.purl


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    list(READERS[name][0](data, Found("x")))
