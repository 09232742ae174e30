"""Manifest lists made by hand: ``manifest create|annotate|inspect|push|rm`` and ``imagetools create|inspect``.

A list under work is a small JSON file, ROOT/manifest-lists/<name>.json, as the docker client keeps its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from boxwright.content.copy import copy_tree
from boxwright.content.progress import Progress
from boxwright.content.tree import everything, load_tree
from boxwright.content.verify import read_verified
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files.disk import make_directories, write_atomic
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.registry.client.client import RegistryClient
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class NoSuchList(NotFound):
    """No manifest list of this name is under work here."""


class ListExists(Conflict):
    """A manifest list of this name is under work already."""


class ListChanged(Conflict):
    """A manifest list is not the one that was pushed any more, so it is not purged."""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One image of a list: where it was found and what it is."""

    reference: Reference
    desc: Descriptor


class ManifestLists:
    """The lists under work on one root."""

    def __init__(self, root: Path, client: RegistryClient) -> None:
        self._folder = Places(root).manifest_lists
        self._client = client

    def create(self, name: str, images: Sequence[str], *, amend: bool = False) -> Reference:
        """Start a list of images that are in registries. Raises ListExists, Invalid and what the registries raise."""
        reference = Reference.parse(name).with_default_tag()
        if not amend:
            self._check_new(reference)
        found = [
            entry
            for image in images
            for entry in find_entries(self._client, Reference.parse(image).with_default_tag())
        ]
        with self._changing():
            if not amend:
                self._check_new(reference)
            entries = self._read(reference) if self._path(reference).exists() else []
            for fresh in found:
                position = next(
                    (n for n, e in enumerate(entries) if e.desc.digest == fresh.desc.digest), len(entries)
                )
                entries[position : position + 1] = [fresh]
            self._write(reference, entries)
        return reference

    def _check_new(self, reference: Reference) -> None:
        if self._path(reference).exists():
            raise ListExists(
                f"the manifest list {reference.familiar} exists already",
                hint="add --amend to add to it, or remove it: boxwright manifest rm",
            )

    def annotate(self, name: str, image: str, **changes: Any) -> None:
        """Change the platform of one entry: os, architecture, variant, os_version, os_features.

        Raises NoSuchList, NotFound.
        """
        reference = Reference.parse(name).with_default_tag()
        wanted = Reference.parse(image).with_default_tag()
        with self._changing():
            entries = self._read(reference)
            chosen = [
                e
                for e in entries
                if e.reference == wanted or (wanted.digest and str(e.desc.digest) == wanted.digest)
            ]
            if not chosen:
                raise NotFound(f"manifest for image {image} does not exist in {reference.familiar}")
            given = {k.replace("os_", "os."): v for k, v in changes.items() if v}
            for entry in chosen:
                platform = Platform.from_json(
                    {"os": "linux", **(entry.desc.platform.to_json() if entry.desc.platform else {}), **given}
                )
                if not platform.architecture:
                    raise Invalid(f"{image} says no architecture", hint="give one: --arch")
                position = entries.index(entry)
                entries[position] = replace(entry, desc=replace(entry.desc, platform=platform))
            self._write(reference, entries)

    def index(self, name: str) -> Index:
        """The list as it would be pushed. Raises NoSuchList."""
        entries = self.entries(name)
        return composed([e.desc for e in entries])

    def entries(self, name: str) -> list[ListEntry]:
        """The images of a list as it is now. Raises NoSuchList."""
        return self._read(Reference.parse(name).with_default_tag())

    def push(self, name: str, *, purge: bool = False, progress: Progress | None = None) -> Descriptor:
        """Bring the list and whatever of its images the repository lacks; `purge` forgets it then. Raises NoSuchList,
        ListChanged, what registries raise."""
        reference = Reference.parse(name).with_default_tag()
        entries = self._read(reference)
        if not entries:
            raise Invalid(f"the manifest list {reference.familiar} is empty")
        index = composed([e.desc for e in entries])
        publish(client=self._client, reference=reference, index=index, entries=entries, progress=progress)
        if purge:
            self._purge(reference, entries)
        return index.descriptor

    def _purge(self, reference: Reference, pushed: Sequence[ListEntry]) -> None:
        """Forget a list, unless another process changed it since it was read to be pushed."""
        with self._changing():
            if self._read(reference) != pushed:
                raise ListChanged(
                    f"{reference.familiar} was pushed, but its list was changed meanwhile and is not removed",
                    hint="push it again",
                )
            self._path(reference).unlink()

    def remove(self, name: str) -> None:
        """Forget a list. Raises NoSuchList."""
        reference = Reference.parse(name).with_default_tag()
        try:
            with self._changing():
                self._path(reference).unlink()
        except FileNotFoundError as error:
            raise NoSuchList(f"no such manifest: {reference.familiar}") from error

    def names(self) -> list[str]:
        """Every list under work."""
        try:
            return sorted(
                unquote(p.name.removesuffix(".json"))
                for p in self._folder.iterdir()
                if p.suffix == ".json" and p.name[0] != "."
            )
        except FileNotFoundError:
            return []

    def has(self, name: str) -> bool:
        """Whether a list of this name is under work."""
        return self._path(Reference.parse(name).with_default_tag()).exists()

    def _path(self, reference: Reference) -> Path:
        return self._folder / (quote(str(reference), safe="") + ".json")

    def _read(self, reference: Reference) -> list[ListEntry]:
        try:
            body = json.loads(self._path(reference).read_bytes())
            return [
                ListEntry(Reference.parse(e["reference"]), Descriptor.from_json(e["descriptor"]))
                for e in body
            ]
        except FileNotFoundError as error:
            raise NoSuchList(
                f"no such manifest: {reference.familiar}", hint="boxwright manifest create makes one"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(
                f"{self._path(reference)} is damaged", hint="remove it and create the list again"
            ) from error

    def _changing(self) -> Lock:
        """What is read until this ends is still true when it is written."""
        make_directories(self._folder)
        return Lock.on(self._folder)

    def _write(self, reference: Reference, entries: Sequence[ListEntry]) -> None:
        body = [{"reference": str(e.reference), "descriptor": e.desc.to_json()} for e in entries]
        write_atomic(self._path(reference), json.dumps(body, indent=1).encode())


def find_entries(client: RegistryClient, reference: Reference) -> list[ListEntry]:
    """An image in a registry as entries of a list: itself with its platform, or everything in its index."""
    remote = client.remote(reference)
    desc, content = remote.manifest(str(reference))
    if isinstance(content, Index):
        return [ListEntry(reference.with_digest(d.digest), d) for d in content.manifests]
    return [ListEntry(reference, replace(desc, platform=platform_of(remote, content)))]


def platform_of(remote: Remote, manifest: Manifest) -> Platform | None:
    """What an image's config says; None for artifacts."""
    if manifest.config.media_type not in mt.CONFIGS:
        return None
    platform = ImageConfig.parse(
        read_verified(remote.open(manifest.config), manifest.config, limit=MAX_SIZE)
    ).platform
    return platform if platform.os else None


@dataclass(frozen=True, slots=True)
class IndexNotes:
    """The annotations that an index gets, and by platform ('' is every one) the descriptors in it."""

    index: Mapping[str, str]
    entries: Mapping[str, Mapping[str, str]]

    def __bool__(self) -> bool:
        return bool(self.index or self.entries)

    def on(self, entries: Sequence[Descriptor]) -> list[Descriptor]:
        """The descriptors with theirs. Raises Invalid for a platform that is not among them."""
        there = {str(e.platform): None for e in entries if e.platform}
        for platform in self.entries:
            if platform and platform not in there:
                raise Invalid(
                    f"invalid annotation: no platform {platform} found in source",
                    hint=f"there are {', '.join(there)}" if there else "",
                )
        for_all = self.entries.get("", {})
        noted = [{**e.annotations, **for_all, **self.entries.get(str(e.platform), {})} for e in entries]
        # In the order of their keys, as Go writes a map: the same index has the same digest there.
        return [replace(e, annotations=dict(sorted(notes.items()))) for e, notes in zip(entries, noted)]


def composed(entries: Sequence[Descriptor], notes: IndexNotes | None = None) -> Index:
    """An index over these; of Docker's kind when every entry is and nothing is noted. Raises Invalid."""
    docker = (
        bool(entries)
        and not notes
        and all(e.media_type in (mt.DOCKER_MANIFEST, mt.DOCKER_LIST) for e in entries)
    )
    if docker:
        plain = [replace(e, annotations={}) for e in entries]
        return Index.compose(plain, media_type=mt.DOCKER_LIST)
    noted = notes.on(entries) if notes else entries
    return Index.compose(
        noted, media_type=mt.OCI_INDEX, annotations=dict(sorted(notes.index.items())) if notes else None
    )


def publish(
    client: RegistryClient,
    reference: Reference,
    index: Index,
    entries: Sequence[ListEntry],
    *,
    progress: Progress | None = None,
) -> None:
    """Push an index whose images lie in any registries: what its repository lacks is mounted or copied first."""
    sink = client.remote(reference, push=True)
    for entry in entries:
        if sink.exists(entry.desc) and entry.reference.name == reference.name:
            continue
        source = client.remote(entry.reference)
        copy_tree(
            source=source,
            tree=load_tree(source, entry.desc, everything),
            sink=sink,
            sink_name="",
            progress=progress,
        )
    sink.push_named(str(reference), index.descriptor, index.raw)


# --- imagetools -----------------------------------------------------------------------------------


def create(
    client: RegistryClient,
    tags: Sequence[str],
    sources: Sequence[str],
    *,
    append: bool = False,
    notes: IndexNotes | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Index | Manifest:
    """Make one image of several (their platforms joined) and give it these names; returns what was made.

    A single source that is an index already keeps its bytes and digest. Raises Invalid, what registries raise.
    """
    targets = [Reference.parse(tag).with_default_tag() for tag in tags]
    names = [*(str(t) for t in targets[:1] if append), *sources]
    if not names:
        raise Invalid("no sources specified", hint="name at least one image")
    if not targets and not dry_run:
        raise Invalid("no tags specified", hint="say where the result goes: -t NAME")
    references = [Reference.parse(name).with_default_tag() for name in names]
    entries: list[ListEntry] = []
    for reference in references:
        fresh = find_entries(client, reference)
        digests = {e.desc.digest for e in fresh}
        entries = [e for e in entries if e.desc.digest not in digests] + fresh
    content: Index | Manifest = composed([e.desc for e in entries], notes)
    if len(references) == 1 and not notes:
        only = client.remote(references[0]).manifest(str(references[0]))[1]
        content = only if isinstance(only, Index) else content
    if not dry_run:
        for target in targets:
            assert isinstance(content, Index)
            publish(client=client, reference=target, index=content, entries=entries, progress=progress)
    return content


def inspect(
    client: RegistryClient, name: str
) -> tuple[Reference, Descriptor, Manifest | Index, dict[Digest, Platform | None]]:
    """What a name in a registry is: reference, descriptor, content, and the platform of an image without index."""
    reference = Reference.parse(name).with_default_tag()
    remote = client.remote(reference)
    desc, content = remote.manifest(str(reference))
    platforms = (
        {desc.digest: platform_of(remote, content)}
        if isinstance(content, Manifest)
        else {d.digest: d.platform for d in content.manifests}
    )
    return reference, desc, content, platforms
