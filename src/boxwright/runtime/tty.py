"""Terminals: the console socket by which a runtime hands over the pty, raw mode, window size, detach keys."""

from __future__ import annotations

import errno
import os
import select
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Invalid, Unavailable
from boxwright.runtime.process import ProgramTimeout

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CHUNK = 1 << 16
_LONGEST_SOCKET = 100  # sun_path holds 107 bytes and a NUL


class ConsoleFailed(Unavailable):
    """The runtime did not hand over a terminal."""


class DetachKeysInvalid(Invalid):
    """The detach keys cannot be read."""


class ConsoleSocket:
    """Where the runtime sends the pty's master (SCM_RIGHTS). A context manager; the socket file goes with it."""

    def __init__(self, directory: Path) -> None:
        import socket

        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = f"tty-{os.getpid()}-{os.urandom(3).hex()}"
        self.path = directory / self._name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Our own end may be bound through the descriptor; the runtime must reach the real name.
            if len(os.fsencode(self.path)) > _LONGEST_SOCKET:
                raise ConsoleFailed(
                    f"{self.path} is too long a name for a socket", hint="choose a shorter runtime directory"
                )
            self._socket.bind(f"/proc/self/fd/{self._directory}/{self._name}")
            self._socket.listen(1)
        except BaseException:
            self.close()
            raise

    def receive(self, timeout: float = 10) -> int:
        """The master's descriptor (close-on-exec), once the runtime has sent it. Raises ConsoleFailed."""
        import socket

        self._socket.settimeout(timeout)
        try:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(timeout)
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        except TimeoutError as error:
            raise ConsoleFailed("the runtime did not hand over a terminal in time") from error
        if not fds:
            raise ConsoleFailed("the runtime handed over no terminal")
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()
        if self._directory >= 0:
            try:
                os.unlink(self._name, dir_fd=self._directory)
            except FileNotFoundError:
                pass
            os.close(self._directory)
            self._directory = -1

    def __enter__(self) -> ConsoleSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Keys go through one by one and unseen; the terminal is put back at the end, also when a signal ends us. No effect
    on what is no terminal."""
    if not os.isatty(fd):
        yield
        return
    import signal
    import termios
    import tty

    before = termios.tcgetattr(fd)
    handlers = {
        number: signal.signal(number, _leave) for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
    }
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        except termios.error:  # the terminal has gone away
            pass


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def window_size(fd: int) -> tuple[int, int] | None:
    """(rows, columns), or None when it is no terminal or has no size."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return None
    return (size.lines, size.columns) if size.lines and size.columns else None


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Tell a terminal its size; its foreground processes get SIGWINCH."""
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def follow_window_size(source: int, apply: Callable[[int, int], None]) -> Iterator[None]:
    """Call `apply(rows, columns)` now and whenever `source`'s window changes. Main thread only (signals)."""
    import signal

    def changed(*_: object) -> None:
        size = window_size(source)
        if size is not None:
            try:
                apply(*size)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EBADF, errno.ENOTTY):  # the other end has gone
                    raise

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        changed()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as the bytes a terminal sends; '' stands for the default. Raises DetachKeysInvalid."""
    out = bytearray()
    for key in (text or DEFAULT_DETACH_KEYS).split(","):
        lower = key.lower()
        if len(key) == 1 and key.isascii():
            out += key.encode()
        elif (
            lower.startswith("ctrl-") and len(lower) == 6 and lower[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_"
        ):
            out.append(ord(lower[5].upper()) & 0x1F)
        elif lower == "del":
            out.append(127)
        else:
            raise DetachKeysInvalid(
                f"invalid detach keys {text!r}: {key!r} is no key",
                hint="use letters and ctrl-a … ctrl-z, ctrl-@ ctrl-[ ctrl-\\ ctrl-] ctrl-^ ctrl-_, DEL, "
                "separated by commas",
            )
    return bytes(out)


class DetachKeys:
    """Finds the sequence in what is typed, also across reads."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence was typed (what follows it is dropped).

        The beginning of a possible sequence is held back until the next key decides.
        """
        if not self._sequence:
            return data, False
        data = self._held + data
        found = data.find(self._sequence)
        if found >= 0:
            self._held = b""
            return data[:found], True
        for length in range(min(len(self._sequence) - 1, len(data)), 0, -1):
            if data.endswith(self._sequence[:length]):
                self._held = data[-length:]
                return data[:-length], False
        self._held = b""
        return data, False


def relay(
    stdin: int,
    stdout: int,
    master: int,
    *,
    keys: DetachKeys | None = None,
    process: int = -1,
    timeout: float = 1.0,
) -> bool:
    """Copy between a local terminal and a pty until the pty ends; returns True when the user detached.

    `process` is a pidfd of the container's process: once it is readable the pty has `timeout` seconds to run dry
    (another process may hold it open). stdin of -1 means nothing is read.
    """
    poller = select.poll()
    poller.register(master, select.POLLIN)
    for fd in (stdin, process):
        if fd >= 0:
            poller.register(fd, select.POLLIN)
    ending = False
    while True:
        events = poller.poll(timeout * 1000 if ending else None)
        if ending and not events:
            return False
        for fd, _ in events:
            if fd == process:
                ending = True
                poller.unregister(process)
            elif fd == master:
                chunk = _read_pty(master)
                if not chunk:
                    return False
                write_all(stdout, chunk)
            else:
                chunk = os.read(stdin, _CHUNK)
                if not chunk:
                    poller.unregister(stdin)
                    write_all(master, b"\x04")  # the end of input, as a terminal says it
                    continue
                passed, detached = keys.feed(chunk) if keys else (chunk, False)
                write_all(master, passed)
                if detached:
                    return True


def _read_pty(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # Linux's way to say that the last process closed its end
            return b""
        raise


def write_all(fd: int, data: bytes, *, timeout: float | None = None) -> None:
    """Write everything, waiting when the descriptor is non-blocking and full. Raises ProgramTimeout, OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            if not poller.poll(None if timeout is None else timeout * 1000):
                raise ProgramTimeout("the reader at the other end stopped reading") from None
