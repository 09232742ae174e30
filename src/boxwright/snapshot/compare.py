"""What changed in a copied tree since it was made, in the words of overlayfs.

A file counts as changed when its inode or change time is another one; a directory counts as replaced when it is
another inode, or was born later (inode numbers are used again). Replaced directories are opaque, names that are gone
are whiteouts, and a directory is part of the difference when it or anything in it is.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat
import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

from boxwright.files import syscalls
from boxwright.layer import whiteout
from boxwright.spec.values import dataclass

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STATX_BTIME = 0x800
_NOFOLLOW = 0x100  # AT_SYMLINK_NOFOLLOW
_BTIME_AT = 80  # offset of stx_btime in struct statx (statx(2))

Mark = tuple[int, int, int]  # inode, change time, and of directories the birth time (0 = unknown), else -1


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind`: 'dir' (opaque or not), 'file' (anything else that is there) or 'gone'. `path` is relative to the tree;
    parents come before what is in them."""

    path: str
    kind: str
    opaque: bool = False
    size: int = 0  # of a regular file's content


class BaseTree:
    """The marks of every path of a tree, by directory."""

    def __init__(self, directories: dict[str, dict[str, Mark]]) -> None:
        self._directories = directories

    @classmethod
    def of(cls, tree: Path) -> BaseTree:
        """Look at every file now."""
        directories: dict[str, dict[str, Mark]] = {}
        todo = [""]
        while todo:
            path = todo.pop()
            here: dict[str, Mark] = {}
            with os.scandir(f"{tree}/{path}") as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    directory = stat.S_ISDIR(info.st_mode)
                    here[entry.name] = (
                        info.st_ino,
                        info.st_ctime_ns,
                        _birth(entry.path) if directory else -1,
                    )
                    if directory:
                        todo.append(f"{path}/{entry.name}" if path else entry.name)
            directories[path] = here
        # What was made within one tick of the kernel's clock could be changed without another ctime: wait that out.
        _let_the_clock_move(tree)
        return cls(directories)

    def save(self, path: Path) -> None:
        """Keep it for other processes."""
        path.write_bytes(marshal.dumps(self._directories))

    @classmethod
    def load(cls, path: Path) -> BaseTree:
        """Read what `save` kept: this program's own file, never one that came from elsewhere."""
        return cls(marshal.loads(path.read_bytes()))

    def names(self, path: str) -> dict[str, Mark]:
        """What was in a directory; empty when there was none."""
        return self._directories.get(path, {})


def _let_the_clock_move(tree: Path) -> None:
    import time

    probe = tree.parent / ".clock"
    probe.touch()
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        time.sleep(0.001)
        os.utime(probe)
    probe.unlink()


class Lent:
    """Gives the owner, when he is not root, permissions on directories that he took from himself; for a while.

    `modes` has what they were, by path relative to the tree.
    """

    def __init__(self, tree: Path, bits: int) -> None:
        self._tree = tree
        self._bits = bits
        self.modes: dict[str, int] = {}

    def __enter__(self) -> dict[str, int]:
        todo = [""] if os.geteuid() != 0 else []
        while todo:
            path = todo.pop()
            where = f"{self._tree}/{path}"
            mode = stat.S_IMODE(os.lstat(where).st_mode)
            if mode & self._bits != self._bits:
                os.chmod(where, mode | self._bits)
                self.modes[path] = mode
            with os.scandir(where) as entries:
                todo += [
                    f"{path}/{entry.name}" if path else entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        return self.modes

    def __exit__(self, *_: object) -> None:
        for path, mode in reversed(self.modes.items()):
            try:
                os.chmod(f"{self._tree}/{path}", mode)
            except FileNotFoundError:
                continue


def differences(tree: Path, base: BaseTree) -> list[Difference]:
    """Everything that an upper directory would hold."""
    with Lent(tree, 0o500):
        fd = os.open(tree, _DIRECTORY)
        try:
            return [*_compare(fd, "", base, replaced=False)]
        finally:
            os.close(fd)


def _compare(fd: int, path: str, base: BaseTree, *, replaced: bool) -> Iterator[Difference]:
    known = {} if replaced else base.names(path)
    names = sorted(os.listdir(fd), key=os.fsencode)
    prefix = f"{path}/" if path else ""
    for name in names:
        try:
            info = os.lstat(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        mark = known.get(name)
        if not stat.S_ISDIR(info.st_mode):
            if mark != (info.st_ino, info.st_ctime_ns, -1):
                yield Difference(
                    prefix + name, "file", size=info.st_size if stat.S_ISREG(info.st_mode) else 0
                )
            continue
        below = os.open(name, _DIRECTORY, dir_fd=fd)
        try:
            new = mark is None or (mark[0], mark[2]) != (info.st_ino, _birth("", below))
            inside = _compare(below, prefix + name, base, replaced=replaced or new)
            if new or (mark is not None and mark[1] != info.st_ctime_ns):
                yield Difference(prefix + name, "dir", opaque=new and mark is not None)
                yield from inside
            else:
                yield from _if_any(Difference(prefix + name, "dir"), inside)
        finally:
            os.close(below)
    for name in sorted(set(known) - set(names), key=os.fsencode):
        yield Difference(prefix + name, "gone")


def _if_any(head: Difference, inside: Iterator[Difference]) -> Iterator[Difference]:
    for number, found in enumerate(inside):
        if number == 0:
            yield head
        yield found


def _birth(path: str, fd: int = syscalls.AT_FDCWD) -> int:
    """When the directory was made, in nanoseconds; 0 when the file system does not say."""
    buffer = array("B", bytes(256))
    flags = syscalls.AT_EMPTY_PATH | _NOFOLLOW
    try:
        syscalls.libc("statx", fd, os.fsencode(path), flags, _STATX_BTIME, buffer.buffer_info()[0])
    except (OSError, AttributeError):
        return 0
    if not struct.unpack_from("I", buffer)[0] & _STATX_BTIME:
        return 0
    seconds, nanoseconds = struct.unpack_from("qI", buffer, _BTIME_AT)
    return int(seconds) * 10**9 + int(nanoseconds)


def build_upper(tree: Path, upper: Path, base: BaseTree, *, move: bool) -> None:
    """Make the difference an upper directory: files are moved there (the tree is not usable afterwards), or linked.

    Without root, opaque marks go to the ``user.`` attribute. Raises OSError.
    """
    upper.mkdir()
    upper.chmod(0o755)
    _copy_status(tree, upper)
    found = differences(tree, base)
    with Lent(tree, 0o700 if move else 0o500) as modes:
        _fill_upper(differences=found, tree=tree, upper=upper, modes=modes, move=move)


def _fill_upper(
    differences: list[Difference], tree: Path, upper: Path, modes: Mapping[str, int], move: bool
) -> None:
    top, out = os.open(tree, _DIRECTORY), os.open(upper, _DIRECTORY)
    directories: list[tuple[str, os.stat_result]] = [(".", os.fstat(top))]
    try:
        for found in differences:
            path = found.path
            if found.kind == "gone":
                whiteout.make(path, out)
            elif found.kind == "dir":
                info = os.lstat(path, dir_fd=top)
                os.mkdir(path, 0o700, dir_fd=out)
                directories.append((path, info))
                if found.opaque:
                    _mark_opaque(upper / path)
            elif move:
                os.rename(path, path, src_dir_fd=top, dst_dir_fd=out)
            else:
                _link(path, top, out)
        for path, info in reversed(directories):
            _copy_status(tree / path, upper / path)
            if path in modes:
                os.chmod(path, modes[path], dir_fd=out)
            os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns), dir_fd=out)
    finally:
        os.close(top)
        os.close(out)


def _link(path: str, top: int, out: int) -> None:
    try:
        os.link(path, path, src_dir_fd=top, dst_dir_fd=out, follow_symlinks=False)
    except FileNotFoundError:  # a running container removed it meanwhile
        pass


def _copy_status(source: Path, target: Path) -> None:
    """Owner, attributes and mode of a directory."""
    info = source.lstat()
    if os.geteuid() == 0:
        os.chown(target, info.st_uid, info.st_gid)
    for name in os.listxattr(source):
        if not name.startswith("security.") or name == "security.capability":
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                    raise
    target.chmod(stat.S_IMODE(info.st_mode))


def _mark_opaque(directory: Path) -> None:
    try:
        os.setxattr(directory, "trusted.overlay.opaque", b"y")
    except OSError as error:  # no root, or an overlay that keeps these names to itself
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        os.setxattr(directory, "user.overlay.opaque", b"y")
