"""Reading archives of blobs: a tar that can be sought, a tar that streams, or a directory.

Nothing is ever extracted by the names in an archive: members are looked up, so a hostile name reaches nothing.
"""

from __future__ import annotations

import io
import os
import stat
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from boxwright.content.verify import CHUNK
from boxwright.errors import Invalid
from boxwright.layer.scan import FILE, HARDLINK, SYMLINK, Header, Scanner
from boxwright.rootfs.paths import TooManyLinks, real
from boxwright.rootfs.root import Root, UnsafePath
from boxwright.spec.hints import Protocol
from boxwright.spec.manifest import MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


_MOST_MEMBERS = 100_000


class ArchiveInvalid(Invalid):
    """The file is no archive of images, or contradicts itself."""


class Members(Protocol):
    """Named files."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def size(self, name: str) -> int:
        """Its bytes. Raises ArchiveInvalid when there is none."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Its bytes, unverified. Raises ArchiveInvalid when there is none."""
        ...


def read_small(members: Members, name: str) -> bytes:
    """All of a file that must be small. Raises ArchiveInvalid."""
    size = members.size(name)
    if size > MAX_SIZE:
        raise ArchiveInvalid(f"{name} in the archive has {size} bytes; at most {MAX_SIZE} are accepted")
    with members.open(name) as file:
        return file.read()


def normal(name: bytes | str) -> str:
    """A member's name as a path below the archive's root; '' for what can never be looked up."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def follow(name: str, links: Mapping[str, str]) -> str:
    """Where a name leads with the archive as its root, as docker takes it: through links at any place of it, absolute
    ones too; ``..`` stops at the root. Raises ArchiveInvalid for a link that never ends."""
    try:
        return real(name, links.get)
    except TooManyLinks as error:
        raise ArchiveInvalid(f"{name[:200]!r} in the archive is a link that never ends") from error


def link_of(header: Header) -> str:
    """What `follow` is to know of a link of the archive: a hard link names its target from the root."""
    link = header.link.decode("utf-8", "surrogateescape")
    return link if header.type == SYMLINK else "/" + link


class MemberSlice(io.RawIOBase):
    """A range of a file descriptor. Closing it leaves the descriptor open."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd, self._at, self._end = fd, offset, offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._end - self._at]  # type: ignore[arg-type]
        count = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += count
        return count


class Holed(io.RawIOBase):
    """A file of which an archive stores parts only: `stored` gives their bytes, one part behind the other."""

    def __init__(self, stored: Callable[[int], bytes], segments: array[int], size: int) -> None:
        self._stored, self._size, self._at = stored, size, 0
        self._parts = list(zip(segments[::2], segments[1::2]))[::-1]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._size - self._at]  # type: ignore[arg-type]
        while self._parts and sum(self._parts[-1]) <= self._at:
            self._parts.pop()
        start, length = self._parts[-1] if self._parts else (self._size, 0)
        if self._at < start:
            view = view[: start - self._at]
            view[:] = bytes(len(view))
            self._at += len(view)
            return len(view)
        data = self._stored(min(len(view), start + length - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class StreamPart(io.RawIOBase):
    """The data of one member of a streaming tar. What is not read is skipped by the reader."""

    def __init__(self, raw: BinaryIO, scanner: Scanner, header: Header) -> None:
        self._raw, self._scanner, self._head = raw, scanner, b""
        self._left = header.size if header.type == FILE else 0
        self._next: Callable[[int], bytes] = self._take
        if header.segments is not None:
            whole = Holed(self._take, header.segments, self._left)
            self._left = sum(header.segments[1::2])
            self._next = whole.read

    def readable(self) -> bool:
        return True

    def peek(self, count: int) -> bytes:
        """The first bytes, which are read again later; fewer than `count` only when there are no more."""
        while len(self._head) < count and (more := self._next(count - len(self._head))):
            self._head += more
        return self._head

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._head[: len(view)] or self._next(len(view))
        self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)

    def _take(self, count: int) -> bytes:
        if not self._left:
            return b""
        data = self._raw.read(min(count, self._left, CHUNK))
        if not data:
            raise ArchiveInvalid("the archive is cut off", hint="fetch or make it again")
        self._scanner.skip(len(data))
        self._left -= len(data)
        return data


def stream_members(raw: BinaryIO) -> Iterator[tuple[Header, StreamPart]]:
    """The entries of a plain tar stream, each with its data, which must be read before the next is asked for.

    Raises TarInvalid, ArchiveInvalid.
    """
    scanner = Scanner()
    while data := _exactly(raw, 512):
        if not scanner.position:
            check_tar(data, "the input")
        for header in scanner.feed(data):
            yield header, StreamPart(raw, scanner, header)
        while scanner.skippable:
            rest = raw.read(min(scanner.skippable, CHUNK))
            if not rest:
                break
            scanner.skip(len(rest))
    scanner.finish()


def check_tar(head: bytes, what: str) -> None:
    """Say so when the first 512 bytes are no tar header. Raises ArchiveInvalid."""
    if len(head) < 512 or (head[257:262] != b"ustar" and any(head) and not old_tar(head)):
        raise ArchiveInvalid(
            f"{what} is no tar archive",
            hint="wanted what `save` writes, also compressed, or the directory of an OCI layout",
        )


def old_tar(head: bytes) -> bool:
    """Whether this is a v7 header, which has no magic: its checksum must fit."""
    try:
        claimed = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return sum(head[:148]) + 256 + sum(head[156:512]) == claimed


def _exactly(raw: BinaryIO, count: int) -> bytes:
    data = raw.read(count)
    while data and len(data) < count:
        more = raw.read(count - len(data))
        if not more:
            break
        data += more
    return data


class TarMembers:
    """A plain tar in a file that can be sought. Only headers are read until a member is opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = open(path, "rb", buffering=0)
        except OSError as error:
            raise ArchiveInvalid(f"cannot open {path}: {error.strerror}") from error
        self._where: dict[str, Header] = {}
        self._links: dict[str, str] = {}
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    def _scan(self) -> None:
        fd, scanner = self._file.fileno(), Scanner()
        end = os.fstat(fd).st_size
        check_tar(os.pread(fd, 512, 0), str(self._file.name))
        while scanner.position < end:
            if scanner.skippable:
                scanner.skip(min(scanner.skippable, end - scanner.position))
                continue
            data = os.pread(fd, 512, scanner.position)
            if not data:
                break
            for header in scanner.feed(data):
                self._note(header)
        scanner.finish()

    def _note(self, header: Header) -> None:
        name = normal(header.name)
        if len(self._where) + len(self._links) >= _MOST_MEMBERS:
            raise ArchiveInvalid(f"the archive has more than {_MOST_MEMBERS} members")
        if not name:
            return
        if header.type == FILE:
            self._where[name] = header
            self._links.pop(name, None)
        elif header.type in (SYMLINK, HARDLINK):
            self._links[name] = link_of(header)
            self._where.pop(name, None)

    def _find(self, name: str) -> Header | None:
        return self._where.get(follow(name, self._links))

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def size(self, name: str) -> int:
        return self._located(name).size

    def open(self, name: str) -> BinaryIO:
        header, fd = self._located(name), self._file.fileno()
        if header.segments is None:
            return io.BufferedReader(MemberSlice(fd, header.offset, header.size), CHUNK)
        stored = MemberSlice(fd, header.offset, sum(header.segments[1::2]))
        return io.BufferedReader(Holed(stored.read, header.segments, header.size), CHUNK)

    def _located(self, name: str) -> Header:
        found = self._find(name)
        if found is None:
            raise ArchiveInvalid(f"the archive has no {name!r}")
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class DirMembers:
    """A directory such as an OCI layout. Symbolic links are not followed."""

    def __init__(self, path: Path) -> None:
        self._path, self._root = path, Root.at(path)

    def has(self, name: str) -> bool:
        return self._size(name) is not None

    def size(self, name: str) -> int:
        size = self._size(name)
        if size is None:
            raise self._missing(name)
        return size

    def open(self, name: str) -> BinaryIO:
        fd = self._open(name)
        if fd is None:
            raise self._missing(name)
        return open(fd, "rb", buffering=CHUNK)

    def _size(self, name: str) -> int | None:
        fd = self._open(name)
        if fd is None:
            return None
        size = os.fstat(fd).st_size
        os.close(fd)
        return size

    def _open(self, name: str) -> int | None:
        name = normal(name)
        try:
            if not name or self._root.resolve(name) != f"/{name}":
                return None
            fd = self._root.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, UnsafePath):
            return None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None

    def _missing(self, name: str) -> ArchiveInvalid:
        return ArchiveInvalid(f"{self._path} has no {name!r}")

    def close(self) -> None:
        """Let go of the directory."""
        self._root.close()
