"""The protocols through which bytes move. Four places implement them: the local store, a registry, an archive,
an OCI layout. `content.copy.copy` moves an image between any two.

Life cycle of content: a writer is opened (`ingest`), takes bytes, and commits; until then nothing is visible.
What is committed is immutable. A reader verifies what it reads: `close` after a full read, or the read that
reaches the end, raises `Corrupt` on a mismatch.

The small protocols at the end are optional: `copy` asks with `isinstance` and does without where they lack.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import Protocol, runtime_checkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class Fetcher(Protocol):
    """Gives bytes for descriptors."""

    def open(self, desc: Descriptor) -> BinaryIO:
        """A verified stream of exactly these bytes. Raises NotFound; reading raises Corrupt, Unavailable."""
        ...


class Resolver(Protocol):
    """Gives descriptors for names."""

    def resolve(self, name: str) -> Descriptor:
        """The manifest or index that the name points at now. Raises NotFound, Unavailable, Unauthorized."""
        ...


class Pusher(Protocol):
    """Takes bytes. `push` returning means "the content is stored", not "I stored it". Several threads may push
    different content at once, except into an archive."""

    def exists(self, desc: Descriptor) -> bool:
        """A hint, never a promise."""
        ...

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """Store the bytes; idempotent. `body` is verified, as `Fetcher.open` gives it: it raises Corrupt itself where
        its bytes are not what `desc` says, and then nothing is stored. Places on this host compare all the same."""
        ...


class Tagger(Protocol):
    """Takes names."""

    def tag(self, name: str, desc: Descriptor) -> None:
        """Point the name at a stored manifest or index."""
        ...


@runtime_checkable
class Source(Fetcher, Resolver, Protocol):
    """Where images come from."""


@runtime_checkable
class Sink(Pusher, Tagger, Protocol):
    """Where images go."""


@runtime_checkable
class Resumable(Protocol):
    """A body that need not be read from its start."""

    def resume_at(self, offset: int) -> None:
        """Called before the first read by a sink that has the first `offset` bytes (0 is allowed). From then on
        the sink verifies the whole; the body hashes nothing more."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A body that can be had again, so that a broken upload goes on where the peer says it is."""

    def rewind(self, offset: int) -> None:
        """The next read begins at `offset`. The reader's peer verifies the whole."""
        ...


@runtime_checkable
class Originated(Protocol):
    """A source that knows from which repositories a blob can be had."""

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """Repositories as ``domain/path``; may be empty."""
        ...


@runtime_checkable
class Mounter(Protocol):
    """A sink that can take a blob from a neighbour without its bytes."""

    def mount(self, desc: Descriptor, origins: Sequence[str]) -> bool:
        """Whether the blob is now there. False means: push it."""
        ...


@runtime_checkable
class Referring(Protocol):
    """A source that knows who refers to a manifest (signatures, attestations, bills of materials)."""

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Manifests whose subject is `digest`; empty when there are none."""
        ...


BESIDE = (
    "@"  # before a tag by which something is attached, where names of images are not tags of one repository
)


@runtime_checkable
class AttachedByTag(Protocol):
    """A place whose images lie side by side under tags: cosign's older scheme attaches by a tag made of the digest."""

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """As many tags as can be had at once, or at least those by which something is attached; whether these are
        all."""
        ...

    def beside(self, tag: str) -> str:
        """The name by which `resolve` and `tag` know the image of that tag."""
        ...


@runtime_checkable
class Partial(Protocol):
    """A source that may hold only some of an index's images; a copy takes those."""

    def has(self, desc: Descriptor) -> bool:
        """Whether the bytes are there."""
        ...


@runtime_checkable
class NamedPusher(Protocol):
    """A sink that stores a manifest and names it in one request."""

    def push_named(self, name: str, desc: Descriptor, raw: bytes) -> None:
        """`push` and `tag` at once."""
        ...
