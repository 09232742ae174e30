"""What waits for a container's start, so that no byte of its output is lost: attached before the start, and `wait`.

The server's only memory, and it is of connections: it ends with them. A supervisor serves who connects while the
container runs; what a client asked for before is joined to the connection that starts it.
"""

from __future__ import annotations

import os
import threading

from boxwright.container import frames
from boxwright.errors import BoxwrightError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.container.records import Container
    from boxwright.container.session import Session
    from boxwright.engine import Engine


class Follower:
    """One client that waits for a container. `ready` becomes readable at the start (`session` is there then) and again
    at the end (`exited`). What `connect` brings is given what `wants` asks for, in the thread that follows the
    container."""

    def __init__(self, wants: int = 0) -> None:
        self.wants = wants
        self._output: Callable[[int, bytes], None] | None = None
        self._connected = threading.Event()
        self._lock, self._closed = threading.Lock(), False
        self.session: Session | None = None
        self.exited: dict[str, Any] | None = None
        self.over = threading.Event()
        self.ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def connect(self, output: Callable[[int, bytes], None] | None) -> None:
        """Where output goes; None when its client has left. Output waits for this: a client may have the container
        started as soon as it is answered."""
        self._output = output
        self._connected.set()

    def begin(self, session: Session) -> None:
        self.session = session
        self._wake()

    def give(self, kind: int, body: bytes) -> None:
        if not self.wants & {frames.STDOUT: frames.WANT_STDOUT, frames.STDERR: frames.WANT_STDERR}[kind]:
            return
        self._connected.wait()
        if self._output is not None:
            try:
                self._output(kind, body)
            except (OSError, BoxwrightError):  # its client has left; the others stay
                self._output = None

    def end(self, value: dict[str, Any] | None) -> None:
        self.exited = value
        self.over.set()
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.ready, 1)

    def close(self) -> None:
        """Its client has left; what follows the container may go on."""
        with self._lock:
            self._closed = True
            os.close(self.ready)


class Followers:
    """By container, those that wait for its start."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Follower]] = {}
        self._lock = threading.Lock()

    def add(self, container: str, follower: Follower) -> None:
        with self._lock:
            self._waiting.setdefault(container, []).append(follower)

    def drop(self, container: str, follower: Follower) -> None:
        """Idempotent."""
        with self._lock:
            found = self._waiting.get(container, [])
            if follower in found:
                found.remove(follower)
            if not found:
                self._waiting.pop(container, None)

    def take(self, container: str) -> list[Follower]:
        with self._lock:
            return self._waiting.pop(container, [])

    def start(self, engine: Engine, container: Container) -> None:
        """Start, with all that wait for it. Raises what stops the start."""
        waiting = self.take(container.id)
        if not waiting:
            engine.containers.start(container).close()
            return
        wants = frames.WANT_NEXT_EXIT
        for follower in waiting:
            wants |= follower.wants
        try:
            session = engine.containers.start(container, wants=wants)
        except BaseException:
            for follower in waiting:
                follower.end(None)
            raise
        for follower in waiting:
            follower.begin(session)
        threading.Thread(
            target=follow, args=(engine, container, session, waiting), daemon=True, name="follow"
        ).start()


def follow(engine: Engine, container: Container, session: Session, followers: list[Follower]) -> None:
    """Hand out what the container writes until it ends; a --rm container is removed before that is told."""
    ended: dict[str, Any] | None = None
    try:
        for kind, body in session.frames():
            if kind in (frames.STDOUT, frames.STDERR):
                for follower in followers:
                    follower.give(kind, body)
            elif kind == frames.EXITED:
                ended = frames.value(body)
                break
        if ended is not None and ended.get("remove") and container.config.auto_remove:
            engine.containers.discard(container)
            session.send(frames.REMOVED)
            session.drain()
    except (BoxwrightError, OSError, ValueError):  # the supervisor was killed: `wait` asks the state
        pass
    finally:
        for follower in followers:
            follower.end(ended)
        session.close()
        engine.services.db.leave()
