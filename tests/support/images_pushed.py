"""Small images pushed to a registry under test, with everything that search and pages show."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from support.server import Client

OCI = "application/vnd.oci.image."
MANIFEST, INDEX, CONFIG, LAYER = (
    OCI + "manifest.v1+json",
    OCI + "index.v1+json",
    OCI + "config.v1+json",
    OCI + "layer.v1.tar+gzip",
)


def descriptor(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": kind,
        "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
        "size": len(data),
        **more,
    }


def push_image(
    client: Client,
    name: str,
    tag: str = "latest",
    *,
    platform: str = "linux/amd64",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    layers: tuple[bytes, ...] = (b"layer one", b"layer two" * 9000),
    config: dict[str, Any] | None = None,
    history: list[dict[str, Any]] | None = None,
    subject: dict[str, Any] | None = None,
    credentials: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One platform's image; returns its descriptor. An empty `tag` pushes by digest."""
    system, architecture, *variant = platform.split("/")
    body = {
        "architecture": architecture,
        "os": system,
        "created": "2026-11-20T10:00:00Z",
        "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["sh"], "Labels": labels or {}, **(config or {})},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers],
        },
        "history": history
        if history is not None
        else [
            {"created_by": f"RUN make layer-{n}", "created": "2026-11-20T10:00:00Z"}
            for n, _ in enumerate(layers)
        ],
        **({"variant": variant[0]} if variant else {}),
    }
    raw = json.dumps(body).encode()
    headers = credentials or {}
    for data in (raw, *layers):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        location = client("POST", f"/v2/{name}/blobs/uploads/", **headers).headers["Location"]
        answer = client("PUT", f"{location}?digest={digest}", data, **headers)
        assert answer.status == 201, answer
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, raw),
        "layers": [descriptor(LAYER, layer) for layer in layers],
    }
    if annotations:
        manifest["annotations"] = annotations
    if subject:
        manifest["subject"] = subject
    return put(client, name, tag, manifest, MANIFEST, headers)


def push_index(
    client: Client,
    name: str,
    tag: str,
    children: dict[str, dict[str, Any]],
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """`children`: platform -> descriptor."""
    entries = []
    for platform, child in children.items():
        system, architecture, *variant = platform.split("/")
        entries.append(
            {
                **child,
                "platform": {
                    "os": system,
                    "architecture": architecture,
                    **({"variant": variant[0]} if variant else {}),
                },
            }
        )
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": entries,
        **({"annotations": annotations} if annotations else {}),
    }
    return put(client, name, tag, index, INDEX, {})


def push_artifact(
    client: Client,
    name: str,
    subject: dict[str, Any],
    kind: str,
    data: bytes,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A referrer, such as an SBOM."""
    client.push_blob(name, data)
    client.push_blob(name, b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor(kind, data)],
        "subject": subject,
        "annotations": annotations or {},
    }
    return put(client, name, "", manifest, MANIFEST, {})


def put(
    client: Client, name: str, tag: str, manifest: dict[str, Any], kind: str, headers: dict[str, str]
) -> dict[str, Any]:
    raw = json.dumps(manifest).encode()
    found = descriptor(kind, raw)
    answer = client(
        "PUT", f"/v2/{name}/manifests/{tag or found['digest']}", raw, Content_Type=kind, **headers
    )
    assert answer.status == 201, answer
    return found
