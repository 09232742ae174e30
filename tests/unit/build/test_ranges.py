"""COPY takes the files of unchanged directories from an earlier layer: the result is the one that it has without."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.context import cache as digests
from boxwright.build.context.folders import FolderFiles
from boxwright.build.context.local import LocalContext
from boxwright.build.context.placed import Placed, run_key
from boxwright.layer.writer import LayerWriter
from boxwright.spec.digest import DiffID
from support.chance import chance


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, Engine]]:
    """One that remembers, and one that is made to forget. Files are trusted when they are a second old."""
    monkeypatch.setattr(digests, "_COARSE_TICK", digests._TICK)
    made = Engine(tmp_path / "warm"), Engine(tmp_path / "cold")
    for engine in made:
        corpus.provide_bases(engine, corpus.small_base(), "base")
    yield made
    for engine in made:
        engine.services.db.close()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each range had that was taken."""
    found: list[int] = []
    plain = LayerWriter.append_range

    def append_range(self: LayerWriter, source: int, start: int, files: Any) -> int:
        found.append(len(files.names))
        return plain(self, source, start, files)

    monkeypatch.setattr(LayerWriter, "append_range", append_range)
    return found


def layers(engine: Engine, context: Path, text: str) -> tuple[DiffID, ...]:
    engine.build(context=context, dockerfile_data=text.encode(), tags=("out",))
    return tuple(engine.services.images_store.resolve_platform("out").layers)


def fill(top: Path) -> None:
    """Directories of every sort: files beside directories, links, attributes, names that are whiteouts or long."""
    long = "n" * 90
    for name in (
        "a",
        "z",
        "m/a",
        "m/b",
        "m/k/x",
        "m/z",
        f"m/{long}/{long}",
        "links/one",
        "odd/.wh.gone",
        "odd/x",
    ):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 7)
    for number in range(40):
        (top / "many").mkdir(exist_ok=True)
        (top / f"many/{number:02}").write_bytes(os.urandom(number * 100))
    (top / "large").write_bytes(os.urandom(1 << 21))
    os.link(top / "links/one", top / "links/two")
    (top / "m/to").symlink_to("a")
    (top / "many/to").symlink_to("05")
    os.mkfifo(top / "many/pipe")
    (top / "empty").mkdir()
    (top / "many/05").chmod(0o700)
    (top / ".dockerignore").write_text("m/b\nskip\n")


def age(top: Path) -> None:
    """Let everything be older than the tick of the clock in which it was made: its status shows later changes."""
    newest = max(path.lstat().st_ctime_ns for path in (top, *top.rglob("*")))
    while time.time_ns() < newest + 2 * digests._TICK:
        time.sleep(0.05)


COPIES = (
    "COPY . /app",
    "COPY many /many/",
    "WORKDIR /app\nCOPY --chown=7:8 --chmod=640 . .",
    "COPY m /a/very/long/path/that/takes/the/names/of/files/over/a/hundred/bytes/so/that/they/are/split\n",
    "COPY --link . /app",
    "COPY many m /both/",
    "COPY . /",
)


@pytest.mark.parametrize("copy", COPIES)
def test_the_layer_is_as_without(
    engines: tuple[Engine, Engine], tmp_path: Path, taken: list[int], copy: str
) -> None:
    warm, cold = engines
    top = tmp_path / "context"
    fill(top)
    age(top)
    text = f"FROM base\n{copy}\n"
    layers(warm, top, text)
    assert not taken
    (top / "m/z").write_text("changed")
    (top / "many/new").write_text("new")
    assert layers(warm, top, text) == layers(cold, top, text)
    (top / "many/new").unlink()
    age(top)
    assert layers(warm, top, text) == layers(cold, top, text)
    (top / "m/k/y").write_text("new")
    assert layers(warm, top, text) == layers(cold, top, text)
    # A directory that comes between files: they are two runs from now on.
    (top / "many/20d").mkdir()
    (top / "many/20d/x").write_text("new")
    age(top)
    assert layers(warm, top, text) == layers(cold, top, text)
    (top / "a").write_text("changed")
    (top / "m/a").write_text("changed")
    assert layers(warm, top, text) == layers(cold, top, text)


def test_only_what_changed_is_opened(
    engines: tuple[Engine, Engine], tmp_path: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm, _ = engines
    top = tmp_path / "context"
    fill(top)
    age(top)
    layers(warm, top, "FROM base\nCOPY . /app\n")
    opened: list[str] = []
    plain = LocalContext.open
    monkeypatch.setattr(
        LocalContext, "open", lambda self, node: opened.append(node.path) or plain(self, node)
    )
    (top / "m/k/x").write_text("changed")
    layers(warm, top, "FROM base\nCOPY . /app\n")
    assert 40 in taken and "m/k/x" in opened
    assert not any(path.startswith("many/") or path == "m/a" for path in opened)


def test_a_file_that_changes_once_its_directory_was_listed(
    engines: tuple[Engine, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The range has the bytes that were listed, which are those that the result is known by; the next build sees the
    change."""
    warm, cold = engines
    top = tmp_path / "context"
    fill(top)
    age(top)
    text = "FROM base\nCOPY . /app\n"
    layers(warm, top, text)
    (top / "a").write_text("changed")
    listed = layers(cold, top, text)
    plain = LayerWriter.append_range

    def append_range(self: LayerWriter, source: int, start: int, files: Any) -> int:
        (top / "many/07").write_text("too late")
        return plain(self, source, start, files)

    monkeypatch.setattr(LayerWriter, "append_range", append_range)
    assert layers(warm, top, text) == listed
    assert (top / "many/07").read_text() == "too late"
    monkeypatch.undo()
    assert layers(warm, top, text) == layers(cold, top, text) != listed


def test_a_layer_that_went_is_not_missed(
    engines: tuple[Engine, Engine], tmp_path: Path, taken: list[int]
) -> None:
    warm, cold = engines
    top = tmp_path / "context"
    fill(top)
    age(top)
    text = "FROM base\nCOPY . /app\n"
    gone = layers(warm, top, text)[-1]
    warm.services.layers.get(gone).tar_path.unlink()
    (top / "m/k/x").write_text("changed")
    assert layers(warm, top, text) == layers(cold, top, text)
    assert not taken


def test_random_changes(engines: tuple[Engine, Engine], tmp_path: Path, taken: list[int]) -> None:
    warm, cold = engines
    top = tmp_path / "context"
    fill(top)
    random = chance()
    text = "FROM base\nCOPY . /app\n"
    for _ in range(12):
        age(top)
        assert layers(warm, top, text) == layers(cold, top, text)
        folders = [top, *(path for path in top.rglob("*") if path.is_dir() and not path.is_symlink())]
        for _ in range(random.randrange(1, 4)):
            folder = random.choice([one for one in folders if one.is_dir()])
            path = folder / random.choice(("a", "n", "z", "00", "20x", "y.d"))
            if path.is_dir():
                (path / "in").write_text(str(random.random()))
            elif path.exists() and random.random() < 0.3:
                path.unlink()
            elif not path.exists() and random.random() < 0.3:
                path.mkdir()
            else:
                path.write_bytes(random.randbytes(random.choice((0, 1, 511, 512, 513, 5000))))
    assert taken


def test_nothing_of_a_directory_is_left_out(engines: tuple[Engine, Engine], tmp_path: Path) -> None:
    top = tmp_path / "context"
    fill(top)
    age(top)
    there = {str(path.relative_to(top)) for path in top.rglob("*")} - {"m/b"}
    for change in ("first", "second"):
        (top / "many/01").write_text(change)
        found = layers(engines[0], top, "FROM scratch\nCOPY . /\n")
        with tarfile.open(engines[0].services.layers.get(found[-1]).tar_path) as tar:
            assert {name.rstrip("/") for name in tar.getnames()} == there


def test_runs_of_files_between_directories() -> None:
    files = FolderFiles("", "", "a\0c\0e", [1, 2, 3], [1, 2, 3], b"", ())  # type: ignore[arg-type]
    assert files.runs() == [(0, 3)]
    assert files._replace(breaks=("b", "b2", "e!")).runs() == [(0, 1), (1, 3)]
    assert files._replace(breaks=("A", "z")).runs() == [(0, 3)]
    assert files._replace(breaks=("d", "b")).runs() == [(0, 1), (1, 2), (2, 3)]


def test_everything_that_decides_the_bytes_is_in_the_key() -> None:
    known = {"own": "d", "first": "a", "count": 2, "into": "app", "manner": "0:0  1"}
    keys = {run_key(**known)}  # type: ignore[arg-type]
    for name, other in (("own", "e"), ("first", "b"), ("count", 3), ("into", "ap"), ("manner", "0:0  2")):
        keys.add(run_key(**{**known, name: other}))  # type: ignore[arg-type]
    assert len(keys) == 6


def test_what_was_noted_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "placed"
    placed = Placed(path)
    placed.put(key=b"k", layer="sha256:1", offset=2, length=3)
    placed.save()
    assert Placed(path).find(b"k") == ("sha256:1", 2, 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert Placed(path).find(b"k") is None


def test_files_that_the_base_has_are_in_no_run(
    engines: tuple[Engine, Engine], tmp_path: Path, taken: list[int]
) -> None:
    """What a layer leaves out because the base has it is not taken for what stands there instead."""
    warm, cold = engines
    top = tmp_path / "context"
    for name in ("src/a", "src/b", "src/c", "src/d", "abc/a", "abc/b", "abc/c", "only/b", "other/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name[-1])
    age(top)
    for below in ("abc", "only"):
        layers(warm, top, f"FROM base\nCOPY {below} /d/\nCOPY src /d/\n")
    (top / "src/c5").mkdir()
    (top / "src/c5/x").write_text("new")
    age(top)
    layers(warm, top, "FROM base\nCOPY src /elsewhere/\n")  # the directory as it is now is known
    text = "FROM base\nCOPY other /o/\nCOPY src /d/\n"
    assert layers(warm, top, text) == layers(cold, top, text)
    (top / "src/c5/x").write_text("changed")
    assert layers(warm, top, text) == layers(cold, top, text)
    assert sorted(taken) == [1, 1, 3, 3]  # of the new directory, by each of the two
