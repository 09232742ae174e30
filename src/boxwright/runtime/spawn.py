"""A new process for a program: the one place that asks the kernel for one.

Nothing is inherited but what is asked for: descriptors are close-on-exec, signals that Python ignores are restored.
`runtime.process` is the comfortable side of this. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import fcntl
import os

from boxwright.runtime.sealed import sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping, Sequence
else:
    import _signal

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Mapping[str, str] = {"PATH": USUAL_PATH, "LC_ALL": "C"}
# Signals that are not ignored in the new process: PIPE and XFSZ, which the interpreter ignores …
INTERPRETERS = (13, 25)
# … and HUP, INT, QUIT, TERM, which the supervisor ignores.
SUPERVISORS = (1, 2, 3, 15, *INTERPRETERS)
_CLONE_NEWNS = 0x20000
_MNT_DETACH, _MS_PRIVATE = 2, 1 << 18


def locate(name: str, path: str = USUAL_PATH) -> str:
    """The program of this name in the directories of `path`; '' when there is none. A name with a slash stands for
    itself."""
    for candidate in [name] if "/" in name else [f"{d}/{name}" for d in path.split(":") if d]:
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return ""


def start(
    program: str,
    argv: Sequence[str],
    *,
    fds: Mapping[int, int],
    env: Mapping[str, str] = ENVIRONMENT,
    new_session: bool = False,
    signals: Sequence[int] = INTERPRETERS,
) -> int:
    """Start the program at a path; its pid, for the caller to wait for. `fds`: number in the child -> our descriptor;
    0, 1 and 2 are /dev/null unless they are given. `signals` are restored to their defaults. Raises OSError."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    places = {0: null, 1: null, 2: null, **fds}
    opened = [null]
    # First above all places, so that none is trodden on while they are put there.
    moved: dict[int, int] = {}

    def above(fd: int) -> int:
        opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(places) + 1))
        return opened[-1]

    def spawn(path: str) -> int:
        return os.posix_spawn(
            path,
            list(argv),
            dict(env),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()],
            setsid=new_session,
            setsigdef=signals,
        )

    try:
        for number, fd in places.items():
            moved[number] = above(fd)
        if (copy := sealed(program)) >= 0:
            opened.append(copy)
            try:
                return spawn(f"/proc/self/fd/{above(copy)}")
            except OSError:  # refused from there; what else stops it is told by its file
                pass
        return spawn(program)
    finally:
        for fd in opened:
            os.close(fd)


def start_apart(
    hidden: str,
    program: str,
    argv: Sequence[str],
    *,
    fds: Mapping[int, int],
    env: Mapping[str, str] = ENVIRONMENT,
    new_session: bool = False,
) -> int:
    """As `start`, in a mount namespace where nothing is mounted at `hidden`. Raises OSError.

    A namespace is a thread's: one is started for it, which takes a fraction of what `unshare`, a shell, `mount` and
    `umount` take, and unlike a fork holds no lock of other threads."""
    from _thread import allocate_lock, start_new_thread  # `threading` takes 1 ms more

    started: list[int] = []
    failed: list[BaseException] = []
    at_work = allocate_lock()

    def work() -> None:
        try:
            _hide(hidden)
            started.append(start(program, argv, fds=fds, env=env, new_session=new_session))
        except BaseException as error:  # noqa: BLE001 - the thread that asked for the program raises it
            failed.append(error)
        finally:
            at_work.release()

    at_work.acquire()
    start_new_thread(work, ())
    try:
        at_work.acquire()
    except BaseException:  # Ctrl-C: the caller never hears of the program
        at_work.acquire()
        for pid in started:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        raise
    if failed:
        raise failed[0]
    return started[0]


def _hide(path: str) -> None:
    """Take a mount out of a mount namespace of this thread's own. Only the mount above it becomes private: what the
    container's volumes pass on to the host, they still do."""
    from boxwright.files import syscalls

    syscalls.libc("unshare", _CLONE_NEWNS)
    syscalls.libc("mount", b"none", os.path.dirname(path).encode(), b"none", _MS_PRIVATE, 0)
    syscalls.libc("umount2", path.encode(), _MNT_DETACH)


def start_hiding(hidden: str, argv: Sequence[str], *, fds: Mapping[int, int]) -> int:
    """Start a program in a session and a mount namespace of its own, where nothing is mounted at `hidden`; its pid. All
    signals of `SUPERVISORS` are restored. For a process of one thread. Raises OSError; what fails in the child is told
    on its descriptor 2."""
    copy = sealed(argv[0])
    pid = os.fork()  # starting `unshare` and a shell instead takes 5 ms
    if pid:
        if copy >= 0:
            os.close(copy)
        return pid
    try:
        os.setsid()
        if copy >= 0:
            copy = fcntl.fcntl(copy, fcntl.F_DUPFD_CLOEXEC, max((2, *fds)) + 1)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number, fd in {0: null, 1: null, 2: null, **fds}.items():
            os.dup2(fd, number)
        for signal in SUPERVISORS:
            _signal.signal(signal, _signal.SIG_DFL)
        _hide(hidden)
        if copy >= 0:
            try:
                os.execve(copy, list(argv), dict(ENVIRONMENT))
            except OSError:  # as in `start`
                pass
        os.execve(argv[0], list(argv), dict(ENVIRONMENT))
    except OSError as error:
        os.write(2, f"cannot run {argv[0]} without a sight of {hidden}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def exit_code(status: int) -> int:
    """A wait status as the shell counts: 128 + signal when it was killed."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
