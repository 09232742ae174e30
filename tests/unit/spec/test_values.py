"""Digests, chain IDs, descriptors, manifests, configs."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ConfigInvalid, HistoryEntry, ImageConfig
from boxwright.spec.descriptor import Descriptor, DescriptorInvalid
from boxwright.spec.digest import ChainID, DiffID, Digest, DigestInvalid, chain_id
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, ManifestInvalid, SchemaUnsupported, parse
from boxwright.spec.platform import Platform

A, B, C = (DiffID.of(x) for x in (b"a", b"b", b"c"))


def test_digest_round_trip() -> None:
    digest = Digest.of(b"hello")
    assert str(digest) == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert Digest.parse(str(digest)) == digest
    assert Digest.parse(str(Digest.of(b"x", "sha512"))).algorithm == "sha512"
    assert digest.short == digest.hex[:12]


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\n", "md5:" + "a" * 32, "sha512:" + "a" * 64, "sha256:" + "../" * 21 + "x"],
)
def test_digest_refuses(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


def test_kinds_of_digest_differ() -> None:
    assert DiffID("sha256", A.hex) != Digest("sha256", A.hex)


def test_chain_id() -> None:
    """image-spec config.md: ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln))."""
    assert chain_id([]) is None
    assert chain_id([A]) == ChainID(A.algorithm, A.hex)
    two = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    assert str(chain_id([A, B])) == two
    assert str(chain_id([A, B, C])) == "sha256:" + hashlib.sha256(f"{two} {C}".encode()).hexdigest()


def test_descriptor_round_trip() -> None:
    desc = Descriptor.of(b"{}", mt.OCI_CONFIG, annotations={"a": "b"}, platform=Platform("linux", "amd64"), urls=("https://x/y",), artifact_type="t", data=b"{}")
    assert Descriptor.from_json(json.loads(json.dumps(desc.to_json()))) == desc


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"mediaType": "x", "digest": 3, "size": 1}, {"mediaType": "x", "digest": str(A), "size": -1},
     {"mediaType": "x", "digest": str(A), "size": True}, {"mediaType": "x", "digest": str(A), "size": "7"},
     {"mediaType": "x", "digest": str(A), "size": 1, "data": "!"}],
)  # fmt: skip
def test_descriptor_refuses(value: object) -> None:
    with pytest.raises(DescriptorInvalid):
        Descriptor.from_json(value)


def _layer(data: bytes) -> Descriptor:
    return Descriptor.of(data, mt.OCI_LAYER)


def test_manifest_round_trip() -> None:
    manifest = Manifest.compose(Descriptor.of(b"{}", mt.OCI_CONFIG), [_layer(b"1"), _layer(b"2")], annotations={"k": "v"}, subject=_layer(b"s"))
    again = parse(manifest.raw, mt.OCI_MANIFEST + "; charset=utf-8")
    assert again == manifest
    assert again.descriptor == manifest.descriptor
    assert [d.digest for d in again.references()] == [manifest.config.digest, *(x.digest for x in manifest.layers)]


def test_index_round_trip() -> None:
    index = Index.compose([_layer(b"1")], annotations={"k": "v"})
    assert parse(index.raw) == index


def test_empty_index_is_valid() -> None:
    assert parse(b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % mt.OCI_INDEX.encode()) == Index.compose([], annotations={})


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b"", ""), (b"[]", ""), (b"{}", ""), (b"[" * 100_000, ""), (b'{"schemaVersion":2}', ""), (b'{"schemaVersion":2,"manifests":{}}', ""),
        (b'{"schemaVersion":2,"layers":[],"config":{}}', ""),
        (b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"layers":[]}' % mt.OCI_INDEX.encode(), ""),
        (b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % mt.OCI_INDEX.encode(), mt.OCI_MANIFEST),
        (b'{"schemaVersion":2,"mediaType":"text/plain","layers":[]}', ""), (b" " * (MAX_SIZE + 1), ""),
        (b'{"schemaVersion":2,"manifests":[],"annotations":[]}', ""),
    ],
)  # fmt: skip
def test_manifest_refuses(raw: bytes, media_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse(raw, media_type)


def test_schema_1_is_refused_with_a_hint() -> None:
    with pytest.raises(SchemaUnsupported) as caught:
        parse(b'{"schemaVersion":1}')
    assert caught.value.hint


@given(st.binary(max_size=200))
def test_parsers_raise_only_invalid(raw: bytes) -> None:
    for read in (parse, ImageConfig.parse):
        try:
            read(raw)
        except (Invalid, SchemaUnsupported):
            pass
        else:
            assert json.loads(raw) is not None


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "rootfs", "diff_ids", "history", "digest", "size", "annotations", "subject"]), x, max_size=4), max_leaves=12)


@given(_json)
def test_parsers_survive_any_json(value: object) -> None:
    raw = json.dumps(value).encode()
    for read in (parse, ImageConfig.parse):
        try:
            read(raw)
        except (Invalid, SchemaUnsupported):
            continue
        assert isinstance(value, dict)


def test_config_round_trip_keeps_what_it_does_not_know() -> None:
    config = ImageConfig(
        Platform("linux", "arm64", "v9"), (A, B), (HistoryEntry("2026-01-01T00:00:00Z", "RUN x"), HistoryEntry(created_by="ENV a=b", empty_layer=True)),
        {"Env": ["A=b"], "Labels": {"x": "y"}, "Memory": 7}, "2026-01-01T00:00:00Z", "me", {"moby.buildkit.cache.v0": "…"},
    )  # fmt: skip
    again = ImageConfig.parse(config.to_bytes())
    assert again == config
    assert again.to_bytes() == config.to_bytes()
    assert again.env == ("A=b",)
    assert again.labels == {"x": "y"}


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"rootfs":{"diff_ids":3}}', b'{"history":{}}', b'{"config":[]}'])
def test_config_refuses(raw: bytes) -> None:
    with pytest.raises(ConfigInvalid):
        ImageConfig.parse(raw)
