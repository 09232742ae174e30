"""Whatever is at the place where something is mounted: as docker 28 has it, under every runtime, and none of it in a layer."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.layer.write import Entry, TarBuilder
from support.containers import Root, busybox_root
from support.image import docker_archive
from support.images import busybox_tar

pytestmark = pytest.mark.rooted

RUNTIMES = [name for name in ("crun", "runc") if shutil.which(name)]
LINKS = {
    "link": "dir",
    "absolute": "/t/dir",
    "linkfile": "file",
    "dangling": "nowhere",
    "deep": "/t/nw/deep",
    "loop": "loop",
    "one": "two",
    "two": "one",
    "out": "../../../../t/dir",
    "outdangling": "../../../../t/outd",
}
# What is asked for, where it is mounted ('' = refused).
PLACES = {
    "/t/none": "/t/none",
    "/t/a/b/c": "/t/a/b/c",
    "/t/dir": "/t/dir",
    "/t/dir/../q": "/t/q",
    "/t/file": "",
    "/t/file/x": "",
    "/t/link": "/t/dir",
    "/t/absolute": "/t/dir",
    "/t/link/new": "/t/dir/new",
    "/t/linkfile": "",
    "/t/dangling": "/t/nowhere",
    "/t/dangling/x": "/t/nowhere/x",
    "/t/deep": "/t/nw/deep",
    "/t/loop": "",
    "/t/loop/x": "",
    "/t/one": "",
    "/t/out": "/t/dir",
    "/t/out/y/z": "/t/dir/y/z",
    "/t/outdangling": "/t/outd",
}


def layer(*entries: Entry | tuple[str, str]) -> bytes:
    """A tar of directories ('d/'), links (name, target) and files."""
    out = io.BytesIO()
    builder = TarBuilder(out)
    for entry in entries:
        if isinstance(entry, tuple):
            entry = Entry(path=entry[0], type="symlink", mode=0o777, link=entry[1])
        builder.add(entry, b"x" * entry.size)
    builder.finish()
    return out.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    links = [(f"t/{name}", target) for name, target in LINKS.items()]
    images = {
        "places": layer(
            Entry(path="t", type="dir", mode=0o755),
            Entry(path="t/dir", type="dir", mode=0o755),
            Entry(path="t/file", size=1),
            *sorted(links),
        ),
        "circle": layer(Entry(path="etc", type="dir", mode=0o755), ("etc/hosts", "hosts")),
        "leads": layer(
            Entry(path="etc", type="dir", mode=0o755),
            ("etc/hosts", "/etc/nw"),
            ("etc/resolv.conf", "../run/x/resolv.conf"),
        ),
        "linked": layer(Entry(path="e", type="dir", mode=0o755), ("etc", "e")),
        "volumes": layer(Entry(path="t", type="dir", mode=0o755), ("t/dangling", "nowhere")),
    }
    with busybox_root(tmp_path_factory.mktemp("places")) as root:
        for name, tar in images.items():
            config = {
                "Cmd": ["sh"],
                **({"Volumes": {"/t/dangling": {}, "/v/w": {}}} if name == "volumes" else {}),
            }
            root.engine.images.load(
                io.BytesIO(docker_archive([([f"{name}:1"], [busybox_tar(), tar])], config=config))
            )
        yield root


@pytest.fixture(autouse=True)
def cleared(root: Root) -> Iterator[None]:
    yield
    root.clean()


def begin(root: Root, runtime: str, *words: str, check: int | None = 0) -> str:
    command = ("run", "--name", "box", "--network", "none", "--runtime", runtime)
    return root.run(*command, *words, check=check).stdout


def untouched(root: Root) -> None:
    """Nothing of the start's own is told of, or gets into an image."""
    assert root.out("diff", "box") == ""
    root.run("commit", "box", "made")
    image = root.engine.services.images_store.resolve_platform("made", None)
    assert root.engine.services.layers.get(image.layers[-1]).entries <= 1  # the top, perhaps


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["volume", "bind", "mount", "tmpfs"])
@pytest.mark.parametrize("place", PLACES)
def test_directories(root: Root, tmp_path: Path, runtime: str, kind: str, place: str) -> None:
    (tmp_path / "mark").touch()
    words = {
        "volume": ("-v", place),
        "bind": ("-v", f"{tmp_path}:{place}"),
        "mount": ("--mount", f"type=bind,source={tmp_path},target={place}"),
        "tmpfs": ("--tmpfs", place),
    }[kind]
    real = PLACES[place]
    script = (
        f"grep -c ' {real} ' /proc/mounts; d={real}; while [ $d != /t ]; do d=${{d%/*}}; stat -c %a $d; done"
    )
    said = begin(root, runtime, *words, "places:1", "sh", "-c", script, check=0 if real else 125)
    if real:
        assert said.split() == ["1", *["755"] * (real.count("/") - 1)]
        untouched(root)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("place", "real"),
    [
        ("/t/none", "/t/none"),
        ("/t/file", "/t/file"),
        ("/t/linkfile", "/t/file"),
        ("/t/dangling", "/t/nowhere"),
        ("/t/a/b", "/t/a/b"),
        ("/t/dir", ""),
        ("/t/loop", ""),
    ],
)
def test_files(root: Root, tmp_path: Path, runtime: str, place: str, real: str) -> None:
    (tmp_path / "file").write_text("mine")
    words = ("-v", f"{tmp_path}/file:{place}", "places:1", "cat", real or "/")
    assert begin(root, runtime, *words, check=0 if real else 125) == ("mine" if real else "")
    if real:
        untouched(root)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_volumes_of_an_image(root: Root, runtime: str) -> None:
    assert begin(
        root, runtime, "volumes:1", "sh", "-c", "cut -d' ' -f2 /proc/mounts | grep -E '^/(t|v)'"
    ).split() == ["/t/nowhere", "/v/w"]
    untouched(root)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("image", ["circle:1", "leads:1", "linked:1"])
def test_a_containers_own_files(root: Root, runtime: str, image: str) -> None:
    script = "head -n 1 /etc/hosts; cat /etc/hostname >&2; test ! -L /etc/hosts && test ! -L /etc/resolv.conf && test -f /etc/resolv.conf"
    assert begin(root, runtime, image, "sh", "-c", script) == "127.0.0.1\tlocalhost\n"
    untouched(root)
    root.run("start", "-a", "box")
    assert root.out("diff", "box") == ""
    # The image's own links are in what is made of it.
    if image == "circle:1":
        root.run("run", "--rm", "--network", "none", "--entrypoint", "true", "made")
        view = root.engine.services.images_store.resolve_platform("made", None)
        assert view.layers[:2] == root.engine.services.images_store.resolve_platform(image, None).layers


def test_what_the_program_puts_beside_a_mount_is_kept(root: Root) -> None:
    begin(root, RUNTIMES[0], "-v", "/t/a/b", "places:1", "touch", "/t/a/own", "/t/a/b/in-the-volume")
    assert root.out("diff", "box").splitlines() == ["C /t", "A /t/a", "A /t/a/own"]
