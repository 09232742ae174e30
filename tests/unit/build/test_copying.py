"""COPY and ADD, built for real and without privilege: what the corpus does not have."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.fields import RequestInvalid
from boxwright.build.ops.context import EPOCH
from boxwright.build.request import BuildFailed
from boxwright.layer.write import TarBuilder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    corpus.provide_bases(engine, corpus.small_base(), "base")
    yield engine
    engine.services.db.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / "d/e").mkdir(parents=True)
    for name in ("a", "b", "d/c", "d/e/f"):
        (directory / name).write_text(name)
    return directory


def build(engine: Engine, context: Path | None, text: str, **more: Any) -> dict[str, str]:
    """The tree without the base's own entries."""
    engine.build(context=context, dockerfile_data=text.encode(), tags=("out",), **more)
    base = corpus.tree(engine, "base")
    return {p: what for p, what in corpus.tree(engine, "out").items() if p and base.get(p) != what}


def kinds(tree: dict[str, str]) -> dict[str, str]:
    return {path: " ".join(what.split()[:3]) for path, what in tree.items()}


def test_owners_and_modes(engine: Engine, context: Path) -> None:
    text = "FROM base\nCOPY --chown=daemon a /x/a\nCOPY --chown=5 b /y/\nCOPY --chown=5:6 --chmod=700 d /z\nCOPY --chmod=u=rwX,go= d /w\nUSER 9\nCOPY a /root/a\n"
    assert kinds(build(engine, context, text)) == {
        "x": "dir 0755 1:1",
        "x/a": "file 0644 1:1",
        "y": "dir 0755 5:5",
        "y/b": "file 0644 5:5",
        "z": "dir 0700 5:6",
        "z/c": "file 0700 5:6",
        "z/e": "dir 0700 5:6",
        "z/e/f": "file 0700 5:6",
        "w": "dir 0755 0:0",
        "w/c": "file 0600 0:0",
        "w/e": "dir 0700 0:0",
        "w/e/f": "file 0600 0:0",
        "root/a": "file 0644 0:0",
    }


def test_unknown_owners_are_told(engine: Engine, context: Path) -> None:
    with pytest.raises(BuildFailed, match="unable to find user 9999"):
        build(engine, context, f"FROM base\nCOPY --chown={'9' * 5000}:0 a /a\n")
    with pytest.raises(BuildFailed, match="uids and gids must be in range"):
        build(engine, context, f"FROM base\nCOPY --chown={2**32}:0 a /a\n")
    with pytest.raises(BuildFailed, match="unable to find user whoever"):
        build(engine, context, "FROM base\nCOPY --chown=whoever a /a\n")
    with pytest.raises(BuildFailed, match="numbers"):
        try:
            build(engine, context, "FROM scratch\nCOPY --chown=daemon a /a\n")
        except BuildFailed as error:
            raise BuildFailed(type(error.cause)(error.hint)) from error


@pytest.mark.parametrize("base", ["scratch", "base"])
@pytest.mark.parametrize(
    ("chown", "owner"),
    [
        ("root", "0:0"),
        ("root:root", "0:0"),
        ("root:5", "0:5"),
        ("5:root", "5:0"),
        ("5", "5:5"),
        ("5:", "5:5"),
        (":5", "0:5"),
        (":", "0:0"),
        ("4:5", "4:5"),
    ],
)
def test_owners_that_need_no_file(engine: Engine, context: Path, base: str, chown: str, owner: str) -> None:
    tree = build(engine, context, f"FROM {base}\nCOPY --chown={chown} a /x/a\n")
    assert kinds(tree)["x"] == f"dir 0755 {owner}" and kinds(tree)["x/a"] == f"file 0644 {owner}"


@pytest.mark.parametrize("user", ["nosuch", "nosuch:nogroup", "root"])
@pytest.mark.parametrize("base", ["scratch", "base"])
def test_a_working_directory_of_a_user_that_is_yet_to_be_made(
    engine: Engine, context: Path, base: str, user: str
) -> None:
    tree = build(engine, context, f"FROM {base}\nUSER {user}\nWORKDIR /x/y\n")
    assert kinds(tree)["x/y"] == "dir 0755 0:0"


@pytest.mark.parametrize("line", ["RUN []", "RUN [ ]", "RUN --network=none []"])
def test_run_names_a_program(engine: Engine, context: Path, line: str) -> None:
    with pytest.raises(BuildFailed, match="arguments are required") as caught:
        build(engine, context, f"FROM base\n{line}\n")
    assert ">>> RUN" in caught.value.render()


def test_a_name_with_a_star_is_one_of_many(engine: Engine, context: Path) -> None:
    for name in ("s*r", "star"):
        (context / name).write_text(name)
    assert set(build(engine, context, "FROM scratch\nCOPY s*r /all/\nCOPY s[*]r /one/\n")) == {
        "all",
        "all/s*r",
        "all/star",
        "one",
        "one/s*r",
    }
    text = "FROM scratch AS other\nCOPY . /\nFROM scratch\nCOPY --from=other s*r /\n"
    assert set(build(engine, context, text)) == {"s*r", "star"}


def test_existing_directories_keep_what_they_are(engine: Engine, context: Path) -> None:
    tree = build(engine, context, "FROM base\nCOPY --chown=7 a /tmp/a\nCOPY d /tmp\n")
    assert "tmp" not in tree and kinds(tree)["tmp/a"] == "file 0644 7:7"
    assert corpus.tree(engine, "out")["tmp"] == "dir 1777 0:0"
    (context / "d/e").chmod(0o700)
    assert kinds(build(engine, context, "FROM base\nCOPY d /t\nCOPY d /t\n"))["t/e"] == "dir 0700 0:0"


def test_links_on_the_way(engine: Engine, context: Path) -> None:
    (context / "links").mkdir()
    (context / "links/abs").symlink_to("/real/place")
    (context / "links/up").symlink_to("../../../../../real")
    (context / "links/dangling").symlink_to("nowhere")
    text = "FROM base\nCOPY links /l\nCOPY a /l/abs/\nCOPY b /l/up/place/\nCOPY d /l/dangling\nWORKDIR /l/abs/w\n"
    tree = kinds(build(engine, context, text))
    assert (
        tree["real/place/a"]
        and tree["real/place/b"]
        and tree["l/nowhere/c"]
        and tree["real/place/w"] == "dir 0755 0:0"
    )
    assert tree["l/abs"].startswith("symlink")
    (context / "links/loop").symlink_to("loop")
    with pytest.raises(BuildFailed, match="too many levels of symbolic links"):
        build(engine, context, "FROM base\nCOPY links /l\nCOPY a /l/loop/\n")


def test_sources_that_are_links(engine: Engine, context: Path) -> None:
    (context / "to-dir").symlink_to("d")
    (context / "to-file").symlink_to("/d/c")
    (context / "out").symlink_to("/etc/passwd")
    tree = build(engine, context, "FROM scratch\nCOPY to-dir /x\nCOPY to-file /y/\n")
    assert tree["x/c"] == tree["y/to-file"] and tree["x/c"].startswith("file")
    with pytest.raises(BuildFailed, match="not found"):
        build(engine, context, "FROM scratch\nCOPY out /z\n")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("COPY a /x\nCOPY d /x", "cannot copy to non-directory: /x"),
        ("COPY a /x/y\nCOPY b /x/y/z", "cannot copy to non-directory: /x/y"),
        ("COPY d /x\nCOPY over /x", "cannot replace to directory /x/e with file"),
        ("COPY nothing /", '"/nothing": not found'),
        ("COPY --chmod=9 a /a", "invalid chmod parameter"),
        ("COPY --from=0 /x /y", "circular dependency"),
    ],
)
def test_refusals(engine: Engine, context: Path, lines: str, message: str) -> None:
    (context / "over").mkdir()
    (context / "over/e").write_text("file")
    with pytest.raises(BuildFailed, match=message.replace("(", r"\(")) as caught:
        build(engine, context, f"FROM scratch\n{lines}\n")
    assert ">>> COPY" in caught.value.render()


def test_hard_links_stay_linked(engine: Engine, context: Path) -> None:
    os.link(context / "a", context / "d/linked")
    build(engine, context, "FROM scratch\nCOPY . /\nCOPY --from=base /etc /etc\n")
    assert [line for line in corpus.entries(engine, "out")[0] if line.startswith("h")] == [
        "h 0644 0:0 d/linked a"
    ]


def test_link_and_parents_and_exclude(engine: Engine, context: Path) -> None:
    tree = kinds(
        build(
            engine,
            context,
            "FROM base\nCOPY --link a /etc/new\nCOPY --parents d/./e/f /p/\nCOPY --exclude=**/f d /x\n",
        )
    )
    assert tree == {
        "etc/new": "file 0644 0:0",
        "p": "dir 0755 0:0",
        "p/e": "dir 0755 0:0",
        "p/e/f": "file 0644 0:0",
        "x": "dir 0755 0:0",
        "x/c": "file 0644 0:0",
        "x/e": "dir 0755 0:0",
    }


def test_link_is_not_bound_to_its_base(engine: Engine, context: Path) -> None:
    one = engine.build(context=context, dockerfile_data=b"FROM base\nCOPY --link a /x\n")
    other = engine.build(context=context, dockerfile_data=b"FROM base\nCOPY b /y\nCOPY --link a /x\n")
    assert one.steps[-1].cached is False and other.steps[-1].cached is True


def test_times(engine: Engine, context: Path) -> None:
    """A layer is newer than those below; SOURCE_DATE_EPOCH is taken as it is."""
    text = b"FROM scratch\nCOPY a /a\nCOPY b /b\n"
    assert times(engine, engine.build(context=context, dockerfile_data=text).image_id) == [EPOCH, EPOCH + 1]
    result = engine.build(context=context, dockerfile_data=text, build_args={"SOURCE_DATE_EPOCH": "1000"})
    assert times(engine, result.image_id) == [1000, 1000]
    config = engine.services.images_store.resolve_platform(result.image_id).config
    assert config.created == "1970-01-01T00:16:40Z" and {h.created for h in config.history} == {
        config.created
    }


def seconds(engine: Engine, image: str = "out") -> dict[str, int]:
    from boxwright.layer.view import LayersView

    found = engine.services.images_store.resolve_platform(image)
    with LayersView([engine.services.layers.get(d) for d in found.layers]) as view:
        return {node.path: node.mtime_ns // 1_000_000_000 for node in view.walk("") if node.path}


def above(engine: Engine) -> list[list[str]]:
    """The entries of each layer but the base's."""
    return corpus.entries(engine, "out", above=1)


def test_what_the_parent_has_is_not_written_again(engine: Engine, context: Path) -> None:
    """A layer is a difference: of a whole tree over the same base only what is new is in it."""
    build(engine, context, "FROM base AS a\nCOPY a /etc/a\nFROM base\nCOPY --from=a / /\n")
    assert [line.split()[3] for line in above(engine)[0]] == ["etc", "etc/a"]
    build(engine, context, "FROM base\nCOPY d /d\nCOPY d /d\nCOPY --chmod=600 d/c /d/\nCOPY a /d/c\n")
    assert [[line[:6] + " " + line.split()[3] for line in layer] for layer in above(engine)[1:]] == [
        [],
        ["d 0755 d", "f 0600 d/c"],
        ["d 0755 d", "f 0644 d/c"],
    ]


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({}, False),
        ({"data": b"other"}, True),
        ({"mode": 0o600}, True),
        ({"uid": 7}, True),
        ({"gid": 7}, True),
        ({"mtime": 78}, True),
        ({"pax_headers": {"SCHILY.xattr.user.a": "2"}}, True),
        ({"pax_headers": {}}, True),
    ],
)
def test_what_differs_in_anything_is_written(
    engine: Engine, context: Path, change: dict[str, Any], written: bool
) -> None:
    same = {"data": b"first", "mode": 0o644, "pax_headers": {"SCHILY.xattr.user.a": "1"}}
    archive(context / "one", ("f", dict(same)))
    archive(context / "two", ("f", {**same, **change}))
    text = "FROM base AS two\nADD two /x\nFROM base\nADD one /x\nCOPY --from=two /x/f /x/f\n"
    build(engine, context, text)
    assert bool(above(engine)[1]) == written


def test_names_of_one_file_stay_together(engine: Engine, context: Path) -> None:
    (context / "h").mkdir()
    (context / "h/1").write_text("x")
    (context / "s").mkdir()
    for name in ("1", "2"):
        (context / "s" / name).write_text("x")
    os.link(context / "h/1", context / "h/2")
    build(engine, context, "FROM base\nCOPY h /x\nCOPY h /x\nCOPY s /x\nCOPY s /x\nCOPY h /x\n")
    assert [[line.split()[0] for line in layer] for layer in above(engine)] == [
        ["d", "f", "h"],
        [],
        ["d", "f", "f"],
        [],
        ["d", "f", "h"],
    ]


def test_times_of_a_stage_or_image_stay(engine: Engine, context: Path) -> None:
    archive(context / "t", ("f", {"data": b"1"}), ("d", {"type": tarfile.DIRTYPE}))
    text = (
        "FROM base AS a\nADD t /t\nFROM scratch\nCOPY b /b\nCOPY --from=a /t /t\nCOPY --from=base /etc /etc\n"
    )
    build(engine, context, text)
    found = seconds(engine)
    assert (found["t/f"], found["t/d"], found["etc/passwd"]) == (77, 77, 1_700_000_000)
    build(engine, context, text, build_args={"SOURCE_DATE_EPOCH": "1000"})
    found = seconds(engine)
    assert (found["t/f"], found["b"], found["etc/passwd"]) == (77, 1000, 1000)


def test_another_time_is_another_copy(engine: Engine, context: Path) -> None:
    text = "FROM scratch AS a\nADD t /t\nFROM scratch\nCOPY --from=a /t/f /f\n"
    for at in (77, 78):
        archive(context / "t", ("f", {"data": b"1", "mtime": at}))
        build(engine, context, text)
        assert seconds(engine)["f"] == at


def test_metadata_of_the_context(engine: Engine, context: Path) -> None:
    """Times and the umask's accidents are left out of an image, unless they are wanted."""
    for path, mode in ((context, 0o775), (context / "a", 0o664), (context / "d", 0o775)):
        path.chmod(mode)  # what a umask of 002 makes
    for path in (context / "a", context / "d"):
        os.utime(path, (1234, 1234))
    text = "FROM scratch\nCOPY . /\n"
    tree = kinds(build(engine, context, text))
    assert (tree["a"], tree["d"]) == ("file 0644 0:0", "dir 0755 0:0")
    assert {seconds(engine)[name] for name in ("a", "d")} == {EPOCH}
    tree = kinds(build(engine, context, text, context_metadata="keep"))
    assert (tree["a"], tree["d"]) == ("file 0664 0:0", "dir 0775 0:0")
    assert {seconds(engine)[name] for name in ("a", "d")} == {1234}
    os.utime(context / "a", (1235, 1235))
    build(engine, context, text, context_metadata="keep")
    assert seconds(engine)["a"] == 1235
    with pytest.raises(RequestInvalid, match="normalize or keep"):
        build(engine, context, text, context_metadata="preserve")


def test_metadata_of_a_context_that_arrives_as_a_tar(engine: Engine, context: Path) -> None:
    packed = context / "packed.tar"
    members = [
        ("Dockerfile", {"data": b"FROM scratch\nCOPY . /\n"}),
        ("e", {"type": tarfile.DIRTYPE, "mode": 0o775}),
    ]
    archive(
        packed,
        *members,
        ("e/f", {"data": b"1", "mode": 0o664}),
        ("e/l", {"type": tarfile.SYMTYPE, "linkname": "f"}),
    )
    with packed.open("rb") as stream:
        engine.build(stream=stream, tags=("out",), context_metadata="keep")
    assert {seconds(engine)[name] for name in ("e", "e/f", "e/l")} == {77}
    tree = kinds(corpus.tree(engine, "out"))
    assert (tree["e"], tree["e/f"]) == ("dir 0775 0:0", "file 0664 0:0")


def times(engine: Engine, image: str) -> list[int]:
    from boxwright.layer.view import LayersView

    with LayersView(
        [engine.services.layers.get(d) for d in engine.services.images_store.resolve_platform(image).layers]
    ) as view:
        return [node.mtime_ns // 1_000_000_000 for node in view.walk("") if node.path]


def archive(path: Path, *members: tuple[str, dict[str, Any]], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as tar:
        for name, fields in members:
            info = tarfile.TarInfo(name)
            data = fields.pop("data", b"")
            info.size, info.mtime = len(data), 77
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives(engine: Engine, context: Path, mode: str) -> None:
    archive(
        context / "t",
        ("./", {"type": tarfile.DIRTYPE, "mode": 0o700}),
        ("x/y", {"data": b"1", "mode": 0o4755, "uid": 3, "gid": 4}),
        ("x/y", {"data": b"22", "mode": 0o600}),
        ("l", {"type": tarfile.SYMTYPE, "linkname": "x"}),
        ("l/through", {"data": b"3"}),
        ("h", {"type": tarfile.LNKTYPE, "linkname": "x/through"}),
        ("p", {"type": tarfile.FIFOTYPE}),
        mode=mode,
    )
    tree = build(
        engine,
        context,
        "FROM base\nADD t /tmp\nADD --chown=8:9 t /new/\nADD --unpack=false t /kept\nCOPY t /copied\n",
    )
    shown = kinds(tree)
    assert (
        shown["tmp/x/y"] == "file 0600 0:0"
        and shown["tmp/x/through"] == "file 0644 0:0"
        and tree["tmp/h"] == tree["tmp/x/through"]
    )
    assert (
        shown["new"] == "dir 0755 8:9"
        and shown["new/x/y"] == "file 0600 8:9"
        and shown["tmp/p"] == "fifo 0644 0:0"
    )
    assert tree["kept"] == tree["copied"] and "tmp" not in tree
    lines = [
        line for line in corpus.entries(engine, "out", above=1)[0] if "through" in line or " tmp/h " in line
    ]
    assert lines == ["f 0644 0:0 tmp/h  4e07408562be", "h 0644 0:0 tmp/x/through tmp/h"]


@pytest.mark.parametrize("place", ["/in/", "/there/in", "/"])
def test_archives_stay_below_their_destination(engine: Engine, context: Path, place: str) -> None:
    """The destination is the root for the archive's links, and for those that are there already."""
    archive(
        context / "t",
        ("up", {"type": tarfile.SYMTYPE, "linkname": ".."}),
        ("up/etc/mine", {"data": b"1"}),
        ("far", {"type": tarfile.SYMTYPE, "linkname": "/../../.."}),
        ("far/etc/new", {"data": b"2"}),
        ("abs", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
        ("abs/other", {"data": b"3"}),
        ("chain", {"type": tarfile.SYMTYPE, "linkname": "up/abs"}),
        ("chain/last", {"data": b"4"}),
        ("hard", {"type": tarfile.LNKTYPE, "linkname": "chain/last"}),
        ("/rooted", {"data": b"5"}),
        ("here/link/kept", {"data": b"6"}),
    )
    (context / "here").mkdir()
    (context / "here/link").symlink_to("../../../etc")
    text = f"FROM base\nCOPY here {place}/here\nADD t {place}\n"
    before = f"FROM base\nCOPY here {place}/here\n"
    top = place.strip("/") + "/" if place.strip("/") else ""
    known = set(build(engine, context, before))
    assert set(build(engine, context, text)) - known == {
        f"{top}{name}"
        for name in ("up", "far", "abs", "chain", "hard", "rooted")
        + (("etc",) if top else ())
        + ("etc/mine", "etc/new", "etc/other", "etc/last", "etc/kept")
    }


def test_hostile_archives_are_refused(engine: Engine, context: Path) -> None:
    for members in (
        [("../up", {"data": b"x"})],
        [("h", {"type": tarfile.LNKTYPE, "linkname": "missing"})],
        [("h", {"type": tarfile.LNKTYPE, "linkname": "../etc/passwd"})],
        [("h", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})],
    ):
        archive(context / "t", *members)
        with pytest.raises(BuildFailed, match=r"leads out|no file of it"):
            build(engine, context, "FROM base\nADD t /in/\n")
    archive(context / "t", *((f"f{n}", {"data": os.urandom(3000)}) for n in range(20)))
    (context / "t").write_bytes((context / "t").read_bytes()[:-20_000])
    with pytest.raises(BuildFailed):
        build(engine, context, "FROM base\nADD t /in/\n")
    assert not list(engine.system.fsck())


def test_hard_links_of_an_archive_to_what_is_there(engine: Engine, context: Path) -> None:
    """They name the file of the layer below, which is told again with them; also one that the same ADD brought."""
    archive(
        context / "t",
        ("sub/l", {"type": tarfile.LNKTYPE, "linkname": "a"}),
        ("m", {"type": tarfile.LNKTYPE, "linkname": "b"}),
    )
    text = "FROM base\nCOPY --chown=3 --chmod=640 a /in/a\nADD b t /in/\n"
    tree = build(engine, context, text)
    assert tree["in/sub/l"] == tree["in/a"] and tree["in/a"].startswith("file 0640 3:3")
    assert tree["in/m"] == tree["in/b"]
    lines = [line for line in corpus.entries(engine, "out", above=2)[0] if line.startswith("h")]
    assert lines == ["h 0644 0:0 in/m in/b", "h 0640 3:3 in/sub/l in/a"]


def test_what_only_looks_like_an_archive_is_copied(engine: Engine, context: Path) -> None:
    import gzip

    for data in (gzip.compress(b"no tar at all" * 100), b"\x1f\x8b" + bytes(100), b"", bytes(2000)):
        (context / "t.gz").write_bytes(data)
        assert kinds(build(engine, context, "FROM base\nADD t.gz /in/\n")) == {
            "in": "dir 0755 0:0",
            "in/t.gz": "file 0644 0:0",
        }


def test_a_file_that_changes_while_it_is_copied(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxwright.build.ops import place

    old = place.place

    def touched(**named: Any) -> Any:
        (context / "a").write_text("something longer than before")
        return old(**named)

    monkeypatch.setattr(place, "place", touched)
    with pytest.raises(BuildFailed, match="changed while it was"):
        build(engine, context, "FROM scratch\nCOPY . /\n")
    monkeypatch.undo()
    assert "a" in build(engine, context, "FROM scratch\nCOPY . /\n")


def test_a_large_file_that_is_written_while_it_is_copied(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is known of an earlier build: no result stands under it that has other bytes."""
    large = context / "large"
    large.write_bytes(bytes(3 << 20))
    os.utime(large, (1_600_000_000, 1_600_000_000))
    build(engine, context, "FROM scratch\nCOPY large /first\n")
    old = TarBuilder.content_stream

    def written(self: TarBuilder, stream: Any, size: int, path: str) -> None:
        with large.open("r+b") as file:
            file.seek(2 << 20)
            file.write(b"new")
        old(self, stream, size, path)

    monkeypatch.setattr(TarBuilder, "content_stream", written)
    with pytest.raises(BuildFailed, match="changed while it was"):
        build(engine, context, "FROM scratch\nCOPY large /second\n")
    monkeypatch.undo()
    large.write_bytes(bytes(3 << 20))
    build(engine, context, "FROM scratch\nCOPY large /second\n")
    [layer] = engine.services.images_store.resolve_platform("out").layers
    assert b"new" not in engine.services.layers.get(layer).tar_path.read_bytes()


def test_outputs(engine: Engine, context: Path, tmp_path: Path) -> None:
    from boxwright.build.request import Output

    text = b"FROM scratch\nCOPY d /d\nCOPY --chmod=755 a /\n"
    result = engine.build(
        context=context,
        dockerfile_data=text,
        outputs=(Output("local", str(tmp_path / "o")), Output("tar", str(tmp_path / "o.tar"))),
    )
    assert (
        result.image_id == ""
        and (tmp_path / "o/d/e/f").read_text() == "d/e/f"
        and os.access(tmp_path / "o/a", os.X_OK)
    )
    with tarfile.open(tmp_path / "o.tar") as tar:
        assert tar.getnames() == ["a", "d", "d/c", "d/e", "d/e/f"]
    engine.build(
        context=context,
        dockerfile_data=text,
        tags=("packed:1",),
        outputs=(Output("oci", str(tmp_path / "oci.tar")),),
    )
    assert engine.services.images_store.find("packed:1") is None  # it was wanted as a file only
    engine.build(context=context, dockerfile_data=text, tags=("packed:1",))
    other = Engine(tmp_path / "other")
    other.images.load(tmp_path / "oci.tar")
    assert corpus.tree(other, "packed:1") == corpus.tree(engine, "packed:1")
    other.services.db.close()


def test_several_platforms(engine: Engine, context: Path) -> None:
    text = b"FROM scratch\nARG TARGETARCH\nCOPY a /for-$TARGETARCH\n"
    result = engine.build(
        context=context, dockerfile_data=text, tags=("multi",), platforms=("linux/amd64", "linux/arm64")
    )
    for platform, name in (("linux/amd64", "for-amd64"), ("linux/arm64", "for-arm64")):
        found = engine.services.images_store.resolve_platform("multi", platform)
        assert str(found.config.platform) == platform and str(found.target.digest) == result.target
        from boxwright.layer.view import LayersView

        with LayersView([engine.services.layers.get(d) for d in found.layers]) as view:
            assert view.listdir("") == [name]


def test_one_platform_in_an_index(engine: Engine, context: Path) -> None:
    text = b"FROM scratch\nCOPY a /a\n"
    asked = {"BUILDKIT_MULTI_PLATFORM": "true"}
    result = engine.build(context=context, dockerfile_data=text, tags=("x",), build_args=asked)
    assert result.descriptor["mediaType"] == "application/vnd.oci.image.index.v1+json"
    found = engine.services.images_store.resolve_platform("x")
    assert str(found.target.digest) == result.target
    again = engine.build(context=context, dockerfile_data=text, build_args={"BUILDKIT_MULTI_PLATFORM": "0"})
    assert again.descriptor["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_nothing_new_is_the_same_image(engine: Engine, context: Path) -> None:
    text = b"FROM base\nENV A=1\nLABEL b=2\n"
    first = engine.build(dockerfile_data=text, tags=("x",))
    again = engine.build(dockerfile_data=text, tags=("x", "y"))
    assert first.image_id == again.image_id and first.target == again.target
    assert engine.services.images_store.resolve("y").image_id == first.image_id
    assert engine.build(dockerfile_data=text, labels={"c": "3"}).image_id != first.image_id


def test_a_step_opens_only_the_layer_of_the_step_before(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step costs does not grow with the layers below it."""
    from boxwright.layer import source

    opened: list[str] = []
    plain = source.TarSource.__init__

    def init(self: source.TarSource, layer: Any) -> None:
        opened.append(str(layer.diff_id))
        plain(self, layer)

    monkeypatch.setattr(source.TarSource, "__init__", init)
    engine.build(
        context=context,
        dockerfile_data=("FROM base\n" + "".join(f"COPY a /{n}\n" for n in range(30))).encode(),
        tags=("out",),
    )
    assert len(opened) == len(set(opened)) == 30
