"""Whether a storage is sound: every byte is read, and every link followed, down to what a pull of a tag would ask
for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from boxwright.errors import BoxwrightError
from boxwright.registry.server.config import RegistryConfig
from boxwright.registry.server.errors import DigestWrong
from boxwright.registry.server.store.blobs import FileBlobs
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.manifests import required
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import parse


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `check` found wrong."""

    what: str
    detail: str


def check(
    config: RegistryConfig, catalog: RegistryCatalog, blobs: FileBlobs, *, repair: bool = False
) -> Iterator[Finding]:
    """With `repair`, broken bytes are taken away together with the claims of holding them, so that the next push brings
    them again; until then, what names them is a finding."""
    for (problem,) in catalog.connection().execute("PRAGMA quick_check"):
        if problem != "ok":
            yield Finding("catalog", problem)
    broken = dict(_broken_blobs(catalog, blobs))
    for text, detail in broken.items():
        yield Finding(f"blob {text}", detail)
    yield from _manifests(catalog)
    yield from _missing_parts(config, catalog, set() if repair else set(broken))
    if repair and broken:
        with catalog.write() as sql:
            for text in broken:
                sql.execute("DELETE FROM blobs WHERE digest = ?", (text,))
                blobs.delete(Digest.parse(text))
        blobs.sweep()


def _broken_blobs(catalog: RegistryCatalog, blobs: FileBlobs) -> Iterator[tuple[str, str]]:
    """Digest, and what is wrong with its file."""
    wrong = set()
    for digest, _, _ in blobs.blobs():
        try:
            blobs.verify(digest)
        except FileNotFoundError:
            continue  # collected meanwhile
        except DigestWrong as error:
            wrong.add(str(digest))
            yield str(digest), str(error)
    for text, size in catalog.connection().execute("SELECT DISTINCT digest, size FROM blobs").fetchall():
        there = blobs.size(Digest.parse(text))
        if there != size and text not in wrong:
            yield text, "the file is missing" if there is None else f"the file has {there} bytes, not {size}"


def _manifests(catalog: RegistryCatalog) -> Iterator[Finding]:
    sql = catalog.connection()
    for text, content in sql.execute("SELECT digest, content FROM contents"):
        digest = Digest.parse(text)
        if Digest.of(content, digest.algorithm) != digest:
            yield Finding(f"manifest {text}", "other bytes are stored under this digest")
    for name, text in sql.execute(
        "SELECT r.name, m.digest FROM manifests m JOIN repositories r ON r.id = m.repository "
        "WHERE m.digest NOT IN (SELECT digest FROM contents)"
    ):
        yield Finding(f"manifest {name}@{text}", "its bytes are missing")
    for name, tag, text in sql.execute(
        "SELECT r.name, t.name, t.digest FROM tags t JOIN repositories r ON r.id = t.repository "
        "WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = t.repository AND m.digest = t.digest)"
    ):
        yield Finding(f"tag {name}:{tag}", f"its manifest {text} is missing")


def _missing_parts(config: RegistryConfig, catalog: RegistryCatalog, told: set[str]) -> Iterator[Finding]:
    """What a pull would ask for in vain, besides blobs that were `told` of. A mirror's repositories are filled as
    they are asked for."""
    sql = catalog.connection()
    mirrored = tuple(upstream.prefix for upstream in config.upstreams)
    for row, name, digest, media_type, content in sql.execute(
        "SELECT r.id, r.name, m.digest, m.media_type, c.content FROM manifests m "
        "JOIN repositories r ON r.id = m.repository JOIN contents c ON c.digest = m.digest ORDER BY r.name, m.digest"
    ):
        if any(not prefix or name.startswith(prefix + "/") for prefix in mirrored):
            continue
        try:
            needed = required(
                parse(content, media_type), sparse=config.sparse, sparse_images=config.sparse_images
            )
        except BoxwrightError as error:
            yield Finding(f"manifest {name}@{digest}", str(error))
            continue
        for part in dict.fromkeys(map(str, needed)):
            held = sql.execute(
                "SELECT 1 FROM blobs WHERE repository = ?1 AND digest = ?2 UNION SELECT 1 FROM manifests "
                "WHERE repository = ?1 AND digest = ?2",
                (row, part),
            ).fetchone()
            if held is None and part not in told:
                tags = sql.execute(
                    "SELECT name FROM tags WHERE repository = ? AND digest = ? ORDER BY name", (row, digest)
                ).fetchall()
                names = [f"tag {name}:{tag}" for (tag,) in tags] or [f"manifest {name}@{digest}"]
                for what in names:
                    yield Finding(what, f"{part}, which it names, is not in the repository")
