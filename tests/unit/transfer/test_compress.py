"""An archive in docker's own form on its way to a registry."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.spec import mediatypes as mt
from boxwright.spec.digest import Digest
from support.image import docker_archive, oci_files, rootfs, write_files
from support.registry import Request, Response, client, noise, running


@pytest.mark.parametrize("packed", [False, True])
def test_its_layers_are_compressed_and_the_digest_is_that_of_a_push(tmp_path: Path, packed: bool) -> None:
    tars = [rootfs("a", content=noise(2_000_000) + b"0" * 2_000_000), rootfs("b")]
    (tmp_path / "a.tar").write_bytes(docker_archive([(["app:1"], tars)], compress=packed))
    engine = Engine(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    torn: list[Request] = []

    def tear(request: Request) -> Response | None:
        if request.method == "PATCH" and not torn:
            torn.append(request)
            registry.uploads[request.path.rpartition("/")[2]] += request.body[:1_000_000]
            return Response(503, {"Retry-After": "0"})
        return None

    with running() as registry:
        registry.hook = tear
        copied = engine.registry.copy(f"docker-archive:{tmp_path}/a.tar", f"{registry.host}/copied:1")
        assert torn and registry.requests("PATCH")[1].headers["content-range"].startswith(
            "1000000-"
        )  # it can be read again from anywhere
        manifest = json.loads(registry.manifests["copied"]["1"][1])
        assert [layer["mediaType"] for layer in manifest["layers"]] == [mt.OCI_LAYER_GZIP] * 2
        for layer, tar in zip(manifest["layers"], tars, strict=True):
            blob = registry.blobs["copied"][layer["digest"]]
            assert (
                str(Digest.of(blob)) == layer["digest"]
                and len(blob) == layer["size"]
                and gzip.decompress(blob) == tar
            )
        before = len(registry.log)
        assert engine.registry.copy(f"docker-archive:{tmp_path}/a.tar", f"{registry.host}/copied:1") == copied
        assert {r.method for r in registry.log[before:] if "/blobs/" in r.path} == {"HEAD"}  # all there
        assert engine.images.list() == []
        engine.images.load(tmp_path / "a.tar")
        assert engine.registry.copy("local:app:1", f"{registry.host}/pushed:1").digest == copied.digest


def test_an_archive_with_a_digest_keeps_it(tmp_path: Path) -> None:
    """However plain its layers are."""
    write_files(tmp_path / "lay", oci_files([rootfs("a")], gz=False, name="1"))
    engine = Engine(tmp_path / "root")
    engine.services.__dict__["registry"] = client(tmp_path)
    (entry,) = json.loads((tmp_path / "lay/index.json").read_text())["manifests"]
    with running() as registry:
        assert (
            str(engine.registry.copy(f"oci:{tmp_path}/lay", f"{registry.host}/app:1").digest)
            == entry["digest"]
        )
        engine.registry.copy(f"oci:{tmp_path}/lay", f"docker-archive:{tmp_path}/d.tar:app:1")
        assert (
            str(engine.registry.copy(f"docker-archive:{tmp_path}/d.tar", f"{registry.host}/app:2").digest)
            == entry["digest"]
        )
