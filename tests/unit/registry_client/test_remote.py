"""A repository as source and sink, against a registry in this process."""

from __future__ import annotations

import gzip
import io
import json
import re
import ssl
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard

from boxwright.content import copy as copying
from boxwright.content.layout import Layout
from boxwright.content.verify import ContentMismatch
from boxwright.errors import BoxwrightError, NotFound, Unavailable, Unsupported
from boxwright.registry.client.errors import UnknownToRegistry
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest, ManifestInvalid, SchemaUnsupported
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import replace
from boxwright.transfer.pull import NoImage
from support.registry import (
    FakeRegistry,
    Request,
    Response,
    client,
    engine_on,
    make_image,
    noise,
    ranged,
    running,
)
from support.waiting import eventually


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        yield fake


def ref(registry: FakeRegistry, rest: str) -> Reference:
    return Reference.parse(f"{registry.host}/{rest}")


IMAGE = make_image({"a": b"A" * 5000}, {"b": noise(300_000)})


def test_resolve_and_read(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)
    remote = client(tmp_path).remote(ref(registry, "a/b"))
    desc = remote.resolve(f"{registry.host}/a/b:1")
    assert desc == put
    manifest = remote.manifest(f"{registry.host}/a/b:1")[1]
    assert isinstance(manifest, Manifest)
    for layer, blob in zip(manifest.layers, IMAGE.layers, strict=True):
        with remote.open(layer) as body:
            assert body.read() == blob
    assert remote.resolve(f"{registry.host}/a/b@{put.digest}") == put
    assert [r.method for r in registry.log if "manifests/1" in r.path] == ["HEAD", "GET"]


def test_unknown(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    remote = client(tmp_path).remote(ref(registry, "a/b"))
    with pytest.raises(UnknownToRegistry, match=r"manifest for .*/a/b:2 not found: manifest unknown"):
        remote.resolve(f"{registry.host}/a/b:2")


def test_resolve_without_digest_header_or_head(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)

    def hook(request: Request) -> Response | None:
        if request.method == "HEAD":
            return Response(405)
        if "manifests" in request.path:
            return Response(200, {"Content-Type": mt.OCI_MANIFEST}, IMAGE.manifest.raw)
        return None

    registry.hook = hook
    assert client(tmp_path).remote(ref(registry, "a/b")).resolve(f"{registry.host}/a/b:1") == put


def test_tags_pages(registry: FakeRegistry, tmp_path: Path) -> None:
    for n in range(8):
        registry.add_image("a/b", f"t{n}", IMAGE)
    assert client(tmp_path).remote(ref(registry, "a/b")).tags() == [f"t{n}" for n in range(8)]


class Memory:
    """A sink and source of plain dicts."""

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.names: dict[str, Descriptor] = {}
        self.have: dict[Digest, bytes] = {}  # parts to resume

    def resolve(self, name: str) -> Descriptor:
        return self.names[name]

    def open(self, desc: Descriptor) -> BinaryIO:
        return io.BytesIO(self.content[desc.digest])

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.content

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        part = self.have.get(desc.digest, b"")
        if part:
            body.resume_at(len(part))  # type: ignore[attr-defined]
        data = part + body.read()
        if Digest.of(data) != desc.digest:
            self.have.pop(desc.digest, None)
            raise ContentMismatch("wrong")
        self.content[desc.digest] = data

    def tag(self, name: str, desc: Descriptor) -> None:
        self.names[name] = desc


def test_a_manifest_of_other_bytes_is_not_sent(registry: FakeRegistry, tmp_path: Path) -> None:
    manifest = make_image({"a": b"1"}).manifest
    remote = client(tmp_path).remote(ref(registry, "a/b"), push=True)
    for body in (manifest.raw[:-1], manifest.raw + b" ", manifest.raw.replace(b"sha256", b"sha512", 1)):
        with pytest.raises(ContentMismatch):
            remote.push(manifest.descriptor, io.BytesIO(body))
    assert registry.requests("PUT") == []


def test_push_then_pull_keeps_everything(registry: FakeRegistry, tmp_path: Path) -> None:
    memory = Memory()
    for blob in (IMAGE.config, *IMAGE.layers, IMAGE.manifest.raw):
        memory.content[Digest.of(blob)] = blob
    memory.names["x"] = IMAGE.manifest.descriptor
    name = f"{registry.host}/new/repo:v1"
    copying.copy(memory, "x", client(tmp_path).remote(Reference.parse(name), push=True), name)
    assert registry.manifests["new/repo"]["v1"] == (mt.OCI_MANIFEST, IMAGE.manifest.raw)
    other = Memory()
    copying.copy(client(tmp_path).remote(Reference.parse(name)), name, other, "y")
    assert other.content == memory.content
    before = len(registry.log)
    copying.copy(memory, "x", client(tmp_path).remote(Reference.parse(name), push=True), name)
    again = registry.log[before:]
    assert sorted(r.method for r in again if "/blobs/" in r.path) == ["HEAD"] * 3  # one round trip a blob


def test_large_blob_streams_and_resumes_an_upload(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(3_000_000)
    desc = Descriptor.of(data, mt.OCI_LAYER)
    source = Memory()
    source.content[desc.digest] = data
    torn = []

    def hook(request: Request) -> Response | None:
        if request.method == "PATCH" and not torn:
            torn.append(request)
            key = request.path.rpartition("/")[2]
            registry.uploads[key] += request.body[:1_000_000]
            return Response(503, {"Retry-After": "0"})
        return None

    registry.hook = hook
    remote = client(tmp_path).remote(ref(registry, "a/b"), push=True)
    assert copying.move(source, remote, desc) == "copied"
    assert registry.blobs["a/b"][str(desc.digest)] == data
    patches = registry.requests("PATCH")
    assert [len(p.body) for p in patches] == [3_000_000, 2_000_000]
    assert patches[1].headers["content-range"] == "1000000-2999999"


def test_upload_starts_again_when_the_session_is_lost(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(3_000_000)
    desc = Descriptor.of(data, mt.OCI_LAYER)
    source = Memory()
    source.content[desc.digest] = data
    torn = []

    def hook(request: Request) -> Response | None:
        if request.method == "PATCH" and not torn:
            torn.append(request)
            registry.uploads.clear()
            return Response(500)
        return None

    registry.hook = hook
    copying.move(source, client(tmp_path).remote(ref(registry, "a/b"), push=True), desc)
    assert registry.blobs["a/b"][str(desc.digest)] == data
    assert len(registry.requests("POST")) == 2


def test_download_goes_on_after_a_break(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(2_000_000)
    digest = registry.add("a/b", data)
    cuts = [700_000, 500_000]

    def hook(request: Request) -> Response | None:
        if "/blobs/" in request.path and cuts:
            answer = ranged(request, data)
            answer.cut = cuts.pop()
            return answer
        return None

    registry.hook = hook
    with (
        client(tmp_path)
        .remote(ref(registry, "a/b"))
        .open(Descriptor(mt.OCI_LAYER, digest, len(data))) as body
    ):
        assert body.read() == data
    assert [r.headers.get("range") for r in registry.requests("GET", "/blobs/")] == [
        None,
        "bytes=500000-",
        "bytes=1200000-",
    ]


def test_download_without_ranges_reads_again(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(1_000_000)
    digest = registry.add("a/b", data)
    registry.ranges = False
    cuts = [600_000]
    registry.hook = lambda r: (
        Response(200, {}, data, cut=cuts.pop()) if "/blobs/" in r.path and cuts else None
    )
    with (
        client(tmp_path)
        .remote(ref(registry, "a/b"))
        .open(Descriptor(mt.OCI_LAYER, digest, len(data))) as body
    ):
        assert body.read() == data


def test_a_peer_that_never_gets_on_is_given_up(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(100_000)
    digest = registry.add("a/b", data)
    registry.hook = lambda r: Response(200, {}, data, cut=10) if "/blobs/" in r.path else None
    with (
        client(tmp_path)
        .remote(ref(registry, "a/b"))
        .open(Descriptor(mt.OCI_LAYER, digest, len(data))) as body,
        pytest.raises(Unavailable),
    ):
        body.read()


@pytest.mark.parametrize("ignored", [False, True])
def test_parallel_ranges(
    registry: FakeRegistry, tmp_path: Path, ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(40_000_000)
    digest = registry.add("a/b", data)
    monkeypatch.setattr("boxwright.registry.client.download._TRIAL", 0.0)
    registry.ranges = not ignored
    remote = client(tmp_path, slow=float("inf")).remote(ref(registry, "a/b"))
    with remote.open(Descriptor(mt.OCI_LAYER, digest, len(data))) as body:
        parts = []
        while part := body.read(1 << 20):
            parts.append(part)
    assert b"".join(parts) == data
    if not ignored:
        assert sum("range" in r.headers for r in registry.requests("GET", "/blobs/")) > 10


def test_resume_from_what_the_sink_has(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(1_000_000)
    digest = registry.add("a/b", data)
    desc = Descriptor(mt.OCI_LAYER, digest, len(data))
    sink = Memory()
    sink.have[digest] = data[:400_000]
    copying.move(client(tmp_path).remote(ref(registry, "a/b")), sink, desc)
    assert sink.content[digest] == data
    assert [r.headers.get("range") for r in registry.requests("GET", "/blobs/")] == ["bytes=400000-"]


def test_a_bad_part_is_fetched_again_from_its_start(registry: FakeRegistry, tmp_path: Path) -> None:
    data = noise(1_000_000)
    digest = registry.add("a/b", data)
    sink = Memory()
    sink.have[digest] = b"x" * 400_000
    copying.move(
        client(tmp_path).remote(ref(registry, "a/b")), sink, Descriptor(mt.OCI_LAYER, digest, len(data))
    )
    assert sink.content[digest] == data


def test_mount_from_a_neighbour(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    speaker = client(tmp_path)
    source, target = f"{registry.host}/a/b:1", f"{registry.host}/c/d:2"
    copying.copy(
        speaker.remote(Reference.parse(source)),
        source,
        speaker.remote(Reference.parse(target), push=True),
        target,
    )
    assert registry.manifests["c/d"]["2"][1] == IMAGE.manifest.raw
    assert not registry.requests("GET", "/blobs/")
    assert not registry.requests("PATCH") and not registry.requests("PUT", "/blobs/")


def test_a_refused_mount_uses_its_session(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    registry.hook = lambda r: r.query.pop("mount", None) and None
    speaker = client(tmp_path)
    source, target = f"{registry.host}/a/b:1", f"{registry.host}/c/d:2"
    copying.copy(
        speaker.remote(Reference.parse(source)),
        source,
        speaker.remote(Reference.parse(target), push=True),
        target,
    )
    assert set(registry.blobs["c/d"]) == set(registry.blobs["a/b"])
    assert len(registry.requests("POST")) == 3  # a session each, none opened twice


@pytest.mark.parametrize("api", [True, False])
def test_referrers_go_along(registry: FakeRegistry, tmp_path: Path, api: bool) -> None:
    put = registry.add_image("a/b", "1", IMAGE)
    signature = b"signed, honestly"
    registry.add("a/b", signature)
    registry.add("a/b", b"{}")
    raw = Manifest.compose(
        Descriptor.of(b"{}", mt.OCI_EMPTY),
        [Descriptor.of(signature, "application/x.sig")],
        subject=put,
        artifact_type="application/x.signature",
    ).raw
    desc = registry.add_manifest("a/b", "", raw)
    with running() as other:
        registry.referrers_api = other.referrers_api = api
        if not api:
            entry = Descriptor(
                mt.OCI_MANIFEST, desc.digest, desc.size, artifact_type="application/x.signature"
            )
            registry.add_manifest(
                "a/b", str(put.digest).replace(":", "-"), Index.compose([entry]).raw, mt.OCI_INDEX
            )
        speaker = client(tmp_path)
        source, target = f"{registry.host}/a/b:1", f"{other.host}/c:2"
        copying.copy(
            speaker.remote(Reference.parse(source)),
            source,
            speaker.remote(Reference.parse(target), push=True),
            target,
            referrers=True,
        )
        assert other.manifests["c"][str(desc.digest)][1] == raw
        found = speaker.remote(Reference.parse(target)).referrers(put.digest)
        assert [d.digest for d in found] == [desc.digest]
        assert found[0].artifact_type == "application/x.signature"


def test_foreign_layers_come_from_their_url_and_are_not_pushed(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    data = b"F" * 1000
    registry.hook = lambda r: Response(200, {}, data) if r.path == "/elsewhere" else None
    desc = Descriptor(
        mt.DOCKER_FOREIGN + ".gzip", Digest.of(data), len(data), urls=(f"http://{registry.host}/elsewhere",)
    )
    remote = client(tmp_path).remote(ref(registry, "a/b"), push=True)
    assert remote.open(desc).read() == data
    assert "authorization" not in registry.requests("GET", "elsewhere")[0].headers
    assert remote.exists(desc)


# --- lies -------------------------------------------------------------------------------------------


def pulled(registry: FakeRegistry, tmp_path: Path, name: str = "a/b:1") -> Memory:
    memory = Memory()
    full = f"{registry.host}/{name}"
    copying.copy(client(tmp_path).remote(Reference.parse(full)), full, memory, "x")
    return memory


def test_wrong_bytes_of_a_blob(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    layer = str(Digest.of(IMAGE.layers[1]))
    registry.blobs["a/b"][layer] = noise(len(IMAGE.layers[1]), seed=2)
    with pytest.raises(ContentMismatch, match="other bytes"):
        pulled(registry, tmp_path)


@pytest.mark.parametrize("change", [-7, 7])
def test_wrong_size_of_a_blob(registry: FakeRegistry, tmp_path: Path, change: int) -> None:
    registry.add_image("a/b", "1", IMAGE)
    layer = IMAGE.layers[1]
    registry.blobs["a/b"][str(Digest.of(layer))] = layer[:change] if change < 0 else layer + b"x" * change
    with pytest.raises(ContentMismatch, match="the manifest says"):
        pulled(registry, tmp_path)


def test_endless_body(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    layer = IMAGE.layers[1]

    def endless() -> Iterator[bytes]:
        yield layer
        while True:
            yield b"x" * 65536

    registry.hook = lambda r: Response(200, chunks=endless()) if str(Digest.of(layer)) in r.path else None
    with pytest.raises(ContentMismatch, match="goes on after"):
        pulled(registry, tmp_path)


def test_endless_manifest(registry: FakeRegistry, tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    registry.hook = lambda r: (
        Response(200, chunks=endless())
        if "manifests" in r.path and r.method == "GET"
        else (Response(405) if r.method == "HEAD" else None)
    )
    with pytest.raises(ManifestInvalid, match="more than"):
        pulled(registry, tmp_path)


def test_manifest_of_50_megabytes(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_manifest("a/b", "1", IMAGE.manifest.raw + b" " * 50_000_000)
    with pytest.raises(ManifestInvalid, match="at most"):
        pulled(registry, tmp_path)
    assert not registry.requests("GET", "manifests")


def test_manifest_with_another_digest(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)
    other = make_image({"evil": b"x"})
    registry.manifests["a/b"][str(put.digest)] = (mt.OCI_MANIFEST, other.manifest.raw)
    with pytest.raises(ContentMismatch):
        pulled(registry, tmp_path)
    with pytest.raises(ContentMismatch):
        pulled(registry, tmp_path, f"a/b@{put.digest}")


def test_index_that_contains_itself(registry: FakeRegistry, tmp_path: Path) -> None:
    """It cannot exist; a liar serves one that says so."""
    itself = Digest.of(b"a guess")
    raw = Index.compose([Descriptor(mt.OCI_INDEX, itself, 300)]).raw
    registry.hook = lambda r: (
        Response(200, {"Content-Type": mt.OCI_INDEX, "Docker-Content-Digest": str(itself)}, raw)
        if "manifests" in r.path
        else None
    )
    with pytest.raises(ContentMismatch):
        pulled(registry, tmp_path)


def test_endless_nesting(registry: FakeRegistry, tmp_path: Path) -> None:
    desc = registry.add_image("a/b", "", IMAGE)
    for _ in range(12):
        desc = registry.add_manifest("a/b", "1", Index.compose([desc]).raw, mt.OCI_INDEX)
    with pytest.raises(ManifestInvalid, match="nested"):
        pulled(registry, tmp_path)


def test_unknown_media_type(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_manifest(
        "a/b",
        "1",
        json.dumps({"schemaVersion": 2, "mediaType": "application/x-odd"}).encode(),
        "application/x-odd",
    )
    with pytest.raises(ManifestInvalid, match="x-odd"):
        pulled(registry, tmp_path)
    registry.add_manifest("a/b", "1", b"<html>log in</html>", "text/html")
    with pytest.raises(ManifestInvalid, match="not JSON"):
        pulled(registry, tmp_path)


def test_schema_1_is_refused_clearly(registry: FakeRegistry, tmp_path: Path) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": "a/b", "fsLayers": []}).encode()
    registry.add_manifest("a/b", "1", raw, mt.DOCKER_SCHEMA1_SIGNED)
    with pytest.raises(SchemaUnsupported, match="schema 1"):
        pulled(registry, tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/x",
        "ftp://127.0.0.1/x",
        "http://0.0.0.0:1/x",
    ],
)
def test_redirect_to_an_address_that_is_none_of_its_business(
    registry: FakeRegistry, tmp_path: Path, target: str
) -> None:
    registry.add_image("a/b", "1", IMAGE)
    registry.hook = lambda r: Response(307, {"Location": target}) if "/blobs/" in r.path else None
    with pytest.raises(BoxwrightError, match="sends us to"):
        pulled(registry, tmp_path)


def test_redirects_without_end(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    registry.hook = lambda r: Response(307, {"Location": r.path + "x"}) if "/blobs/" in r.path else None
    with pytest.raises(BoxwrightError, match="redirects more than"):
        pulled(registry, tmp_path)


def test_an_endless_redirect_body_is_not_waited_for(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    layer = IMAGE.manifest.layers[0]

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    def hook(request: Request) -> Response | None:
        if request.path.endswith(str(layer.digest)):
            return Response(307, {"Location": "/elsewhere"}, chunks=endless())
        return Response(200, {}, IMAGE.layers[0]) if request.path == "/elsewhere" else None

    registry.hook = hook
    with client(tmp_path).remote(ref(registry, "a/b")).open(layer) as body:
        assert body.read() == IMAGE.layers[0]


def test_a_registry_that_forgot_its_own_tls(tmp_path: Path) -> None:
    """http:// instead of https:// in a Location, from behind a proxy."""
    speaker = client(tmp_path)
    session = speaker.session(speaker.hosts.origin("reg.example", "a"))
    source = "https://reg.example/v2/a/blobs/uploads/"
    assert (
        session.checked("http://reg.example/v2/a/blobs/uploads/1?s=2", source)
        == "https://reg.example/v2/a/blobs/uploads/1?s=2"
    )
    for target in ("http://cdn.example/x", "http://reg.example:81/x", "https://user@reg.example/x"):
        with pytest.raises(BoxwrightError):
            session.checked(target, source)


def test_copy_of_what_is_there_is_one_round_trip_a_blob(registry: FakeRegistry, tmp_path: Path) -> None:
    entries = [
        registry.add_image("a/b", "", make_image({"a": noise(1000, n)}, platform=p))
        for n, p in enumerate(("linux/amd64", "linux/arm64"))
    ]
    registry.add_manifest("a/b", "1", Index.compose(entries).raw, mt.OCI_INDEX)
    with running() as other:
        speaker = client(tmp_path)
        source, target = f"{registry.host}/a/b:1", f"{other.host}/c:1"
        for _ in range(2):
            before = len(other.log)
            copying.copy(
                speaker.remote(Reference.parse(source)),
                source,
                speaker.remote(Reference.parse(target), push=True),
                target,
                jobs=6,
            )
        again = [(r.method, r.path) for r in other.log[before:]]
        assert len([p for _, p in again if "/blobs/" in p]) == len(other.blobs["c"]) == 4
        assert len([p for _, p in again if "/manifests/" in p]) == 3


def test_error_texts_cannot_drive_the_terminal(registry: FakeRegistry, tmp_path: Path) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "\x1b[2J\x07evil\nError: fake"}]}).encode()
    registry.hook = lambda r: Response(403, {}, body) if "manifests" in r.path else None
    with pytest.raises(BoxwrightError) as caught:
        pulled(registry, tmp_path)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value) and "evil" in str(caught.value)


def test_memory_is_a_source_and_sink() -> None:
    from boxwright.content.store import Sink, Source

    assert isinstance(cast(object, Memory()), Source) and isinstance(cast(object, Memory()), Sink)


def signed(registry: FakeRegistry) -> tuple[Descriptor, dict[str, bytes], Descriptor, bytes]:
    """An image a/b:1 with all that cosign attaches by tag, and a referrer: its descriptor, raw manifests by tag, the referrer."""
    put = registry.add_image("a/b", "1", IMAGE)
    wanted = {"1": IMAGE.manifest.raw}
    for n, kind in enumerate(("sig", "att", "sbom")):
        attached = make_image({"payload": bytes([n])})
        tag = f"sha256-{put.digest.hex}.{kind}"
        registry.add_image("a/b", tag, attached)
        wanted[tag] = attached.manifest.raw
    registry.add("a/b", b"{}")
    raw = Manifest.compose(
        Descriptor.of(b"{}", mt.OCI_EMPTY), [], subject=put, artifact_type="application/x.signature"
    ).raw
    return put, wanted, registry.add_manifest("a/b", "", raw), raw


@pytest.mark.parametrize(
    "place",
    [
        "oci:{}/layout",
        "oci:{}/layout:kept",
        "oci-archive:{}/a.tar",
        "oci-archive:{}/a.tar:kept",
        "local:kept",
    ],
)
def test_signatures_by_tag_and_by_subject_survive_a_place_between(
    registry: FakeRegistry, tmp_path: Path, place: str
) -> None:
    """Registry to another place to another registry: cosign's tags and referrers arrive, all digests the same."""
    put, wanted, referrer, raw = signed(registry)
    place = place.format(tmp_path)
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    with running() as other:
        engine.registry.copy(f"{registry.host}/a/b:1", place)
        assert engine.registry.copy(place, f"{other.host}/c:1").digest == put.digest
        there = other.manifests["c"]
        assert {tag: there[tag][1] for tag in wanted} == wanted
        assert there[str(referrer.digest)][1] == raw
        for blob in registry.blobs["a/b"]:
            assert blob in other.blobs["c"]
        engine.registry.copy(place, f"{other.host}/bare:1", referrers=False)
        assert sorted(t for t in other.manifests["bare"] if ":" not in t) == ["1"]


def test_what_is_attached_lives_and_dies_with_its_image(registry: FakeRegistry, tmp_path: Path) -> None:
    """In the local store it is out of sight, survives every prune, goes along to other places and goes when the image goes."""
    put, wanted, referrer, raw = signed(registry)
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    engine.images.pull(f"{registry.host}/a/b:1")
    assert (
        engine.services.store.size(referrer.digest) is None
    )  # a pull takes the image alone, as docker's does
    engine.services.store.put(
        raw, mt.OCI_MANIFEST
    )  # as a load of an archive leaves it; that it is here already hinders nothing
    engine.registry.copy(f"{registry.host}/a/b:1", "local:kept")
    assert [row.tags for row in engine.services.catalog.rows()] == [[f"{registry.host}/a/b:1", "kept:latest"]]
    engine.images.prune()
    engine.builds.prune(everything=True)
    assert engine.services.store.size(referrer.digest) == referrer.size and engine.system.fsck() == []
    engine.registry.copy("local:kept", f"oci:{tmp_path}/layout")
    assert (
        set(Layout(tmp_path / "layout").tags()) == set(wanted) - {"1"}
        and len(Layout(tmp_path / "layout").referrers(put.digest)) == 1
    )
    engine.registry.copy("local:kept", f"docker-archive:{tmp_path}/d.tar:x:1")
    with tarfile.open(tmp_path / "d.tar") as tar:
        assert f"blobs/sha256/{referrer.digest.hex}" not in tar.getnames()
    engine.images.remove("kept", f"{registry.host}/a/b:1")
    assert engine.services.store.size(referrer.digest) is None and list(engine.services.store.blobs()) == []
    with engine.services.db.read() as sql:
        assert sql.execute("SELECT count(*) FROM attached").fetchone() == (0,)


def test_a_pulled_image_cannot_attach_itself_to_another(registry: FakeRegistry, tmp_path: Path) -> None:
    """Only a copy from a place that says so attaches; otherwise a later copy would spread what no client asked for."""
    victim = registry.add_image("good", "1", IMAGE)
    other = make_image({"evil": b"x" * 99})
    manifest = Manifest.compose(
        other.manifest.config, other.manifest.layers, media_type=mt.OCI_MANIFEST, subject=victim
    )
    for blob in (other.config, *other.layers):
        registry.add("evil", blob)
    registry.add_manifest("evil", "1", manifest.raw)
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    engine.images.pull(f"{registry.host}/good:1")
    engine.images.pull(f"{registry.host}/evil:1")
    with running() as there:
        engine.registry.copy(f"local:{registry.host}/good:1", f"{there.host}/good:1")
        assert str(manifest.descriptor.digest) not in there.manifests["good"]


def test_an_index_that_is_here_in_part_goes_in_part(registry: FakeRegistry, tmp_path: Path) -> None:
    """One platform was pulled: the copy has the same index and that platform, from the store and from the layout."""
    entries = [
        registry.add_image("multi", "", make_image({"a": p.encode()}, platform=p))
        for p in ("linux/amd64", "linux/arm64")
    ]
    platforms = [Platform.parse("linux/amd64"), Platform.parse("linux/arm64")]
    raw = Index.compose([replace(e, platform=p) for e, p in zip(entries, platforms)]).raw
    index = registry.add_manifest("multi", "1", raw, mt.OCI_INDEX)
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    engine.images.pull(f"{registry.host}/multi:1", platform="linux/arm64")
    notes: list[str] = []
    engine.registry.copy(f"local:{registry.host}/multi:1", f"oci:{tmp_path}/layout", note=notes.append)
    assert notes == [
        "Not all multiplatform-content is present and only the available platforms were copied (linux/arm64)"
    ]
    engine.registry.copy(
        f"oci:{tmp_path}/layout", f"oci-archive:{tmp_path}/a.tar", platform="linux/arm64", note=notes.append
    )
    engine.registry.copy(f"{registry.host}/multi:1", f"oci:{tmp_path}/all", note=notes.append)
    assert len(notes) == 1  # what was asked for, and what is whole, needs no words
    with running() as other:
        engine.registry.copy(f"local:{registry.host}/multi:1", f"{other.host}/multi:1", note=notes.append)
    assert "only the available single-platform image was pushed (linux/arm64)" in notes[1]
    assert engine.registry.copy(f"oci-archive:{tmp_path}/a.tar", "local:again").digest == index.digest
    layout = Layout(tmp_path / "layout")
    assert [layout.has(e) for e in entries] == [False, True]
    with pytest.raises(NotFound):
        engine.registry.copy(f"oci:{tmp_path}/layout", f"oci:{tmp_path}/second", platform="linux/amd64")


def test_an_empty_layout_says_so(tmp_path: Path) -> None:
    Layout(tmp_path / "empty", create=True)
    with pytest.raises(NotFound, match="has no images"):
        Layout(tmp_path / "empty").resolve("")


class Dying(io.BytesIO):
    """A body whose process is killed when half of it was read; `rewind` as content.copy's bodies have it."""

    def __init__(self, data: bytes, alive: bool) -> None:
        super().__init__(data)
        self.half = len(data) if alive else len(data) // 2

    def rewind(self, offset: int) -> None:
        self.seek(offset)

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.half < len(self.getvalue()):
            raise KeyboardInterrupt
        return super().read(size)


@pytest.mark.parametrize("spoilt", ["", "other bytes", "forgotten"])
def test_a_killed_push_is_resumed_by_the_next(registry: FakeRegistry, tmp_path: Path, spoilt: str) -> None:
    data = noise(20_000_000)
    desc = Descriptor.of(data, mt.OCI_LAYER_GZIP)
    notes = tmp_path / "ingest"
    notes.mkdir()

    def push(alive: bool) -> None:
        client(tmp_path, uploads=notes).remote(ref(registry, "a/b"), push=True).push(
            desc, cast(BinaryIO, Dying(data, alive))
        )

    with pytest.raises(KeyboardInterrupt):
        push(alive=False)
    eventually(lambda: any(map(len, registry.uploads.values())))
    ((key, part),) = registry.uploads.items()
    have = len(part)
    assert 5_000_000 < have < len(data) and len(list(notes.iterdir())) == 1
    if spoilt == "forgotten":
        del registry.uploads[key]
    elif spoilt:
        part[0] ^= 1
    before = len(registry.log)
    push(alive=True)
    assert registry.blobs["a/b"][str(desc.digest)] == data
    sent = [r.headers.get("content-range") for r in registry.log[before:] if r.method == "PATCH"]
    resumed, whole = f"{have}-{len(data) - 1}", f"0-{len(data) - 1}"
    assert sent == {"": [resumed], "other bytes": [resumed, whole], "forgotten": [whole]}[spoilt]
    assert list(notes.iterdir()) == []


def test_attestations_in_an_index_come_and_go(registry: FakeRegistry, tmp_path: Path) -> None:
    """BuildKit lays an attestation beside each image: a manifest with an image's config over what is no file system."""
    put = registry.add_image("app", "", IMAGE)
    statement, config = (
        b'{"predicate":1}',
        b'{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}'
        % (b"0" * 64),
    )
    for blob in (statement, config):
        registry.add("app", blob)
    raw = Manifest.compose(
        Descriptor.of(config, mt.OCI_CONFIG), [Descriptor.of(statement, "application/vnd.in-toto+json")]
    ).raw
    about = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": str(put.digest),
    }
    beside = replace(
        registry.add_manifest("app", "", raw), platform=Platform("unknown", "unknown"), annotations=about
    )
    index = registry.add_manifest(
        "app",
        "1",
        Index.compose([replace(put, platform=Platform.parse("linux/amd64")), beside]).raw,
        mt.OCI_INDEX,
    )
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    with running() as other:
        engine.registry.copy(f"{registry.host}/app:1", "local:whole")
        assert engine.registry.copy("local:whole", f"{other.host}/app:1").digest == index.digest
        assert other.manifests["app"][str(beside.digest)][1] == raw and set(other.blobs["app"]) == set(
            registry.blobs["app"]
        )
    engine.images.pull(f"{registry.host}/app:1")
    assert engine.system.fsck() == []


def test_what_is_no_image_is_not_fetched(registry: FakeRegistry, tmp_path: Path) -> None:
    """A chart: told at once, with the way to have it all the same."""
    registry.add("chart", b"{}")
    chart = registry.add("chart", b"templates")
    desc = Descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart, 9)
    registry.add_manifest(
        "chart",
        "1",
        Manifest.compose(Descriptor.of(b"{}", "application/vnd.cncf.helm.config.v1+json"), [desc]).raw,
    )
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    with pytest.raises(
        NoImage, match=r"chart:1 is not a container image: its config is 'application/vnd.cncf.helm"
    ) as caught:
        engine.images.pull(f"{registry.host}/chart:1")
    assert "oci:DIRECTORY" in caught.value.hint and registry.requests("GET", "/blobs/") == []
    engine.registry.copy(f"{registry.host}/chart:1", f"oci:{tmp_path}/chart")
    assert Layout(tmp_path / "chart").exists(desc)
    registry.add_manifest("page", "1", b"<html>", "text/html")
    with pytest.raises(ManifestInvalid, match=r"manifest for .*/page:1: the manifest is not JSON"):
        engine.images.pull(f"{registry.host}/page:1")


def test_documents_that_are_cut_off_are_asked_for_again(registry: FakeRegistry, tmp_path: Path) -> None:
    """Manifests, indexes, lists of tags, referrers: the connection breaks in the middle of each, once."""
    entry = replace(registry.add_image("app", "", IMAGE), platform=Platform.parse("linux/amd64"))
    index = registry.add_manifest("app", "1", Index.compose([entry]).raw, mt.OCI_INDEX)
    registry.referrers_api = False  # so that the fallback tag is asked for
    for digest in (entry.digest, index.digest):
        registry.add_manifest("app", f"sha256-{digest.hex}", Index.compose([]).raw, mt.OCI_INDEX)
    seen: set[str] = set()

    def cut(request: Request) -> Response | None:
        if (
            request.method != "GET"
            or request.path in seen
            or not any(part in request.path for part in ("/manifests/", "/tags/"))
        ):
            return None
        seen.add(request.path)
        registry.hook = None
        answer = registry.answer(request)
        registry.hook = cut
        answer.cut = len(answer.body) // 2
        return answer

    registry.hook = cut
    name = f"{registry.host}/app:1"
    with running() as other:
        engine = engine_on(tmp_path / "root")
        engine.services.__dict__["registry"] = client(tmp_path)
        assert engine.registry.copy(name, f"{other.host}/app:1").digest == index.digest
    assert len(seen) == 5, seen  # the index, its image, the tags, and what refers to the two
    registry.hook = lambda r: (
        Response(200, {"Content-Type": mt.OCI_INDEX}, b"{" * 500, cut=100)
        if "manifests" in r.path and r.method == "GET"
        else None
    )
    with pytest.raises(Unavailable, match="hung up in the middle of its answer"):
        client(tmp_path).remote(Reference.parse(name)).manifest(name)


@pytest.mark.parametrize("more", [0, 40])
def test_a_repository_of_many_tags_is_not_listed_to_its_end(
    registry: FakeRegistry, tmp_path: Path, more: int
) -> None:
    """What is attached by tag is found with one page of the list, or by asking for it."""
    put = registry.add_image("app", "z", IMAGE)
    attached = make_image({"payload": b"signed"})
    registry.add_image("app", f"sha256-{put.digest.hex}.sig", attached)
    for n in range(more):
        registry.add_image("app", f"a{n:02}", IMAGE)  # before the others; this registry gives three a page
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    with running() as other:
        engine.registry.copy(f"{registry.host}/app:z", f"{other.host}/app:z")
        assert other.manifests["app"][f"sha256-{put.digest.hex}.sig"][1] == attached.manifest.raw
        assert sorted(t for t in other.manifests["app"] if ":" not in t) == sorted(
            ["z", f"sha256-{put.digest.hex}.sig"]
        )
    assert len(registry.requests("GET", "/tags/list")) == 1
    asked = {r.path.rpartition(".")[2] for r in registry.requests("HEAD", "/manifests/sha256-")}
    assert asked == ({"sig", "att", "sbom"} if more else {"sig"})


@pytest.mark.parametrize("api", [True, False])
@pytest.mark.parametrize("more", [0, 40])
def test_a_fallback_tag_that_is_not_listed_is_not_asked_for(
    registry: FakeRegistry, tmp_path: Path, api: bool, more: int
) -> None:
    """Where all tags are known; where there are more than a page of them, it may be among the others."""
    registry.add_image("app", "z", IMAGE)
    for n in range(more):
        registry.add_image("app", f"a{n:02}", IMAGE)
    registry.referrers_api = api
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    with running() as other:
        engine.registry.copy(f"{registry.host}/app:z", f"{other.host}/app:z")
    assert len(registry.requests("GET", "/manifests/sha256-[0-9a-f]{64}$")) == (1 if more and not api else 0)
    assert len(registry.requests("GET", "/referrers/")) == 1


def test_an_image_that_is_there_under_its_name_is_not_looked_at(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    """One question tells; what refers to it is brought all the same. A name elsewhere, or an index, which may be there
    in part, is not enough."""
    put, wanted, referrer, raw = signed(registry)
    engine = engine_on(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    source = f"{registry.host}/a/b:1"
    with running() as other:
        target = f"{other.host}/c:1"
        engine.registry.copy(source, target, referrers=False)
        other.log.clear()
        engine.registry.copy(source, target, referrers=False)
        assert [(r.method, r.path) for r in other.log if r.path != "/v2/"] == [("HEAD", "/v2/c/manifests/1")]
        engine.registry.copy(source, target)
        assert other.manifests["c"][str(referrer.digest)][1] == raw
        assert {tag: other.manifests["c"][tag][1] for tag in wanted} == wanted
        other.manifests["c"]["1"] = (mt.OCI_MANIFEST, wanted[f"sha256-{put.digest.hex}.sig"])
        engine.registry.copy(source, target)
        assert other.manifests["c"]["1"][1] == wanted["1"]

        entry = replace(put, platform=Platform.parse("linux/amd64"))
        index = registry.add_manifest("a/b", "2", Index.compose([entry]).raw, mt.OCI_INDEX)
        other.add_manifest("d", "2", Index.compose([entry]).raw, mt.OCI_INDEX)
        assert engine.registry.copy(f"{registry.host}/a/b:2", f"{other.host}/d:2").digest == index.digest
        assert str(put.digest) in other.manifests["d"] and len(other.blobs["d"]) > 1


# --- what registries leave out, and what they say that is not so ---------------------------------------


@pytest.mark.parametrize("what", ["manifests", "blobs", "tags"])
def test_a_registry_that_compresses_unasked(registry: FakeRegistry, tmp_path: Path, what: str) -> None:
    registry.add_image("a/b", "1", IMAGE)

    def hook(request: Request) -> Response | None:
        if f"/{what}/" not in request.path or request.method == "HEAD":
            return None
        registry.hook = None
        answer = registry.answer(request)
        registry.hook = hook
        return Response(
            answer.status, {**answer.headers, "Content-Encoding": "gzip"}, gzip.compress(answer.body)
        )

    registry.hook = hook
    remote = client(tmp_path).remote(ref(registry, "a/b"))
    sink = Memory()
    copying.copy(remote, f"{registry.host}/a/b:1", sink, "x")
    assert sink.content[IMAGE.manifest.layers[1].digest] == IMAGE.layers[1]
    assert remote.tags() == ["1"]


def test_a_blob_that_is_compressed_itself_is_not_opened(registry: FakeRegistry, tmp_path: Path) -> None:
    """Storage that knows a file as compressed says so of what is the blob."""
    data = gzip.compress(b"layer" * 1000)
    desc = Descriptor.of(data, mt.OCI_LAYER_GZIP)
    registry.add("a/b", data)

    def hook(request: Request) -> Response | None:
        return Response(200, {"Content-Encoding": "gzip"}, data) if "/blobs/" in request.path else None

    registry.hook = hook
    with client(tmp_path).remote(ref(registry, "a/b")).open(desc) as body:
        assert body.read() == data


def test_a_part_of_something_compressed_is_no_part(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("a/b", "1", IMAGE)
    layer, data = IMAGE.manifest.layers[1], IMAGE.layers[1]
    packed = gzip.compress(data)

    def hook(request: Request) -> Response | None:
        if "/blobs/" not in request.path:
            return None
        answer = ranged(request, packed)
        answer.headers["Content-Encoding"] = "gzip"
        return answer

    registry.hook = hook
    sink = Memory()
    sink.have[layer.digest] = data[:1000]
    with client(tmp_path).remote(ref(registry, "a/b")).open(layer) as body:
        sink.push(layer, body)
    assert sink.content[layer.digest] == data


def test_the_digest_decides_where_lengths_disagree(registry: FakeRegistry, tmp_path: Path) -> None:
    put = registry.add_image("a/b", "1", IMAGE)

    def hook(request: Request) -> Response | None:
        if request.method != "HEAD":
            return None
        if "/blobs/" in request.path:
            return Response(200, {"Content-Length": "17"})
        kind = {"Content-Type": put.media_type, "Docker-Content-Digest": str(put.digest)}
        return Response(200, {**kind, "Content-Length": "17"})

    registry.hook = hook
    eng = engine_on(tmp_path / "root")
    name = f"{registry.host}/a/b:1"
    (pulled,) = eng.images.pull(name)
    assert pulled.target == put and pulled.fresh
    assert not eng.images.pull(name)[0].fresh
    (pushed,) = eng.images.push(name)
    assert pushed.target.digest == put.digest and not registry.requests("POST", "uploads")
    assert client(tmp_path).remote(ref(registry, "a/b")).manifest(name)[0] == put


@pytest.mark.parametrize(
    "link",
    [
        '<{}>; rel="next"',
        "<{}>; rel=next",
        "<{}>; REL=Next",
        '</x>; rel="prev", <{}>; title="a; b"; rel="next last"',
        '<http://internal.invalid:99{}>; rel="next"',
        '<https://{}>; rel="next"',
        '<http://internal.invalid:99999{}>; rel="next"',
        '<http://[{}>; rel="next"',
        '<//other.invalid{}>; rel="next"',
    ],
)
def test_the_next_page_is_on_the_same_host(registry: FakeRegistry, tmp_path: Path, link: str) -> None:
    for n in range(8):
        registry.add_image("a/b", f"t{n}", IMAGE)

    def hook(request: Request) -> Response | None:
        if "/tags/" not in request.path:
            return None
        registry.hook = None
        answer = registry.answer(request)
        registry.hook = hook
        if given := answer.headers.get("Link"):
            path = given[1:].partition(">")[0]
            answer.headers["Link"] = link.format(path if "https" not in link else "other.invalid" + path)
        return answer

    registry.hook = hook
    assert client(tmp_path).remote(ref(registry, "a/b")).tags() == [f"t{n}" for n in range(8)]


@pytest.mark.parametrize("named", ["", "1234-abcd", "../../v2/other", "a b"])
def test_an_upload_that_does_not_say_where_it_goes_on(
    registry: FakeRegistry, tmp_path: Path, named: str
) -> None:
    data = b"x" * 100
    begun: list[str] = []

    def hook(request: Request) -> Response | None:
        if request.method == "POST":
            begun.append(request.path)
            registry.uploads["1234-abcd"] = bytearray()
            return Response(202, {"Docker-Upload-UUID": named} if named else {})
        return None

    registry.hook = hook
    remote = client(tmp_path).remote(ref(registry, "a/b"), push=True)
    desc = Descriptor.of(data, mt.OCI_LAYER)
    if named == "1234-abcd":
        remote.push(desc, io.BytesIO(data))
        assert registry.blobs["a/b"][str(desc.digest)] == data
    else:
        with pytest.raises(Unsupported, match="without saying where"):
            remote.push(desc, io.BytesIO(data))
        assert len(begun) == 1


@pytest.mark.parametrize(
    "kind", ["application/vnd.example.layer+tar", mt.OCI_LAYER_GZIP + "+encrypted", "text/plain"]
)
@pytest.mark.parametrize("indexed", [False, True])
def test_an_unknown_layer_type_is_named_before_anything_is_fetched(
    registry: FakeRegistry, tmp_path: Path, kind: str, indexed: bool
) -> None:
    layers = [replace(layer, media_type=kind) for layer in IMAGE.manifest.layers]
    odd = Manifest.compose(IMAGE.manifest.config, layers)
    entry = registry.add_manifest("a/b", "" if indexed else "1", odd.raw)
    registry.add_image("a/b", "", IMAGE)
    if indexed:
        entry = replace(entry, platform=Platform.parse("linux/amd64"))
        registry.add_manifest("a/b", "1", Index.compose([entry]).raw, mt.OCI_INDEX)
    with pytest.raises(NoImage, match=re.escape(kind)):
        engine_on(tmp_path / "root").images.pull(f"{registry.host}/a/b:1")
    assert not [r for r in registry.log if "/blobs/" in r.path and str(layers[0].digest) in r.path]


@pytest.mark.parametrize(
    "kind", [mt.OCI_LAYER, mt.OCI_LAYER_GZIP, mt.OCI_LAYER + "+zstd", mt.DOCKER_LAYER + ".gzip"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_the_bytes_say_how_they_are_compressed(
    registry: FakeRegistry, tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    image = make_image({"file": noise(3000)})
    with gzip.open(io.BytesIO(image.layers[0])) as file:
        blob = pack(file.read())
    layer = replace(Descriptor.of(blob, kind))
    registry.add("a/b", blob), registry.add("a/b", image.config)
    manifest = Manifest.compose(image.manifest.config, [layer])
    put = registry.add_manifest("a/b", "1", manifest.raw)
    name = f"{registry.host}/a/b:1"
    eng = engine_on(tmp_path / "root")
    assert eng.images.pull(name)[0].target == put
    (diff_id,) = eng.services.images_store.resolve_platform(name).layers
    said = [d.media_type for d, _ in eng.services.layers.blobs(diff_id)]
    true = {bytes: [], gzip.compress: ["gzip"], zstandard.compress: ["zstd"]}[pack]
    assert [next(k for k in ("gzip", "zstd") if t.endswith(k)) for t in said] == true
    # Loaded, it has no digest that a registry gave it; its layers go as they are all the same.
    with open(tmp_path / "a.tar", "wb") as out:
        eng.images.save([name], out)
    other = engine_on(tmp_path / "other")
    other.images.load(tmp_path / "a.tar")
    other.images.tag(name, f"{registry.host}/c:1")
    assert other.images.push(f"{registry.host}/c:1")[0].target.media_type == put.media_type


def test_a_port_of_this_machine_is_asked_in_plain_text_first(tmp_path: Path) -> None:
    with running() as registry:
        registry.add_image("a/b", "1", IMAGE)
        client(tmp_path).remote(ref(registry, "a/b")).resolve(f"{registry.host}/a/b:1")
        assert [r.method for r in registry.log] == ["GET", "HEAD"]


def test_a_port_of_this_machine_may_speak_tls(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with running() as registry:
        registry.add_image("a/b", "1", IMAGE)
        registry.server.socket = context.wrap_socket(
            registry.server.socket, server_side=True, do_handshake_on_connect=False
        )
        speaker = client(tmp_path)
        speaker.remote(ref(registry, "a/b")).resolve(f"{registry.host}/a/b:1")
        assert speaker.session(speaker.hosts.origin(registry.host, "a/b")).origin.startswith("https://")


@pytest.mark.parametrize(
    "url", ["http://[", "http://h:99999/", "//[::1/", "http://:80/", "http://a b/", "http://\u212a/"]
)
@pytest.mark.parametrize("how", ["redirect", "upload", "realm", "foreign", "link"])
def test_urls_of_a_registry_that_are_none(registry: FakeRegistry, tmp_path: Path, url: str, how: str) -> None:
    """A sentence, whatever stands where a URL is wanted."""
    registry.add_image("a/b", "1", IMAGE)
    raw = url.encode("utf-8").decode("latin-1")
    answers = {
        "redirect": ("GET", Response(307, {"Location": raw})),
        "upload": ("POST", Response(202, {"Location": raw})),
        "realm": ("GET", Response(401, {"WWW-Authenticate": f'Bearer realm="{raw}"'})),
        "link": ("GET", Response(200, {"Link": f'<{raw}>; rel="next"'}, b'{"tags": ["1"]}')),
    }
    if how in answers:
        method, answer = answers[how]
        registry.hook = lambda r: answer if r.method == method and r.path != "/v2/" else None
    remote = client(tmp_path, tries=1).remote(ref(registry, "a/b"), push=True)
    if how == "link":
        assert remote.first_tags()[0] == ["1"]
        return
    with pytest.raises(BoxwrightError):
        if how == "upload":
            remote.push(Descriptor.of(b"x", mt.OCI_LAYER), io.BytesIO(b"x"))
        elif how == "foreign":
            kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            with remote.open(Descriptor(kind, Digest.of(b"x"), 1, urls=(url,))) as body:
                body.read()
        else:
            remote.manifest(f"{registry.host}/a/b:1")


def test_lists_without_an_end(registry: FakeRegistry, tmp_path: Path) -> None:
    pages = iter(range(10**6))
    body = json.dumps({"tags": ["t" * 1_000_000] * 7}).encode()
    registry.hook = lambda r: (
        Response(200, {"Link": f'<?n={next(pages)}>; rel="next"'}, body) if "/tags/" in r.path else None
    )
    with pytest.raises(BoxwrightError, match="lists more than"):
        client(tmp_path).remote(ref(registry, "a/b")).tags()


def test_referrers_without_an_end(registry: FakeRegistry, tmp_path: Path) -> None:
    entry = Descriptor(mt.OCI_MANIFEST, Digest.of(b""), 2)
    raw = Index.compose([entry] * 3000).raw
    pages = iter(range(10**6))
    registry.hook = lambda r: (
        Response(200, {"Content-Type": mt.OCI_INDEX, "Link": f'<?n={next(pages)}>; rel="next"'}, raw)
        if "/referrers/" in r.path
        else None
    )
    with pytest.raises(BoxwrightError, match="more than"):
        client(tmp_path).remote(ref(registry, "a/b")).referrers(Digest.of(b"x"))


def test_secrets_of_a_url_are_not_in_a_message(registry: FakeRegistry, tmp_path: Path) -> None:
    def hook(request: Request) -> Response | None:
        if request.path == "/elsewhere":
            return Response(200, {}, b"x" * (9 << 20))
        return (
            Response(307, {"Location": "/elsewhere?signature=s3cret"}) if "/tags/" in request.path else None
        )

    registry.hook = hook
    with pytest.raises(BoxwrightError) as caught:
        client(tmp_path).remote(ref(registry, "a/b")).tags()
    assert "elsewhere" in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\ud800", "-flag", "", "a b", "x" * 129, {}, None])
def test_a_list_of_tags_has_tags(registry: FakeRegistry, tmp_path: Path, name: object) -> None:
    body = json.dumps({"tags": ["1", name]}).encode()
    registry.hook = lambda r: Response(200, {}, body) if "/tags/" in r.path else None
    remote = client(tmp_path).remote(ref(registry, "a/b"))
    with pytest.raises(BoxwrightError, match="no tag") as caught:
        remote.tags()
    assert str(caught.value).isprintable()
    assert remote.first_tags()[0] == ["1"]
