"""The commands for images, archives and the system, as they print."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from boxwright.cli.main import main
from boxwright.engine import Engine
from support.image import add_container, engine, imported, rootfs


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Result]


@pytest.fixture
def eng(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.delenv("BOXWRIGHT_DEBUG", raising=False)
    return engine(tmp_path / "root", SOURCE_DATE_EPOCH="1700000000")


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, eng: Engine) -> Run:
    def call(*argv: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(list(argv))
        out, err = capfdbinary.readouterr()
        return Result(code, out.decode("latin-1"), err.decode())

    return call


def test_images(eng: Engine, run: Run) -> None:
    assert run("images") == (0, "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n", "")
    image = imported(eng, "team/app:1", changes=["LABEL a=1"])
    eng.images.tag("team/app:1", "second")
    eng.services.images_store.tag("second", f"second@{eng.services.images_store.resolve('second').target}")
    head, *rows = run("images").lines
    assert head.split("  ")[0] == "REPOSITORY"
    assert [row.split()[:3] for row in rows] == [
        ["second", "latest", image[7:19]],
        ["team/app", "1", image[7:19]],
    ]
    assert rows[0].endswith("8B")
    assert run("images", "-q").lines == [image[7:19]] * 2
    assert run("image", "ls", "-q", "--no-trunc").lines == [image] * 2
    assert run("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").lines == [
        "second:latest 8B",
        "team/app:1 8B",
    ]
    assert json.loads(run("images", "--format", "json", "second").out)["Repository"] == "second"
    assert "DIGEST" in run("images", "--digests").lines[0] and "sha256:" in run("images", "--digests").out
    assert run("images", "--filter", "reference=team/*", "-q").lines == [image[7:19]]
    assert run("images", "nosuch", "-q").lines == []
    assert run("images", "-f", "label=a=2", "-q").lines == []


def test_dangling_images(eng: Engine, run: Run) -> None:
    imported(eng, "app", "1")
    imported(eng, "app", "2")
    assert run("images", "-f", "dangling=true", "--format", "{{.Repository}} {{.Tag}}").lines == [
        "<none> <none>"
    ]
    bad = run("images", "-f", "nope=1")
    assert bad.code == 1 and "invalid filter" in bad.err


def test_history(eng: Engine, run: Run) -> None:
    image = imported(eng, "app", message="by hand")
    head, row = run("history", "app").lines
    assert head.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert row.split()[0] == image[7:19] and row.endswith("by hand")
    assert run("history", "-q", "--no-trunc", "app").lines == [image]
    _, row = run("history", "-H=false", "app").lines
    assert "2023-11-14T22:13:20Z" in row and " 8 " in row
    assert run("history", "--format", "{{.Comment}}", "app").lines == ["by hand"]
    assert "No such image: nosuch:latest" in run("history", "nosuch").err


def test_inspect(eng: Engine, run: Run) -> None:
    image = imported(eng, "app:1", changes=["ENV A=b"])
    (shown,) = json.loads(run("image", "inspect", "app:1").out)
    assert shown["Id"] == image and shown["Config"]["Env"] == ["A=b"] and shown["RootFS"]["Type"] == "layers"
    assert run("inspect", "--type", "image", "-f", "{{.Id}} {{json .RepoTags}}", "app:1").lines == [
        f'{image} ["app:1"]'
    ]
    missing = run("image", "inspect", "nosuch")
    assert missing.code == 1 and missing.out == "[]\n" and "No such image: nosuch:latest" in missing.err
    assert run("inspect", "--type", "nonsense", "app:1").code == 1


def test_tag_and_rmi(eng: Engine, run: Run) -> None:
    image = imported(eng, "app:1")
    assert run("tag", "app:1", "host:5000/x") == (0, "", "")
    assert "must be lowercase" in run("tag", "app:1", "X").err
    assert run("rmi", "app:1") == (0, "Untagged: app:1\n", "")
    gone = run("rmi", "nosuch", "host:5000/x")
    assert gone.code == 1 and f"Deleted: {image}" in gone.lines and "No such image: nosuch:latest" in gone.err
    assert run("rmi", "-f", "nosuch").code == 0
    usage = run("rmi")
    assert usage.code == 1 and "requires at least 1 argument" in usage.err


def test_prune_asks(eng: Engine, run: Run) -> None:
    imported(eng, "app")
    no = run("image", "prune", "-a", stdin=b"n\n")
    assert no.code == 0 and "WARNING! This will remove all images" in no.err and no.out == ""
    yes = run("image", "prune", "-a", stdin=b"y\n")
    assert yes.lines[:2] == ["Deleted Images:", "untagged: app:latest"] and yes.lines[-1].startswith(
        "Total reclaimed space: "
    )
    assert run("image", "prune", "-f").lines == ["Total reclaimed space: 0B"]


def test_import_save_load(eng: Engine, run: Run, tmp_path: Path) -> None:
    tar = tmp_path / "in.tar"
    tar.write_bytes(rootfs("a"))
    first = run("import", "-c", 'CMD ["x"]', str(tar), "app:1")
    second = run("import", "-m", f"Imported from {tar}", "-c", 'CMD ["x"]', "-", "again", stdin=rootfs("a"))
    assert first.out == second.out and first.out.startswith("sha256:")
    assert run("save", "-o", str(tmp_path / "out.tar"), "app:1", "again") == (0, "", "")
    streamed = run("save", "app:1", "again")
    assert streamed.out.encode("latin-1") == (tmp_path / "out.tar").read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    run("rmi", "app:1", "again")
    assert run("load", "-i", str(tmp_path / "out.tar")).lines == [
        "Loaded image: app:1",
        "Loaded image: again:latest",
    ]
    assert run("load", stdin=streamed.out.encode("latin-1")).lines == [
        "Loaded image: app:1",
        "Loaded image: again:latest",
    ]


def test_failed_saves_leave_the_old_file(eng: Engine, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    out.write_text("old")
    assert run("save", "-o", str(out), "nosuch").code == 1
    assert out.read_text() == "old" and list(tmp_path.glob(".*")) == []
    assert "does not exist" in run("save", "-o", str(tmp_path / "no/dir"), "nosuch").err
    assert "is a directory" in run("save", "-o", str(tmp_path), "nosuch").err


def test_system_df(eng: Engine, run: Run) -> None:
    imported(eng, "app")
    add_container(eng, "app")
    assert [line.split("  ")[0] for line in run("system", "df").lines] == [
        "TYPE",
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
        "Other",
    ]
    assert run("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").lines[:2] == [
        "Images 1 1",
        "Containers 1 0",
    ]
    assert "Images space usage:" in run("system", "df", "-v").lines


def test_fsck(eng: Engine, run: Run) -> None:
    imported(eng, "app")
    assert run("system", "fsck") == (0, "The store is sound.\n", "")
    layer = eng.services.layers.all()[0]
    layer.index_path.unlink()
    broken = run("system", "fsck")
    assert broken.code == 1 and f"index {layer.diff_id}" in broken.out
    assert run("system", "fsck", "--repair").code == 0


def test_version_and_info(eng: Engine, run: Run) -> None:
    client, server = run("version", "--format", "{{.Client.Version}} {{.Server.Version}}").out.split()
    assert client == server
    assert "API version:" in run("version").out
    imported(eng, "app")
    assert run("info", "--format", "{{.Images}} {{.Swarm.LocalNodeState}}").lines == ["1 inactive"]
    assert json.loads(run("info", "--format", "json").out)["DockerRootDir"] == str(eng.root)
    assert " Images: 1" in run("info").lines


def test_builder_prune(eng: Engine, run: Run) -> None:
    assert run("builder", "prune", "-f").lines == ["Total reclaimed space: 0B"]
    assert run("buildx", "prune", "-f").lines == ["Total:\t0B"]
    assert "invalid filter 'colour'" in run("builder", "prune", "-f", "--filter", "colour=red").err
    assert run("builder", "prune", "-f", "--keep-storage", "much").code == 1
    assert "Reclaimable:" in run("buildx", "du").out
