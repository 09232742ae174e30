"""A supervisor that is a thread of the test, and answers orders by the book."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boxwright.container import frames
from boxwright.container.job import RestartChange
from boxwright.container.records import Container, State, save_state
from boxwright.container.supervisor.light import identity_of
from boxwright.spec.values import replace


class Supervisor:
    """Answers the orders of one container, whose state it writes as a real one does. `refuses` is what it says
    instead of doing what it is told; `hangs`: what is killed does not end."""

    def __init__(self, box: Container, *, refuses: str = "", hangs: bool = False) -> None:
        self.box, self.refuses, self.hangs = box, refuses, hangs
        self.orders: list[tuple[int, Any]] = []
        self.code = 0
        self._listener = socket.socket(socket.AF_UNIX)
        with _short(box.directory) as directory:
            self._listener.bind(f"{directory}/attach.sock")
        self._listener.listen()
        own = identity_of(os.getpid())
        self._said(replace(box.refresh(), status="running", pid=os.getpid(), supervisor=own))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _said(self, state: State) -> None:
        save_state(self.box.directory, state)
        self.box.refresh()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        decoder = frames.Decoder()
        wants = 0
        with connection:
            while data := connection.recv(65536):
                for kind, body in decoder.feed(data):
                    value = frames.value(body) if body else None
                    if kind == frames.HELLO:
                        wants = value
                        continue
                    self.orders.append((kind, value))
                    connection.sendall(frames.message(frames.DONE, self.refuses or self._done(kind, value)))
                    if self.box.refresh().status == "exited" and wants:
                        connection.sendall(frames.message(frames.EXITED, {"code": self.code}))

    def _done(self, kind: int, value: Any) -> str:
        state = self.box.refresh()
        if kind in (frames.STOP, frames.SIGNAL) and not self.hangs:
            self.end(137 if 9 in (value, value[0] if kind == frames.STOP else 0) else 0)
        elif kind in (frames.PAUSE, frames.RESUME):
            self._said(replace(state, status="paused" if kind == frames.PAUSE else "running"))
        elif kind == frames.UPDATE and (change := RestartChange.of(value)).networks is not None:
            self._said(replace(state, networks=change.networks))
        return ""

    def end(self, code: int) -> None:
        """The container ends, and with it the supervisor: no others are let in."""
        self.code = code
        # A real one's identity dies with it; this process lives on.
        self._said(State(status="exited", exit_code=code))
        (self.box.directory / "attach.sock").unlink(missing_ok=True)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A socket's path has room for 107 bytes."""
    fd = os.open(path, os.O_PATH)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


@contextlib.contextmanager
def supervised(box: Container, **more: Any) -> Iterator[Supervisor]:
    """It, until the end of the block; the container runs from now on."""
    supervisor = Supervisor(box, **more)
    try:
        yield supervisor
    finally:
        supervisor.close()
