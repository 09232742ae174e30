"""The index has the same bytes whether plain files are written at once or one by one."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from boxwright.layer import erofs
from boxwright.layer.scan import Scanner
from boxwright.layer.tree import LayerTree
from support.chance import chance
from support.layer import make_tar, member


def index_of(archive: bytes, path: Path) -> tuple[bytes, erofs.Summary]:
    tree = LayerTree()
    for header in Scanner().feed(archive):
        tree.add(header)
    with open(path, "wb") as file:
        summary = erofs.write_index(tree, len(archive), file.fileno())
    return path.read_bytes(), summary


def random_archive() -> bytes:
    random = chance()
    entries = []
    files: list[str] = []
    for folder in ("", "a/", "a/b/", "a/c/", "z/"):
        if folder:
            entries.append(member(folder, tarfile.DIRTYPE, mtime=5))
        for number in range(random.choice((3, 7, 8, 9, 100, 400))):
            name = f"{folder}{number:03}{'n' * random.randrange(40)}"
            what = random.randrange(60) if folder != "a/" else 9
            if what == 0:
                entries.append(member(name, tarfile.SYMTYPE, linkname="x" * random.randrange(1, 600)))
            elif what == 1 and files:
                entries.append(member(name, tarfile.LNKTYPE, linkname=random.choice(files)))
            elif what == 2:
                attributes = {"SCHILY.xattr.user.a": "v" * random.randrange(1, 50)}
                entries.append(member(name, data=b"x", pax_headers=attributes))
            elif what == 3:
                entries.append(member(f"{folder}.wh.{name[len(folder) :]}"))
            elif what == 4:
                entries.append(member(f"{name}/", tarfile.DIRTYPE))
            else:
                data = b"d" * random.choice((0, 1, 511, 512, 3000))
                mode = random.choice((0o644, 0o4755, 0))
                entries.append(member(name, data=data, mode=mode, uid=number << 16, gid=number, mtime=number))
                files.append(name)
    return make_tar(*entries)


@pytest.mark.parametrize("some", [1, 50, 4096])
def test_at_once_and_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some: int) -> None:
    archive = random_archive()
    monkeypatch.setattr(erofs, "_SOME", some)
    at_once = index_of(archive, tmp_path / "at-once")
    runs: list[int] = []
    monkeypatch.setattr(erofs._Plan, "_number_plain", lambda *_: runs.append(1))  # that is: no
    assert index_of(archive, tmp_path / "one-by-one") == at_once
    assert runs
