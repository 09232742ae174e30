"""Whatever an archive holds: it is loaded or refused in one sentence, and the store stays sound."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.engine import Engine
from boxwright.errors import BoxwrightError
from support.image import docker_archive, engine, oci_files, rootfs, tar_of

WHOLE = [
    tar_of(oci_files([rootfs("a"), rootfs("b")], name="docker.io/library/app:1")),
    docker_archive([(["app:1"], [rootfs("a"), rootfs("b")])]),
    gzip.compress(tar_of(oci_files([rootfs("a")], name="docker.io/library/app:1", gz=False))),
]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.text(max_size=8)
    | st.sampled_from(["sha256:" + "0" * 64, "../x", "app:1", "linux"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Config",
                    "Layers",
                    "RepoTags",
                    "manifests",
                    "digest",
                    "size",
                    "mediaType",
                    "config",
                    "layers",
                    "rootfs",
                    "diff_ids",
                    "history",
                    "platform",
                    "annotations",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def eng() -> Any:
    with tempfile.TemporaryDirectory() as where:
        eng = engine(Path(where) / "root")
        yield eng
        eng.services.db.close()


def attempt(eng: Engine, data: bytes) -> None:
    for source in (io.BytesIO(data), eng.root.parent / "archive"):
        if isinstance(source, Path):
            source.write_bytes(data)
        try:
            eng.images.load(source)
        except BoxwrightError as error:
            assert str(error) and "\n" not in str(error)[:300]
    for image in eng.images.list(all=True):
        assert eng.images.history(image.id)
        assert eng.images.inspect(image.id)["Id"] == image.id
    problems = eng.system.fsck()
    assert problems == [], problems


@SLOW
@given(
    which=st.sampled_from(range(len(WHOLE))),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
def test_bytes_changed(eng: Engine, which: int, edits: list[tuple[float, bytes]]) -> None:
    data = bytearray(WHOLE[which])
    for where, change in edits:
        at = int(where * (len(data) - 1))
        data[at : at + len(change)] = change
    attempt(eng, bytes(data))


@SLOW
@given(value=JSON, name=st.sampled_from(["index.json", "manifest.json"]))
def test_any_json_on_top(eng: Engine, value: Any, name: str) -> None:
    files = oci_files([rootfs("a")], name="app:1")
    del files["index.json"]
    attempt(eng, tar_of({**files, name: json.dumps(value).encode()}))


@SLOW
@given(value=JSON)
def test_any_json_as_config_or_manifest(eng: Engine, value: Any) -> None:
    from support.image import digest

    raw = json.dumps(value).encode()
    attempt(
        eng,
        tar_of(
            {
                "manifest.json": json.dumps(
                    [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": []}]
                ).encode(),
                "c.json": raw,
            }
        ),
    )
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(raw),
        "size": len(raw),
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    attempt(eng, tar_of({"index.json": index, "blobs/sha256/" + digest(raw)[7:]: raw}))
    manifest = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(raw),
            "size": len(raw),
        },
        "layers": [],
    }
    above = json.dumps(manifest).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(above),
        "size": len(above),
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    attempt(
        eng,
        tar_of(
            {
                "index.json": index,
                "blobs/sha256/" + digest(raw)[7:]: raw,
                "blobs/sha256/" + digest(above)[7:]: above,
            }
        ),
    )
