"""A volume as one tar and back: nothing is lost, nothing leads out, and until all of it is there nothing has changed."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from boxwright.container import backup
from boxwright.container.archive import NameRefused
from boxwright.container.backup import VolumeFilling, VolumeNotEmpty
from boxwright.container.volumes import NoSuchVolume, VolumeInUse
from boxwright.engine import Engine
from boxwright.errors import BoxwrightError
from support.image import engine as engine_at
from support.image import imported

MOMENT = 1_600_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return engine_at(tmp_path / "root", BOXWRIGHT_DRIVER="copied", DOCKER_CONFIG=str(tmp_path / "docker"))


def filled(engine: Engine, name: str) -> Path:
    data = engine.volumes.create(name).data
    (data / "d").mkdir(mode=0o750)
    (data / "d/f").write_text("content")
    (data / "d/f").chmod(0o640)
    os.link(data / "d/f", data / "again")
    (data / "l").symlink_to("/etc/passwd")
    os.mkfifo(data / "pipe")
    os.setxattr(data / "d/f", "user.note", b"\0kept")
    data.chmod(0o700)
    for path in (data / "d/f", data / "d", data):
        os.utime(path, ns=(MOMENT * 10**9 + 5, MOMENT * 10**9 + 5))
    return data


def told(top: Path) -> dict[str, object]:
    """What there is, with all that a backup keeps."""
    out: dict[str, object] = {}
    for path in (top, *sorted(top.rglob("*"))):
        info = path.lstat()
        kept = [] if path.is_symlink() else os.listxattr(path)
        out[str(path.relative_to(top))] = (
            info.st_mode,
            (info.st_uid, info.st_gid),
            info.st_mtime_ns if not path.is_fifo() and not path.is_symlink() else 0,
            info.st_nlink if path.is_file() else 0,
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
            {key: os.getxattr(path, key) for key in kept},
        )
    return out


def saved(engine: Engine, name: str) -> bytes:
    sink = io.BytesIO()
    engine.volumes.export(name, sink)
    return sink.getvalue()


def test_what_was_saved_comes_back_as_it_was(engine: Engine) -> None:
    before = told(filled(engine, "data"))
    tar = saved(engine, "data")
    with tarfile.open(fileobj=io.BytesIO(tar)) as other:  # as others read it
        assert {m.name for m in other} == {".", "./again", "./d", "./d/f", "./l", "./pipe"}
    copy = engine.volumes.import_("copy", io.BytesIO(gzip.compress(tar)))
    assert told(copy.data) == before
    assert sorted(os.listdir(copy.path)) == ["_data"]
    assert saved(engine, "copy") == tar


def test_files_are_replaced_only_when_that_was_wanted(engine: Engine) -> None:
    before = told(filled(engine, "data"))
    tar = saved(engine, "data")
    other = engine.volumes.create("other").data
    (other / "mine").write_text("x")
    with pytest.raises(VolumeNotEmpty, match=r"^import other: the volume is not empty$"):
        engine.volumes.import_("other", io.BytesIO(tar))
    assert os.listdir(other) == ["mine"]
    assert told(engine.volumes.import_("other", io.BytesIO(tar), replace=True).data) == before


def archive(*entries: tuple[str, bytes, str]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
    out.seek(0)
    return out


@pytest.mark.parametrize(
    "entries",
    [
        [("ok", tarfile.REGTYPE, ""), ("../out", tarfile.REGTYPE, "")],
        [("ok", tarfile.REGTYPE, ""), ("a/../../out", tarfile.REGTYPE, "")],
        [("ok", tarfile.REGTYPE, ""), ("hard", tarfile.LNKTYPE, "../../../boxwright.db")],
    ],
    ids=["up", "up from below", "a hard link"],
)
def test_a_hostile_archive_changes_nothing(engine: Engine, entries: list[tuple[str, bytes, str]]) -> None:
    before = told(filled(engine, "data"))
    for name in ("data", "new"):
        with pytest.raises((BoxwrightError, OSError)):
            engine.volumes.import_(name, archive(*entries), replace=True)
    assert told(engine.volumes.get("data").data) == before
    with pytest.raises(NoSuchVolume):  # it was made for this
        engine.volumes.get("new")
    assert not list(engine.root.parent.glob("**/out"))


def test_links_of_the_archive_lead_nowhere(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    tar = archive(("l", tarfile.SYMTYPE, str(tmp_path / "host")), ("l/f", tarfile.REGTYPE, ""))
    try:
        engine.volumes.import_("data", tar)
    except (BoxwrightError, OSError):
        pass
    assert os.listdir(tmp_path / "host") == []


def test_a_restore_that_dies_leaves_the_volume_as_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    before = told(filled(engine, "data"))
    tar = saved(engine, "data")

    def killed(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(backup, "sync_below", killed)  # nothing of it is on the disk yet
        patch.setattr(backup, "erase", lambda path: 0)  # and none cleans up
        with pytest.raises(Killed):
            engine.volumes.import_("data", io.BytesIO(tar), replace=True)
    assert told(engine.volumes.get("data").data) == before
    assert "_import" in os.listdir(engine.volumes.get("data").path)
    engine.volumes.import_("data", io.BytesIO(tar), replace=True)
    assert told(engine.volumes.get("data").data) == before
    assert os.listdir(engine.volumes.get("data").path) == ["_data"]


def test_two_imports_do_not_fill_one_volume(engine: Engine) -> None:
    before = told(filled(engine, "data"))
    tar = saved(engine, "data")

    class Other(io.BytesIO):
        """An archive that comes while another import begins."""

        def read(self, size: int | None = -1, /) -> bytes:
            with pytest.raises(VolumeFilling, match="import data: another import is filling the volume"):
                engine.volumes.import_("data", io.BytesIO(b""), replace=True)
            return super().read(size)

    engine.volumes.import_("data", Other(tar), replace=True)
    assert told(engine.volumes.get("data").data) == before
    assert os.listdir(engine.volumes.get("data").path) == ["_data"]


def test_a_running_containers_volume_is_not_restored(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(engine, "base:1", "etc/motd", changes=["CMD sh"])
    from boxwright.container.config import ContainerConfig, MountSpec

    mounts = (MountSpec(kind="volume", target="/v", source="data"),)
    box = engine.containers.create(ContainerConfig(image="base:1", mounts=mounts))
    tar = saved(engine, "data")
    engine.volumes.import_("data", io.BytesIO(tar))
    monkeypatch.setattr(type(engine.containers), "list", lambda self, **more: [box])
    with pytest.raises(VolumeInUse, match=box.id):
        engine.volumes.import_("data", io.BytesIO(tar))


def test_sizes(engine: Engine) -> None:
    filled(engine, "data")
    assert "UsageData" not in engine.volumes.inspect("data")
    shown = engine.volumes.inspect("data", size=True)["UsageData"]
    assert shown["RefCount"] == 0 and shown["Size"] >= len("content")


def test_names_that_lead_out_are_told(engine: Engine) -> None:
    with pytest.raises(NameRefused, match="leads out of it"):
        engine.volumes.import_("data", archive(("../x", tarfile.REGTYPE, "")))


def test_a_volume_that_was_named_here_goes_with_its_archive(engine: Engine) -> None:
    with pytest.raises(NameRefused, match="leads out of it"):
        engine.volumes.import_("", archive(("../x", tarfile.REGTYPE, "")))
    assert not engine.volumes.list()
