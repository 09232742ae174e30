"""Engines, root file systems and archives for the tests of images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from boxwright.engine import Engine
from boxwright.image.store import ImageStore
from boxwright.settings import load
from boxwright.spec.config import HistoryEntry, ImageConfig
from support.claims import validate
from support.layer import make_tar, member

EMPTY: Mapping[str, str] = {}


def engine(root: Path, **environ: str) -> Engine:
    """An engine that sees nothing of this process's environment."""
    return Engine(settings=load({"HOME": str(root), "BOXWRIGHT_ROOT": str(root), **environ}))


def rootfs(*names: str, content: bytes = b"content\n") -> bytes:
    """A tar of small files, each name with the same content."""
    members = [member("etc", tarfile.DIRTYPE), member("etc/hostname", data=content)]
    return make_tar(*members, *(member(name, data=content) for name in names))


def imported(eng: Engine, name: str = "", *files: str, **options: Any) -> str:
    """Import a root file system; returns the image ID."""
    return eng.images.import_(io.BytesIO(rootfs(*files)), name, **options).image_id


def saved(eng: Engine, *names: str, platform: str | None = None) -> bytes:
    """The archive of these images."""
    out = io.BytesIO()
    eng.images.save(list(names), out, platform=platform)
    return out.getvalue()


def with_entry(config: ImageConfig, entry: HistoryEntry) -> ImageConfig:
    """One more change of metadata, without a layer."""
    return replace(
        config,
        history=(*config.history, replace(entry, empty_layer=True)),
        created=entry.created or config.created,
    )


def sound(images: ImageStore, name: str) -> bool:
    """Every claim of the image holds."""
    assert validate(images, images.descriptor(images.resolve(name))) == []
    return True


def members_of(archive: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def digest(data: bytes) -> str:
    """``sha256:…``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: Sequence[bytes], **more: Any) -> bytes:
    """An image config over these tars."""
    body: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-05-06T07:08:09Z",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [
            {"created": "2024-05-06T07:08:09Z", "created_by": f"layer {n}"} for n, _ in enumerate(layers)
        ],
    }
    return json.dumps({**body, **more}).encode()


def docker_archive(
    images: Sequence[tuple[Sequence[str], Sequence[bytes]]],
    *,
    compress: bool = False,
    first: bool = False,
    **more: Any,
) -> bytes:
    """What docker 1.10 to 24 saves: images as (tags, tars); `first` puts manifest.json before the layers."""
    files: dict[str, bytes] = {}
    entries = []
    for tags, layers in images:
        raw = config(layers, **more)
        paths = [f"{hashlib.sha256(layer).hexdigest()}/layer.tar" for layer in layers]
        for path, layer in zip(paths, layers):
            files[path] = gzip.compress(layer) if compress else layer
        name = f"{hashlib.sha256(raw).hexdigest()}.json"
        files[name] = raw
        entries.append({"Config": name, "RepoTags": list(tags) or None, "Layers": paths})
    manifest = {"manifest.json": json.dumps(entries).encode()}
    files = {**manifest, **files} if first else {**files, **manifest}
    files["repositories"] = b"{}"
    return make_tar(*(member(name, data=data) for name, data in files.items()))


def oci_files(
    tars: Sequence[bytes],
    *,
    name: str = "",
    gz: bool = True,
    annotation: str = "org.opencontainers.image.ref.name",
    **more: Any,
) -> dict[str, bytes]:
    """An OCI layout, as files."""
    blobs = [gzip.compress(tar, mtime=0) if gz else tar for tar in tars]
    raw = config(tars, **more)
    kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if gz else "")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(raw),
                "size": len(raw),
            },
            "layers": [{"mediaType": kind, "digest": digest(b), "size": len(b)} for b in blobs],
        }
    ).encode()
    entry: dict[str, Any] = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(manifest),
        "size": len(manifest),
    }
    if name:
        entry["annotations"] = {annotation: name}
    files = {f"blobs/sha256/{digest(b)[7:]}": b for b in (*blobs, raw, manifest)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    return files


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """These files as a tar, in this order."""
    return make_tar(*(member(name, data=data) for name, data in files.items()))


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """These files as a directory."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def add_container(eng: Engine, image: str, container: str = "c" * 64, *, status: str = "") -> None:
    """A row as if a container had been made of the image."""
    row = eng.services.images_store.resolve(image)
    layers = " ".join(str(d) for d in eng.services.images_store.resolved(row).layers)
    with eng.services.db.write() as sql:
        sql.execute(
            "INSERT INTO containers VALUES (?, ?, ?, ?, ?, '{}')",
            (container, "name-" + container[:6], row.target, layers, time.time()),
        )


def layer_of(eng: Engine, name: str) -> str:
    return str(eng.services.images_store.resolved(eng.services.images_store.resolve(name)).layers[-1])


def add_step(eng: Engine, key: str, *layers: str, used: float | None = None, size: int = 0) -> None:
    """A step record that keeps these layers."""
    now = time.time() if used is None else used
    with eng.services.db.write() as sql:
        sql.execute(
            "INSERT INTO steps VALUES (?, '', 'exec', 'RUN x', '{}', ?, '{}', ?, 0, ?, ?, 1)",
            (key, " ".join(layers), size, now, now),
        )


def many_images(root: Path, count: int) -> None:
    """Fill a store with images that share one layer: rows, configs and manifests, as a busy machine has them."""
    eng = engine(root)
    imported(eng, "base:1")
    first = eng.services.images_store.resolved(eng.services.images_store.resolve("base:1"))

    for n in range(count - 1):
        entry = HistoryEntry(created=f"2024-01-01T00:{n // 60 % 60:02d}:{n % 60:02d}Z", created_by=f"CMD {n}")
        eng.services.images_store.create(with_entry(first.config, entry), names=[f"team/app{n % 50}:v{n}"])
    sqlite3.connect(root / "boxwright.db").close()
