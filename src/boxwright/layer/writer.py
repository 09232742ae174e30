"""A layer on its way in: the tar is hashed, written and scanned as it passes, then indexed and published."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType

from boxwright.content.verify import CHUNK
from boxwright.errors import Corrupt
from boxwright.files import locks
from boxwright.files.disk import disk_errors, write_behind
from boxwright.files.locks import Lock
from boxwright.files.trees import discard
from boxwright.layer import erofs
from boxwright.layer.scan import BLOCK, Header, Scanner
from boxwright.layer.tree import LayerTree
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from typing import BinaryIO, Self

    from boxwright.layer.store import Layer, LayerStore
    from boxwright.layer.tree import PlainFiles

_DROP_FROM = 64 << 20  # bytes; smaller tars stay in the page cache, for the container that starts next
_DROP_READ_FROM = 1 << 30
_HASHED = 1 << 22  # bytes of a range at a time: the other thread may keep the interpreter for 5 ms after each
_BETWEEN = 1 << 14  # bytes of headers that are compared with those between two ranges
_AT_ONCE = 8 << 20  # bytes of a range that wait for more of it
_BUFFERS = 4
# Why copy_file_range(2) does not copy what read and write can: another file system, one that has no such call.
_NOT_BY_KERNEL = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
_BEHIND_FROM = 4 << 20  # bytes of tar from which on a second thread is worth its start


class LayerMismatch(Corrupt):
    """A layer's tar does not have the diff ID that the image says."""


class LayerWriter:
    """A context manager; leaving it without `commit` discards what was written.

    Bytes come by `write`, and are scanned; or from a builder that knows what it writes (`write.TarBuilder`), by
    `append` for the bytes and `announce` for the entries. Only one of the two ways may be used in one writer.
    """

    def __init__(self, layers: LayerStore, *, algorithm: str = "sha256", read_again: bool = False) -> None:
        """`read_again`: the tar is read soon, and stays in the page cache even when it is large."""
        self._layers = layers
        self._drop_from = _DROP_READ_FROM if read_again else _DROP_FROM
        self._algorithm = algorithm
        self._scanner = Scanner()
        self._tree = LayerTree()
        self._hash = hashlib.new(algorithm)
        self._pending = bytearray()
        self._scanning = True
        self._behind: _Behind | None = None
        self._range: _TarRange | None = None  # not given to be stored yet: it may go on
        self._closing = False  # what is copied is not wanted any more
        self._copied: bytearray | None = None  # for one range after the other
        self.size = 0  # bytes of tar that are stored
        self._taken = 0  # and those that wait to be
        with disk_errors(str(layers.root)):
            self.directory = make_temporary(layers.root)
            self._lock = hold_temporary(self.directory)
            self._fd = os.open(
                self.directory / "layer.tar", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400
            )

    # --- bytes in ----------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take the next bytes of the archive. Raises TarInvalid, DiskFull."""
        return self._take(data)

    def append(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes whose entries are announced."""
        self._scanning = False
        return self._take(data)

    def announce(self, header: Header) -> None:
        """Take an entry whose bytes are appended."""
        self._tree.add(header)

    def append_range(self, source: int, start: int, files: PlainFiles) -> int:
        """Take files, headers and contents, that are a range of another tar: `source` is its descriptor, open until
        `commit`. Returns the range's length."""
        self._scanning = False
        waiting = self._range
        if waiting is None or (source, start) != (waiting.source, waiting.end):
            self._flush()
            waiting = _TarRange(source, start=start, end=start, at=self._taken)
        length = self._tree.add_files(files, self._taken)
        self._taken += length
        self._range = longer = waiting.longer(length)
        if longer.end - longer.start >= _AT_ONCE:
            self._flush()
            self._range = _TarRange(source, start=longer.end, end=longer.end, at=self._taken)
        return length

    def _goes_on(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether the range that waits goes on with these bytes where it comes from, as it does with the header of the
        next directory: what follows another as it did there is one range, and is copied at once."""
        waiting = self._range
        if waiting is None or len(data) > _BETWEEN:
            return False
        with disk_errors(str(self._layers.root)):
            if os.pread(waiting.source, len(data), waiting.end) != data:
                return False
        self._range = waiting.longer(len(data))
        return True

    def _hash_range(self, source: int, start: int, end: int) -> None:
        if self._copied is None:
            self._copied = bytearray(_HASHED)
        with memoryview(self._copied) as view:
            while start < end and not self._closing:
                with disk_errors(str(self._layers.root)):
                    count = os.preadv(source, [view[: end - start]], start)
                if not count:
                    raise LayerMismatch("a layer's tar ends before the files that were written to it")
                self._hash.update(view[:count])
                self.size += count
                start += count

    def _copy_range(self, source: int, start: int, end: int, at: int) -> None:
        with disk_errors(str(self.directory)):
            for begin in range(start, end, _AT_ONCE):
                count = min(_AT_ONCE, end - begin)
                copy_range(
                    source=source, start=begin, target=self._fd, offset=at + begin - start, length=count
                )
                write_behind(self._fd, at + begin - start, at + begin - start + count)

    def _take(self, data: bytes | bytearray | memoryview) -> int:
        count = len(data)
        self._taken += count
        if self._range is not None:
            if self._goes_on(data):
                return count
            self._flush()
        if count >= CHUNK // 4:
            self._flush()
            self._pass(data)
        else:
            self._pending += data
            if len(self._pending) >= CHUNK:
                self._flush()
        return count

    def _flush(self) -> None:
        if self._pending:
            data, self._pending = self._pending, bytearray()
            self._pass(data)
        if self._range is not None:
            (source, start, end, at), self._range = self._range, None
            self._later(partial(self._hash_range, source, start, end), end - start, held=0)
            self._copy_range(source=source, start=start, end=end, at=at)

    def _pass(self, data: bytes | bytearray | memoryview) -> None:
        if self._scanning:
            self.scan(data)
            self.store(data)
        elif self._behind is not None or self.size >= _BEHIND_FROM:
            data = bytes(data)
            self._later(partial(self.store, data), len(data), held=1)
        else:
            self.store(data)

    def _later(self, store: Callable[[], None], size: int, *, held: int) -> None:
        """Let a second thread store these bytes, when it is worth its start. `held`: 1 when they are in memory."""
        if self._behind is None and self.size + size < _BEHIND_FROM:
            store()
            return
        if self._behind is None:
            self._behind = _Behind()
        self._behind.put(store, held=held)

    def _settle(self) -> None:
        """Everything that was taken is hashed and written. Raises what that raised."""
        self._flush()
        if self._behind is not None:
            behind, self._behind = self._behind, None
            behind.end()

    def scan(self, data: bytes | bytearray | memoryview) -> None:
        """One half of `write`: find the entries. The other is `store`; the two may run in two threads."""
        add = self._tree.add
        for header in self._scanner.feed(data):
            add(header)

    @property
    def sparse(self) -> bool:
        """Whether the archive has files of which it stores parts only."""
        self._settle()
        return bool(self._tree.sparse)

    def read(self, count: int, offset: int) -> bytes:
        """Bytes that were taken."""
        self._settle()
        return os.pread(self._fd, count, offset)

    def skip(self, count: int) -> None:
        """Take zeros of entries that are announced; they need no room on the disk."""
        self._settle()
        zeros = memoryview(bytes(min(count, CHUNK)))
        for at in range(0, count, CHUNK):
            self._hash.update(zeros[: count - at])
        self.size = self._taken = self._taken + count

    def store(self, data: bytes | bytearray | memoryview) -> None:
        """Hash and write."""
        self._hash.update(data)
        with disk_errors(str(self.directory)), memoryview(data) as view:
            at = 0
            while at < len(view):
                at += os.pwrite(self._fd, view[at:], self.size + at)
            write_behind(self._fd, self.size, self.size + at)
            self.size += at

    def pump(self, stream: BinaryIO) -> None:
        """Take everything that a stream gives: this thread reads (and inflates) and scans, a second one hashes
        and writes, with a fixed number of buffers between them."""
        from queue import SimpleQueue

        free: SimpleQueue[bytearray] = SimpleQueue()
        full: SimpleQueue[tuple[bytearray, int] | None] = SimpleQueue()
        failures: list[BaseException] = []

        def work() -> None:
            while (item := full.get()) is not None:
                buffer, count = item
                if not failures:
                    try:
                        with memoryview(buffer) as view:
                            self.store(view[:count])
                    except BaseException as error:  # noqa: BLE001 - the thread that gives the bytes raises it
                        failures.append(error)
                free.put(buffer)

        for _ in range(_BUFFERS):
            free.put(bytearray(CHUNK))
        thread = threading.Thread(target=work, name="layer-store", daemon=True)
        thread.start()
        try:
            self._read_all(stream=stream, free=free, full=full, failures=failures)
        finally:
            full.put(None)
            thread.join()
        if failures:
            raise failures[0]

    def _read_all(
        self,
        stream: BinaryIO,
        free: SimpleQueue[bytearray],
        full: SimpleQueue[tuple[bytearray, int] | None],
        failures: list[BaseException],
    ) -> None:
        readinto = stream.readinto  # type: ignore[attr-defined]
        count = CHUNK
        while count == CHUNK and not failures:
            buffer = free.get()
            count = 0
            with memoryview(buffer) as view:
                while count < CHUNK and (more := readinto(view[count:])):
                    count += more
                self.scan(view[:count])
            full.put((buffer, count))

    # --- the end -----------------------------------------------------------------------------------

    def commit(self, expected: Digest | None = None, *, anew: bool = False) -> Layer:
        """Index, sync, publish; an equal layer that exists is used instead, or replaced with `anew`. Raises
        LayerMismatch, TarInvalid, DiskFull."""
        self._flush()
        if self._scanning:
            self._scanner.finish()
        # Nothing of the tar is read for it, as long as there are no parts of files to expand.
        meanwhile = self._behind is not None and not self._tree.sparse and self._taken % BLOCK == 0
        summary = self._index(self._taken) if meanwhile else None
        self._settle()
        diff_id = DiffID(self._algorithm, self._hash.hexdigest())
        # Compared as text: a Digest and a DiffID of the same bytes are different values.
        if expected is not None and str(expected) != str(diff_id):
            raise LayerMismatch(f"the layer's tar has digest {diff_id}, the image says {expected}")
        if summary is None:
            summary = self._index(self.size)
        with disk_errors(str(self.directory)):
            os.fsync(self._fd)
            if self.size >= self._drop_from:
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return self._layers.publish(
            directory=self.directory,
            diff_id=diff_id,
            kind="tar",
            tar_size=self.size,
            content=summary.bytes,
            entries=summary.entries,
            anew=anew,
        )

    def _index(self, size: int) -> erofs.Summary:
        with disk_errors(str(self.directory)):
            return finish_index(directory=self.directory, tree=self._tree, tar=self._fd, tar_size=size)

    def close(self) -> None:
        """Stop; what was not committed is removed."""
        self._closing = True
        if self._behind is not None:
            self._behind.stop()
            self._behind = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            discard(self.directory)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _TarRange(NamedTuple):
    """Bytes of another tar, from `start` to `end`, which stand at `at` in this one."""

    source: int
    start: int
    end: int
    at: int

    def longer(self, count: int) -> _TarRange:
        return self._replace(end=self.end + count)


class _Behind:
    """A thread that stores what another one makes, with a fixed number of pieces that are in memory between them:
    hashing and writing leave the interpreter to the other."""

    def __init__(self) -> None:
        from queue import SimpleQueue

        self._pieces: SimpleQueue[tuple[Callable[[], None], int] | None] = SimpleQueue()
        self._room = threading.Semaphore(_BUFFERS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="layer-behind", daemon=True)
        self._thread.start()

    def put(self, piece: Callable[[], None], *, held: int) -> None:
        """Let this store what it has next; of those that hold memory (1), waits while too many wait. Raises what
        storing an earlier one raised."""
        if self._failure is not None:
            raise self._failure
        if held:
            self._room.acquire()
        self._pieces.put((piece, held))

    def end(self) -> None:
        """Wait for all. Raises what storing one raised."""
        self.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the thread."""
        self._pieces.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._pieces.get()) is not None:
            piece, held = item
            if self._failure is None:
                try:
                    piece()
                except BaseException as error:  # noqa: BLE001 - the thread that gives the pieces raises it
                    self._failure = error
            if held:
                self._room.release()


def make_temporary(root: Path) -> Path:
    """A directory of a layer that is not published yet."""
    directory = root / f".tmp-{os.urandom(8).hex()}"
    directory.mkdir(mode=0o700)
    return directory


def hold_temporary(directory: Path) -> Lock:
    """Mark the directory as in use until the lock is closed."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return Lock(locks.NEW_LAYER, fd, shared=True, wait=False)


def finish_index(directory: Path, tree: LayerTree, tar: int, tar_size: int) -> erofs.Summary:
    """Write index.erofs and, for sparse files, sparse.data beside the tar; synced."""
    fd = os.open(directory / "index.erofs", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        summary = erofs.write_index(tree, tar_size, fd)
        os.fsync(fd)
    finally:
        os.close(fd)
    if summary.sparse:
        fd = os.open(directory / "sparse.data", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            os.ftruncate(fd, summary.sparse)
            for source, offset, length in erofs.sparse_parts(tree):
                copy_range(source=tar, start=source, target=fd, offset=offset, length=length)
            os.fsync(fd)
        finally:
            os.close(fd)
    return summary


def copy_range(source: int, start: int, target: int, offset: int, length: int) -> None:
    """Copy bytes between two files by offsets; the kernel does it, where it can."""
    by_kernel = True
    while length:
        if by_kernel:
            try:
                count = os.copy_file_range(
                    source, target, min(length, _AT_ONCE), offset_src=start, offset_dst=offset
                )
            except OSError as error:
                if error.errno not in _NOT_BY_KERNEL:
                    raise
                by_kernel = False
                continue
        else:
            data = os.pread(source, min(length, CHUNK), start)
            count = os.pwrite(target, data, offset) if data else 0
        if not count:
            raise LayerMismatch("a layer's tar ends before the data that its headers tell of")
        start, offset, length = start + count, offset + count, length - count


def scan_file(fd: int, size: int, tree: LayerTree) -> None:
    """Read only the headers of a tar that is on disk. Raises TarInvalid."""
    scanner = Scanner()
    window = 64 << 10
    while scanner.position < size:
        if scanner.skippable:
            scanner.skip(min(scanner.skippable, size - scanner.position))
            continue
        data = os.pread(fd, window, scanner.position)
        if not data:
            break
        add_all(tree, scanner.feed(data))
    scanner.finish()


def add_all(tree: LayerTree, headers: Iterable[Header]) -> None:
    """Every header into the tree."""
    add = tree.add
    for header in headers:
        add(header)
