"""Manifest lists made by hand, and imagetools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index, parse
from boxwright.spec.platform import Platform
from boxwright.transfer import manifest_lists
from boxwright.transfer.manifest_lists import (
    IndexNotes,
    ListChanged,
    ListExists,
    ManifestLists,
    NoSuchList,
    create,
    inspect,
    publish,
)
from support.registry import FakeRegistry, client, make_image, running

AMD = make_image({"a": b"amd" * 999})
ARM = make_image({"a": b"arm" * 999}, platform="linux/arm64")
OLD = make_image({"a": b"old" * 999}, platform="linux/arm/v7", docker=True)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as fake:
        fake.add_image("app", "amd", AMD)
        fake.add_image("app", "arm", ARM)
        fake.add_image("old/app", "1", OLD)
        yield fake


def platforms(index: object) -> list[str]:
    assert isinstance(index, Index)
    return [str(m.platform) for m in index.manifests]


def test_create_annotate_push(registry: FakeRegistry, tmp_path: Path) -> None:
    lists = ManifestLists(tmp_path / "root", client(tmp_path))
    host = registry.host
    lists.create(f"{host}/app:all", [f"{host}/app:amd", f"{host}/app:arm"])
    with pytest.raises(ListExists):
        lists.create(f"{host}/app:all", [f"{host}/app:amd"])
    lists.create(f"{host}/app:all", [f"{host}/old/app:1"], amend=True)
    lists.annotate(f"{host}/app:all", f"{host}/app:arm", variant="v9")
    assert platforms(lists.index(f"{host}/app:all")) == ["linux/amd64", "linux/arm64/v9", "linux/arm/v7"]
    assert lists.names() == [f"{host}/app:all"]
    desc = lists.push(f"{host}/app:all", purge=True)
    kind, raw = registry.manifests["app"]["all"]
    assert kind == mt.OCI_INDEX and desc.size == len(raw)
    assert str(OLD.manifest.descriptor.digest) in registry.manifests["app"]  # its image came along
    assert set(registry.blobs["old/app"]) <= set(registry.blobs["app"])
    with pytest.raises(NoSuchList):
        lists.remove(f"{host}/app:all")
    with pytest.raises(NoSuchList):
        lists.push(f"{host}/app:all")


def test_a_list_that_is_amended_while_it_is_pushed_is_not_purged(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{registry.host}/app:all"
    lists, other = (ManifestLists(tmp_path / "root", client(tmp_path)) for _ in range(2))
    lists.create(name, [f"{registry.host}/app:amd"])

    def meanwhile(**words: Any) -> None:
        publish(**words)
        other.create(name, [f"{registry.host}/app:arm"], amend=True)

    with monkeypatch.context() as patch:
        patch.setattr(manifest_lists, "publish", meanwhile)
        with pytest.raises(ListChanged):
            lists.push(name, purge=True)
    assert platforms(lists.index(name)) == ["linux/amd64", "linux/arm64"]
    lists.push(name, purge=True)
    assert lists.names() == []


def test_docker_images_make_a_docker_list(registry: FakeRegistry, tmp_path: Path) -> None:
    lists = ManifestLists(tmp_path / "root", client(tmp_path))
    lists.create(f"{registry.host}/x", [f"{registry.host}/old/app:1"])
    assert lists.index(f"{registry.host}/x").media_type == mt.DOCKER_LIST


def test_imagetools(registry: FakeRegistry, tmp_path: Path) -> None:
    speaker, host = client(tmp_path), registry.host
    dry = create(speaker, [], [f"{host}/app:amd", f"{host}/app:arm"], dry_run=True)
    assert platforms(dry) == ["linux/amd64", "linux/arm64"] and "all" not in registry.manifests["app"]
    with running() as other:
        made = create(
            speaker,
            [f"{host}/app:all", f"{other.host}/else:1"],
            [f"{host}/app:amd", f"{host}/app:arm"],
            notes=IndexNotes({"a": "b"}, {}),
        )
        assert registry.manifests["app"]["all"][1] == other.manifests["else"]["1"][1] == made.raw
        assert set(other.blobs["else"]) == set(registry.blobs["app"])
        create(speaker, [f"{host}/app:all"], [f"{host}/old/app:1"], append=True)
        assert len(platforms(parse(registry.manifests["app"]["all"][1]))) == 3
        before = registry.manifests["app"]["all"]
        create(speaker, [f"{host}/app:again"], [f"{host}/app:all"])
        assert registry.manifests["app"]["again"] == before  # one index keeps its bytes
    reference, desc, content, found = inspect(speaker, f"{host}/app:amd")
    assert (
        str(reference) == f"{host}/app:amd"
        and content.raw == AMD.manifest.raw
        and str(found[desc.digest]) == "linux/amd64"
    )
    with pytest.raises(Invalid):
        create(speaker, [], [f"{host}/app:amd"])


def test_what_an_entry_says_of_its_variant_is_kept(registry: FakeRegistry, tmp_path: Path) -> None:
    """v8 says nothing of arm64 that its absence does not, and Docker Hub's images have it: it is written on as it was."""
    entries = [
        Descriptor.of(
            ARM.manifest.raw,
            mt.OCI_MANIFEST,
            platform=Platform.from_json({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ),
        Descriptor.of(
            OLD.manifest.raw,
            mt.DOCKER_MANIFEST,
            platform=Platform.from_json({"os": "linux", "architecture": "arm"}),
        ),
    ]
    for image in (ARM, OLD):
        registry.add_image("hub", "", image)
    registry.add_manifest("hub", "all", Index.compose(entries).raw, mt.OCI_INDEX)
    made = create(
        client(tmp_path), [], [f"{registry.host}/hub:all", f"{registry.host}/app:amd"], dry_run=True
    )
    shown = [m["platform"] for m in json.loads(made.raw)["manifests"]]
    assert shown == [
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "arm"},
        {"os": "linux", "architecture": "amd64"},
    ]
    assert platforms(made) == ["linux/arm64", "linux/arm/v7", "linux/amd64"]
