"""What a copy takes of a directory, as one digest: a hash tree, in which a directory that did not change is one line.

A `Folder` is what one directory has itself; `fold` combines many into one digest of everything below a directory.
`FolderCache` keeps the folders of a context between builds under the key of their listing, so that an unchanged
directory costs one look at each of its files and nothing else."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from boxwright.build.context import kept
from boxwright.spec import hashes
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from boxwright.build.context.filetree import TreeNode

_MAGIC = b"boxwright folders 1\n"
_ROOM = 1000  # folders
TOLD = 16  # digits of a file's digest in a step's record: it only explains, and is kept for each of very many files


class Folder(NamedTuple):
    """One directory without those in it: how many files, their bytes, the digest of their lines, which may have
    further names (name, identity), and the directories in it (name, fingerprint, whether it only counts when
    something below it does)."""

    files: int
    size: int
    own: str
    links: tuple[tuple[str, Hashable], ...]
    below: tuple[tuple[str, str, bool], ...]


class FolderFiles(NamedTuple):
    """The regular files of one directory, sorted, of which none has extended attributes or further names; held
    compactly, as a context may have very many. `own` is that of its `Folder`, `breaks` is what else is in it."""

    path: str
    own: str
    joined: str  # names, a NUL between them
    modes: array[int]
    sizes: array[int]
    digests: bytes  # of the contents, the first TOLD digits of each
    breaks: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return self.joined.split("\0")

    def told(self) -> dict[str, str]:
        """By the path of each its mode and the beginning of its digest, as a step's record keeps them."""
        prefix, digests = f"{self.path}/" if self.path else "", self.digests.hex()
        modes = {mode: f"{mode:04o} " for mode in set(self.modes)}
        starts = range(0, len(digests), TOLD)
        what = [modes[mode] + digests[at : at + TOLD] for mode, at in zip(self.modes, starts)]
        return dict(zip([prefix + name for name in self.names], what))

    def runs(self) -> list[tuple[int, int]]:
        """Which of them nothing else comes between: from, to."""
        count = len(self.modes)
        names = self.names if self.breaks else []
        marks = sorted({bisect_left(names, name) for name in self.breaks} - {0, count})
        return list(zip((0, *marks), (*marks, count)))


class FolderSummary(NamedTuple):
    """Everything below a directory: its digest, and what may have further names (path below it, identity)."""

    digest: str
    links: list[tuple[str, Hashable]]


def folder_of(
    nodes: Iterable[tuple[str, TreeNode]], printed: Callable[[TreeNode], str], *, times: bool = False
) -> Folder:
    """The folder that holds these names. `printed` says of a node what a copy keeps of it but for its name, to which
    `times` adds the time of its last change."""
    lines: list[str] = []
    links: list[tuple[str, Hashable]] = []
    below: list[tuple[str, str, bool]] = []
    size = 0
    for name, node in nodes:
        text = printed(node)
        if times:
            text += f"\0{node.mtime_ns}"
        if node.type == "dir":
            below.append((name, text, getattr(node, "hidden", False)))
            continue
        lines.append(f"{name}\0{text}")
        size += node.size
        if (identity := node.identity) is not None:
            links.append((name, identity))
    lines.sort()
    below.sort()
    return Folder(files=len(lines), size=size, own=_digest(lines), links=tuple(links), below=tuple(below))


def folders_of(
    entries: Iterable[tuple[str, TreeNode]], printed: Callable[[TreeNode], str], *, times: bool
) -> list[tuple[str, Folder]]:
    """The folders of any tree's entries (path below its top, node), parents first."""
    found: dict[str, list[tuple[str, TreeNode]]] = {"": []}
    for path, node in entries:
        parent, _, name = path.rpartition("/")
        found[parent].append((name, node))
        if node.type == "dir":
            found[path] = []
    # A directory is here because it counts.
    return [
        (path, folder._replace(below=tuple((name, text, False) for name, text, _ in folder.below)))
        for path, nodes in found.items()
        for folder in (folder_of(nodes, printed, times=times),)
    ]


def fold(top: str, folders: Sequence[tuple[str, Folder]]) -> FolderSummary:
    """All of these, `top` and what is below it, parents first."""
    digests: dict[str, str] = {}
    counts: dict[str, int] = {}
    cut = len(top) + 1 if top else 0
    links: list[tuple[str, Hashable]] = []
    for path, folder in reversed(folders):
        prefix = f"{path}/" if path else ""
        lines, count = [folder.own], folder.files
        for name, text, hidden in folder.below:
            inside = prefix + name
            within, digest = counts.pop(inside), digests.pop(inside)
            if within or not hidden:
                lines.append(f"{name}\0{text}\0{digest}")
                count += within + 1
        digests[path], counts[path] = _digest(lines), count
        links += [((prefix + name)[cut:], identity) for name, identity in folder.links]
    return FolderSummary(digests[top], links)


def _digest(lines: list[str]) -> str:
    return hashes.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class FolderCache:
    """The folders of one context, in one file. Not for several threads at once."""

    def __init__(self, path: Path | None) -> None:
        """`path` is the cache file; None keeps nothing. What cannot be read is as if it were not there."""
        self._path = path
        self._known: dict[str, tuple[bytes, tuple[object, ...]]] = (
            kept.load(path, _MAGIC) if path is not None else {}
        )
        self._used: set[str] = set()
        self._dirty = False

    def recall(self, path: str, key: bytes) -> Folder | None:
        """The folder at `path`, if its listing still has this key."""
        known = self._known.get(path)
        if known is None or known[0] != key:
            return None
        self._used.add(path)
        return Folder(*known[1])  # type: ignore[arg-type]

    def put(self, path: str, key: bytes, folder: Folder) -> None:
        """Remember a folder."""
        self._known[path] = key, tuple(folder)
        self._used.add(path)
        self._dirty = True

    def save(self) -> None:
        """Write the file anew if there is anything new; a failure to do so costs only time later."""
        if self._path is None or not self._dirty:
            return
        if len(self._known) > 4 * len(self._used) + _ROOM:
            self._known = {path: self._known[path] for path in self._used}
        self._dirty = not kept.save(self._path, _MAGIC, self._known)
