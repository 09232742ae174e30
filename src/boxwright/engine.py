"""The porcelain, which is the SDK. The command line and the servers are its users.

Each method is one verb of Docker's; the work is in the rooms below. Rooms are made on first use, so that
`Engine().images()` loads and opens only what it needs.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from boxwright.settings import Settings, load
from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from boxwright.build.progress import Emit
    from boxwright.build.request import BuildRequest, BuildResult
    from boxwright.container.foreground import Finished
    from boxwright.container.manager import Containers
    from boxwright.content.copy import Progress
    from boxwright.content.db import Database
    from boxwright.content.local import LocalStore
    from boxwright.image.catalog import Catalog, ImageRow
    from boxwright.image.collect import Swept
    from boxwright.image.describe import HistoryLine, ImageSummary
    from boxwright.image.filters import Filters
    from boxwright.image.load import Loaded
    from boxwright.image.maintain import Maintenance, Pruned
    from boxwright.image.remove import Removed, Use
    from boxwright.image.store import ImageStore
    from boxwright.image.usage import Usage
    from boxwright.image.validate import Problem
    from boxwright.layer.store import LayerStore
    from boxwright.registry.client.client import LoggedIn, RegistryClient
    from boxwright.registry.client.search import SearchResult
    from boxwright.runtime.oci import Runtime
    from boxwright.snapshot.snapshotter import Snapshotter
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.manifest import Index, Manifest
    from boxwright.spec.reference import Reference
    from boxwright.transfer.manifest_lists import ManifestLists
    from boxwright.transfer.pull import Pulled
    from boxwright.transfer.push import Pushed
    from boxwright.transfer.transfers import Transfers


@checked
class Engine:
    """Everything that Boxwright does, on one root. Safe to share between threads; holds no lock while idle.

    An argument of another kind than its method declares raises ArgumentInvalid; one text serves where several may stand.
    """

    def __init__(self, root: str | Path | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or load(root=str(root) if root is not None else None)
        self.root = self.settings.root

    # --- rooms ---------------------------------------------------------------------------------

    @cached_property
    def store(self) -> LocalStore:
        """Blobs by digest."""
        from boxwright.content.local import LocalStore

        return LocalStore(self.root)

    @cached_property
    def db(self) -> Database:
        """Names, records, leases."""
        from boxwright.content import reserve
        from boxwright.content.db import Database

        reserve.check(self.root)
        path = self.root / "boxwright.db"
        if not path.exists():  # what only reads rows opens no store
            assert self.store  # makes the root
        return Database(path)

    @cached_property
    def layers(self) -> LayerStore:
        """Layers by diff ID."""
        from boxwright.layer.store import LayerStore

        return LayerStore(self.store, self.db)

    @cached_property
    def snapshots(self) -> Snapshotter:
        """Trees over layers, by the driver that this host can use."""
        from boxwright.snapshot.probe import choose_driver

        return choose_driver(self.root, self.layers, wanted=self.settings.driver)

    @cached_property
    def runtime(self) -> Runtime:
        """The OCI runtime that this host can use. Raises NoRuntime."""
        from boxwright.runtime.probe import find_runtime

        return find_runtime(
            self.settings.runtime_dir / "runtime", wanted=self.settings.runtime, cache=self.root
        )

    def runtime_for(self, wanted: str) -> Runtime:
        """The OCI runtime that a container asks for by name or path, '' for this host's. Raises NoRuntime."""
        if wanted in ("", "io.containerd.runc.v2"):
            return self.runtime
        from boxwright.runtime.probe import find_runtime

        return find_runtime(self.settings.runtime_dir / "runtime", wanted=wanted, cache=self.root)

    # --- containers ----------------------------------------------------------------------------

    @cached_property
    def containers(self) -> Containers:
        """Containers, with their `networks` and `volumes`."""
        from boxwright.container.manager import Containers

        return Containers(self)

    def run(self, image: str, *command: str, input: bytes | None = None, **options: Any) -> Finished:
        """Run a command in a new container to its end; exit code and output. `options` are fields of
        `ContainerConfig`, or what the command line takes for them (``env={"A": "1"}``, ``mounts=["/a:/b"]``,
        ``ports=["8080:80"]``); the container is removed unless ``auto_remove=False``. Raises ArgumentInvalid, NoSuchImage,
        ExecutableMissing."""
        from boxwright.container.foreground import run
        from boxwright.container.given import config

        return run(self.containers, config(image, command, {"auto_remove": True, **options}), input=input)

    def container_inspect(self, container: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON of a container. Raises NoSuchContainer."""
        return self.containers.inspect(container, size=size)

    def network_inspect(self, network: str) -> dict[str, Any]:
        """Docker's JSON of a network. Raises NoSuchNetwork."""
        from boxwright.container.describe_networks import inspect_network

        return inspect_network(self.containers, self.containers.networks.get(network))

    def volume_inspect(self, volume: str) -> dict[str, Any]:
        """Docker's JSON of a volume. Raises NoSuchVolume."""
        from boxwright.container.describe_networks import inspect_volume

        return inspect_volume(self.containers.volumes.get(volume))

    def commit(
        self,
        container: str,
        name: str = "",
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> ImageRow:
        """A container's tree as a new image. Raises NoSuchContainer, ChangeInvalid."""
        from boxwright.container.commit import commit
        from boxwright.spec.times import rfc3339

        epoch = self.settings.source_date_epoch
        created = rfc3339(epoch) if epoch is not None else ""
        found = self.containers.get(container)
        return commit(
            self,
            self.containers,
            found,
            name=name,
            author=author,
            message=message,
            changes=changes,
            pause=pause,
            created=created,
        )

    # --- images --------------------------------------------------------------------------------

    @cached_property
    def catalog(self) -> Catalog:
        """Names and image rows, to be read only: quick to open."""
        from boxwright.image.catalog import Catalog

        return Catalog(self.root, self.db)

    @cached_property
    def images_store(self) -> ImageStore:
        """Images by name, ID or digest."""
        from boxwright.image.store import ImageStore

        return ImageStore(self.store, self.layers, self.db, platform=self.settings.platform)

    @cached_property
    def maintenance(self) -> Maintenance:
        """Removal, pruning, measuring, checking."""
        from boxwright.image.maintain import Maintenance

        return Maintenance(self.images_store, self._uses, lambda: self.snapshots)

    def _uses(self) -> list[Use]:
        """Which images containers were made from."""
        from boxwright.image.remove import Use

        with self.db.read() as sql:
            rows = sql.execute("SELECT id, image FROM containers").fetchall()
        if not rows:
            return []
        states = self._container_states()
        return [
            Use(container, target, states.get(container) in ("running", "paused"))
            for container, target in rows
        ]

    def _container_states(self) -> dict[str, str]:
        """Docker's state word of every container, by ID."""
        with self.db.read() as sql:
            found = [container for (container,) in sql.execute("SELECT id FROM containers")]
        if not found:
            return {}
        from boxwright.container.records import load_state

        states = {container: load_state(self.root / "containers" / container) for container in found}
        return {
            container: s.status if s.supervised or not s.active else "exited"
            for container, s in states.items()
        }

    def images(self, *, show_all: bool = False, filters: Filters | None = None) -> list[ImageSummary]:
        """All images, newest first. Raises FilterInvalid."""
        from boxwright.image.describe import summaries

        return summaries(self.catalog, filters, show_all=show_all)

    def history(self, image: str) -> list[HistoryLine]:
        """How an image came to be, newest first. Raises NoSuchImage."""
        from boxwright.image.describe import history

        return history(self.catalog, image)

    def image_inspect(self, image: str, *, platform: str | None = None) -> dict[str, Any]:
        """Docker's JSON of an image. Raises NoSuchImage, PlatformAbsent."""
        from boxwright.image.describe import inspect

        return inspect(
            self.images_store, self.images_store.resolve(image), driver=self.snapshots.name, platform=platform
        )

    def tag(self, source: str, name: str) -> None:
        """Give an image another name. Raises NoSuchImage, ReferenceInvalid."""
        self.images_store.tag(source, self.images_store.checked(name, digest=False))

    def rmi(self, *images: str, force: bool = False, prune: bool = True) -> list[Removed]:
        """Remove names and images, then what nothing reaches any more. Raises NoSuchImage, ImageInUse."""
        lines, failures = self.maintenance.remove(images, force=force, prune=prune)
        if failures:
            raise failures[0]
        return lines

    def save(
        self,
        images: Sequence[str],
        out: Any,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write images as one archive to anything with ``write``. Raises NoSuchImage, PlatformAbsent."""
        from boxwright.image.save import save
        from boxwright.spec.platform import Platform

        save(
            self.images_store,
            images,
            out,
            platform=Platform.parse(platform) if platform else None,
            progress=progress,
        )

    def load(
        self,
        source: Path | BinaryIO,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
        done: Callable[[Loaded], None] | None = None,
    ) -> list[Loaded]:
        """Bring in the images of an archive, an OCI layout directory or a stream. Raises ArchiveInvalid, Corrupt."""
        from boxwright.image.load import load
        from boxwright.spec.platform import Platform

        return load(
            self.images_store,
            source,
            platform=Platform.parse(platform) if platform else None,
            progress=progress,
            done=done,
        )

    def import_(
        self,
        source: str | BinaryIO,
        name: str = "",
        *,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> ImageRow:
        """A root file system tar (a file, URL or stream, any compression) becomes an image. Raises TarInvalid."""
        from boxwright.image.importer import import_image
        from boxwright.registry.client.fetch import open_source
        from boxwright.spec.platform import Platform

        wanted = Platform.parse(platform) if platform else None
        epoch = self.settings.source_date_epoch
        if not isinstance(source, str):
            return import_image(
                self.images_store,
                source,
                name=name,
                changes=changes,
                message=message,
                platform=wanted,
                created=epoch,
            )
        with open_source(self.settings, source) as tar:
            return import_image(
                self.images_store,
                tar,
                name=name,
                changes=changes,
                message=message,
                platform=wanted,
                source=source,
                created=epoch,
            )

    def image_prune(self, *, everything: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove unnamed images, or all that no container uses. Raises FilterInvalid."""
        return self.maintenance.image_prune(everything=everything, filters=filters)

    # --- registries ----------------------------------------------------------------------------

    @cached_property
    def registry(self) -> RegistryClient:
        """The registry client; connections and tokens are kept while the engine lives."""
        from boxwright.registry.client.client import RegistryClient
        from boxwright.registry.client.config import from_settings

        return RegistryClient(from_settings(self.settings))

    @cached_property
    def transfers(self) -> Transfers:
        """Pull and push on this root."""
        from boxwright.transfer.transfers import Transfers

        return Transfers(self.registry, self.images_store)

    @cached_property
    def manifest_lists(self) -> ManifestLists:
        """Manifest lists under work: create, annotate, index, push, remove."""
        from boxwright.transfer.manifest_lists import ManifestLists

        return ManifestLists(self.root, self.registry)

    def pull(
        self,
        name: str,
        *,
        platform: str = "",
        all_tags: bool = False,
        progress: Progress | None = None,
        resolved: Callable[[Reference, Descriptor, bool], None] | None = None,
    ) -> list[Pulled]:
        """Bring an image, or every tag of a repository, ready to run. `platform` may name several, with commas.

        `resolved` hears what each name points at before anything is fetched, and whether it did so here before. What
        a failed or interrupted pull fetched is kept, and the next one goes on from there. Raises PullRefused, UnknownToRegistry,
        PlatformMissing, Corrupt, Unavailable.
        """
        return self.transfers.pull(
            name, platform=platform, all_tags=all_tags, progress=progress, resolved=resolved
        )

    def push(
        self,
        name: str,
        *,
        all_tags: bool = False,
        platform: str = "",
        compression: str = "gzip",
        level: int | None = None,
        progress: Progress | None = None,
    ) -> list[Pushed]:
        """Bring an image to its registry. Pulled images keep their bytes; layers made here are compressed once.

        Raises NotFound, AccessDenied, Unavailable.
        """
        return self.transfers.push(
            name,
            all_tags=all_tags,
            platform=platform,
            compression=compression,
            level=level,
            progress=progress,
        )

    def login(self, server: str, username: str, password: str) -> LoggedIn:
        """Check an account with a registry ('' = Docker Hub) and keep it. Raises LoginRefused, Unavailable."""
        from boxwright.registry.client.auth import Credential

        return self.registry.login(server, Credential(username, password))

    def logout(self, server: str = "") -> bool:
        """Forget the account of a registry; whether there was one."""
        return self.registry.logout(server)

    def search(
        self,
        term: str,
        *,
        limit: int = 0,
        stars: int = 0,
        official: bool | None = None,
        automated: bool = False,
    ) -> list[SearchResult]:
        """Repositories on Docker Hub, or with ``host/term`` elsewhere. Raises Invalid, SearchUnsupported."""
        from boxwright.registry.client.search import search

        return search(self.registry, term, limit=limit, stars=stars, official=official, automated=automated)

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository in a registry. Raises UnknownToRegistry."""
        from boxwright.spec.reference import Reference

        return self.registry.remote(Reference.parse(repository)).tags()

    def delete(self, name: str) -> None:
        """Remove a tag from a registry, or with a digest the manifest and all its tags. Raises UnknownToRegistry."""
        from boxwright.spec.reference import Reference

        self.registry.remote(Reference.parse(name)).delete(name)

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
        """Move an image between any two places (transfer.places; a plain name is a registry's), all platforms unless
        `platform` names some, with its signatures. `note` hears when not all are there. Raises what the two ends raise."""
        return self.transfers.copy(
            source,
            target,
            platform=platform,
            referrers=referrers,
            jobs=jobs,
            progress=progress,
            note=note,
        )

    def imagetools_create(
        self,
        tags: Sequence[str],
        sources: Sequence[str],
        *,
        append: bool = False,
        annotations: dict[str, str] | None = None,
        dry_run: bool = False,
    ) -> Index | Manifest:
        """Join images in registries into one with several platforms. Raises Invalid, what registries raise."""
        from boxwright.transfer.manifest_lists import create

        return create(self.registry, tags, sources, append=append, annotations=annotations, dry_run=dry_run)

    # --- building ------------------------------------------------------------------------------

    def build(
        self, what: BuildRequest | str | Path | None = None, *, progress: Emit | None = None, **options: Any
    ) -> BuildResult:
        """Build an image: from a directory or a URL with the other fields of a request (``build(".", tags=["app"])``),
        or from a whole request.

        `progress` hears typed events (build.progress) from any thread. Raises BuildFailed (with its cause), Cancelled,
        RequestInvalid, ReferenceInvalid.
        """
        from boxwright.build.builder import build
        from boxwright.build.options import request_of
        from boxwright.build.progress import ignore
        from boxwright.build.registries import EngineRegistries
        from boxwright.build.request import BuildRequest

        request = what if isinstance(what, BuildRequest) else request_of(what, options)
        return build(self, EngineRegistries(self), request, progress or ignore)

    # --- system --------------------------------------------------------------------------------

    def builder_prune(
        self, *, everything: bool = False, filters: Filters | None = None, keep: int = 0
    ) -> Pruned:
        """Forget build steps: those that no image contains, or all; `keep` bytes of the latest stay."""
        return self.maintenance.builder_prune(everything=everything, filters=filters, keep=keep)

    def system_df(self) -> Usage:
        """Where the disk space is; the parts add up to what `du` sees."""
        return self.maintenance.usage()

    def collect(self, *, copies: bool = False) -> Swept:
        """Remove what nothing reaches; `copies` also drops compressed copies of layers."""
        return self.maintenance.sweep(copies=copies)

    def fsck(self, *, repair: bool = False) -> list[Problem]:
        """Recompute every claim of the store; `repair` drops what is broken."""
        return self.maintenance.fsck(repair=repair)

    def reset(self) -> None:
        """Remove everything under the root: containers (also running ones), networks, mounts, images, volumes, cache.

        Only what the store made is removed; the root itself goes when nothing else is in it. Works on any store, also on
        one whose database is damaged or newer. Raises DoesNotEnd, StillMounted.
        """
        from boxwright.image.reset import remove_root

        self.containers.end_all()
        self.db.close()
        remove_root(self.root)

    def info(self) -> dict[str, Any]:
        """Docker's system information."""
        from boxwright.errors import BoxwrightError
        from boxwright.image.sysinfo import info

        try:
            driver = self.snapshots.name, self.snapshots.reason
        except BoxwrightError as error:
            driver = "none", str(error)
        try:
            runtime = self.runtime.name, self.runtime.program, self.runtime.version
        except BoxwrightError:
            runtime = "", "", ""
        return info(
            self.settings,
            self.catalog,
            driver=driver,
            runtime=runtime,
            states=list(self._container_states().values()),
        )

    def version(self) -> dict[str, Any]:
        """Docker's version information."""
        from boxwright.errors import BoxwrightError
        from boxwright.image.sysinfo import version

        try:
            return version([(self.runtime.name, self.runtime.version)])
        except BoxwrightError:
            return version()
