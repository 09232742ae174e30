"""One walk over a tree: each file that tells of packages goes to the reader that understands it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from boxwright.build.attest.sbom import binaries, languages, rpm, system
from boxwright.build.attest.sbom.package import Distribution, Found, Package, os_release
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Protocol

    from boxwright.build.context.filetree import FileTree

    class ScannedNode(Protocol):
        """A file of the tree."""

        @property
        def path(self) -> str: ...
        @property
        def type(self) -> str: ...
        @property
        def mode(self) -> int: ...
        @property
        def size(self) -> int: ...


Reader = Callable[[bytes, Found], Iterator[Package]]
_TEXT = 64 << 20  # bytes of a database or lock file
_SMALL = 4 << 20  # of one package's own file
_DATABASE = 512 << 20  # of an rpm database
_MOST = 500_000  # packages of a tree
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_BERKELEY = ("var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages")
_PLACES: dict[str, tuple[Reader, int]] = {
    "var/lib/dpkg/status": (system.dpkg, _TEXT),
    "lib/apk/db/installed": (system.apk, _TEXT),
    "usr/lib/apk/db/installed": (system.apk, _TEXT),
    **{
        f"{folder}/{name}": (reader, _DATABASE)
        for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm")
        for name, reader in (("rpmdb.sqlite", rpm.sqlite), ("Packages.db", rpm.ndb))
    },
}


@dataclass(frozen=True, slots=True)
class Scanned:
    """The packages of a tree, sorted by their URLs, and what could not be read there."""

    packages: tuple[Package, ...]
    notes: tuple[str, ...] = ()


def scan(tree: FileTree, layer_of: Callable[[Any], str] = lambda _: "") -> Scanned:
    """What is installed in a tree. `layer_of` is the diff ID of a node's layer. Raises what reading the tree raises."""
    distribution = _distribution(tree)
    found: dict[tuple[str, str], Package] = {}
    notes: list[str] = []
    for node in tree.walk(""):
        if node.type != "file" or not node.size:
            continue
        if node.path in _BERKELEY:
            notes.append(
                f"/{node.path} is a Berkeley DB of rpm, which is not read: its packages are not listed"
            )
        elif (chosen := _reader(node)) is not None:
            reader, limit = chosen
            if node.size > limit:
                notes.append(f"/{node.path} has {node.size} bytes, which is more than is read of such a file")
                continue
            layer = layer_of(node)
            for package in reader(tree, node, Found(node.path, distribution)):
                found.setdefault((package.purl, package.place), replace(package, layer=layer))
                if len(found) >= _MOST:
                    notes.append(f"there are more than {_MOST} packages")
                    return Scanned(_sorted(found), tuple(notes))
    return Scanned(_sorted(found), tuple(notes))


def _sorted(found: dict[tuple[str, str], Package]) -> tuple[Package, ...]:
    return tuple(found[key] for key in sorted(found))


def _distribution(tree: FileTree) -> Distribution:
    for path in _OS_RELEASE:
        node = tree.resolve(path)
        if node is not None and node.type == "file" and node.size <= _SMALL:
            return os_release(_content(tree, node))
    return Distribution()


_Opened = Callable[["FileTree", "ScannedNode", Found], Iterator[Package]]


def _reader(node: ScannedNode) -> tuple[_Opened, int] | None:
    path = node.path
    if (place := _PLACES.get(path)) is not None:
        return _whole(place[0]), place[1]
    folder, _, name = path.rpartition("/")
    if folder == "var/lib/dpkg/status.d" and not name.endswith(".md5sums"):
        return _whole(system.dpkg), _SMALL
    if (name == "METADATA" and folder.endswith(".dist-info")) or (
        name == "PKG-INFO" and folder.endswith(".egg-info")
    ):
        return _whole(languages.python), _SMALL
    if name.endswith(".egg-info"):
        return _whole(languages.python), _SMALL
    if name == "package.json":
        return (_whole(languages.npm), _SMALL) if _is_installed(folder) else None
    if name in ("package-lock.json", "npm-shrinkwrap.json") and "node_modules/" not in path:
        return _whole(languages.npm_lock), _TEXT
    if node.mode & 0o111 or ".so" in name:
        return _program, 1 << 40
    return None


def _is_installed(folder: str) -> bool:
    """``…/node_modules/name`` or ``…/node_modules/@scope/name``: what lies deeper is the package's own."""
    above = folder.rpartition("/")[0]
    if above.rpartition("/")[2].startswith("@"):
        above = above.rpartition("/")[0]
    return above == "node_modules" or above.endswith("/node_modules")


def _whole(reader: Reader) -> _Opened:
    return lambda tree, node, found: reader(_content(tree, node), found)


def _content(tree: FileTree, node: Any) -> bytes:
    opened = tree.open(node)
    if isinstance(opened, bytes):
        return opened
    with opened:
        return opened.read(node.size)


def _program(tree: FileTree, node: Any, found: Found) -> Iterator[Package]:
    opened = tree.open(node)
    file: BinaryIO = io.BytesIO(opened) if isinstance(opened, bytes) else opened
    with file:
        yield from binaries.binary(file, found)
