"""Manifests and configs with anything anywhere: refused or stored, and what is stored can be listed, searched and shown."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.images_pushed import CONFIG, INDEX, LAYER, MANIFEST
from support.server import Client, serving

NAME, BLOB = "f/x", b"layer"
ODD = (
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\ud800",
    "a\x00b",
    "é",
    "../x",
    "x" * 5000,
    "linux",
    MANIFEST,
    "http://x/ y",
    "sha256:" + "0" * 64,
    [],
    {},
    [None],
    [[]],
    ["x"],
    {"a": None},
    {"": ""},
)


def pointer(kind: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": kind,
        "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        "size": len(content),
        **more,
    }


SUBJECT = json.dumps(
    {"schemaVersion": 2, "mediaType": MANIFEST, "config": pointer("application/x", BLOB), "layers": []}
).encode()
GOOD_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "variant": "v8",
    "os.features": ["x"],
    "os.version": "1",
    "created": "2026-01-01T00:00:00Z",
    "author": "me",
    "config": {
        "Env": ["A=b"],
        "Labels": {"a": "b"},
        "Cmd": ["sh"],
        "Entrypoint": ["x"],
        "Healthcheck": {"Test": ["CMD", "x"]},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/x": {}},
        "User": "1",
        "WorkingDir": "/",
        "OnBuild": ["RUN x"],
        "Shell": ["sh"],
        "StopSignal": "TERM",
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
    "history": [
        {
            "created": "2026-01-01T00:00:00Z",
            "created_by": "RUN x",
            "author": "a",
            "comment": "c",
            "empty_layer": False,
        }
    ],
}
GOOD_INDEX = {
    "schemaVersion": 2,
    "mediaType": INDEX,
    "artifactType": "x/y",
    "annotations": {"a": "b"},
    "subject": pointer(MANIFEST, SUBJECT),
    "manifests": [
        pointer(
            MANIFEST,
            SUBJECT,
            platform={
                "os": "linux",
                "architecture": "arm64",
                "variant": "v8",
                "os.features": ["a"],
                "os.version": "1",
            },
            annotations={"vnd.docker.reference.digest": "x"},
            artifactType="x",
            data="e30=",
        )
    ],
}


def image(config: bytes) -> dict[str, Any]:
    notes = {
        f"org.opencontainers.image.{word}": "http://x"
        for word in ("title", "description", "url", "licenses", "vendor")
    }
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/y",
        "config": pointer(CONFIG, config),
        "annotations": notes,
        "layers": [
            pointer(LAYER, BLOB, annotations={"org.opencontainers.image.title": "t"}, urls=["http://x"])
        ],
        "subject": pointer(MANIFEST, SUBJECT),
    }


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*above, key)
        yield from places(inner, (*above, key))


@st.composite
def spoilt(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one to three values that are missing or odd."""
    out = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(out))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        parent: Any = out
        for key in way:
            parent = parent[key]
        if draw(st.integers(0, 4)):
            parent[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del parent[last]
    return out


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("manifests") / "reg") as served:
        served.push_blob(NAME, BLOB)
        assert served.push_manifest(NAME, "subject", SUBJECT, MANIFEST).status == 201
        yield served


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(("image", "index", "config")), st.data())
def test_anything_anywhere(client: Client, what: str, data: st.DataObject) -> None:
    config = json.dumps(data.draw(spoilt(GOOD_CONFIG)) if what == "config" else GOOD_CONFIG).encode()
    client.push_blob(NAME, config)
    good = GOOD_INDEX if what == "index" else image(config)
    body = good if what == "config" else data.draw(spoilt(good))
    answer = client.push_manifest(
        NAME, "t", json.dumps(body).encode(), INDEX if what == "index" else MANIFEST
    )
    assert answer.status in (201, 400), answer
    if answer.status == 400:
        assert answer.code in ("MANIFEST_INVALID", "MANIFEST_BLOB_UNKNOWN"), answer
        return
    for path in (
        f"/v2/{NAME}/manifests/t",
        f"/v2/{NAME}/referrers/{pointer('', SUBJECT)['digest']}",
        "/",
        "/api/search?q=f",
        "/v1/search?q=f",
        f"/api/repositories/{NAME}",
        f"/r/{NAME}",
        f"/r/{NAME}/tags/t",
    ):
        shown = client("GET", path)
        assert shown.status == 200, (path, shown)
    assert client("DELETE", f"/v2/{NAME}/manifests/{answer.headers['Docker-Content-Digest']}").status == 202


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"artifactType": "\ud800"}, 400),
        ({"mediaType": [MANIFEST]}, 400),
        ({"mediaType": {"a": 1}}, 400),
        ({"annotations": [1]}, 400),
        ({"layers": [pointer(LAYER, BLOB, data="é")]}, 400),
        ({"layers": [{**pointer(LAYER, BLOB), "size": 2**70}]}, 201),
        ({"layers": [pointer(LAYER, BLOB, platform={"os.features": 5})]}, 201),
        ({"annotations": {"\ud800": "\ud800"}}, 201),
    ],
)
def test_what_was_an_accident_once(client: Client, change: dict[str, Any], status: int) -> None:
    config = json.dumps({**GOOD_CONFIG, "os.features": 1e308}).encode()
    client.push_blob(NAME, config)
    answer = client.push_manifest(NAME, "t", json.dumps({**image(config), **change}).encode(), MANIFEST)
    assert answer.status == status, answer
    for path in (
        f"/v2/{NAME}/referrers/{pointer('', SUBJECT)['digest']}",
        f"/api/repositories/{NAME}",
        f"/r/{NAME}/tags/t",
        "/api/search?q=f",
    ):
        assert client("GET", path).status in (200, 404 if status == 400 else 200), path
