"""Archives and layouts against the tools that others use: ours are read by them, theirs by us.

Each tool works on directories of its own; dockerd is a private one on a private socket.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.engine import Engine
from boxwright.layer.view import LayersView
from support import REAL_ROOT
from support.image import engine, imported, sound
from support.layer import raw_header
from support.peers import dockerd

pytestmark = pytest.mark.peer


def need(program: str, *, root: bool = False) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{program} is not installed")
    if root and not REAL_ROOT:
        pytest.skip(f"{program} is used as root here")
    return found


def call(*argv: str, **options: object) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return str(done.stdout)


SPARSE = ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """Our archive of images made of sparse tars in every form, as ``sparse:0`` and so on."""
    with open(tmp_path / "holes", "wb") as file:
        file.truncate(300_000)
        file.seek(0, 2)
        file.write(b"end")
    eng = engine(tmp_path / "sparse")
    for n, form in enumerate(SPARSE):
        form = form if "format" in form else f"--format=pax {form}"
        call(
            need("tar"),
            "--sparse",
            *form.split(),
            "-cf",
            str(tmp_path / "s.tar"),
            "-C",
            str(tmp_path),
            "holes",
        )
        with open(tmp_path / "s.tar", "rb") as tar:
            eng.images.import_(tar, f"sparse:{n}")
    with open(tmp_path / "sparse.tar", "wb") as out:
        eng.images.save([f"sparse:{n}" for n in range(len(SPARSE))], out)
    return tmp_path / "sparse.tar"


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Engine, Path, str]:
    """An engine, its archive of one image under two names, and the image ID."""
    eng = engine(tmp_path / "ours")
    image = imported(eng, "peer/app:1", "bin/tool", changes=['CMD ["/bin/tool"]', "ENV A=b", "LABEL l=m"])
    eng.images.tag("peer/app:1", "peer/second:2")
    with open(tmp_path / "ours.tar", "wb") as out:
        eng.images.save(["peer/app:1", "peer/second:2"], out)
    return eng, tmp_path / "ours.tar", image


def loads(path: Path, tmp_path: Path, name: str, *, image: str = "") -> list[str]:
    """What `load` says; the image is then checked through and through."""
    eng = engine(tmp_path / f"theirs-{name}")
    (loaded,) = eng.images.load(path)
    assert sound(eng.services.images_store, loaded.row.image_id)
    if image:
        assert loaded.row.image_id == image
    shown = eng.images.inspect(loaded.row.image_id)
    assert (
        shown["Config"]["Cmd"] == ["/bin/tool"]
        and shown["Config"]["Env"] == ["A=b"]
        and shown["Config"]["Labels"] == {"l": "m"}
    )
    return loaded.lines


# --- skopeo --------------------------------------------------------------------------------------


def test_skopeo_reads_ours(ours: tuple[Engine, Path, str], tmp_path: Path) -> None:
    skopeo = need("skopeo")
    eng, archive, _ = ours
    for source in (
        f"docker-archive:{archive}:peer/app:1",
        f"docker-archive:{archive}:docker.io/peer/second:2",
    ):
        seen = json.loads(call(skopeo, "--insecure-policy", "inspect", "--config", source))
        assert seen["config"]["Cmd"] == ["/bin/tool"]
    call(
        skopeo,
        "--insecure-policy",
        "copy",
        f"docker-archive:{archive}:peer/app:1",
        f"oci:{tmp_path}/layout:x",
    )
    index = json.loads((tmp_path / "layout/index.json").read_text())
    manifest = json.loads(
        (tmp_path / "layout/blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text()
    )
    config = json.loads((tmp_path / "layout/blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    assert config["rootfs"]["diff_ids"] == eng.images.inspect("peer/app:1")["RootFS"]["Layers"]
    seen = json.loads(call(skopeo, "--insecure-policy", "inspect", "--config", f"oci-archive:{archive}:1"))
    assert seen["config"]["Cmd"] == ["/bin/tool"]


def test_skopeo_reads_the_root(ours: tuple[Engine, Path, str], tmp_path: Path) -> None:
    """The store itself is a layout: no export, no archive."""
    skopeo = need("skopeo")
    eng, _, image = ours
    for name in ("peer/app:1", "peer/second:2"):
        seen = json.loads(call(skopeo, "--insecure-policy", "inspect", "--config", f"oci:{eng.root}:{name}"))
        assert seen["config"]["Labels"] == {"l": "m"}
        call(skopeo, "--insecure-policy", "copy", f"oci:{eng.root}:{name}", f"oci:{tmp_path}/copied:x")
    again = engine(tmp_path / "again")
    (loaded,) = again.images.load(tmp_path / "copied")
    assert loaded.row.image_id == image and sound(again.services.images_store, image)
    eng.images.remove("peer/second:2")
    done = subprocess.run([skopeo, "inspect", f"oci:{eng.root}:peer/second:2"], capture_output=True)
    assert done.returncode != 0


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_skopeos_are_loaded(ours: tuple[Engine, Path, str], tmp_path: Path, form: str) -> None:
    skopeo = need("skopeo")
    _, archive, image = ours
    path = tmp_path / "theirs"
    call(
        skopeo,
        "--insecure-policy",
        "copy",
        f"docker-archive:{archive}:peer/app:1",
        f"{form}:{path}:docker.io/peer/their:3",
    )
    # On the way from docker's form to OCI's, skopeo writes the config anew.
    assert loads(path, tmp_path, form, image=image if form == "docker-archive" else "") == [
        "Loaded image: peer/their:3"
    ]


# --- podman and buildah --------------------------------------------------------------------------


def podman_at(tmp_path: Path) -> list[str]:
    # podman refuses a longer --runroot than 50 characters, which the folder of a test easily is.
    run = Path(tempfile.mkdtemp(prefix="podman-"))
    atexit.register(shutil.rmtree, run, ignore_errors=True)
    return [
        need("podman", root=True),
        "--root",
        str(tmp_path / "pod"),
        "--runroot",
        str(run),
        "--storage-driver",
        "vfs",
    ]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_podman(ours: tuple[Engine, Path, str], tmp_path: Path, form: str) -> None:
    podman = podman_at(tmp_path)
    _, archive, image = ours
    said = call(*podman, "load", "-q", "-i", str(archive))
    assert "peer/app:1" in said and "peer/second:2" in said
    assert call(*podman, "image", "inspect", "-f", "{{.Id}}", "peer/app:1").strip() == image[7:]
    theirs = tmp_path / "theirs"
    # Names without a host become podman's own localhost, from docker's archives too.
    call(*podman, "save", "-q", "--format", form, "-o", str(theirs), "localhost/peer/app:1")
    lines = loads(theirs, tmp_path, form, image=image if form == "docker-archive" else "")
    assert lines == ["Loaded image: localhost/peer/app:1"] or form == "oci-dir"


def test_podman_takes_what_was_sparse(sparse: Path, tmp_path: Path) -> None:
    assert call(*podman_at(tmp_path), "load", "-q", "-i", str(sparse)).count("sparse:") == len(SPARSE)


def test_buildah(ours: tuple[Engine, Path, str], tmp_path: Path) -> None:
    buildah = [
        need("buildah", root=True),
        "--root",
        str(tmp_path / "bld"),
        "--runroot",
        str(tmp_path / "bldrun"),
        "--storage-driver",
        "vfs",
    ]
    _, archive, _ = ours
    call(*buildah, "pull", "-q", "--policy", "always", f"docker-archive:{archive}:peer/app:1")
    for form in ("docker-archive", "oci-archive"):
        theirs = tmp_path / f"{form}.tar"
        call(
            *buildah,
            "push",
            "-q",
            "--disable-compression",
            "peer/app:1",
            f"{form}:{theirs}:docker.io/peer/app:4",
        )
        assert "Loaded image: peer/app:4" in loads(theirs, tmp_path, form)


# --- umoci ---------------------------------------------------------------------------------------


def test_umoci(ours: tuple[Engine, Path, str], tmp_path: Path) -> None:
    umoci = need("umoci", root=True)
    _, archive, image = ours
    layout = tmp_path / "layout"
    with tarfile.open(archive) as tar:
        tar.extractall(layout)
    assert set(call(umoci, "ls", "--layout", str(layout)).split()) == {"1", "2"}
    call(umoci, "unpack", "--image", f"{layout}:1", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/bin/tool").read_bytes() == b"content\n"
    assert json.loads((tmp_path / "bundle/config.json").read_text())["process"]["args"] == ["/bin/tool"]
    (tmp_path / "bundle/rootfs/new").write_text("more")
    call(umoci, "repack", "--image", f"{layout}:3", str(tmp_path / "bundle"))
    eng = engine(tmp_path / "theirs")
    loaded = eng.images.load(layout)
    assert {item.row.image_id for item in loaded} > {image}
    for item in loaded:
        assert sound(eng.services.images_store, item.row.image_id)


# --- docker --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command line of a docker whose daemon is ours alone."""
    need("dockerd", root=True), need("docker")
    with dockerd(tmp_path_factory.mktemp("docker")) as command:
        yield command


def test_docker_loads_ours_and_saves_it_back(
    docker: list[str], ours: tuple[Engine, Path, str], tmp_path: Path
) -> None:
    _, archive, image = ours
    said = call(*docker, "load", "-i", str(archive))
    assert "Loaded image: peer/app:1" in said and "Loaded image: peer/second:2" in said
    assert call(*docker, "image", "inspect", "-f", "{{.Id}}", "peer/app:1").strip() == image
    call(*docker, "save", "-o", str(tmp_path / "theirs.tar"), "peer/app:1", "peer/second:2")
    assert loads(tmp_path / "theirs.tar", tmp_path, "docker", image=image) == [
        "Loaded image: peer/app:1",
        "Loaded image: peer/second:2",
    ]
    with open(tmp_path / "theirs.tar", "rb") as stream:
        eng = engine(tmp_path / "streamed")
        assert eng.images.load(stream)[0].row.image_id == image


def test_docker_takes_what_was_sparse(docker: list[str], sparse: Path) -> None:
    assert call(*docker, "load", "-i", str(sparse)).count("Loaded image: sparse:") == len(SPARSE)


BIG = b"\x80" + (4_000_000_000).to_bytes(7, "big")
ZEROS = b"32 size=00000000000000000000003\n"
ODD = {
    "go before 1.8": raw_header(b"foo.txt", size=1, uid=BIG, magic=b"ustar  \0", prefix=b"dir/sub")
    + b"x"
    + bytes(511),
    "v7 directories": raw_header(b"one/", flag=b"\0", size=1, magic=b"")
    + raw_header(b"two/", flag=b"\0", magic=b""),
    "padded numbers": raw_header(b"pax", flag=b"x", size=len(ZEROS))
    + ZEROS
    + bytes(512 - len(ZEROS))
    + raw_header(b"f")
    + b"abc"
    + bytes(509),
}


@pytest.mark.parametrize("name", ODD)
def test_docker_sees_the_same_in_odd_archives(docker: list[str], tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.tar"
    path.write_bytes(ODD[name] + bytes(1024))
    eng = engine(tmp_path / "ours")
    with open(path, "rb") as file:
        layer = eng.services.images_store.resolve_platform(eng.images.import_(file, "odd:1").image_id).layers[
            0
        ]
    with LayersView([eng.services.layers.get(layer)]) as view:
        ours = {node.path: (node.type, node.uid, node.size) for node in view.walk() if node.path}
    container = call(*docker, "create", call(*docker, "import", str(path)).strip(), "x").strip()
    call(*docker, "export", "-o", str(tmp_path / "theirs.tar"), container)
    with tarfile.open(tmp_path / "theirs.tar") as tar:
        theirs = {m.name: ("dir" if m.isdir() else "file", m.uid, m.size) for m in tar}
    made = (".dockerenv", "dev", "etc", "proc", "sys")
    assert ours == {n: said for n, said in theirs.items() if n.partition("/")[0] not in made}


def test_listings_agree_with_docker(docker: list[str], ours: tuple[Engine, Path, str]) -> None:
    eng, archive, _ = ours
    call(*docker, "load", "-i", str(archive))
    theirs = call(
        *docker,
        "images",
        "--format",
        "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}",
        "--filter",
        "reference=peer/*",
    ).splitlines()
    from boxwright.cli.images import image_rows

    rows = [row for item in eng.images.list(filters={"reference": ["peer/*"]}) for row in image_rows(item)]
    assert sorted(f"{r['Repository']}:{r['Tag']} {r['ID']} {r['Size']()}" for r in rows) == sorted(theirs)
    history = json.loads(
        call(*docker, "history", "--no-trunc", "-H=false", "--format", "{{json .}}", "peer/app:1")
    )
    (line,) = eng.images.history("peer/app:1")
    assert (history["ID"], history["Size"], history["Comment"]) == (line.id, str(line.size), line.comment)
