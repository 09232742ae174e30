"""Bills of materials: what each reader finds, and the document that it comes to."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from boxwright.build.attest.sbom import binaries, languages, rpm, system
from boxwright.build.attest.sbom.elf import Elf
from boxwright.build.attest.sbom.package import Distribution, Found, Package, os_release
from boxwright.build.attest.sbom.scan import Scanned, scan
from boxwright.build.attest.sbom.spdx import document
from boxwright.build.context.local import LocalContext
from support import sbom as files

DEBIAN = Found("var/lib/dpkg/status", Distribution("debian", "12"))


def urls(found: object) -> list[str]:
    return [package.purl for package in found]  # type: ignore[attr-defined]


def test_dpkg() -> None:
    found = list(system.dpkg(files.DPKG, DEBIAN))
    assert urls(found) == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc%402.36-9",
        "pkg:deb/debian/login@1:4.13?arch=amd64&distro=debian-12",
    ]
    assert found[0].homepage == "https://www.gnu.org/software/libc/libc.html"


def test_a_status_that_says_nothing() -> None:
    assert urls(system.dpkg(b"Package: a\nVersion: 1\nStatus:\n", DEBIAN)) == [
        "pkg:deb/debian/a@1?distro=debian-12"
    ]


def test_apk() -> None:
    found = list(system.apk(files.APK, Found("lib/apk/db/installed", Distribution("alpine", "3.19.1"))))
    assert urls(found) == [
        "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl",
        "pkg:apk/alpine/busybox@1.36.1-r5?arch=x86_64&distro=alpine-3.19.1",
    ]
    assert found[0].license == "Apache-2.0"


def test_rpm_as_rpm_wrote_it() -> None:
    (found,) = rpm.sqlite(files.rpm_database(), Found("p", Distribution("fedora", "40")))
    assert (found.name, found.version, found.license) == ("demo", "4:1.2-3", "MIT")
    assert (
        found.purl
        == "pkg:rpm/fedora/demo@1.2-3?arch=noarch&distro=fedora-40&epoch=4&upstream=demo-1.2-3.src.rpm"
    )


def test_rpm_of_suse() -> None:
    data = files.ndb(files.rpm_header("a", "1", "2", 0), files.rpm_header("gpg-pubkey", "1", "2", 0))
    assert urls(rpm.ndb(data, Found("p", Distribution("sles", "15.5")))) == [
        "pkg:rpm/sles/a@1-2?arch=noarch&distro=sles-15.5&epoch=0"
    ]


def test_slots_that_lead_to_one_header() -> None:
    """What is read of a database is never more than there is of it."""
    data = bytearray(files.ndb(files.rpm_header("a", "1", "2", 0)))
    for at in range(48, 4096, 16):
        data[at : at + 16] = data[32:48]
    assert 1 <= len(list(rpm.ndb(bytes(data), Found("p")))) < 40


def test_a_database_that_is_a_program_of_its_own() -> None:
    """A view in the place of the table may compute for ever."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIEW Packages AS WITH RECURSIVE n(hnum) AS (SELECT 1 UNION ALL SELECT hnum + 1 FROM n) "
        "SELECT hnum, zeroblob(1000) AS blob FROM n"
    )
    assert list(rpm.sqlite(connection.serialize(), Found("p"))) == []


def test_a_database_whose_names_are_no_text() -> None:
    """SQLite tells of a schema that it cannot read in the schema's own bytes."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    connection.execute("CREATE TABLE other (a)")
    data = connection.serialize().replace(b"tableother", b"tableo\xff\xfeer")
    assert b"o\xff\xfeer" in data
    assert list(rpm.sqlite(data, Found("p"))) == []


def test_python() -> None:
    assert urls(languages.python(files.METADATA, Found("x"))) == ["pkg:pypi/foo-bar@1.0%2Blocal"]


def test_npm() -> None:
    assert urls(languages.npm(files.PACKAGE_JSON, Found("x"))) == ["pkg:npm/%40sc/left-pad@1.3.0"]
    both = ["pkg:npm/a@1.0.0", "pkg:npm/%40s/b@2.0.0"]
    assert urls(languages.npm_lock(files.LOCK, Found("x"))) == both
    assert urls(languages.npm_lock(files.LOCK_1, Found("x"))) == ["pkg:npm/a@1.0.0", "pkg:npm/b@2.0.0"]


@pytest.mark.parametrize(("wide", "order"), [(True, "<"), (False, "<"), (True, ">"), (False, ">")])
def test_go(wide: bool, order: str) -> None:
    program = files.go_program(wide=wide, order=order)
    assert urls(binaries.binary(io.BytesIO(program), Found("app"))) == [
        "pkg:golang/example.org/app",
        "pkg:golang/golang.org/x/sys@v0.1.0",
        "pkg:golang/github.com/new/one@v1.0.1",
    ]


def test_go_without_modules() -> None:
    program = files.go_program("path\tgithub.com/google/go-containerregistry/cmd/crane\nbuild\tGOOS=linux\n")
    assert urls(binaries.binary(io.BytesIO(program), Found("app"))) == [
        "pkg:golang/github.com/google/go-containerregistry/cmd/crane"
    ]


def test_rust() -> None:
    found = urls(binaries.binary(io.BytesIO(files.rust_program()), Found("app")))
    assert found == ["pkg:cargo/app@0.1.0", "pkg:cargo/serde@1.0.1"]


def test_a_bomb_of_crates_is_not_inflated() -> None:
    program = files.rust_program(b"[" * (64 << 20))
    assert list(binaries.binary(io.BytesIO(program), Found("app"))) == []


def test_sections_with_endless_names() -> None:
    """A table of names may be one name, in which each section's begins one byte later."""
    long = "n" * 5000
    program = files.elf({long[at:]: b"x" for at in range(3)} | {".dep-v0": b"here"})
    assert set(Elf(io.BytesIO(program)).sections()) == {"", ".dep-v0", ".shstrtab"}


def test_names_that_are_none() -> None:
    wild = (
        b"Package: a\x1b[2Jb\nStatus: install ok installed\nVersion: 1\n\nPackage: "
        + b"x" * 600
        + b"\nVersion: 1\n"
    )
    assert list(system.dpkg(wild, DEBIAN)) == []
    assert os_release(b"ID=a b\nVERSION_ID='12'\n") == Distribution("", "12")


# --- trees and documents -----------------------------------------------------------------------


def tree(folder: Path, members: dict[str, bytes]) -> LocalContext:
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755 if "bin/" in name else 0o644)
    return LocalContext(folder)


def whole(folder: Path) -> Scanned:
    members = {
        "etc/os-release": files.OS_RELEASE,
        "var/lib/dpkg/status": files.DPKG,
        "var/lib/dpkg/status.d/extra": b"Package: extra\nVersion: 2\nArchitecture: all\n",
        "var/lib/dpkg/status.d/extra.md5sums": b"Package: no\nVersion: 2\n",
        "usr/lib/python3/site-packages/foo.dist-info/METADATA": files.METADATA,
        "opt/foo.dist-info/METADATA": files.METADATA,
        "app/node_modules/@sc/left-pad/package.json": files.PACKAGE_JSON,
        "app/node_modules/@sc/left-pad/test/package.json": b'{"name": "fixture", "version": "1.0.0"}',
        "app/package.json": b'{"name": "own", "version": "1.0.0"}',
        "app/package-lock.json": files.LOCK,
        "usr/bin/go": files.go_program(),
        "usr/bin/rust": files.rust_program(),
        "usr/bin/script": b"#!/bin/sh\n",
        "var/lib/rpm/rpmdb.sqlite": files.rpm_database(),
        "usr/lib/sysimage/rpm/Packages": b"\0" * 600,
    }
    with tree(folder, members) as found:
        return scan(found)


def test_a_tree(tmp_path: Path) -> None:
    found = whole(tmp_path)
    assert [p.purl.partition("?")[0] for p in found.packages] == [
        "pkg:cargo/app@0.1.0",
        "pkg:cargo/serde@1.0.1",
        "pkg:deb/debian/extra@2",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4",
        "pkg:deb/debian/login@1:4.13",
        "pkg:golang/example.org/app",
        "pkg:golang/github.com/new/one@v1.0.1",
        "pkg:golang/golang.org/x/sys@v0.1.0",
        "pkg:npm/%40s/b@2.0.0",
        "pkg:npm/%40sc/left-pad@1.3.0",
        "pkg:npm/a@1.0.0",
        "pkg:pypi/foo-bar@1.0%2Blocal",
        "pkg:pypi/foo-bar@1.0%2Blocal",
        "pkg:rpm/debian/demo@1.2-3",
    ]
    assert found.notes == (
        "/usr/lib/sysimage/rpm/Packages is a Berkeley DB of rpm, which is not read: its packages are not listed",
    )


def test_the_document_is_valid_and_the_same_each_time(tmp_path: Path) -> None:
    """The validator is SPDX's own."""
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    logging.disable()
    made = document(whole(tmp_path), "sbom", "2026-01-02T03:04:05.678Z")
    assert made == document(whole(tmp_path), "sbom", "2026-01-02T03:04:05.678Z")
    parsed = JsonLikeDictParser().parse(json.loads(json.dumps(made)))
    assert validate_full_spdx_document(parsed) == []
    assert made["creationInfo"]["created"] == "2026-01-02T03:04:05Z"
    (python,) = [p for p in made["packages"] if p["name"] == "Foo_Bar"]
    assert "/opt/foo.dist-info/METADATA, /usr/lib/python3" in python["sourceInfo"]
    (libc,) = [p for p in made["packages"] if p["name"] == "libc6"]
    assert libc["supplier"] == "Organization: GNU Libc Maintainers (debian-glibc@lists.debian.org)"
    contained = {
        r["relatedSpdxElement"] for r in made["relationships"] if r["relationshipType"] == "CONTAINS"
    }
    assert contained == {p["SPDXID"] for p in made["packages"][1:]} and len(contained) == 13
    assert "Berkeley" in made["comment"]


def test_hostile_text_is_valid_too() -> None:
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    wild = Package(
        kind="npm", name="a\u202e(b)#", version="1", purl="pkg:npm/x@1", license="MIT (or)", supplier="x (y) <z>",
        homepage="https://h/ \x7f", place="a\nb", layer="sha256:1",
    )  # fmt: skip
    made = document(Scanned((wild,)), "a b/#", "never")
    assert validate_full_spdx_document(JsonLikeDictParser().parse(made)) == []
