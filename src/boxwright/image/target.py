"""The local store as both ends of `content.copy`.

As a sink it makes layers ready to run while they arrive (there is no unpack phase); as a source it serves the
uncompressed layer blobs of local images straight from the layer store.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from boxwright.content.lease import Lease
from boxwright.content.local import BlobMissing
from boxwright.content.store import BESIDE, Resumable
from boxwright.content.verify import CHUNK, ContentMismatch, VerifiedReader, read_verified
from boxwright.image.catalog import ImageRow
from boxwright.image.store import ConfigContradiction, ImageStore, NotAnImage, is_image
from boxwright.layer.store import LayerMissing
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class LocalTarget:
    """Source and Sink over an ImageStore. `lease` keeps the collector away until the images are registered.

    `origin` (``domain/path``) is recorded as where the blobs can be fetched again; with it, `tag` also records
    ``repository@digest``, as a pull does. With `attaching`, what refers to an image (signatures) is kept beside it,
    out of sight, and goes with it; otherwise any image could say that it belongs to another.
    """

    def __init__(
        self,
        images: ImageStore,
        lease: Lease,
        *,
        platform: Platform | None = None,
        origin: str = "",
        attaching: bool = False,
    ) -> None:
        self._images = images
        self._store = images.store
        self._layers = images.layers
        self._lease = lease
        self._platform = platform
        self._origin = origin
        self._attaching = attaching
        self.added: list[ImageRow] = []

    # --- source --------------------------------------------------------------------------------

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver; takes IDs too. Raises NoSuchImage, AmbiguousId."""
        if name.startswith(BESIDE):
            return self._attached(name.removeprefix(BESIDE))
        row = self._images.resolve(name)
        self._lease.hold("blob", row.target)
        return self._images.descriptor(row)

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher. Raises BlobMissing."""
        if self._store.size(desc.digest) is not None:
            return self._store.open(desc)
        try:
            layer = self._layers.get(DiffID(desc.digest.algorithm, desc.digest.hex))
        except LayerMissing as error:
            raise BlobMissing(f"blob {desc.digest} is not in the store") from error
        self._lease.hold("layer", layer.diff_id)
        from boxwright.layer.tarstream import open_tar

        return io.BufferedReader(VerifiedReader(open_tar(layer), desc), CHUNK)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated."""
        return self._layers.origins(desc.digest)

    def has(self, desc: Descriptor) -> bool:
        """See content.store.Partial."""
        return self._store.size(desc.digest) == desc.size

    def complete(self, manifest: Manifest) -> bool:
        """Whether everything that a manifest names is here: an image's config and layers, an artifact's blobs."""
        if not is_image(manifest):
            return all(self.has(desc) for desc in manifest.references())  # an attestation, say
        return self._store.size(manifest.config.digest) is not None and self._images.ready(
            self._images.config_of(manifest).diff_ids
        )

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See content.store.Referring."""
        with self._images.db.read() as sql:
            rows = sql.execute(
                "SELECT media_type, target, size FROM attached WHERE subject = ? AND name = '' ORDER BY target",
                (str(digest),),
            ).fetchall()
        return [Descriptor(media_type, Digest.parse(target), size) for media_type, target, size in rows]

    def tags(self) -> Sequence[str]:
        """By which something is attached: names of images are no tags of one repository here."""
        with self._images.db.read() as sql:
            return [
                name
                for (name,) in sql.execute(
                    "SELECT DISTINCT name FROM attached WHERE name != '' ORDER BY name"
                )
            ]

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """See content.store.AttachedByTag."""
        return self.tags(), True

    def beside(self, tag: str) -> str:
        """See content.store.AttachedByTag."""
        return BESIDE + tag

    # --- sink ----------------------------------------------------------------------------------

    def exists(self, desc: Descriptor) -> bool:
        """Whether the content is here, and for a layer also ready to run."""
        self._lease.hold("blob", desc.digest)
        with self._store.committing():  # what was condemned before it was held is gone when we get the lock
            return self._here(desc)

    def _here(self, desc: Descriptor) -> bool:
        if not mt.is_layer(desc.media_type):
            if self._store.size(desc.digest) != desc.size:
                return False
            if self._attaching and desc.media_type in mt.MANIFESTS | mt.INDEXES:
                self._note_subject(desc, parse(self._store.read(desc.digest), desc.media_type))
            return True
        diff_id = self._diff_id(desc)
        if diff_id is not None:
            self._lease.hold("layer", diff_id)
            ready = self._layers.has(diff_id)
            if ready and (str(diff_id) == str(desc.digest) or self._store.size(desc.digest) == desc.size):
                self._note_origin(desc)
                return True
        if (
            self._store.size(desc.digest) == desc.size
        ):  # the blob survived its layer: no need to fetch it again
            with self._store.open(desc) as body:
                self._take_layer(desc, body)
            return True
        return False

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """See content.store.Pusher. Raises Corrupt, TarInvalid, DiskFull, ConfigContradiction."""
        self._lease.hold("blob", desc.digest)
        if mt.is_layer(desc.media_type):
            self._take_layer(desc, body)
        elif desc.media_type in mt.MANIFESTS | mt.INDEXES:
            self._take_manifest(desc, read_verified(body, desc, limit=MAX_SIZE))
        elif desc.size <= MAX_SIZE:
            self._store.put(
                read_verified(body, desc, limit=MAX_SIZE), desc.media_type, algorithm=desc.digest.algorithm
            )
        else:
            self._take_blob(desc, body)

    def tag(self, name: str, desc: Descriptor) -> None:
        """Register the image under the name ('' = without one). A digest in the name wins over its tag, as in
        Docker."""
        if name.startswith(BESIDE):
            tag = name.removeprefix(BESIDE)
            algorithm, _, rest = tag.partition("-")
            self._attach(f"{algorithm}:{rest.partition('.')[0]}", tag, desc)
            return
        names: list[str] = []
        if name:
            reference = Reference.parse(name).with_default_tag()
            if reference.digest:
                reference = reference.with_digest(Digest.parse(reference.digest))
            names.append(str(reference))
            if self._origin and not reference.digest:
                names.append(str(reference.with_digest(desc.digest)))
        self.added.append(self._images.add(desc, names=names, select_platform=self._platform))

    # --- parts ---------------------------------------------------------------------------------

    def _take_layer(self, desc: Descriptor, body: BinaryIO) -> None:
        from boxwright.layer.blobs import ingest_blob

        # Whether it is compressed, its first bytes say, not its type.
        layer = ingest_blob(self._layers, body, desc)
        if str(layer.diff_id) != str(desc.digest):
            self._note_origin(desc)

    def _take_blob(self, desc: Descriptor, body: BinaryIO) -> None:
        with self._store.ingest(
            f"{desc.digest.algorithm}-{desc.digest.hex}", algorithm=desc.digest.algorithm
        ) as part:
            if isinstance(body, Resumable):
                body.resume_at(part.offset)
            elif part.offset:
                part.reset()
            while data := body.read(CHUNK):
                part.write(data)
            part.commit(desc.media_type, desc.digest)

    def _take_manifest(self, desc: Descriptor, raw: bytes) -> None:
        content = parse(raw, desc.media_type)
        if isinstance(content, Manifest) and is_image(content):
            self._check_layers(content)
        self._store.put(raw, desc.media_type, algorithm=desc.digest.algorithm)
        self._note_subject(desc, content)

    def _note_subject(self, desc: Descriptor, content: Manifest | Index) -> None:
        if content.subject is not None and self._attaching:
            self._attach(str(content.subject.digest), "", desc)

    def _attach(self, subject: str, name: str, desc: Descriptor) -> None:
        with self._images.db.write() as sql:
            if name:  # a tag points at one thing
                sql.execute("DELETE FROM attached WHERE subject = ? AND name = ?", (subject, name))
            sql.execute(
                "INSERT OR IGNORE INTO attached VALUES (?, ?, ?, ?, ?)",
                (subject, name, str(desc.digest), desc.media_type, desc.size),
            )

    def _attached(self, tag: str) -> Descriptor:
        with self._images.db.read() as sql:
            row = sql.execute(
                "SELECT media_type, target, size FROM attached WHERE name = ?", (tag,)
            ).fetchone()
        if row is None:
            raise BlobMissing(f"nothing is attached as {tag}")
        self._lease.hold("blob", row[1])
        return Descriptor(row[0], Digest.parse(row[1]), row[2])

    def _check_layers(self, manifest: Manifest) -> None:
        """Layer by layer: what the blob inflates to must be what the config says."""
        config = ImageConfig.parse(self._store.read(manifest.config.digest))
        if len(config.diff_ids) != len(manifest.layers):
            raise ConfigContradiction(
                f"the image config lists {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}"
            )
        for position, (claimed, desc) in enumerate(zip(config.diff_ids, manifest.layers, strict=True), 1):
            diff_id = self._diff_id(desc)
            if diff_id is None:
                raise NotAnImage(
                    f"layer {position} ({desc.digest}) of type {desc.media_type!r} did not become a layer here"
                )
            if diff_id != claimed:
                raise ContentMismatch(
                    f"layer {position} ({desc.digest}) contains {diff_id}, but the image config says {claimed}"
                )

    def _diff_id(self, desc: Descriptor) -> DiffID | None:
        """What a layer blob inflates to, when that is known."""
        return self._images.layers.inflates_to(desc.digest)

    def _note_origin(self, desc: Descriptor) -> None:
        if self._origin and not self._images.layers.origins(desc.digest):
            self._images.layers.note_origin([desc.digest], self._origin)
