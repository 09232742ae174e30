"""Docker's verbs between registries and the store of one root: pull, push, and `copy` between any two places."""

from __future__ import annotations

from boxwright.errors import Invalid, NotFound
from boxwright.spec.compression import compression_called
from boxwright.spec.digest import Digest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.content.progress import Progress
    from boxwright.image.store import ImageStore
    from boxwright.registry.client.client import RegistryClient
    from boxwright.spec.descriptor import Descriptor
    from boxwright.transfer.pull import Pulled, WantedImage
    from boxwright.transfer.push import Pushed, SentImage

    Resolved = Callable[[Reference, Descriptor, bool], None]


class TagAndAll(Invalid):
    """``--all-tags`` was given together with a tag or digest."""


class Transfers:
    """Pull, push and copy on one root, whose images are opened when one of its images is meant."""

    def __init__(self, client: RegistryClient, images: Callable[[], ImageStore]) -> None:
        self.client, self._images = client, images

    # --- pull ----------------------------------------------------------------------------------

    def pull(
        self,
        name: str,
        *,
        platform: str = "",
        all_tags: bool = False,
        progress: Progress | None = None,
        resolved: Resolved | None = None,
    ) -> list[Pulled]:
        """See engine.images.pull."""
        from boxwright.transfer.pull import WantedImage

        asked = Reference.parse(name)
        if all_tags:
            if asked.tag or asked.digest:
                raise TagAndAll("tag can't be used with --all-tags/-a")
            references = [asked.with_tag(tag) for tag in self.client.remote(asked).tags()]
        else:
            references = [_one_name(asked)]
        platforms = _platforms(platform) or (self._images().default_platform,)
        return [
            self._pull(
                WantedImage(reference=reference, platforms=platforms, exact=bool(platform)),
                progress,
                resolved,
            )
            for reference in references
        ]

    def _pull(self, wanted: WantedImage, progress: Progress | None, resolved: Resolved | None) -> Pulled:
        from boxwright.content.lease import Lease
        from boxwright.image.target import LocalTarget
        from boxwright.transfer.pull import pull

        reference, images = wanted.reference, self._images()
        with Lease(images.db, f"pull {reference}") as lease:
            target = images.target_of(str(reference))
            known = Digest.parse(target) if target else None
            if known is not None:
                lease.hold("blob", known)
            return pull(
                remote=self.client.remote(reference),
                wanted=wanted,
                sink=LocalTarget(images, lease, platform=wanted.platforms[0], origin=reference.name),
                store=images.store,
                known=known,
                progress=progress,
                resolved=(lambda desc: resolved(reference, desc, known == desc.digest)) if resolved else None,
            )

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
    ) -> list[Pushed]:
        """See engine.images.push. `to` is the name in the registry, when it is not `name` itself."""
        compression_called(compression)
        asked = Reference.parse(to or name)
        if all_tags:
            if asked.tag or asked.digest:
                raise TagAndAll("tag can't be used with --all-tags/-a")
            references = self._tagged(asked)
        else:
            if asked.digest:
                raise Invalid("cannot push a digest reference", hint="give it a tag: boxwright tag")
            references = [asked.with_default_tag()]
        return [
            self._push(
                image=name if to else str(reference),
                reference=reference,
                platforms=_platforms(platform),
                compression=compression,
                level=level,
                progress=progress,
            )
            for reference in references
        ]

    def _tagged(self, asked: Reference) -> list[Reference]:
        references = [Reference.parse(name) for name in self._images().tagged_in(asked.name)]
        if not references:
            raise NotFound(f"an image does not exist locally with the tag: {asked.familiar_name}")
        return references

    def _push(
        self,
        *,
        image: str,
        reference: Reference,
        platforms: tuple[Platform, ...],
        compression: str,
        level: int | None,
        progress: Progress | None,
    ) -> Pushed:
        images = self._images()
        try:
            row = images.resolve(image)
        except NotFound as error:
            raise NotFound(
                f"an image does not exist locally with the tag: {reference.familiar_name}",
                hint="boxwright images lists what is here",
            ) from error
        # What was pulled, or pushed as it is, keeps its bytes; what was made here has uncompressed layers.
        published = any(n.endswith("@" + row.target) for n in row.names)
        from boxwright.transfer.push import SentImage

        sent = SentImage(
            target=images.descriptor(row),
            reference=reference,
            compression="none" if published else compression,
            level=level,
            platforms=platforms,
        )
        return self.send(sent, progress=progress)

    def send(self, image: SentImage, *, progress: Progress | None = None) -> Pushed:
        """Push an image by its descriptor; an image of the store gets ``name@digest`` as a name. Raises what `push`
        raises."""
        from boxwright.content.lease import Lease
        from boxwright.image.target import LocalTarget
        from boxwright.transfer.push import push

        images, reference = self._images(), image.reference
        with Lease(images.db, f"push {reference}") as lease:
            source = LocalTarget(images, lease)
            if image.elsewhere is not None:
                from boxwright.transfer.lent import LentImage

                source = LentImage(images, lease, image.elsewhere)
            lease.hold("blob", image.target.digest)
            packer = None
            if image.compression != "none":
                from boxwright.transfer.pack import Packer

                packer = Packer(
                    layers=images.layers,
                    store=images.store,
                    lease=lease,
                    kind=image.compression,
                    level=image.level,
                    keeping=image.keeping,
                )
            done = push(
                source,
                image,
                self.client.remote(reference, push=True, insecure=image.insecure),
                packer=packer,
                progress=progress,
            )
        try:
            images.tag(str(image.target.digest), str(reference.with_digest(done.target.digest)))
        except NotFound:  # no image of the store, or one that is gone meanwhile; it is pushed all the same
            pass
        images.layers.note_origin([blob.digest for blob in done.blobs], reference.name)
        return done

    # --- copy ----------------------------------------------------------------------------------

    def copy(
        self,
        source: str,
        target: str,
        *,
        platform: str = "",
        referrers: bool = True,
        jobs: int = 6,
        progress: Progress | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Descriptor:
        """See engine.registry.copy."""
        from contextlib import ExitStack

        from boxwright.transfer import places
        from boxwright.transfer.copying import CopyOptions, bring_attached, copy_between

        of, to = places.Place.parse(source), places.Place.parse(target)
        if (of.kind, to.kind) == ("local", "docker"):  # as a push: what was built here has to be compressed
            done = self.push(of.name, to=to.name, platform=platform, progress=progress)[0]
            if done.note and note:
                note(done.note)
            if referrers:
                with ExitStack() as stack:
                    here, _ = stack.enter_context(places.source(self._images, self.client, of))
                    there, _ = stack.enter_context(places.sink(self._images, self.client, to))
                    bring_attached(here, done.target, there, jobs=jobs, progress=progress)
            return done.target
        with ExitStack() as stack:
            start = stack.enter_context(places.source(self._images, self.client, of))
            end = stack.enter_context(places.sink(self._images, self.client, to))
            options = CopyOptions(
                platforms=_platforms(platform),
                referrers=referrers
                and to.kind != "docker-archive",  # whose readers would take them for images
                jobs=1 if to.kind.endswith("-archive") else jobs,
            )
            return copy_between(start, end, options, progress=progress, note=note)


def _platforms(text: str) -> tuple[Platform, ...]:
    return tuple(Platform.parse(one) for one in text.split(",")) if text else ()


def _one_name(asked: Reference) -> Reference:
    """Docker's rule: of tag and digest, the digest counts."""
    if asked.digest:
        return asked.with_digest(Digest.parse(asked.digest))
    return asked.with_default_tag()
