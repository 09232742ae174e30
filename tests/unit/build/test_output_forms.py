"""Images in the forms that outputs ask for: compression, media types, annotations, times, squashed; and the same bytes
on every root."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build import options
from boxwright.build.progress import StepStatus
from boxwright.build.request import BuildResult
from boxwright.content.layout import Layout
from boxwright.errors import Invalid
from boxwright.layer.blobs import make_layer
from boxwright.layer.compress import open_decompressed
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Manifest
from boxwright.spec.reference import Reference
from support.layer import make_tar, member
from support.registry import FakeRegistry, make_image

TEXT = b"FROM scratch\nADD tree.tar /\nCOPY <<E /for\ntext\nE\nLABEL a=b\n"
EPOCH = 1_000_000_000


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[Engine]]:
    """Two roots."""
    engines = [Engine(tmp_path / name) for name in ("root", "other")]
    yield engines
    for engine in engines:
        engine.services.registry.http.close()
        engine.services.db.close()


@pytest.fixture
def engine(engines: list[Engine]) -> Engine:
    return engines[0]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    members = (
        member("d", kind=tarfile.DIRTYPE, mode=0o1777, mtime=60),
        member("d/f", data=b"one" * 5000, mode=0o4755, mtime=2 * EPOCH),
        member("d/h", kind=tarfile.LNKTYPE, linkname="d/f"),
        member("d/l", kind=tarfile.SYMTYPE, linkname="f", mtime=62),
        member("d/x", data=b"x", pax_headers={"SCHILY.xattr.user.a": "b"}),
        member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
    )
    (directory / "tree.tar").write_bytes(make_tar(*members))
    return directory


def build(engine: Engine, context: Path, *outputs: str, text: bytes = TEXT, **more: Any) -> BuildResult:
    more = {"default_attestations": False, **more}  # these are about the image alone
    return engine.build(context=context, dockerfile_data=text, outputs=options.outputs(outputs), **more)


def layout(
    engine: Engine, context: Path, place: Path, attributes: str = "", **more: Any
) -> tuple[Any, Any, Any]:
    """Build into a layout; its target's entry in index.json, manifest (of an index the index), and all blobs."""
    build(engine, context, f"type=oci,tar=false,dest={place}{attributes}", **more)
    (entry,) = Layout(place).entries()
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (place / "blobs/sha256").iterdir()}
    return entry, json.loads(blobs[str(entry.digest)]), blobs


def files(blob: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=open_decompressed(io.BytesIO(blob)), mode="r|") as tar:
        return {member.name: member for member in tar}


# --- compression ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "media_type", "magic"),
    [
        ("", mt.OCI_LAYER_GZIP, b"\x1f\x8b"),
        (",compression=gzip,compression-level=9", mt.OCI_LAYER_GZIP, b"\x1f\x8b"),
        (",compression=zstd,compression-level=10", mt.OCI_LAYER + "+zstd", b"\x28\xb5\x2f\xfd"),
        (",compression=uncompressed", mt.OCI_LAYER, b"d/"),
        (",oci-mediatypes=false", mt.DOCKER_LAYER + ".gzip", b"\x1f\x8b"),
    ],
)
def test_compressions(
    engine: Engine, context: Path, tmp_path: Path, attributes: str, media_type: str, magic: bytes
) -> None:
    _, manifest, blobs = layout(engine, context, tmp_path / "out", attributes)
    assert [layer["mediaType"] for layer in manifest["layers"]] == [media_type] * 2
    assert all(len(blobs[layer["digest"]]) == layer["size"] for layer in manifest["layers"])
    first = blobs[manifest["layers"][0]["digest"]]
    assert first.startswith(magic) and files(first)["d/f"].size == 15000
    docker = "docker" in media_type
    assert manifest["mediaType"] == (mt.DOCKER_MANIFEST if docker else mt.OCI_MANIFEST)
    assert manifest["config"]["mediaType"] == (mt.DOCKER_CONFIG if docker else mt.OCI_CONFIG)


def test_the_store_has_what_was_asked_for_and_pushes_it_as_it_is(
    engine: Engine, context: Path, registry: FakeRegistry
) -> None:
    name = f"{registry.host}/lib/app:1"
    result = build(engine, context, f"type=image,push=true,name={name},compression=zstd")
    row = engine.services.images_store.resolve(name)
    assert row.target == result.target and row.image_id == result.image_id
    assert registry.manifests["lib/app"]["1"] == registry.manifests["lib/app"][row.target]
    assert registry.manifests["lib/app"]["1"][1].count(b"tar+zstd") == 2
    plain = build(engine, context, f"type=registry,name={registry.host}/lib/app:2")
    assert plain.image_id == result.image_id and plain.target != result.target


def test_layers_that_came_compressed_stay_as_they_came(
    engines: list[Engine], context: Path, tmp_path: Path, registry: FakeRegistry
) -> None:
    base = f"{registry.host}/lib/base:1"
    build(engines[1], context, f"type=registry,name={base},compression=zstd")
    text = f"FROM {base}\nCOPY <<E /more\nmore\nE\n".encode()
    name = f"{registry.host}/lib/app:1"
    kept = build(engines[0], context, f"type=registry,name={name}", text=text)
    types = [
        layer["mediaType"] for layer in json.loads(registry.manifests["lib/app"][kept.target][1])["layers"]
    ]
    assert types == [mt.OCI_LAYER + "+zstd", mt.OCI_LAYER + "+zstd", mt.OCI_LAYER_GZIP]
    _, manifest, _ = layout(engines[0], context, tmp_path / "kept", text=text)
    assert [layer["mediaType"] for layer in manifest["layers"]] == types
    _, manifest, _ = layout(engines[0], context, tmp_path / "forced", ",force-compression=true", text=text)
    assert {layer["mediaType"] for layer in manifest["layers"]} == {mt.OCI_LAYER_GZIP}


class Stargz:
    """A reader of eStargz blobs by their table, as a lazy snapshotter is one: nothing is inflated from the start."""

    def __init__(self, blob: bytes, annotations: dict[str, str]) -> None:
        self.blob = blob
        footer = blob[-51:]
        assert footer[:10] == b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" and footer[12:14] == b"SG"
        assert struct.unpack("<HH", footer[10:12] + footer[14:16]) == (26, 22)
        assert footer[32:38] == b"STARGZ" and gzip.decompress(footer) == b""
        self.at = int(footer[16:32], 16)
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[self.at : -51]))) as tar:
            assert tar.getnames() == ["stargz.index.json"]
            table = tar.extractfile("stargz.index.json")
            assert table is not None
            raw = table.read()
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        assert annotations["containerd.io/snapshot/stargz/toc.digest"] == digest
        self.toc = json.loads(raw)
        assert self.toc["version"] == 1
        size = annotations["io.containers.estargz.uncompressed-size"]
        assert size == str(len(gzip.decompress(blob)))

    def content(self, name: str) -> bytes:
        """By the offsets of its chunks, each member on its own."""
        import zlib

        out = b""
        parts = [e for e in self.toc["entries"] if e["name"] == name]
        size = parts[0].get("size", 0)
        for part in parts if size else []:
            assert part.get("chunkOffset", 0) == len(out)
            count = part.get("chunkSize") or size - len(out)
            data = zlib.decompressobj(31).decompress(self.blob[part["offset"] :])[:count]
            assert part["chunkDigest"] == "sha256:" + hashlib.sha256(data).hexdigest()
            out += data
        assert parts[0]["digest"] == "sha256:" + hashlib.sha256(out).hexdigest()
        return out


def test_estargz_is_read_by_its_table(engine: Engine, context: Path, tmp_path: Path) -> None:
    large = os.urandom(1 << 20) * 9
    (context / "large").write_bytes(large)
    text = TEXT + b"COPY large /large\n"
    _, manifest, blobs = layout(engine, context, tmp_path / "out", ",compression=estargz", text=text)
    config = json.loads(blobs[manifest["config"]["digest"]])
    stack = [Stargz(blobs[layer["digest"]], layer["annotations"]) for layer in manifest["layers"]]
    for layer, reader, diff_id in zip(manifest["layers"], stack, config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == mt.OCI_LAYER_GZIP
        plain = gzip.decompress(reader.blob)
        assert diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    first, _, last = stack
    assert first.content("d/f") == b"one" * 5000 and last.content("large") == large
    assert len([e for e in last.toc["entries"] if e["type"] == "chunk"]) == 2
    entries = {e["name"].rstrip("/"): e for e in first.toc["entries"]}
    assert entries["d"]["type"] == "dir" and entries["d"]["mode"] == 0o1777
    assert entries["d"]["modtime"] == "1970-01-01T00:01:00Z"
    assert (entries["d/h"]["type"], entries["d/h"]["linkName"]) == ("hardlink", "d/f")
    assert (entries["d/l"]["type"], entries["d/l"]["linkName"]) == ("symlink", "f")
    assert (entries["null"]["devMajor"], entries["null"]["devMinor"]) == (1, 3)
    assert base64.b64decode(entries["d/x"]["xattrs"]["user.a"]) == b"b"
    # To everybody else it is a gzip layer with the same files.
    assert set(files(first.blob)) == {"d", "d/f", "d/h", "d/l", "d/x", "null"}


def test_an_estargz_image_can_be_in_the_store(engine: Engine, context: Path, tmp_path: Path) -> None:
    result = build(engine, context, "type=image,name=lazy,compression=estargz")
    out = build(engine, context, f"type=local,dest={tmp_path}/files", text=b"FROM lazy\n")
    assert out.outputs == () and (tmp_path / "files/d/f").read_bytes() == b"one" * 5000
    assert not (tmp_path / "files/stargz.index.json").exists()
    assert engine.services.images_store.resolve("lazy").target == result.target
    again = build(engine, context, "type=image,name=lazy,compression=estargz")
    assert again.target == result.target


# --- annotations ---------------------------------------------------------------------------------


def test_annotations_stand_where_they_were_wanted(engine: Engine, context: Path, tmp_path: Path) -> None:
    given = options.parse_annotations(
        [
            "all=1",
            "manifest[linux/arm64]:one=2",
            "index,index-descriptor:over=3",
            "manifest-descriptor[linux/amd64]:entry=4",
        ]
    )
    entry, index, blobs = layout(
        engine,
        context,
        tmp_path / "out",
        ',annotation.own=5,annotation-manifest[linux/arm64].one=6,"annotation-index.list=7,8"',
        annotations=given,
        platforms=("linux/amd64", "linux/arm64"),
        source_date_epoch=EPOCH,
    )
    assert entry.annotations == {"over": "3", "org.opencontainers.image.created": "2001-09-09T01:46:40Z"}
    assert index["annotations"] == {"list": "7,8", "over": "3"}
    first, second = index["manifests"]
    assert first["annotations"] == {"entry": "4"} and "annotations" not in second
    manifests = [json.loads(blobs[one["digest"]]) for one in (first, second)]
    assert manifests[0]["annotations"] == {"all": "1", "own": "5"}
    assert manifests[1]["annotations"] == {"all": "1", "one": "6", "own": "5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid annotation 'a', expected key=value"),
        ("foo:a=b", "unknown annotation type 'foo'"),
        ("manifest[:a=b", "invalid annotation type 'manifest\\['"),
        ("manifest[a/b/c/d/e]:a=b", "invalid platform"),
        ("index:a=b", "index annotations not supported for single platform export"),
        ("manifest[linux/arm64]:a=b", "no platform linux/arm64 found in source"),
    ],
)
def test_annotations_that_have_no_place(engine: Engine, context: Path, text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        build(
            engine,
            context,
            "type=image",
            annotations=options.parse_annotations([text]),
            platforms=("linux/amd64",),
        )


# --- names and registries --------------------------------------------------------------------------


def test_names_by_digest(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    where = f"{registry.host}/lib/app"
    pushed = build(engine, context, f"type=image,push=true,push-by-digest=true,name={where}")
    assert set(registry.manifests["lib/app"]) == {pushed.target}
    result = build(engine, context, "type=image,name=a/b:1,name-canonical=true,dangling-name-prefix=none")
    names = engine.services.images_store.resolve("a/b:1").names
    assert {f"docker.io/a/b@{result.target}", f"docker.io/library/none@{result.target}"} <= set(names)
    text = "type=image,name=a/c:1,dangling-name-prefix=other,danging-name-empty-only=true"
    build(engine, context, text)
    assert not any("other" in name for name in engine.services.images_store.resolve("a/c:1").names)


def test_an_image_that_is_not_kept(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    result = build(engine, context, f"type=registry,store=false,name={registry.host}/lib/app:1")
    assert registry.manifests["lib/app"]["1"] == registry.manifests["lib/app"][result.target]
    assert engine.services.images_store.rows() == []


def test_what_a_push_moves_is_what_it_says(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    heard: list[Any] = []
    for number in (1, 2):
        heard.clear()
        name = f"{registry.host}/lib/app:{number}"
        build(engine, context, f"type=registry,name={name}", progress=heard.append)
    said = [e for e in heard if isinstance(e, StepStatus) and e.step.startswith("pushing")]
    assert [e.id for e in said if e.id.endswith(" already exists")] and said[-1].id.startswith(
        "pushing manifest"
    )
    assert [(e.current, e.total, e.done) for e in said if e.id == "pushing layers"] == [(0, 0, True)]


def test_layers_that_registries_may_not_hold(engine: Engine, context: Path, registry: FakeRegistry) -> None:
    image = make_image({"theirs": b"x"})
    digest = registry.add("elsewhere", image.layers[0])
    url = f"http://{registry.host}/v2/elsewhere/blobs/{digest}"
    layer = Descriptor(mt.DOCKER_FOREIGN + ".gzip", digest, len(image.layers[0]), urls=(url,))
    manifest = Manifest.compose(image.manifest.config, [layer])
    registry.add("lib/base", image.config)
    registry.add_manifest("lib/base", "1", manifest.raw)
    text = f"FROM {registry.host}/lib/base:1\nCOPY <<E /ours\nours\nE\n".encode()
    kept = f"type=registry,name={registry.host}/lib/kept:1,prefer-nondist-layers=true,oci-artifact=true"
    build(engine, context, kept, text=text)
    first, second = json.loads(registry.manifests["lib/kept"]["1"][1])["layers"]
    assert (first["mediaType"], first["urls"]) == (mt.DOCKER_FOREIGN + ".gzip", [url])
    assert second["mediaType"] == mt.OCI_LAYER_GZIP and str(digest) not in registry.blobs["lib/kept"]
    build(engine, context, f"type=registry,name={registry.host}/lib/all:1", text=text)
    first, _ = json.loads(registry.manifests["lib/all"]["1"][1])["layers"]
    assert first["mediaType"] == mt.OCI_LAYER_GZIP and "urls" not in first
    assert str(digest) in registry.blobs["lib/all"]


def test_a_registry_that_is_insecure_for_this_push(engine: Engine) -> None:
    reference = Reference.parse("r.example/lib/app:1")
    for insecure in (False, True):
        remote = engine.services.registry.remote(reference, push=True, insecure=insecure)
        host = remote._endpoints[-1].host
        assert (host.insecure, host.tls.verify) == (insecure, not insecure)


# --- files -----------------------------------------------------------------------------------------


def test_a_directory_without_anything_else(
    engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "d/old/er").mkdir(parents=True)
    (out / "old").write_text("old")
    (out / "d/kept").symlink_to(tmp_path)
    build(engine, context, f"type=local,dest={out},mode=copy")
    assert (out / "old").exists() and (out / "d/old/er").exists()
    with pytest.raises(Invalid, match=r"requires --allow=buildx\.local\.delete"):
        build(engine, context, f"type=local,dest={out},mode=delete")
    build(engine, context, f"type=local,dest={out},mode=delete", allow=("buildx.local.delete",))
    assert sorted(os.listdir(out)) == ["d", "for"] and sorted(os.listdir(out / "d")) == ["f", "h", "l", "x"]
    assert (out / "d").stat().st_mtime == 60 and context.exists()
    (out / "new").write_text("new")
    monkeypatch.chdir(tmp_path)  # below the working directory nothing has to be allowed
    build(engine, context, "type=local,dest=out,mode=delete")
    assert not (out / "new").exists()
    monkeypatch.chdir(out)
    for place in (".", "..", "/"):
        with pytest.raises(Invalid, match="requires --allow"):
            build(engine, context, f"type=local,dest={place},mode=delete")


def test_platforms_in_one_directory(engine: Engine, context: Path, tmp_path: Path) -> None:
    both = ("linux/amd64", "linux/arm64")
    text = b"FROM scratch\nARG TARGETARCH\nCOPY <<E /bin/app-$TARGETARCH\ntext\nE\n"
    for output in (f"type=local,dest={tmp_path}/out", f"type=tar,dest={tmp_path}/tar"):
        build(engine, context, f"{output},platform-split=false", text=text, platforms=both)
    assert sorted(os.listdir(tmp_path / "out/bin")) == ["app-amd64", "app-arm64"]
    with tarfile.open(tmp_path / "tar") as tar:
        assert tar.getnames() == ["bin", "bin/app-amd64", "bin/app-arm64"]
    with pytest.raises(Exception, match="cannot overwrite d/f from linux/amd64 with linux/arm64"):
        build(engine, context, f"type=local,dest={tmp_path}/no,platform-split=false", platforms=both)
    assert not (tmp_path / "no").exists()


# --- times -----------------------------------------------------------------------------------------


def test_the_epoch_is_in_all_places(engine: Engine, context: Path, tmp_path: Path) -> None:
    build(engine, context, "type=image,name=x")  # what is on record has other times
    entry, manifest, blobs = layout(
        engine,
        context,
        tmp_path / "out",
        ",rewrite-timestamp=true",
        build_args={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )
    stamp = "2001-09-09T01:46:40Z"
    config = json.loads(blobs[manifest["config"]["digest"]])
    assert {config["created"], *(h["created"] for h in config["history"])} == {stamp}
    assert entry.annotations["org.opencontainers.image.created"] == stamp
    found = files(blobs[manifest["layers"][0]["digest"]])
    assert found["d/f"].mtime == EPOCH and found["d/l"].mtime == 62
    for output in ("type=local,dest=files", "type=tar,dest=tar"):
        kind, _, dest = output.partition("dest=")
        build(engine, context, f"{kind}dest={tmp_path}/{dest},source-date-epoch={EPOCH}")
    assert {p.lstat().st_mtime for p in (tmp_path / "files").rglob("*")} == {EPOCH}
    with tarfile.open(tmp_path / "tar") as tar:
        assert {member.mtime for member in tar} == {EPOCH}


def test_one_time_for_everything(engine: Engine, context: Path, tmp_path: Path) -> None:
    _, manifest, blobs = layout(engine, context, tmp_path / "out", timestamp=EPOCH)
    found = files(blobs[manifest["layers"][0]["digest"]])
    assert {member.mtime for member in found.values()} == {EPOCH}
    with pytest.raises(Invalid, match="cannot be used together"):
        build(engine, context, timestamp=1, source_date_epoch=1)


def test_rewriting_without_an_epoch_is_warned_of(engine: Engine, context: Path) -> None:
    result = build(engine, context, "type=image,rewrite-timestamp=true")
    assert "no source-date-epoch was found" in result.warnings[0].message


# --- squashed --------------------------------------------------------------------------------------

ABOVE = b"""FROM base
COPY <<E /d/new
new
E
COPY --from=base / /copied/
COPY --from=gone / /
"""


def test_squashed_layers_are_the_same_tree(engine: Engine, context: Path, tmp_path: Path) -> None:
    build(engine, context, "type=image,name=base")
    build(engine, context, "type=image,name=gone", text=b"FROM scratch\nCOPY <<E /d/f\nother\nE\n")
    trees = {}
    for squash, layers in (("", 5), ("new", 3), ("all", 1)):
        result = build(engine, context, f"type=image,name=out{squash}", text=ABOVE, squash=squash)
        found = engine.services.images_store.resolve_platform(f"out{squash}")
        assert found.config.diff_ids and len(found.layers) == layers
        assert sum(not h.empty_layer for h in found.config.history) == layers
        assert len(found.config.history) == (3 if squash == "all" else 6)
        assert result.image_id == str(found.image_id)
        build(engine, context, f"type=tar,dest={tmp_path}/tar{squash}", text=f"FROM out{squash}\n".encode())
        trees[squash] = (tmp_path / f"tar{squash}").read_bytes()
    assert trees[""] == trees["new"] == trees["all"]
    base = engine.services.images_store.resolve_platform("base")
    assert engine.services.images_store.resolve_platform("outnew").layers[:2] == base.layers
    nothing = build(engine, context, "type=image,name=same", text=b"FROM base\nLABEL c=d\n", squash="new")
    assert len(engine.services.images_store.resolve_platform("same").layers) == 2 and nothing.image_id


def test_what_an_image_does_not_get(engine: Engine, context: Path) -> None:
    build(engine, context, "type=image,name=base", text=b"FROM scratch\nLABEL a=1 b=2\nENV A=1 B=2\n")
    text = b"FROM base AS one\nFROM one\nLABEL c=3\nENV C=$A\n"

    def made(**options: Any) -> Any:
        build(engine, context, "type=image,name=out", text=text, **options)
        return engine.services.images_store.resolve_platform("out").config

    assert made().labels == {"a": "1", "b": "2", "c": "3"} and len(made().history) == 4
    assert made(inherit_labels=False).labels == {"c": "3"}
    assert made(unset_labels=("a", "c")).labels == {"b": "2"}
    assert [e for e in made(unset_env=("A", "B")).env if not e.startswith("PATH=")] == ["C=1"]
    assert made(omit_history=True).history == () and made().history != ()


def test_squashing_keeps_what_was_taken_away(engine: Engine, tmp_path: Path) -> None:
    """Whiteouts, directories in the place of files and the other way round, attributes of directories."""
    from boxwright.layer.squash import squash
    from boxwright.layer.view import LayersView

    layers = engine.services.layers

    def tar(**entries: bytes | None) -> bytes:
        return make_tar(
            *(
                member(name, tarfile.DIRTYPE) if data is None else member(name, data=data)
                for name, data in entries.items()
            )
        )

    stack = [
        make_layer(layers, io.BytesIO(tar(**entries)))
        for entries in (
            {"a": None, "a/one": b"1", "a/two": b"2", "file": b"f", "tree": None, "tree/x": b"x", "b": None},
            {"a/.wh.one": b"", "file": None, "file/in": b"i", "tree": b"t", "c": None},
            {".wh.c": b"", "b/late": b"l", "a/one": b"again"},
        )
    ]
    one = squash(layers, stack, 1)
    with LayersView(stack) as before, LayersView([stack[0], one]) as after:
        wanted = [(n.path, n.type, n.mode, n.mtime_ns, n.size) for n in before.walk()]
        assert [(n.path, n.type, n.mode, n.mtime_ns, n.size) for n in after.walk()] == wanted
        assert after.read("a/one") == b"again" and before.lstat("c") is None
    assert squash(layers, stack, 1).diff_id == one.diff_id


# --- the same bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        ",compression=zstd",
        ",compression=estargz",
        ",compression=gzip,compression-level=9",
        ",compression=uncompressed",
        ",oci-mediatypes=false",
        ",rewrite-timestamp=true",
    ],
)
def test_two_roots_make_the_same_bytes(
    engines: list[Engine], context: Path, tmp_path: Path, registry: FakeRegistry, attributes: str
) -> None:
    made = []
    where = f"type=registry,name={registry.host}/lib/app"
    for number, engine in enumerate(engines):
        if number:  # what another build left behind changes nothing
            build(engine, context, "type=image,compression=gzip,compression-level=7")
        results = build(
            engine,
            context,
            f"type=oci,dest={tmp_path}/{number}.oci{attributes}",
            f"type=docker,dest={tmp_path}/{number}.docker{attributes}",
            f"type=tar,dest={tmp_path}/{number}.tar",
            f"{where}:{number}{attributes}",
            source_date_epoch=EPOCH,
            platforms=("linux/amd64", "linux/arm64"),
            tags=("same:1",),
        )
        bytes_of = [(tmp_path / f"{number}.{kind}").read_bytes() for kind in ("oci", "docker", "tar")]
        made.append((results.target, [o.target for o in results.outputs], bytes_of))
    assert made[0] == made[1]
