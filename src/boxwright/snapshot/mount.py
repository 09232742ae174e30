"""Mounting, with descriptors: fsopen, fsconfig, fsmount, move_mount, open_tree (Linux 5.2), and mount(2) before that.

A file system that is made this way is a descriptor first; nothing is in the mount table until it is attached, and
what is never attached ends with its descriptor. The kernel's own words for a failure are read from the context.
"""

from __future__ import annotations

import errno
import os
from _struct import pack
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from boxwright.errors import BoxwrightError, Unsupported
from boxwright.files import syscalls
from boxwright.snapshot.snapshotter import IdMap, Mount

_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, OPEN_TREE_CLONE alike
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_EMPTY_PATH = 4
_RECURSIVE = 0x8000
_LONGEST_VALUE = 250  # fsconfig takes strings of up to 255 bytes
_PAGE = 4000  # mount(2) takes one page of options
_ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}  # MOUNT_ATTR_*, and MS_* alike
_MS_BIND, _MS_REC, _MS_REMOUNT = 0x1000, 0x4000, 0x20
_DETACH, _NOFOLLOW = 2, 8
_IDMAP = 0x00100000  # MOUNT_ATTR_IDMAP
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 27, 28, 4
_FS_USERS = ("setfsuid", "setfsgid")


class MountFailed(BoxwrightError):
    """The kernel did not mount it. `code` is the errno."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class MountUnsupported(MountFailed, Unsupported):
    """This kernel, file system or set of privileges cannot mount it at all."""


class HostMounts:
    """What is mounted on this host's directories, by the process that starts a container."""

    def attach(self, mounts: Sequence[Mount], target: Path) -> None:
        """As `attach`."""
        attach(mounts, target)

    def attach_part(self, fd: int, target: Path) -> None:
        """Mount what a descriptor stands for, with all that is mounted below it, on a directory or file. Raises
        MountFailed, MountUnsupported, OSError."""
        tree = clone(f"/proc/self/fd/{fd}", recursive=True)
        try:
            place(tree, target)
        finally:
            os.close(tree)

    def detach_all(self, target: Path) -> None:
        """Take every mount off a directory. Raises MountFailed."""
        while is_mounted(target) and detach(target):
            pass

    def detach(self, target: Path) -> bool:
        """As `detach`."""
        return detach(target)


def open_tree(mounts: Sequence[Mount]) -> int:
    """Mount without attaching: a descriptor of the top directory (readable, for `dir_fd`); the mount ends when it and
    all that was opened through it are closed. Raises MountFailed, MountUnsupported."""
    fd = _detached(mounts)
    try:
        # The mount's own descriptor is O_PATH: nothing can be listed through it.
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)


def _detached(mounts: Sequence[Mount]) -> int:
    """The last of several mounts covers the others."""
    if not mounts:
        raise MountFailed("there is nothing to mount", code=errno.EINVAL)
    wanted = mounts[-1]
    with _described(wanted):
        if wanted.type == "bind":
            return clone(wanted.source, _attributes(wanted), recursive="rbind" in wanted.options)
        try:
            return _fsmount(wanted)
        except OSError as error:
            if not _too_old(wanted, error):
                raise
        return _open_by_mount(wanted)


def attach(mounts: Sequence[Mount], target: Path) -> None:
    """Mount on a directory. Raises MountFailed, MountUnsupported."""
    fd = _detached(mounts)
    try:
        place(fd, target)
    finally:
        os.close(fd)


def detach(target: Path) -> bool:
    """Take the topmost mount off a directory, now or when its last user ends; False when nothing was mounted there.
    Raises MountFailed."""
    try:
        syscalls.libc("umount2", os.fsencode(target), _DETACH | _NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise MountFailed(f"cannot unmount {target}: {error.strerror}", code=error.errno or 0) from error
    return True


def is_mounted(target: Path) -> bool:
    """Whether something other than its parent's file system is at a directory."""
    path = os.fspath(target)
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        return False


def find_overlay(upper: Path) -> Path | None:
    """Where in this mount namespace an overlay with that upper directory ('*' = any name) is mounted; None when it is
    nowhere."""
    head, _, tail = (b"upperdir=" + os.fsencode(upper)).partition(b"*")
    with open("/proc/self/mounts", "rb") as table:
        text = table.read()
    if head not in text:
        return None
    for line in text.splitlines():
        fields = line.split()
        if any(option.startswith(head) and option.endswith(tail) for option in fields[3].split(b",")):
            return _unescaped(fields[1])
    return None


def mounted_below(top: Path) -> list[Path]:
    """Mount points below a directory, in the order in which they were mounted. They are told by the mount table, so
    that one with the device of its surroundings counts, and nothing is looked at."""
    with open("/proc/self/mounts", "rb") as table:
        places = [_unescaped(line.split()[1]) for line in table]
    return [place for place in places if top in place.parents]


def _unescaped(field: bytes) -> Path:
    """The kernel writes blanks and backslashes as a backslash and three octal digits."""
    first, *others = field.split(b"\\")
    return Path(os.fsdecode(first + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in others)))


def clone(source: str | Path, attributes: int = 0, *, recursive: bool = False) -> int:
    """A second, detached mount of what is at a path. Raises OSError."""
    flags = _CLOEXEC | os.O_CLOEXEC | (_RECURSIVE if recursive else 0)
    fd = syscalls.call(syscalls.OPEN_TREE, syscalls.AT_FDCWD, os.fsencode(source), flags)
    if attributes:
        how = pack("QQQQ", attributes, 0, 0, 0)
        try:
            syscalls.call(
                syscalls.MOUNT_SETATTR,
                fd,
                b"",
                syscalls.AT_EMPTY_PATH | (_RECURSIVE if recursive else 0),
                how,
                len(how),
            )
        except OSError:
            os.close(fd)
            raise
    return fd


def mapped(source: str | Path, users: IdMap) -> int:
    """A detached mount of what is at a path, in which the users of the file system are those of a user namespace: what
    root owns there, the namespace's root owns here. Raises MountFailed, MountUnsupported."""
    with _described(Mount("bind", str(source))):
        fd = clone(source)
        how = pack("QQQQ", _IDMAP, 0, 0, users.namespace)
        try:
            syscalls.call(syscalls.MOUNT_SETATTR, fd, b"", syscalls.AT_EMPTY_PATH, how, len(how))
        except OSError:
            os.close(fd)
            raise
        return fd


@contextmanager
def made_by(user: int) -> Iterator[None]:
    """Files that this thread makes in the block belong to that user and group; what it may do stays. Raises OSError."""
    bits = syscalls.libc("prctl", _PR_GET_SECUREBITS, 0, 0, 0, 0)
    # Without this the kernel takes capabilities away with the change of user.
    syscalls.libc("prctl", _PR_SET_SECUREBITS, bits | _NO_SETUID_FIXUP, 0, 0, 0)
    before = [syscalls.function(name)(user) for name in _FS_USERS]
    try:
        yield
    finally:
        for name, number in zip(_FS_USERS, before, strict=True):
            syscalls.function(name)(number)
        syscalls.libc("prctl", _PR_SET_SECUREBITS, bits, 0, 0, 0)


def place(fd: int, target: Path) -> None:
    """Attach a detached mount to a directory or file. Raises MountFailed, MountUnsupported."""
    with _described(Mount("bind", str(target))):
        syscalls.call(syscalls.MOVE_MOUNT, fd, b"", syscalls.AT_FDCWD, os.fsencode(target), _MOVE_EMPTY_PATH)


def _attributes(mount: Mount) -> int:
    return sum(_ATTRIBUTES.get(option, 0) for option in mount.options)


def _fsmount(mount: Mount) -> int:
    context = syscalls.call(syscalls.FSOPEN, mount.type.encode(), _CLOEXEC)
    try:
        with ExitStack() as opened:
            try:
                _configure(context=context, key="source", value=mount.source, opened=opened)
                for option in mount.options:
                    key, equals, value = option.partition("=")
                    if equals:
                        _configure(context=context, key=key, value=value, opened=opened)
                    elif key not in ("nosuid", "nodev", "noexec"):
                        syscalls.call(syscalls.FSCONFIG, context, _SET_FLAG, key.encode(), None, 0)
                syscalls.call(syscalls.FSCONFIG, context, _CMD_CREATE, None, None, 0)
                return syscalls.call(syscalls.FSMOUNT, context, _CLOEXEC, _attributes(mount))
            except OSError as error:
                words = _complaints(context)
                raise OSError(error.errno, words or error.strerror) from None
    finally:
        os.close(context)


def _configure(context: int, key: str, value: str, opened: ExitStack) -> None:
    word = os.fsencode(value)
    if len(word) > _LONGEST_VALUE:
        word = _short(value, opened).encode()
    if key in ("upperdir", "workdir"):  # which overlayfs unescapes, unlike 'lowerdir+'
        word = word.replace(b"\\", b"\\\\")
    syscalls.call(syscalls.FSCONFIG, context, _SET_STRING, key.encode(), word, 0)


def _short(path: str, opened: ExitStack) -> str:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"


def _complaints(context: int) -> str:
    said: list[str] = []
    for _ in range(8):
        try:
            line = os.read(context, 512)
        except OSError:  # ENODATA: it has no more to say
            break
        if line.startswith((b"e ", b"w ")):
            said.append(line[2:].decode(errors="replace").strip())
    return "; ".join(said)


def _too_old(mount: Mount, error: OSError) -> bool:
    """No new mount API, or one whose overlayfs does not know 'lowerdir+' (Linux 6.8)."""
    return error.errno == errno.ENOSYS or (
        mount.type == "overlay" and error.errno == errno.EINVAL and "lowerdir+" in str(error)
    )


def _open_by_mount(mount: Mount) -> int:
    """The way before: mount(2) somewhere, clone that, unmount."""
    place = Path(
        next((o.partition("=")[2] for o in mount.options if o.startswith("workdir=")), mount.source)
    ).parent
    target = place / f".mount-{os.urandom(6).hex()}"
    target.mkdir()
    try:
        _mount2(mount, target)
        try:
            return clone(target)
        finally:
            detach(target)
    finally:
        target.rmdir()


def _mount2(mount: Mount, target: Path) -> None:
    with ExitStack() as opened:
        # Layers are named by descriptor: paths could hold ':' or ',', and fifty of them do not fit in a page.
        lower = [_short(o.partition("=")[2], opened) for o in mount.options if o.startswith("lowerdir+=")]
        others = []
        for option in mount.options:
            key, _, value = option.partition("=")
            if key == "lowerdir+" or option in _ATTRIBUTES:
                continue
            others.append(
                f"{key}={_short(value, opened)}" if key in ("upperdir", "workdir", "device") else option
            )
        data = ",".join(others + ([f"lowerdir={':'.join(lower)}"] if lower else []))
        if len(data) > _PAGE:
            raise OSError(errno.E2BIG, "too many layers for this kernel's mount call")
        syscalls.libc(
            "mount",
            os.fsencode(mount.source),
            os.fsencode(target),
            mount.type.encode(),
            _attributes(mount),
            data.encode(),
        )


@contextmanager
def _described(mount: Mount) -> Iterator[None]:
    """OSError -> MountFailed, with what was to be mounted and why it was not."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        what = f"cannot mount {mount.type} {mount.source}: {error.strerror}"
        if code in (
            errno.ENOSYS,
            errno.ENODEV,
            errno.EPERM,
            errno.EACCES,
            errno.ENOTBLK,
            errno.EOPNOTSUPP,
            errno.EINVAL,
        ):
            raise MountUnsupported(
                what, code=code, hint="choose another driver with BOXWRIGHT_DRIVER (unpacked or copied)"
            ) from error
        raise MountFailed(what, code=code) from error
