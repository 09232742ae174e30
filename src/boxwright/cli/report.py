"""How failures are told: one sentence, a hint, the Dockerfile's lines where there are any, an exit code."""

from __future__ import annotations

import errno
import os

from boxwright.cli.flags import UsageError
from boxwright.errors import REGISTRY_EXTRA, BoxwrightError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context

INTERNAL_ERROR = 70  # sysexits.h EX_SOFTWARE: a bug of ours, not a mistake of the user's

_OS_ERRORS = {
    errno.ENOSPC: (
        "no space left on the disk",
        "`boxwright system df` shows what is used, `boxwright system prune` frees what is not",
    ),
    errno.EDQUOT: (
        "the disk quota is used up",
        "`boxwright system df` shows what is used, `boxwright system prune` frees what is not",
    ),
    errno.EACCES: (
        "permission denied",
        "run as a user who may do this, or choose a store of your own with --root",
    ),
    errno.EPERM: ("operation not permitted", "this may need root"),
    errno.EIO: ("the disk reports an input/output error", "`dmesg` tells what the kernel saw"),
    errno.EROFS: ("the file system is read-only", "choose another place with --root"),
    errno.EAGAIN: ("no more processes may be started", "see `ulimit -u` and pids.max of this cgroup"),
    errno.EMFILE: ("too many open files", "raise the limit with `ulimit -n`"),
    errno.EBADF: ("the stream is closed", ""),
    errno.ENOENT: ("no such file or directory", ""),
    errno.EISDIR: ("is a directory", ""),
    errno.ENOTDIR: ("is not a directory", ""),
    errno.ENOMEM: ("out of memory", ""),
}


def report(ctx: Context, error: Exception) -> int:
    """Print the failure on standard error; return the exit code."""
    if isinstance(error, UsageError):
        return _usage(ctx, error)
    if isinstance(error, BoxwrightError):
        render = getattr(error, "render", None)
        if render is not None and (text := str(render()).rstrip("\n")):
            ctx.err(text)
        _tell(ctx, str(error), error.hint)
        return error.exit_code
    if isinstance(error, OSError):
        meaning, hint = _OS_ERRORS.get(error.errno or 0, (error.strerror or str(error), ""))
        where = " -> ".join(
            os.fsdecode(f) for f in (error.filename, error.filename2) if isinstance(f, (str, bytes))
        )
        _tell(ctx, f"{where}: {meaning}" if where else meaning, hint)
        return 1
    if isinstance(error, UnicodeEncodeError):  # bytes that are no UTF-8 were typed where a name is wanted
        around = error.object[max(error.start - 20, 0) : error.end + 20]
        _tell(ctx, f"{around!a} is not valid UTF-8", "")
        return 1
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("boxwright"):
        _tell(
            ctx,
            f"this needs the Python package {error.name.partition('.')[0]}",
            REGISTRY_EXTRA,
        )
        return 1
    if isinstance(error, MemoryError):
        _tell(ctx, "out of memory", "")
        return 1
    if (
        isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    ):  # Python's only word for EAGAIN
        _tell(ctx, "no more threads may be started", "see `ulimit -u` and pids.max of this cgroup")
        return 1
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    again = "" if ctx.debug else "; run it again with BOXWRIGHT_DEBUG=1 to see where it happened"
    _tell(ctx, f"internal error: {what}", f"this is a bug in Boxwright{again}")
    return INTERNAL_ERROR


def _tell(ctx: Context, message: str, hint: str) -> None:
    ctx.err(f"{ctx.paint('Error', 'red')}: {message or 'failed without saying why'}")
    if hint:
        ctx.err(f"{ctx.paint('Hint', 'cyan')}: {hint}")


def _usage(ctx: Context, error: UsageError) -> int:
    ctx.err(str(error))
    if error.hint:
        ctx.err(f"{ctx.paint('Hint', 'cyan')}: {error.hint}")
    usage = f"Usage:  {error.usage}\n\n" if error.usage else ""
    ctx.err(f"\n{usage}Run '{error.prog} --help' for more information")
    return error.exit_code
