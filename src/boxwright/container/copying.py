"""`cp`: between a container, running or not, and the host (docker/cli command/container/cp.go has the path rules)."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from boxwright.container.records import Container, tell, tree_of
from boxwright.container.treecopy import Owner, TreeCopy
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files.places import Places
from boxwright.rootfs.root import Root
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.image.services import Services


class ContainerPathMissing(NotFound):
    """The path does not exist in the container, or on the host."""


class ContainerCopyRefused(Invalid):
    """Docker's path rules do not allow this copy."""


class ReadOnlyTree(Conflict):
    """The container's tree, or the volume there, is read-only."""


@contextmanager
def _copied(services: Services, container: Container, path: str, told: str) -> Iterator[tuple[Root, str]]:
    """As `tree`; what was done in it is an event."""
    with tree(services, container, path) as found:
        yield found
    tell(services, container, told)


@contextmanager
def tree(services: Services, container: Container, path: str) -> Iterator[tuple[Root, str]]:
    """The tree that a path of the container lies in, and the path there. Of a running container it is what its
    processes see; of another its own tree, or the volume that would be mounted there."""
    state = container.refresh()
    clean = _clean(path)
    if state.running:
        with Root.at(f"/proc/{state.pid}/root") as root:
            yield root, clean
        return
    point = next((p for p in _mounts_above(container, clean) if p["source"]), None)
    if point is not None:
        with Root.at(point["source"]) as root:
            yield root, clean[len(point["target"].rstrip("/")) :] or "/"
        return
    with Root(tree_of(services, container).open(container.id)) as root:
        yield root, clean


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _mounts_above(container: Container, clean: str) -> Iterator[dict[str, Any]]:
    """The mounts that a path lies in, the nearest first."""
    for point in sorted(container.record["mounts"], key=lambda p: -len(p["target"])):
        if clean == point["target"] or clean.startswith(point["target"].rstrip("/") + "/"):
            yield point


def _missing(container: Container, path: str) -> ContainerPathMissing:
    return ContainerPathMissing(f"Could not find the file {path} in container {container.name}")


def archive_out(
    services: Services, container: Container, path: str, sink: Any, *, follow: bool = False
) -> None:
    """A tar of the path, its last component at the top (``.`` for what ends in ``/.``). Raises ContainerPathMissing,
    ContainerCopyRefused."""
    from boxwright.container.archive import pack

    with _copied(services, container, path=path, told="archive-path") as (root, inside):
        inside = _source(root=root, inside=inside, container=container, path=path, follow=follow)
        if inside == "/":
            pack(directory=root.fd, name=".", shown=".", sink=sink)
            return
        with root.parent(inside) as (directory, name):
            shown = "." if path.endswith("/.") else posixpath.basename(_clean(path)) or name
            pack(directory=directory, name=name, shown=shown, sink=sink)


def archive_in(
    services: Services, container: Container, path: str, tar: BinaryIO, *, keep_owner: bool = True
) -> None:
    """Lay a tar out below a directory of the container. Raises
    ContainerPathMissing, ContainerCopyRefused, ReadOnlyTree, TarInvalid."""
    from boxwright.container.archive import unpack

    _writable(container, path)
    with (
        _copied(services, container, path=path, told="extract-to-dir") as (root, inside),
        _read_only(container),
    ):
        try:
            info = root.stat(inside)
        except OSError as error:
            raise _missing(container, path) from error
        if not stat.S_ISDIR(info.st_mode):
            raise ContainerCopyRefused("extraction point is not a directory")
        unpack(
            root=root,
            path=inside,
            tar=tar,
            spool=Places(services.root).ingests,
            owner=None if keep_owner else Owner(0, 0),
        )


def _writable(container: Container, path: str) -> None:
    """A container that is to be read-only is so also for `cp`."""
    point = next(_mounts_above(container, _clean(path)), None)
    if point is not None and not point["writable"]:
        raise ReadOnlyTree("mounted volume is marked read-only")
    if point is None and container.config.read_only:
        raise ReadOnlyTree("container rootfs is marked read-only")


@contextmanager
def _read_only(container: Container) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReadOnlyTree(
            f"cannot write in container {container.name}: {error.strerror}: {error.filename or ''}".rstrip(
                ": "
            )
        ) from error


def _source(root: Root, inside: str, container: Container, path: str, follow: bool) -> str:
    try:
        if follow or path.endswith(("/", "/.")):
            named = not stat.S_ISDIR(root.stat(inside).st_mode)
            if named and path.endswith(("/", "/.")):
                raise ContainerCopyRefused(f"lstat {path}: not a directory")
            return root.resolve(inside)
        root.lstat(inside)
        return root.resolve(inside, follow_last=False)
    except OSError as error:
        raise _missing(container, path) from error


def copy_out(
    services: Services,
    container: Container,
    path: str,
    target: str,
    *,
    archive: bool = False,
    follow: bool = False,
) -> int:
    """From the container to the host; bytes copied. Raises ContainerPathMissing, ContainerCopyRefused, CopyConflict."""
    owner = None if archive else Owner(os.geteuid(), os.getegid())
    with _copied(services, container, path=path, told="archive-path") as (root, inside):
        source = _source(root=root, inside=inside, container=container, path=path, follow=follow)
        is_directory = stat.S_ISDIR(root.lstat(source).st_mode)
        name = posixpath.basename(_clean(path))
        try:
            with Root.at("/") as host:
                found = _Found(
                    root=root,
                    path=source,
                    name=name,
                    is_directory=is_directory,
                    only_contents=path.endswith("/."),
                )
                return _place(found, _Destination(host, os.path.abspath(target), target), owner)
        except OSError as error:
            raise ContainerCopyRefused(
                f"cannot write {target}: {(error.strerror or str(error)).lower()}"
            ) from error


def copy_in(
    services: Services,
    container: Container,
    source: str,
    path: str,
    *,
    archive: bool = False,
    follow: bool = False,
) -> int:
    """From the host to the container; bytes copied. Raises ContainerPathMissing, ContainerCopyRefused,
    CopyConflict, ReadOnlyTree."""
    owner = None if archive else Owner(0, 0)
    absolute = os.path.abspath(source)
    _writable(container, path)
    try:
        info = os.stat(source) if follow or source.endswith(("/", "/.")) else os.lstat(source)
    except OSError as error:
        raise ContainerPathMissing(f"lstat {absolute}: {(error.strerror or '').lower()}") from error
    with (
        Root.at("/") as host,
        _copied(services, container, path=path, told="extract-to-dir") as (root, inside),
        _read_only(container),
    ):
        real = host.resolve(absolute, follow_last=follow or source.endswith(("/", "/.")))
        name = os.path.basename(absolute)
        found = _Found(
            root=host,
            path=real,
            name=name,
            is_directory=stat.S_ISDIR(info.st_mode),
            only_contents=source.endswith("/."),
        )
        return _place(found, _Destination(root, inside, path), owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is copied: `name` is what it is called in a directory; of a path that ends in /. only the contents are."""

    root: Root
    path: str
    name: str
    is_directory: bool
    only_contents: bool


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where it goes: `shown` is the path as it was typed."""

    root: Root
    path: str
    shown: str


def _place(source: _Found, target: _Destination, owner: Owner | None) -> int:
    """Docker's rules for what the destination means."""
    copy, shown = TreeCopy(owner), target.shown
    try:
        existing: int = target.root.stat(target.path).st_mode
    except FileNotFoundError:
        existing = 0
    if existing and not stat.S_ISDIR(existing) and (source.is_directory or shown.endswith("/")):
        raise ContainerCopyRefused(
            "cannot copy directory" if source.is_directory else f'destination "{shown}" must be a directory'
        )
    if not existing and not source.is_directory and shown.endswith("/"):
        raise ContainerCopyRefused(
            f'destination "{shown}" must be a directory', hint="make it first, or leave the last / out"
        )
    if existing and stat.S_ISDIR(existing):
        with Root(target.root.open(target.path, os.O_RDONLY | os.O_DIRECTORY)) as inside:
            if (source.is_directory and source.only_contents) or source.path == "/":
                fd = source.root.open(source.path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    copy.contents(fd, inside.fd)
                finally:
                    os.close(fd)
            else:
                with source.root.parent(source.path) as (fd, last):
                    copy.entry(source=fd, name=last, target=inside.fd, new_name=source.name)
        return copy.bytes
    real = target.root.resolve(target.path)
    try:
        with target.root.parent(real) as (directory, new_name), source.root.parent(source.path) as (fd, last):
            copy.entry(source=fd, name=last, target=directory, new_name=new_name)
    except FileNotFoundError as error:
        raise ContainerPathMissing(
            f"no such directory: {posixpath.dirname(shown.rstrip('/')) or '/'}"
        ) from error
    return copy.bytes


def export(services: Services, container: Container, sink: Any) -> None:
    """The whole tree, volumes left out, as a tar."""
    from boxwright.layer.walk import write_tree
    from boxwright.layer.write import TarBuilder
    from boxwright.snapshot import mount as mounting

    if container.refresh().active and mounting.is_mounted(container.rootfs):
        fd = os.open(container.rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        fd = tree_of(services, container).open(container.id)
    try:
        write_tree(fd, TarBuilder(sink))
    finally:
        os.close(fd)
    tell(services, container, "export")


def split_argument(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH`` -> both; a local path -> '' and the path. A leading ``.`` or ``/`` makes it local."""
    if not text or text.startswith(("/", ".")) or ":" not in text:
        return "", text
    container, _, path = text.partition(":")
    return container, path
