"""Output on its way to a log server: syslog, GELF, fluentd, the journal.

A thread owns the connection, so that a slow server never holds up the supervisor. The event loop puts lines into a
queue. In blocking mode it stops reading the container's pipes while the queue is full (`lagging`), which holds up the
container alone; in non-blocking mode a full queue drops its oldest lines, as Docker's ring buffer does. Imported by the
supervisor: C modules only; `ssl` and compression when they are needed.
"""

from __future__ import annotations

import _thread
import os
import select
import time
from _socket import (
    AF_UNIX,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_STREAM,
    getaddrinfo,
    gethostname,
    socket,
)

from boxwright.container.supervisor import logformats
from boxwright.container.supervisor.lines import Lines, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from boxwright.container.job import ShippingPlan
    from boxwright.container.supervisor.loop import Loop
else:
    from _collections import deque

_FULL = 1 << 20  # bytes that wait in blocking mode
_GOODBYE = 5.0  # seconds for what is left at the end
_FAREWELL = 1.0  # seconds for a server over TLS to say that it has read everything
_JOURNAL = "/run/systemd/journal/socket"
_SYSLOG = ("/dev/log", "/var/run/syslog", "/var/run/log")


class Shipping:
    """Lines of one container. Connected when it is made, unless it may begin without. Raises Unreachable."""

    def __init__(
        self, plan: ShippingPlan, loop: Loop, drained: Callable[[], None], *, patient: bool = False
    ) -> None:
        self._plan, self._loop, self._drained = plan, loop, drained
        self._lines = {1: Lines(), 2: Lines()}
        self._queue: deque[tuple[int, float, bytes, bool]] = deque()
        self._size = 0
        self._lock = _thread.allocate_lock()
        self._work = os.eventfd(0, os.EFD_CLOEXEC)
        self._idle = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        self._ending = 0.0  # when the thread is to have ended, once it shall
        self._ordinal = 0
        self._epoch = os.urandom(8).hex()
        self.lagging = False
        self._server: Any = None
        self._without = plan.options.get("fluentd-async") == "true"
        if not (patient or self._without):
            self._server = _LogServer(plan)
        loop.watch(self._idle, select.EPOLLIN, self._on_idle)
        _thread.start_new_thread(self._run, ())

    # --- in the event loop -----------------------------------------------------------------------

    def write(self, stream: int, data: bytes) -> None:
        """Output of stream 1 or 2."""
        self._put(stream, self._lines[stream].split(data))

    def flush(self) -> None:
        """Unfinished lines: the process has ended."""
        for stream, lines in self._lines.items():
            self._put(stream, lines.rest())

    def _put(self, stream: int, entries: list[bytes]) -> None:
        if not entries:
            return
        now = time.time()
        plan, most = self._plan, self._plan.buffer or _FULL
        with self._lock:
            for entry in entries:
                if plan.entries and len(self._queue) >= plan.entries and self._without:
                    continue  # lost: nothing can be put into a full buffer
                whole = entry.endswith(b"\n")
                self._queue.append((stream, now, entry[:-1] if whole else entry, whole))
                self._size += len(entry)
            while plan.buffer and self._size > most and len(self._queue) > 1:
                _, _, line, whole = self._queue.popleft()
                self._size -= len(line) + whole
            many = 0 < plan.entries < len(self._queue)
            self.lagging = not plan.buffer and (self._size > most or many)
        os.eventfd_write(self._work, 1)

    def _on_idle(self, events: int) -> None:
        try:
            os.eventfd_read(self._idle)
        except BlockingIOError:
            return
        self.lagging = False
        self._drained()

    def close(self) -> None:
        """Send what waits, for a few seconds."""
        if self._ending:
            return
        self._ending = time.monotonic() + _GOODBYE
        os.eventfd_write(self._work, 1)
        if self._ended.acquire(timeout=_GOODBYE + 1) and self._server is not None:
            self._server.close()
        self._loop.forget(self._idle)

    # --- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                os.read(
                    self._work, 8
                )  # unlike eventfd_read, it goes on after a signal (of a child that ended)
                ending = self._ending  # before what waits is looked at: more may come with the order to end
                while self._next():
                    pass
                if ending:
                    return
        finally:
            self._ended.release()

    def _next(self) -> bool:
        with self._lock:
            if not self._queue:
                return False
            stream, seconds, line, whole = self._queue.popleft()
        self._ordinal += 1
        try:
            messages = self._messages(stream, seconds, line=line, whole=whole)
        except ValueError:
            messages = []
        plan, delay, tried = self._plan, self._plan.first_wait, 0
        while messages:
            try:
                if self._server is not None and 0 < plan.renewal < time.monotonic() - self._server.since:
                    self._server.close()
                    self._server = None
                if self._server is None:
                    self._server = _LogServer(plan)
                self._server.send(messages)
                break
            except (Unreachable, OSError):
                if self._server is not None:
                    self._server.close()
                    self._server = None
                tried += 1
                if (
                    plan.datagrams
                    or tried == plan.attempts
                    or (self._ending and time.monotonic() + delay > self._ending)
                ):
                    break  # lost
                time.sleep(delay)
                delay = min(delay * 2, plan.last_wait)
        with self._lock:
            self._size -= len(line) + whole
            few = not plan.entries or len(self._queue) <= plan.entries // 2
            if self.lagging and self._size < _FULL // 2 and few:
                os.eventfd_write(self._idle, 1)
        return True

    def _messages(self, stream: int, seconds: float, line: bytes, whole: bool) -> list[bytes]:
        plan, options = self._plan, self._plan.options
        if plan.driver == "syslog":
            message = logformats.syslog(
                line,
                stream=stream,
                seconds=seconds,
                form=options.get("syslog-format", ""),
                facility=int(options["facility"]),
                host=gethostname(),
                tag=plan.tag,
            )
            frame = plan.scheme == "tcp+tls" and options.get("syslog-format", "").startswith("rfc5424")
            return [logformats.framed(message) if frame else message]
        if plan.driver == "gelf":
            if not line:  # short_message must not be empty
                return []
            extra = {**plan.facts, **plan.extra}
            message = logformats.gelf(line, stream=stream, seconds=seconds, host=gethostname(), extra=extra)
            if plan.scheme == "tcp":
                return [message + b"\0"]
            return logformats.chunks(_compressed(message, options))
        if plan.driver == "fluentd":
            source = "stderr" if stream == 2 else "stdout"
            record = {"log": line.decode("utf-8", "replace"), **plan.facts, "source": source, **plan.extra}
            if not whole:
                record["partial_message"] = "true"
            chunk = os.urandom(12).hex() if options.get("fluentd-request-ack") == "true" else ""
            precise = options.get("fluentd-sub-second-precision") == "true"
            return [logformats.fluentd(plan.tag, seconds, record, precise=precise, chunk=chunk)]
        fields = {
            key: value.encode("utf-8", "replace") for key, value in {**plan.extra, **plan.facts}.items()
        }
        fields |= {
            "PRIORITY": str(logformats.severity(stream)).encode(),
            "SYSLOG_IDENTIFIER": plan.tag.encode("utf-8", "replace"),
            "CONTAINER_LOG_EPOCH": self._epoch.encode(),
            "CONTAINER_LOG_ORDINAL": str(self._ordinal).encode(),
            "MESSAGE": line,
        }
        if not whole:
            fields["CONTAINER_PARTIAL_MESSAGE"] = b"true"
        return [logformats.journal(fields)]


class _LogServer:
    """A connection. Raises Unreachable when it cannot be made."""

    def __init__(self, plan: ShippingPlan) -> None:
        self._plan = plan
        self._ack = plan.options.get("fluentd-request-ack") == "true"
        self._socket: Any = None
        self.since = time.monotonic()
        try:
            self._connect()
        except OSError as error:
            self.close()
            raise Unreachable(self._words(error)) from error

    def _words(self, error: OSError) -> str:
        plan = self._plan
        reason = (error.strerror or str(error)).lower()
        if plan.driver == "journald":
            return "journald is not enabled on this host"
        if plan.driver == "syslog" and not plan.host:
            return "Unix syslog delivery error"
        where = f"{plan.host}:{plan.port}" if plan.port else plan.host
        scheme = {"tcp+tls": "tcp"}.get(plan.scheme, plan.scheme)
        text = f"dial {scheme} {where}: connect: {reason}"
        return f"gelf: cannot connect to GELF endpoint: {where} {text}" if plan.driver == "gelf" else text

    def _connect(self) -> None:
        plan = self._plan
        if plan.driver == "journald":
            self._socket = _unix(SOCK_DGRAM, _JOURNAL, plan.patience)
        elif plan.scheme in ("unix", "unixgram"):
            self._socket = self._local([plan.host] if plan.host else list(_SYSLOG))
        else:
            kind = SOCK_DGRAM if plan.scheme == "udp" else SOCK_STREAM
            self._socket = _dial(plan.host, plan.port, kind=kind, patience=plan.patience)
            if plan.scheme == "tcp+tls":
                self._socket = _secured(self._socket, plan)

    def _local(self, paths: list[str]) -> socket:
        error: OSError = FileNotFoundError(2, "No such file or directory")
        kinds = (SOCK_DGRAM, SOCK_STREAM) if self._plan.driver == "syslog" else (SOCK_STREAM,)
        for path in paths:
            for kind in kinds:
                try:
                    return _unix(kind, path, self._plan.patience)
                except OSError as wrong:
                    error = wrong
        raise error

    def send(self, messages: list[bytes]) -> None:
        """Raises OSError."""
        for message in messages:
            self._socket.sendall(message)
        if self._ack and not self._socket.recv(1 << 16):
            raise ConnectionResetError(104, "Connection reset by peer")

    def close(self) -> None:
        if self._socket is None:
            return
        farewell = getattr(self._socket, "unwrap", None)
        if farewell is not None:
            # A server over TLS sends tickets that are never read, and the kernel answers the end of a socket with
            # something unread by a reset, which takes from the server what it has not read yet: it is waited for.
            try:
                self._socket.settimeout(_FAREWELL)
                farewell()
            except (OSError, ValueError):
                pass
        self._socket.close()


def _unix(kind: int, path: str, patience: float) -> socket:
    found = socket(AF_UNIX, kind | SOCK_CLOEXEC)
    try:
        found.settimeout(patience)
        found.connect(path)
    except OSError:
        found.close()
        raise
    return found


def _dial(host: str, port: int, kind: int, patience: float) -> socket:
    error = OSError(99, "no address")
    try:
        found_at = getaddrinfo(host, port, 0, kind)
    except UnicodeError as wrong:  # a part of the name is longer than any
        raise OSError(22, f"{host}: {wrong}") from wrong
    for family, _, _, _, address in found_at:
        found = socket(family, kind | SOCK_CLOEXEC)
        try:
            found.settimeout(patience)
            found.connect(address)
            return found
        except OSError as wrong:
            found.close()
            error = wrong
    raise error


def _secured(plain: socket, plan: ShippingPlan) -> Any:
    import socket as sockets
    import ssl

    options = plan.options
    context = ssl.create_default_context(cafile=options.get("syslog-tls-ca-cert") or None)
    if options.get("syslog-tls-skip-verify") == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.get("syslog-tls-cert"):
        context.load_cert_chain(options["syslog-tls-cert"], options.get("syslog-tls-key"))
    whole = sockets.socket(fileno=plain.detach())
    whole.settimeout(plan.patience)
    return context.wrap_socket(whole, server_hostname=plan.host)


def _compressed(message: bytes, options: Any) -> bytes:
    kind, level = (
        options.get("gelf-compression-type", "gzip"),
        int(options.get("gelf-compression-level", "1")),
    )
    if kind == "none":
        return message
    import zlib

    packer = zlib.compressobj(level, zlib.DEFLATED, 31 if kind == "gzip" else 15)
    return packer.compress(message) + packer.flush()
