"""The places that `copy` moves images between: registries, the store, archives, OCI layouts.

NAME or docker://NAME (a registry)   local:NAME   oci:DIR[:NAME]   oci-archive:FILE[:NAME]   docker-archive:FILE[:NAME]
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Invalid
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boxwright.content.store import Sink, Source
    from boxwright.image.store import ImageStore
    from boxwright.registry.client.client import RegistryClient

KINDS = ("docker", "local", "oci", "oci-archive", "docker-archive")


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy as a user writes it: kind, path of a file or directory, name. Kind 'docker' is a registry."""

    kind: str
    path: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a place; what has no known prefix is a reference. Raises Invalid."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in KINDS or (kind == "docker" and not rest.startswith("//")):
            return cls("docker", "", text)
        if kind == "docker":
            return cls(kind, "", rest.removeprefix("//"))
        if kind == "local":
            return cls(kind, "", rest)
        path, _, name = rest.partition(":")
        if not path:
            raise Invalid(f"{text!r} names no file", hint=f"write it as {kind}:PATH or {kind}:PATH:NAME")
        return cls(kind, path, name)


@contextmanager
def source(
    images: Callable[[], ImageStore], client: RegistryClient, place: Place
) -> Iterator[tuple[Source, str]]:
    """Where to read and under which name. Raises ReferenceInvalid, ArchiveInvalid, LayoutInvalid."""
    if place.kind == "docker":
        reference = Reference.parse(place.name).with_default_tag()
        yield client.remote(reference), str(reference)
    elif place.kind == "local":
        from boxwright.content.lease import Lease
        from boxwright.image.target import LocalTarget

        with Lease(images().db, f"copy {place.name}") as lease:
            yield LocalTarget(images(), lease), place.name
    elif place.kind == "oci":
        from boxwright.content.layout import Layout

        yield Layout(Path(place.path)), place.name
    else:
        from boxwright.content.lease import Lease
        from boxwright.image.archive import ArchiveSource
        from boxwright.image.load import open_members

        with Lease(images().db, f"copy {place.path}") as lease:
            members = open_members(Path(place.path), images(), lease)
            try:
                yield ArchiveSource(members), place.name
            finally:
                members.close()


@contextmanager
def sink(
    images: Callable[[], ImageStore], client: RegistryClient, place: Place
) -> Iterator[tuple[Sink, str]]:
    """Where to write and under which name. An archive appears under its own name when it is whole.
    Raises ReferenceInvalid, Invalid."""
    if place.kind == "docker":
        reference = Reference.parse(place.name).with_default_tag()
        yield client.remote(reference, push=True), str(reference)
    elif place.kind == "local":
        from boxwright.content.lease import Lease
        from boxwright.image.target import LocalTarget

        with Lease(images().db, f"copy {place.name}") as lease:
            yield LocalTarget(images(), lease, attaching=True), place.name
    elif place.kind == "oci":
        from boxwright.content.layout import Layout

        yield Layout(Path(place.path), create=True), place.name
    else:
        from boxwright.files.disk import disk_errors, whole_file
        from boxwright.image.save import ArchiveSink, OciArchiveSink

        with disk_errors(place.path), whole_file(Path(place.path)) as out:
            archive = (OciArchiveSink if place.kind == "oci-archive" else ArchiveSink)(
                out, platform=images().default_platform
            )
            yield archive, _archive_name(place)
            archive.close()


def _archive_name(place: Place) -> str:
    return str(Reference.parse(place.name).with_default_tag()) if place.name else ""
