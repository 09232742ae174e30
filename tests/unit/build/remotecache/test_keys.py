"""BuildKit's names of steps: the digests are those that docker 28.5 (BuildKit 0.25) wrote for the same Dockerfile."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.context.local import LocalContext
from boxwright.build.context.tree import SourceSet
from boxwright.build.graph import Graph, Selection, Tree, Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecMount, ExecOp, StepLimits
from boxwright.build.ops.git import GitOp
from boxwright.build.ops.http import HttpOp
from boxwright.build.ops.source import ImageOp, ScratchOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.build.remotecache.contents import Picked, selected
from boxwright.build.remotecache.keys import KeyInput, KnownKeys, describe, go_json
from boxwright.files.trees import erase
from boxwright.spec.digest import DiffID
from boxwright.spec.values import replace

BASE = Tree((DiffID.parse("sha256:49e44d06c4d0a1ec5d6e19b860712c7c8726e88560bda5997ec31918670f8452"),))
ROOT = "sha256:8a5edab282632443219e051e4ade2d1d5bbc671c781051bf1437897cbdfea0f1"  # sha256("/")
AGENT = ExecMount(type="ssh", target="/run/buildkit/ssh_agent.0", id="default")
SHM = {"shm_size": 100 << 20, "ulimits": ("nofile=100:200",)}
COPY = CopyPart(origin="context", source="a.txt")


def image(graph: Graph) -> Vertex:
    return graph.vertex(ImageOp("sha256:" + "0" * 64, "linux/amd64"), settled=BASE)


def key(op: object, selection: Selection | None = None) -> tuple[str, tuple[KeyInput, ...]]:
    graph = Graph()
    found = describe(graph.vertex(op, [image(graph), image(graph)]), selection)  # type: ignore[arg-type]
    assert found is not None
    return found.digest[7:19], found.inputs


def run(*argv: str, **more: object) -> ExecOp:
    env = (("PATH", "/usr/bin:/bin"),)
    fields = {"env": env, "cwd": "/", "platform": "linux/amd64", "network": "none", **more}
    return ExecOp(argv=("/bin/sh", "-c", *argv), **fields)  # type: ignore[arg-type]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Selection]:
    folder = tmp_path / "context"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text("hello\n")
    (folder / "a.txt").chmod(0o644)
    with LocalContext(folder) as tree:
        yield Selection("", payload=(SourceSet(tree, ()),))


def test_an_image_is_its_layers() -> None:
    graph = Graph()
    found = describe(image(graph), None)
    assert found is not None and found.digest[7:19] == "87ed3f3ef3e9"


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as the process may have: a walk holds one for each directory on its way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"this process may have {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000 if hard == resource.RLIM_INFINITY else hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
def test_a_context_may_be_deep(tmp_path: Path) -> None:
    """A directory's name is made of those below it, 1500 levels down."""
    top = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=top)
        below = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    try:
        with LocalContext(tmp_path) as tree:
            selection = Selection("", payload=(SourceSet(tree, ()),))
            found = key(CopyOp(parts=(CopyPart(origin="context", source="d"),), dest="/d"), selection)
    finally:
        erase(tmp_path / "d")  # pytest would not get so deep
    assert found[1][1].contents


def test_files_are_read_once_for_all_places(read: Selection) -> None:
    class Counted:
        def __init__(self, tree: Any) -> None:
            self.tree, self.opened = tree, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.tree, name)

        def open(self, node: Any) -> Any:
            self.opened += 1
            return self.tree.open(node)

    counted: Any = Counted(read.payload[0].tree)
    graph = Graph()
    vertex = graph.vertex(CopyOp(parts=(COPY,), dest="/src/"), [image(graph)])
    known: dict[str, Selection | None] = {}
    keys = KnownKeys(lambda: known)
    assert keys.waits(vertex) and keys.of(vertex) is None
    known[vertex.id] = Selection("", payload=(SourceSet(counted, ()),))
    assert not keys.waits(vertex)
    assert keys.of(vertex) == keys.of(vertex) == describe(vertex, read) and counted.opened == 1
    several = CopyOp(parts=(COPY, replace(COPY, source="more")), dest="/src/")
    key(several, Selection("", payload=(SourceSet(counted, ()),) * 2))
    assert counted.opened == 2


def test_run() -> None:
    copied = run("cat a.txt > out.txt && date +%N >> out.txt", cwd="/src")
    assert key(copied) == ("0ef3099ef5a7", (KeyInput(0, ROOT),))
    made = run("mkdir /data && echo hi > /data/x", env=(("PATH", "/usr/bin:/bin"), ("X", "1")))
    assert key(made)[0] == "360da1dbc139"
    # A default PATH is in the environment of a step that has none, the address of a host is not in its name.
    assert key(run("x", env=())) == key(
        run("x", env=(("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),))
    )
    assert key(run("x", hosts=(("a", "10.0.0.1"),))) == key(run("x", hosts=(("a", "10.0.0.2"),)))
    differing = [
        run("x"),
        run("y"),
        run("x", user="1"),
        run("x", network="default"),
        run("x", security="insecure"),
    ]
    differing += [run("x", hosts=(("a", "10.0.0.1"),)), run("x", platform="linux/arm/v7"), run("x", cwd="/x")]
    differing += [run("x", build_args=(("A", "1"),)), run("x", hostname="other")]
    assert len({key(op) for op in differing}) == len(differing)


def test_mounts() -> None:
    """A cache is known by where it is alone, unless it is the usual one; secrets by what they are called."""

    def cache(**more: object) -> tuple[str, tuple[KeyInput, ...]]:
        fields = {"type": "cache", "target": "/c", "id": "/c", "readonly": False, **more}
        return key(run("x", mounts=(ExecMount(**fields),)))  # type: ignore[arg-type]

    assert cache(id="other") == cache(id="another") == cache(sharing="locked") != cache()
    assert cache(target="/d", id="/d") != cache()
    secret = ExecMount(type="secret", target="/run/secrets/s", id="s")
    tmpfs = ExecMount(type="tmpfs", target="/t")
    assert len({key(run("x", mounts=m)) for m in ((), (secret,), (tmpfs,), (tmpfs, secret))}) == 4
    assert cache(uid=5)[1] != cache(mode=0o700)[1] != cache()[1] and cache(uid=5)[0] != cache()[0]


def test_what_is_mounted_is_an_input(tmp_path: Path, read: Selection) -> None:
    """Parts of one stage are one input, a part of the context is its content, an agent has its place."""
    graph = Graph()
    base, stage = image(graph), graph.vertex(WorkdirOp("/x"), [image(graph)])
    part = CopyOp(parts=(COPY,), dest="/a.txt")
    files = graph.vertex(part, [graph.vertex(ScratchOp(), settled=Tree(), hidden=True)], hidden=True)
    mounts = (
        ExecMount(type="bind", target="/m", source="/g", input=1),
        ExecMount(type="bind", target="/a/f", source="/f", input=2),
        ExecMount(type="bind", target="/z", source="/a.txt", input=3),
        ExecMount(type="ssh", target="/run/buildkit/ssh_agent.0", id="default"),
    )
    vertex = graph.vertex(run("ls /m", mounts=mounts), [base, stage, stage, files])
    assert describe(vertex, None) is None  # what is read of the context is not known yet
    known: dict[str, Selection | None] = {}
    keys = KnownKeys(lambda: known)
    assert keys.waits(vertex)
    known[files.id] = read
    found = keys.of(vertex)
    assert not keys.waits(vertex) and found is not None
    assert [(one.number, one.selector[7:15]) for one in found.inputs] == [
        (0, "8a5edab2"),
        (1, hashlib.sha256(b"/f\0/g").hexdigest()[:8]),
        (-1, ""),
    ]
    assert found.inputs[2].contents[0][7:19] == "c24a47b57646"


def test_patterns(tmp_path: Path) -> None:
    """Files are told apart by their names, and by older versions only where no directory is among them."""
    for name in ("one/a", "one/b", "two/a", "three/one/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name[-1])
    (tmp_path / "to").symlink_to("two")
    with LocalContext(tmp_path) as tree:
        assert len(selected(tree, [Picked("/one/*")])) == 2 and len(selected(tree, [Picked("/one/a")])) == 1
        assert (
            selected(tree, [Picked("/one/?")])
            == selected(tree, [Picked("/one/*")])
            != selected(tree, [Picked("/two/*")])
        )
        assert selected(tree, [Picked("/t*/?")])[1] == selected(tree, [Picked("/two/*")])[1]
        assert selected(tree, [Picked("/t*/?")])[0] != selected(tree, [Picked("/two/*")])[0]
        assert len(selected(tree, [Picked("/t*")])) == 1 and selected(tree, [Picked("/to/*")]) == ()
        assert selected(tree, [Picked("/none*")]) == selected(tree, [Picked("/gone/*")])
        assert selected(tree, [Picked("/gone")]) == ()


def test_what_is_left_out(tmp_path: Path) -> None:
    """What --exclude leaves out, and what --parents does not take, has no part in the name; where a file is, has."""
    (tmp_path / "dir/sub").mkdir(parents=True)
    for name in ("dir/a", "dir/b.md", "dir/sub/c", "dir/sub/d.md"):
        (tmp_path / name).write_text(name)
    (tmp_path / "to").symlink_to("dir/a")

    def read(path: str, *included: str, excluded: tuple[str, ...] = ("**/*.md",)) -> tuple[str, ...]:
        with LocalContext(tmp_path) as tree:
            return selected(tree, [Picked(path, included, excluded)])

    forms = {
        "tree": read("/dir"),
        "one": read("/dir/a"),
        "link": read("/to"),
        "pattern": read("/*"),
        "parents": read("/", "dir/sub"),
        "below": read("/dir", "**/c"),
        "but": read("/dir", excluded=("*", "!sub/c")),
        "top": read("/", excluded=("*.md", "dir/sub")),
    }
    old = {name for name, digests in forms.items() if len(digests) == 2}
    assert old == {"one", "link", "parents"}  # there is no directory whose files could be another's
    assert forms["one"] == forms["link"] and forms["below"] == forms["but"]
    assert len({one[0] for one in forms.values()}) == len(forms) - 2
    (tmp_path / "dir/b.md").write_text("other")
    (tmp_path / "dir/sub/new.md").touch()
    again = {name: read(*path) for name, path in {"tree": ("/dir",), "parents": ("/", "dir/sub")}.items()}
    assert again == {name: forms[name] for name in again}
    (tmp_path / "dir/sub/c").rename(tmp_path / "dir/c")
    assert read("/dir")[0] != forms["tree"][0] and read("/dir", "**/c")[0] != forms["below"][0]
    assert read("/gone") == read("/none") == read("/dir", excluded=("**",))


def test_parents_and_exclude_are_in_the_key(read: Selection) -> None:
    def one(source: str = "a.txt", **more: Any) -> str:
        return key(CopyOp(parts=(replace(COPY, source=source),), dest="/x/", **more), read)[0]

    found = [
        one(),
        one(excludes=("*.md",)),
        one(excludes=("!*.md",)),
        one(parents=True),
        one("./a*", parents=True),
        one("more/./a.txt", parents=True),
    ]
    assert len(set(found)) == len(found)
    assert one("/a.txt", parents=True) == one(parents=True) == one("./a.txt", parents=True)


def test_names_that_docker_wrote(read: Selection) -> None:
    """Of files, owners, modes and texts."""
    text = CopyPart(origin="inline", source="EOF", data="hello\n")
    stage = CopyPart(origin="input", source="/f", input=1)
    script = ("/dev/pipes/EOF", "#!/bin/sh\necho 7\n")
    found = {
        "owner": key(CopyOp(parts=(stage,), dest="/f2", chown="me"))[0],
        "numbers": key(CopyOp(parts=(COPY,), dest="/c2", chown="5:6"), read)[0],
        "root": key(CopyOp(parts=(COPY,), dest="/c5", chown="root:root"), read)[0],
        "mode": key(CopyOp(parts=(COPY,), dest="/c6", chmod="u+x"), read)[0],
        "exclude": key(CopyOp(parts=(COPY,), dest="/x2/", excludes=("*.tmp",)), read)[0],
        "text": key(CopyOp(parts=(text,), dest="/h1"))[0],
        "made": key(CopyOp(parts=(text,), dest="/h1"))[1][1].made[7:19],
        "workdir": key(WorkdirOp("/home/wd", user="me"))[0],
        "agent": key(run("true", mounts=(AGENT,), **SHM))[0],
        "script": key(replace(run(**SHM), argv=("/dev/pipes/EOF",), script=script))[0],
    }
    assert found == {
        "owner": "70907a3d42a4",
        "numbers": "416817abf020",
        "root": "fceee8e2ee4c",
        "mode": "f696ef7f7dcc",
        "exclude": "f44be82f3bde",
        "text": "7d18606906f4",
        "made": "937d81f2e889",
        "workdir": "2e450afe6810",
        "agent": "1a655c1ad65b",
        "script": "ef73f9148db3",
    }


def test_on_nothing(read: Selection) -> None:
    graph = Graph()
    empty = graph.vertex(ScratchOp(), settled=Tree(), hidden=True)
    plain = describe(graph.vertex(CopyOp(parts=(COPY,), dest="/a"), [empty]), read)
    linked = describe(graph.vertex(CopyOp(parts=(COPY,), dest="/a", link=True), [empty]), read)
    assert plain is not None and plain == linked and plain.merged is None and len(plain.inputs) == 1
    made = describe(graph.vertex(WorkdirOp("/w"), [empty]), None)
    assert made is not None and made.inputs == () and made.digest != key(WorkdirOp("/w"))[0]


def test_workdir() -> None:
    assert key(WorkdirOp("/src")) == ("57a5ab45ee83", (KeyInput(0),))


def test_copy(read: Selection) -> None:
    digest, inputs = key(CopyOp(parts=(COPY,), dest="/src/"), read)
    assert digest == "dc205a0f3d0a" and inputs[0] == KeyInput(0)
    assert inputs[1].contents[0][7:19] == "c24a47b57646"
    stage = CopyOp(parts=(CopyPart(origin="input", source="/src/out.txt", input=1),), dest="/out.txt")
    digest, inputs = key(stage)
    assert digest == "267ff8682149" and inputs[1].number == 1 and inputs[1].selector[7:15] == "b7e0ad9e"


def test_copy_that_does_not_depend_on_its_base(read: Selection) -> None:
    graph = Graph()
    found = describe(graph.vertex(CopyOp(parts=(COPY,), dest="/linked.txt", link=True), [image(graph)]), read)
    assert found is not None and found.merged is not None
    assert (found.digest[7:19], found.merged.digest[7:19]) == ("5dbfbafede47", "1572661c8927")


def test_what_has_no_name_there(read: Selection) -> None:
    """A step that would be found by less than decides it is not found at all."""
    unnamed = [
        run("x", limits=StepLimits(memory=1 << 20)),
        run("x", devices=(("a/b=c", True),)),
        run("x", epoch=5),
        WorkdirOp("/x", epoch=5),
        CopyOp(parts=(COPY,), dest="/x", chown="me:"),
        CopyOp(parts=(replace(COPY, source="/"),), dest="/x", parents=True),
        CopyOp(parts=(CopyPart(origin="context", source="a\\\\.txt"),), dest="/x"),
        CopyOp(parts=(CopyPart(origin="context", source="gone"),), dest="/x"),
        CopyOp(parts=(COPY,), dest="/x", chmod="755", link=True),
    ]
    for op in unnamed:
        graph = Graph()
        assert describe(graph.vertex(op, [image(graph), image(graph)]), read) is None, op


def test_what_is_fetched() -> None:
    """By what it is, not by where it came from; with nothing known, and where more decides, it has no name."""
    commit, digest = "0123456789" * 4, f"sha256:{'5' * 64}"
    known = {"digest": digest, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}

    def one(op: Any, source: str, selected: object = None) -> str | None:
        graph = Graph()
        of = graph.vertex(op)
        copy = CopyOp(parts=(CopyPart(origin="input", source=source, input=1),), dest="/x")
        there = Selection("", payload=selected) if selected is not None else None
        keys = KnownKeys(lambda: {of.id: there} if there is not None else {})
        vertex = graph.vertex(copy, [image(graph), of])
        assert keys.waits(vertex) == (there is None and of.op.reads == "remote")
        found = keys.of(vertex)
        return found.inputs[1].made if found is not None else None

    url, sums = HttpOp("http://a/f"), HttpOp("http://a/f", digest)
    assert one(url, "/f", known) == one(HttpOp("https://b/c/f?x"), "/f", known) != one(sums, "/f")
    assert one(url, "/f", {**known, "modified": ""}) == one(sums, "/f") is not None
    assert one(url, "/f") is None and one(replace(url, epoch=5), "/f", known) is None
    assert one(HttpOp("http://a/f/"), "/__unnamed__", known) is None
    branch, fixed = GitOp(url="http://a/r.git"), GitOp(url="http://b/r.git", ref=commit)
    assert one(branch, "//.", commit) == one(fixed, "//.") != one(fixed, "/sub/.")
    others = {one(replace(fixed, submodules=False), "//."), one(replace(fixed, mtime="commit"), "//.")}
    assert len({*others, one(fixed, "//."), None}) == 4
    assert one(branch, "//.") is None and one(replace(fixed, keep_git_dir=True), "//.") is None


def test_json_is_go_s() -> None:
    assert go_json({"a": '<&>"é\u2028\n'}) == '{"a":"\\u003c\\u0026\\u003e\\"é\\u2028\\n"}'.encode()
