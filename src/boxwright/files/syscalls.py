"""System calls that Python's `os` lacks, by number.

`import ctypes` costs about 7 ms, which is more than mounting fifty layers; the extension module below it, `_ctypes`,
costs 1 ms and has all that a call of integers and pointers needs. It is private to CPython, so `ctypes` itself is
the fall-back. The numbers of calls that entered Linux in 5.x are the same on every architecture but alpha.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT = 428, 429, 430, 431, 432
OPENAT2 = 437
MOUNT_SETATTR = 442

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000

Function = Callable[..., int]


@cache
def _library() -> tuple[Callable[[str], Function], Callable[[], int]]:
    """What makes a callable of a libc function's name, and what reads its errno. Arguments are ints or bytes."""
    try:
        return _raw_library()
    except (ImportError, AttributeError, OSError):
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)

        def named(name: str) -> Function:
            function = getattr(libc, name)
            function.restype = ctypes.c_long
            return _converted(function, ctypes.c_long, ctypes.c_char_p)

        return named, ctypes.get_errno


def _raw_library() -> tuple[Callable[[str], Function], Callable[[], int]]:
    import _ctypes

    raw: Any = _ctypes
    handle = raw.dlopen(None, 0)

    class Long(raw._SimpleCData):  # type: ignore[misc]
        _type_ = "l"

    class Bytes(raw._SimpleCData):  # type: ignore[misc]
        _type_ = "z"

    class SystemCall(raw.CFuncPtr):  # type: ignore[misc]
        _flags_ = raw.FUNCFLAG_CDECL | raw.FUNCFLAG_USE_ERRNO
        _restype_ = Long

    def named(name: str) -> Function:
        return _converted(SystemCall(raw.dlsym(handle, name)), Long, Bytes)

    return named, raw.get_errno


def _converted(function: Any, long: Any, text: Any) -> Function:
    def call(*arguments: int | bytes | bytearray | memoryview | None) -> int:
        # A bare int would be passed as a C int; addresses and 64-bit flags need the whole word.
        result: int = function(
            *[a if a is None else text(a) if isinstance(a, bytes) else long(a) for a in arguments]
        )
        return result

    return call


@cache
def function(name: str) -> Function:
    """A libc function that takes words and C strings and returns a word; -1 is not translated."""
    return _library()[0](name)


def last_error() -> int:
    """errno of the last failed call in this thread."""
    return _library()[1]()


def call(number: int, *arguments: int | bytes | None) -> int:
    """syscall(2). Raises OSError; ENOSYS where the kernel (or a seccomp filter) lacks the call."""
    result = function("syscall")(number, *arguments)
    if result == -1:
        code = last_error()
        raise OSError(code, os.strerror(code))
    return result


def libc(name: str, *arguments: int | bytes | None) -> int:
    """A libc function that returns -1 on failure. Raises OSError."""
    # The C int result sits in the low half of the word.
    result = function(name)(*arguments) & 0xFFFFFFFF
    if result == 0xFFFFFFFF:
        code = last_error()
        raise OSError(code, os.strerror(code))
    return result


def missing(error: OSError) -> bool:
    """Whether a call failed because the kernel, or a filter in front of it, does not have it at all."""
    return error.errno in (errno.ENOSYS, errno.EPERM)
