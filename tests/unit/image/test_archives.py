"""load and save: what goes out comes back, and what others write comes in."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from boxwright.content.verify import ContentMismatch
from boxwright.engine import Engine
from boxwright.errors import BoxwrightError, Corrupt, Invalid
from boxwright.image.catalog import NoSuchImage
from boxwright.image.members import ArchiveInvalid
from boxwright.image.store import PlatformAbsent
from boxwright.spec.platform import host
from support.image import (
    config,
    digest,
    docker_archive,
    engine,
    imported,
    members_of,
    oci_files,
    rootfs,
    saved,
    sound,
    tar_of,
    write_files,
)
from support.layer import make_tar, member

Load = Callable[[Engine, bytes], list[list[str]]]


class _Pipe(io.RawIOBase):
    """A stream that cannot be sought and gives what it likes."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:7000])


def from_file(eng: Engine, data: bytes) -> list[list[str]]:
    path = eng.root.parent / f"{eng.root.name}.tar"
    path.write_bytes(data)
    return [loaded.lines for loaded in eng.images.load(path)]


def from_stream(eng: Engine, data: bytes) -> list[list[str]]:
    return [loaded.lines for loaded in eng.images.load(io.BufferedReader(_Pipe(data)))]


@pytest.fixture(params=[from_file, from_stream], ids=["file", "stream"])
def load(request: pytest.FixtureRequest) -> Load:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    return engine(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> Engine:
    return engine(tmp_path / "two")


def test_a_round_trip_is_byte_identical(eng: Engine, other: Engine, load: Load) -> None:
    first = imported(eng, "app:1", "a", changes=['CMD ["x"]'])
    eng.images.tag("app:1", "host:5000/team/app:2")
    second = imported(eng, "base", "a", "b")
    wanted = ("app:1", "host:5000/team/app:2", "base")
    archive = saved(eng, *wanted)
    assert archive == saved(eng, *wanted)
    assert load(other, archive) == [
        ["Loaded image: app:1", "Loaded image: host:5000/team/app:2"],
        ["Loaded image: base:latest"],
    ]
    assert {i.id for i in other.images.list()} == {first, second}
    assert saved(other, *wanted) == archive
    assert all(sound(other.services.images_store, name) for name in wanted)
    assert load(other, archive) == [
        ["Loaded image: app:1", "Loaded image: host:5000/team/app:2"],
        ["Loaded image: base:latest"],
    ]


def test_the_archive_is_a_layout_and_dockers_form_at_once(eng: Engine) -> None:
    image = imported(eng, "app:1")
    files = members_of(saved(eng, "app:1"))
    index = json.loads(files["index.json"])["manifests"][0]
    assert index["annotations"] == {
        "io.containerd.image.name": "docker.io/library/app:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert digest(files["blobs/sha256/" + index["digest"][7:]]) == index["digest"]
    (entry,) = json.loads(files["manifest.json"])
    assert entry["Config"] == "blobs/sha256/" + image[7:] and entry["RepoTags"] == ["app:1"]
    assert all(path in files for path in (entry["Config"], *entry["Layers"]))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_an_id_is_saved_without_a_name(eng: Engine, other: Engine, load: Load) -> None:
    image = imported(eng, "app:1")
    assert load(other, saved(eng, image[7:19])) == [[f"Loaded image ID: {image}"]]


def test_a_repository_means_all_its_tags(eng: Engine, other: Engine) -> None:
    imported(eng, "team/app:1", "1")
    imported(eng, "team/app:2", "2")
    imported(eng, "team/apple:1", "3")
    assert from_file(other, saved(eng, "team/app")) == [
        ["Loaded image: team/app:1"],
        ["Loaded image: team/app:2"],
    ]
    assert from_file(other, saved(eng, "team/app:2")) == [["Loaded image: team/app:2"]]


def test_saving_what_is_missing(eng: Engine) -> None:
    imported(eng, "app")
    with pytest.raises(NoSuchImage):
        saved(eng, "app", "nosuch")
    with pytest.raises(PlatformAbsent, match="linux/s390x"):
        saved(eng, "app", platform="linux/s390x")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_dockers_old_form(other: Engine, load: Load, compress: bool, first: bool) -> None:
    layers = [rootfs("a"), rootfs("b")]
    archive = docker_archive(
        [(["app:1", "reg.io/x:2"], layers), ([], layers[:1])], compress=compress, first=first
    )
    lines = load(other, archive)
    assert lines[0] == ["Loaded image: app:1", "Loaded image: reg.io/x:2"]
    assert lines[1][0].startswith("Loaded image ID: sha256:")
    assert sound(other.services.images_store, "app:1")
    config = next(name for name in members_of(archive) if name.endswith(".json") and len(name) == 69)
    assert {i.id[7:] + ".json" for i in other.images.list()} >= {config}
    assert load(other, archive) == lines


def test_layers_may_be_links(other: Engine, load: Load) -> None:
    """docker once saved a repeated layer as a symbolic link to the first."""
    layer = rootfs("a")
    archive = members_of(docker_archive([(["app:1"], [layer])]))
    path = json.loads(archive["manifest.json"])[0]["Layers"][0]
    moved = {("real/layer.tar" if name == path else name): data for name, data in archive.items()}
    tar = make_tar(
        *(member(n, data=d) for n, d in moved.items()), member(path, b"2", linkname="../real/layer.tar")
    )
    assert load(other, tar) == [["Loaded image: app:1"]]


@pytest.mark.parametrize("gz", [True, False])
def test_layouts(other: Engine, load: Load, gz: bool, tmp_path: Path) -> None:
    files = oci_files([rootfs("a"), rootfs("b")], name="docker.io/library/app:1", gz=gz)
    assert load(other, tar_of(files)) == [["Loaded image: app:1"]]
    assert sound(other.services.images_store, "app:1")
    third = engine(tmp_path / "three")
    assert [loaded.lines for loaded in third.images.load(write_files(tmp_path / "layout", files))] == [
        ["Loaded image: app:1"]
    ]
    assert sound(third.services.images_store, "app:1")
    # The manifest is kept byte for byte, compressed blobs too.
    kept = members_of(saved(third, "app:1"))
    assert all(kept[name] == data for name, data in files.items() if name.startswith("blobs/"))


def test_a_bare_tag_names_nothing(other: Engine, load: Load) -> None:
    (lines,) = load(other, tar_of(oci_files([rootfs("a")], name="latest")))
    assert lines[0].startswith("Loaded image ID: ")


def test_names_may_stand_in_manifest_json_only(other: Engine, load: Load) -> None:
    files = oci_files([rootfs("a")])
    config = next(n for n, d in files.items() if b'"diff_ids"' in d)
    files["manifest.json"] = json.dumps([{"Config": config, "RepoTags": ["app:9"], "Layers": []}]).encode()
    assert load(other, tar_of(files)) == [["Loaded image: app:9"]]


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_compressed_archives(eng: Engine, other: Engine, load: Load, pack: Callable[[bytes], bytes]) -> None:
    imported(eng, "app:1")
    assert load(other, pack(saved(eng, "app:1"))) == [["Loaded image: app:1"]]
    assert sound(other.services.images_store, "app:1")


def index_of(variants: dict[str, bytes], *, name: str = "app:1", missing: str = "") -> dict[str, bytes]:
    """A layout with one index over images for several architectures; `missing` is left out."""
    files: dict[str, bytes] = {}
    entries = []
    for architecture, tar in variants.items():
        one = oci_files([tar], architecture=architecture)
        (entry,) = json.loads(one["index.json"])["manifests"]
        entries.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
        if architecture != missing:
            files |= {n: d for n, d in one.items() if n.startswith("blobs/")}
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    ).encode()
    files["blobs/sha256/" + digest(index)[7:]] = index
    top = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest(index),
        "size": len(index),
    }
    top["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}"}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    return files


def test_several_platforms(eng: Engine, other: Engine, load: Load) -> None:
    files = index_of({"amd64": rootfs("a"), "arm64": rootfs("b")})
    assert load(eng, tar_of(files)) == [["Loaded image: app:1"]]
    assert sound(eng.services.images_store, "app:1")
    assert len(eng.services.images_store.manifests(eng.services.images_store.resolve("app:1"))) == 2
    assert (
        str(eng.services.images_store.resolve_platform("app:1", "linux/arm64").config.platform)
        == "linux/arm64"
    )
    with pytest.raises(PlatformAbsent, match="linux/s390x"):
        eng.services.images_store.resolve_platform("app:1", "linux/s390x")
    assert {n for n in members_of(saved(eng, "app:1")) if n.startswith("blobs/")} == {
        n for n in files if n.startswith("blobs/")
    }
    assert load(other, saved(eng, "app:1", platform="linux/arm64")) == [["Loaded image: app:1"]]
    assert str(other.services.images_store.resolve_platform("app:1").config.platform) == "linux/arm64"


def test_an_index_may_be_sparse(eng: Engine, other: Engine, load: Load) -> None:
    files = index_of({"amd64": rootfs("a"), "arm64": rootfs("b")}, missing="amd64")
    assert load(eng, tar_of(files)) == [["Loaded image: app:1"]]
    assert sound(eng.services.images_store, "app:1")
    assert load(other, saved(eng, "app:1")) == [["Loaded image: app:1"]]
    assert (
        other.services.images_store.resolve("app:1").target
        == eng.services.images_store.resolve("app:1").target
    )


def test_attestations_come_along(eng: Engine, other: Engine, load: Load) -> None:
    """What buildx makes: an index with an image and, for no platform, a manifest of statements about it."""
    files = index_of({"amd64": rootfs("a")})
    statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
    raw = json.dumps(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(statement)]},
        }
    ).encode()
    oci = "application/vnd.oci.image."
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": oci + "manifest.v1+json",
            "config": {"mediaType": oci + "config.v1+json", "digest": digest(raw), "size": len(raw)},
            "layers": [
                {
                    "mediaType": "application/vnd.in-toto+json",
                    "digest": digest(statement),
                    "size": len(statement),
                }
            ],
        }
    ).encode()
    (top,) = json.loads(files["index.json"])["manifests"]
    index = json.loads(files.pop("blobs/sha256/" + top["digest"][7:]))
    entry = {
        "mediaType": oci + "manifest.v1+json",
        "digest": digest(manifest),
        "size": len(manifest),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    body = json.dumps({**index, "manifests": [entry, *index["manifests"]]}).encode()
    files |= {"blobs/sha256/" + digest(data)[7:]: data for data in (statement, raw, manifest, body)}
    files["index.json"] = json.dumps(
        {"schemaVersion": 2, "manifests": [{**top, "digest": digest(body), "size": len(body)}]}
    ).encode()
    assert load(eng, tar_of(files)) == [["Loaded image: app:1"]]
    assert sound(eng.services.images_store, "app:1") and eng.system.fsck() == []
    assert eng.images.inspect("app:1")["Architecture"] == "amd64"
    assert load(other, saved(eng, "app:1")) == [["Loaded image: app:1"]]
    assert digest(
        other.services.store.read(
            other.services.images_store.descriptor(other.services.images_store.resolve("app:1")).digest
        )
    ) == digest(body)
    eng.images.remove("app:1")
    assert list(eng.services.store.blobs()) == []


def test_load_of_one_platform(eng: Engine) -> None:
    files = index_of({"amd64": rootfs("a"), "arm64": rootfs("b")})
    assert [x.lines for x in eng.images.load(io.BytesIO(tar_of(files)), platform="linux/arm64")] == [
        ["Loaded image: app:1"]
    ]
    assert len(eng.services.images_store.manifests(eng.services.images_store.resolve("app:1"))) == 1


# --- bad archives --------------------------------------------------------------------------------


def broken(change: Callable[[dict[str, bytes]], None], *, docker: bool = False) -> bytes:
    files = (
        members_of(docker_archive([(["app:1"], [rootfs("a")])]))
        if docker
        else oci_files([rootfs("a")], name="app:1", gz=False)
    )
    change(files)
    return tar_of(files)


def _without_layer(files: dict[str, bytes]) -> None:
    del files[next(n for n, d in files.items() if d == rootfs("a"))]


def _other_layer(files: dict[str, bytes]) -> None:
    files[next(n for n, d in files.items() if d == rootfs("a"))] = rootfs("z")


def _other_config(files: dict[str, bytes]) -> None:
    name = next(n for n, d in files.items() if b'"diff_ids"' in d)
    files[name] = files[name].replace(b"amd64", b"arm64")


def _not_json(files: dict[str, bytes]) -> None:
    files["index.json" if "index.json" in files else "manifest.json"] = b"{nonsense"


def _a_list(files: dict[str, bytes]) -> None:
    files["index.json" if "index.json" in files else "manifest.json"] = b'{"a": []}'


def _deep(files: dict[str, bytes]) -> None:
    files["index.json" if "index.json" in files else "manifest.json"] = b"[" * 100_000


def _huge(files: dict[str, bytes]) -> None:
    files["index.json" if "index.json" in files else "manifest.json"] = b" " * (50 << 20)


def _nothing(files: dict[str, bytes]) -> None:
    files.clear()
    files["readme"] = b"hello"


def _bad_name(files: dict[str, bytes]) -> None:
    for name in ("index.json", "manifest.json"):
        if name in files:
            files[name] = files[name].replace(b"app:1", b"APP:1")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize(
    "change",
    [_without_layer, _other_layer, _other_config, _not_json, _a_list, _deep, _huge, _nothing, _bad_name],
)
def test_broken_archives_are_refused_and_leave_nothing(
    other: Engine, load: Load, change: Callable[[dict[str, bytes]], None], docker: bool
) -> None:
    with pytest.raises(BoxwrightError) as caught:
        load(other, broken(change, docker=docker))
    assert isinstance(caught.value, Invalid | Corrupt) or "lacks" in str(caught.value)
    assert other.images.list() == []
    assert other.system.fsck() == []
    other.system.collect()
    assert list(other.services.store.blobs()) == [] and other.services.layers.all() == []


def test_wrong_digests_are_told_apart_from_wrong_forms(other: Engine, load: Load) -> None:
    with pytest.raises(Corrupt):
        load(other, broken(_other_layer))
    with pytest.raises(ContentMismatch):
        load(other, broken(_other_config, docker=True))


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_names_that_lead_out_reach_nothing(other: Engine, load: Load, path: str) -> None:
    raw = json.dumps([{"Config": path, "RepoTags": ["a:1"], "Layers": []}]).encode()
    files = [member("manifest.json", data=raw)]
    with pytest.raises(ArchiveInvalid, match="has no"):
        load(other, make_tar(*files))
    if ".." in path:
        with pytest.raises(ArchiveInvalid, match="has no"):
            load(other, make_tar(*files, member(path, data=b"{}")))


def linked(path: str, *links: tuple[str, str], **more: Any) -> bytes:
    """An archive of docker's form that names its layer `path`; the layer is ``0/layer.tar``."""
    layer = rootfs("a")
    entry = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": [path]}
    return make_tar(
        member("config.json", data=config([layer], **more)),
        member("0/layer.tar", data=layer),
        *(member(name, b"2", linkname=target) for name, target in links),
        member("manifest.json", data=json.dumps([entry]).encode()),
    )


@pytest.mark.parametrize(
    ("path", "links"),
    [
        ("x/layer.tar", [("x/layer.tar", "/0/layer.tar")]),
        ("x/layer.tar", [("x/layer.tar", "../../../0/layer.tar")]),
        ("x/layer.tar", [("x", "0")]),
        ("x/y/layer.tar", [("x", "deep/er"), ("deep/er/y", "../../../0")]),
        ("/0/layer.tar", []),
        ("../0/layer.tar", []),
    ],
)
def test_links_have_the_archive_as_their_root(
    other: Engine, load: Load, path: str, links: list[tuple[str, str]]
) -> None:
    assert load(other, linked(path, *links)) == [["Loaded image: app:1"]]
    assert sound(other.services.images_store, "app:1")


@pytest.mark.parametrize("path", ["", "gone/layer.tar"])
def test_a_layer_that_is_here_may_be_left_out(other: Engine, load: Load, path: str) -> None:
    base, top = rootfs("base"), rootfs("top")
    entry = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": [path, "1/layer.tar"]}
    archive = tar_of(
        {
            "config.json": config([base, top]),
            "1/layer.tar": top,
            "manifest.json": json.dumps([entry]).encode(),
        }
    )
    with pytest.raises(ArchiveInvalid, match=f"layer {digest(base)} out"):
        load(other, archive)
    other.images.import_(io.BytesIO(base), "base:1")
    assert load(other, archive) == [["Loaded image: app:1"]]
    assert sound(other.services.images_store, "app:1")


def test_the_manifest_of_a_layer_that_is_here_has_its_size(other: Engine, load: Load) -> None:
    base = rootfs("base")
    other.images.import_(io.BytesIO(base), "base:1")
    entry = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["0/layer.tar"]}
    files = {
        "config.json": config([base]),
        "0/layer.tar": base + bytes(10240),
        "manifest.json": json.dumps([entry]).encode(),
    }
    load(other, tar_of(files))
    assert sound(other.services.images_store, "app:1")


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_an_archive_may_be_sparse_itself(other: Engine, load: Load, tmp_path: Path, form: str) -> None:
    layer = make_tar(
        member("a", data=b"1"), member("zeros", data=bytes(400_000)), member("b", data=b"2" * 9000)
    )
    entry = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["0/layer.tar"]}
    write_files(
        tmp_path / "files",
        {
            "config.json": config([layer]),
            "0/layer.tar": b"",
            "manifest.json": json.dumps([entry]).encode(),
        },
    )
    with open(tmp_path / "files/0/layer.tar", "wb") as file:  # with a hole, which tar leaves out
        file.write(layer[:8192])
        file.seek(8192 + 350_000 // 4096 * 4096)
        file.write(layer[file.tell() :])
    packed = subprocess.run(
        ["tar", "--sparse", f"--format={form}", "-C", str(tmp_path / "files"), "-c", "."],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    assert len(packed) < len(layer) // 2
    assert load(other, packed) == [["Loaded image: app:1"]]
    assert sound(other.services.images_store, "app:1")


@pytest.mark.parametrize("key", ["Cmd", "Entrypoint", "Shell"])
def test_one_text_is_a_list_of_one(other: Engine, load: Load, key: str) -> None:
    load(other, linked("0/layer.tar", config={key: "sh"}))
    assert other.images.inspect("app:1")["Config"][key] == ["sh"]


@pytest.mark.parametrize("left_out", [("os",), ("architecture",), ("os", "architecture")])
def test_a_platform_that_is_left_out_is_the_host_s(
    other: Engine, load: Load, left_out: tuple[str, ...]
) -> None:
    here = host()
    load(
        other,
        linked(
            "0/layer.tar", **{"os": here.os, "architecture": here.architecture, **dict.fromkeys(left_out)}
        ),
    )
    assert other.services.images_store.resolve_platform("app:1", here).config.platform == here
    shown = other.images.inspect("app:1")
    assert (shown["Os"], shown["Architecture"]) == (here.os, here.architecture)


def test_links_that_never_end(other: Engine, load: Load) -> None:
    links = [
        member("manifest.json", b"2", linkname="a"),
        member("a", b"2", linkname="b"),
        member("b", b"2", linkname="a"),
    ]
    with pytest.raises(ArchiveInvalid, match="never ends"):
        load(other, make_tar(*links))


def test_an_index_that_contains_itself_or_much_else(other: Engine, load: Load) -> None:
    entry = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": "sha256:" + "0" * 64,
        "size": 10,
    }
    files = {
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        "blobs/sha256/" + "0" * 64: b'{"schemaVe',
    }
    with pytest.raises(Corrupt):
        load(other, tar_of(files))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 1024, b"x" * 5000, b"\x1f\x8b\x08" + b"x" * 5000, b"\x28\xb5\x2f\xfd" + b"\xff" * 600],
    ids=["empty", "zeros", "text", "gzip", "zstd"],
)
def test_what_is_no_archive(other: Engine, load: Load, data: bytes) -> None:
    with pytest.raises((Invalid, Corrupt)):
        load(other, data)


def test_cut_off_anywhere(eng: Engine, other: Engine, load: Load) -> None:
    imported(eng, "app:1")
    whole = saved(eng, "app:1")
    for end in range(0, len(whole) - 1024, 1700):
        with pytest.raises((Invalid, Corrupt)):
            load(other, whole[:end])
    assert other.images.list() == []


def test_a_root_file_system_is_sent_to_import(other: Engine, load: Load) -> None:
    with pytest.raises(ArchiveInvalid) as caught:
        load(other, rootfs("a"))
    assert "import" in caught.value.hint


def test_missing_files(other: Engine, tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match="No such file"):
        other.images.load(tmp_path / "nosuch")
    with pytest.raises(ArchiveInvalid):
        other.images.load(tmp_path)


def test_a_signature_beside_the_image_is_passed_over(other: Engine, load: Load) -> None:
    files = oci_files([rootfs("a")], name="app:1")
    payload = b"{}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/x-sig",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": digest(payload),
                "size": 2,
            },
            "layers": [{"mediaType": "application/x-sig", "digest": digest(payload), "size": 2}],
        }
    ).encode()
    index = json.loads(files["index.json"])
    index["manifests"].append(
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(manifest),
            "size": len(manifest),
        }
    )
    files |= {
        "index.json": json.dumps(index).encode(),
        f"blobs/sha256/{digest(payload)[7:]}": payload,
        f"blobs/sha256/{digest(manifest)[7:]}": manifest,
    }
    assert load(other, tar_of(files)) == [["Loaded image: app:1"]]


def test_nothing_is_stored_twice(eng: Engine, other: Engine, load: Load) -> None:
    imported(eng, "app:1")
    load(other, saved(eng, "app:1"))
    layer = other.services.images_store.resolved(other.services.images_store.resolve("app:1")).layers[0]
    assert os.path.samefile(other.services.layers.get(layer).tar_path, other.services.store.path(layer))
    assert hashlib.sha256(other.services.layers.get(layer).tar_path.read_bytes()).hexdigest() == layer.hex
