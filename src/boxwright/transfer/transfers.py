"""Docker's verbs between registries and the local store, for the engine. The store's images come in by protocol:
this room does not know the image room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

from boxwright.content.copy import Progress
from boxwright.content.db import Database
from boxwright.content.lease import Lease
from boxwright.content.local import LocalStore
from boxwright.content.store import Sink, Source
from boxwright.errors import Invalid, NotFound
from boxwright.layer.store import LayerStore
from boxwright.registry.client.client import RegistryClient
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.transfer.pull_push import Pulled, Pushed, pull, push

_MOST_ORIGINS = 8  # repositories remembered for a blob; each costs a request when none can be mounted from


class LocalImages(Protocol):
    """What is needed of the image store."""

    @property
    def default_platform(self) -> Platform: ...
    def resolve(self, text: str) -> Any: ...
    def descriptor(self, row: Any) -> Descriptor: ...
    def tag(self, source: str, name: str) -> Any: ...
    def ready(self, layers: Sequence[DiffID]) -> bool: ...
    def config_of(self, manifest: Manifest) -> Any: ...


class LocalEnd(Source, Sink, Protocol):
    """The local store as both ends of a copy."""


class TagAndAll(Invalid):
    """``--all-tags`` was given together with a tag or digest."""


class Transfers:
    """Pull and push on one root. `local` makes the local end: ``local(lease, platform, origin)``."""

    def __init__(
        self,
        client: RegistryClient,
        store: LocalStore,
        db: Database,
        layers: LayerStore,
        images: LocalImages,
        local: Callable[[Lease, Platform | None, str], LocalEnd],
    ) -> None:
        self.client, self._store, self._db, self._layers, self._images, self._local = (
            client,
            store,
            db,
            layers,
            images,
            local,
        )

    # --- pull ----------------------------------------------------------------------------------

    def pull(
        self,
        name: str,
        *,
        platform: str = "",
        all_tags: bool = False,
        progress: Progress | None = None,
        jobs: int = 4,
        resolved: Callable[[Reference, Descriptor, bool], None] | None = None,
    ) -> list[Pulled]:
        """See Engine.pull."""
        asked = Reference.parse(name)
        if all_tags:
            if asked.tag or asked.digest:
                raise TagAndAll("tag can't be used with --all-tags/-a")
            references = [asked.with_tag(tag) for tag in self.client.remote(asked).tags()]
        else:
            references = [_one_name(asked)]
        wanted = (
            [Platform.parse(p) for p in platform.split(",")] if platform else [self._images.default_platform]
        )
        return [
            self._pull(reference, wanted, bool(platform), progress, jobs, resolved)
            for reference in references
        ]

    def _pull(
        self,
        reference: Reference,
        wanted: list[Platform],
        exact: bool,
        progress: Progress | None,
        jobs: int,
        resolved: Callable[[Reference, Descriptor, bool], None] | None,
    ) -> Pulled:
        with Lease(self._db, f"pull {reference}") as lease:
            known = self._target_of(str(reference))
            if known is not None:
                lease.hold("blob", known)
            return pull(
                self.client.remote(reference),
                reference,
                self._local(lease, wanted[0], reference.name),
                self._store,
                platforms=wanted,
                exact=exact,
                known=known,
                progress=progress,
                jobs=jobs,
                resolved=(lambda desc: resolved(reference, desc, known == desc.digest)) if resolved else None,
            )

    def _target_of(self, name: str) -> Digest | None:
        with self._db.read() as sql:
            row = sql.execute("SELECT target FROM names WHERE name = ?", (name,)).fetchone()
        return Digest.parse(row[0]) if row else None

    # --- push ----------------------------------------------------------------------------------

    def push(
        self,
        name: str,
        *,
        to: str = "",
        all_tags: bool = False,
        platform: str = "",
        compression: str = "gzip",
        level: int | None = None,
        progress: Progress | None = None,
        jobs: int = 4,
    ) -> list[Pushed]:
        """See Engine.push. `to` is the name in the registry, when it is not `name` itself."""
        if compression not in ("gzip", "zstd", "none"):
            raise Invalid(f"unknown compression {compression!r}: there are gzip, zstd and none")
        asked = Reference.parse(to or name)
        if all_tags:
            if asked.tag or asked.digest:
                raise TagAndAll("tag can't be used with --all-tags/-a")
            references = self._tagged(asked)
        else:
            if asked.digest:
                raise Invalid("cannot push a digest reference", hint="give it a tag: boxwright tag")
            references = [asked.with_default_tag()]
        platforms = [Platform.parse(p) for p in platform.split(",")] if platform else []
        return [
            self._push(
                name if to else str(reference), reference, platforms, compression, level, progress, jobs
            )
            for reference in references
        ]

    def _tagged(self, asked: Reference) -> list[Reference]:
        prefix = asked.name + ":"
        with self._db.read() as sql:
            names = [
                n
                for (n,) in sql.execute(
                    "SELECT name FROM names WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
                )
            ]
        references = [r for r in map(Reference.parse, names) if r.name == asked.name and r.tag]
        if not references:
            raise NotFound(f"an image does not exist locally with the tag: {asked.familiar_name}")
        return references

    def _push(
        self,
        image: str,
        reference: Reference,
        platforms: list[Platform],
        compression: str,
        level: int | None,
        progress: Progress | None,
        jobs: int,
    ) -> Pushed:
        try:
            row = self._images.resolve(image)
        except NotFound as error:
            raise NotFound(
                f"an image does not exist locally with the tag: {reference.familiar_name}",
                hint="boxwright images lists what is here",
            ) from error
        target = self._images.descriptor(row)
        with Lease(self._db, f"push {reference}") as lease:
            source = self._local(lease, None, "")
            target = source.resolve(row.target)
            # What was pulled, or pushed as it is, keeps its bytes; what was made here has uncompressed layers.
            published = any(n.endswith("@" + row.target) for n in row.names)

            packer = None
            if not published and compression != "none":
                from boxwright.transfer.pack import Packer

                packer = Packer(self._layers, self._store, lease, compression, level)
            done = push(
                source,
                target,
                self.client.remote(reference, push=True),
                reference,
                self._store,
                packer=packer,
                present=self._present,
                platforms=platforms,
                progress=progress,
                jobs=jobs,
            )
        try:
            self._images.tag(row.target, str(reference.with_digest(done.target.digest)))
        except NotFound:  # somebody removed the image meanwhile; it is pushed all the same
            pass
        self._note_origins(done.blobs, reference.name)
        return done

    def _present(self, manifest: Manifest) -> bool:
        if manifest.config.media_type not in mt.CONFIGS or not all(
            mt.is_layer(layer.media_type) for layer in manifest.layers
        ):
            return all(
                self._store.size(desc.digest) == desc.size for desc in manifest.references()
            )  # an attestation, say
        if self._store.size(manifest.config.digest) is None:
            return False
        diff_ids = getattr(self._images.config_of(manifest), "diff_ids", ())
        return self._images.ready(diff_ids)

    def _note_origins(self, blobs: Sequence[Descriptor], repository: str) -> None:
        """Remember where the blobs are now, for later mounts. The newest comes first."""
        with self._db.write() as sql:
            for blob in blobs:
                rows = sql.execute(
                    "SELECT diff_id, origin FROM layer_blobs WHERE digest = ?", (str(blob.digest),)
                ).fetchall()
                for diff_id, origin in rows:
                    known = [o for o in origin.split() if o != repository]
                    text = " ".join([repository, *known][:_MOST_ORIGINS])
                    if text != origin:
                        sql.execute(
                            "UPDATE layer_blobs SET origin = ? WHERE diff_id = ? AND digest = ?",
                            (text, diff_id, str(blob.digest)),
                        )


def _one_name(asked: Reference) -> Reference:
    """Docker's rule: of tag and digest, the digest counts."""
    if asked.digest:
        return asked.with_digest(Digest.parse(asked.digest))
    return asked.with_default_tag()


def read_password(stream: BinaryIO) -> str:
    """A password from standard input: one line break at its end does not belong to it."""
    raw = stream.read(1 << 20)
    text = raw.decode("utf-8", "strict")
    return text.removesuffix("\n").removesuffix("\r")
