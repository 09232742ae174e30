"""What flows out of containers and into them: attach, wait, logs, resize."""

from __future__ import annotations

import os
import select
import threading
import time

from boxwright.api.asked import RequestRefused
from boxwright.api.exchange import MULTIPLEXED, RAW, ApiReply, ClientGone, Exchange, Hijacked
from boxwright.api.following import Follower, follow
from boxwright.api.system import waits_for
from boxwright.container import frames
from boxwright.container.records import NoSuchContainer, WrongState
from boxwright.container.session import Session, SupervisorLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.container.records import Container
    from boxwright.engine import Engine
    from boxwright.runtime.tty import DetachKeys

_CHUNK = 64 << 10
_PAUSE = 0.1  # seconds between looks for a container's removal


def send_all(connection: Hijacked, data: bytes) -> None:
    """To a socket that does not block. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[connection.socket.send(view) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(connection, select.POLLOUT)
            poller.poll()


def framed(connection: Hijacked, tty: bool) -> Callable[[int, bytes], None]:
    """What output is given to: raw for a terminal, else in Docker's frames, which are the supervisor's own."""

    def output(kind: int, body: bytes) -> None:
        send_all(connection, body if tty else frames.frame(kind, body))

    return output


def content_type(exchange: Exchange, tty: bool) -> str:
    """Of a stream of output."""
    return RAW if tty or exchange.version < (1, 42) else MULTIPLEXED


def _attach(exchange: Exchange, engine: Engine, name: str) -> None:
    """Before the start, or while it runs."""
    query, container = exchange.query, engine.containers.get(name)
    if container.refresh().status == "paused":
        raise WrongState(f"container {container.id} is paused, unpause the container before attach")
    merged = container.merged
    tty = bool(merged["Tty"])
    wants = 0
    for stream, bit in (("stdout", frames.WANT_STDOUT), ("stderr", frames.WANT_STDERR)):
        wants |= bit if query.switch(stream) else 0
    stdin = query.switch("stdin") and bool(merged["OpenStdin"])
    from boxwright.runtime import tty as terminal

    keys = (
        terminal.DetachKeys(terminal.parse_detach_keys(query.text("detachKeys"))) if tty and stdin else None
    )
    follower = Follower(wants | (frames.WANT_STDIN if stdin else 0))
    active = container.state.active
    if query.switch("stream") and not active:
        exchange.followers.add(container.id, follower)  # before the answer, upon which the client starts it
    connection = None
    try:
        connection = exchange.hijack(content_type(exchange, tty))
        follower.connect(framed(connection, tty))
        if query.switch("logs"):
            from boxwright.container.logs import texts

            for stream, text in texts(container):
                follower.give(frames.STDERR if stream == "stderr" else frames.STDOUT, text.encode())
        if query.switch("stream") and _joined(
            engine, container, follower, connection=connection, active=active
        ):
            _feed(connection, follower, stdin=stdin, keys=keys)
    finally:
        exchange.followers.drop(container.id, follower)
        follower.connect(None)
        if connection is not None:
            connection.close()
        follower.close()


def _joined(
    engine: Engine, container: Container, follower: Follower, *, connection: Hijacked, active: bool
) -> bool:
    """Connected to the running container; False when the client has left before the start."""
    if active:
        from boxwright.container.records import tell

        session = Session.attach(container, follower.wants | frames.WANT_NEXT_EXIT)
        tell(engine.services, container, "attach")
        follower.begin(session)
        threading.Thread(
            target=follow, args=(engine, container, session, [follower]), daemon=True, name="follow"
        ).start()
        return True
    poller = select.poll()
    poller.register(follower.ready, select.POLLIN)
    poller.register(connection, 0)  # its end alone: what is typed has no place yet
    return all(fd == follower.ready for fd, _ in poller.poll()) and follower.session is not None


def _feed(connection: Hijacked, follower: Follower, *, stdin: bool, keys: DetachKeys | None) -> None:
    """Until the container ends, or the client leaves or detaches."""
    session = follower.session
    assert session is not None
    poller = select.poll()
    poller.register(connection, select.POLLIN if stdin else 0)
    poller.register(follower.ready, select.POLLIN)
    data = connection.early
    while not follower.over.is_set():
        if data and stdin:
            data, detached = keys.feed(data) if keys is not None else (data, False)
            if data:
                session.send_input(data)
            if detached:
                return
        data = b""
        for fd, events in poller.poll():
            if fd == follower.ready:
                os.eventfd_read(follower.ready)
            elif events & select.POLLIN:
                try:
                    data = connection.socket.recv(_CHUNK)
                except OSError:
                    return
                if not data:
                    poller.modify(connection, 0)
                    stdin = False
                    try:
                        session.send(frames.STDIN_END)
                    except SupervisorLost:
                        return
            else:
                return


def _wait(exchange: Exchange, engine: Engine, name: str) -> None:
    """The head goes out at once, so that a client may start the container; the body when the condition holds."""
    condition = exchange.query.text("condition") or "not-running"
    if condition not in ("not-running", "next-exit", "removed"):
        raise RequestRefused(f"invalid condition: {condition!r}")
    container = engine.containers.get(name)
    active = container.refresh().active
    follower = Follower() if condition != "not-running" and not active else None
    if follower is not None:
        exchange.followers.add(container.id, follower)
    try:
        exchange.begin()
        if follower is not None:
            while not follower.over.is_set():
                if not waits_for(exchange, follower.ready):
                    raise ClientGone("the client has left")
                os.eventfd_read(follower.ready)
            code = (
                int(follower.exited["code"]) if follower.exited is not None else container.refresh().exit_code
            )
        else:
            code = (
                _exit(exchange, engine, container, condition=condition)
                if active
                else container.state.exit_code
            )
        if condition == "removed":
            _removal(exchange, engine, container)
        exchange.tell({"StatusCode": code})
    finally:
        if follower is not None:
            exchange.followers.drop(container.id, follower)
            follower.close()


def _exit(exchange: Exchange, engine: Engine, container: Container, *, condition: str) -> int:
    bit = frames.WANT_LAST_EXIT if condition == "not-running" else frames.WANT_NEXT_EXIT
    try:
        with Session.attach(container, bit) as session:
            if not waits_for(exchange, session.fileno()):
                raise ClientGone("the client has left")
            _, value = session.expect(frames.EXITED)
            return int(value["code"])
    except (WrongState, SupervisorLost):
        return engine.containers.wait(container)


def _removal(exchange: Exchange, engine: Engine, container: Container) -> None:
    while not exchange.left():
        try:
            engine.containers.get(container.id)
        except NoSuchContainer:
            return
        time.sleep(_PAUSE)


def _logs(exchange: Exchange, engine: Engine, name: str) -> None:
    """What was written, and with `follow` what comes."""
    from boxwright.container.logs import read

    query, container = exchange.query, engine.containers.get(name)
    tail = query.text("tail") or "all"
    count = -1 if tail == "all" or tail.startswith("-") else query.number("tail")
    wanted = {stream for stream in ("stdout", "stderr") if query.switch(stream)}
    if not wanted:
        raise RequestRefused("Bad parameters: you must choose at least one stream")
    found = read(
        container,
        tail=-1 if count is None else count,
        since=query.moment("since"),
        until=query.moment("until"),
        follow=query.switch("follow"),
        ended=exchange.left,
    )
    tty = bool(container.merged["Tty"])
    timestamps, details = query.switch("timestamps"), query.switch("details")
    exchange.begin(content_type(exchange, tty))
    for entry in found:
        if entry.stream in wanted:
            text = f"{entry.details} {entry.text}" if details else entry.text
            data = (f"{entry.time} {text}" if timestamps else text).encode()
            kind = frames.STDERR if entry.stream == "stderr" else frames.STDOUT
            exchange.write(data if tty else frames.frame(kind, data))


def _resize(exchange: Exchange, engine: Engine, name: str) -> ApiReply:
    container = engine.containers.get(name)
    size = exchange.query.number("h"), exchange.query.number("w")
    if not container.refresh().running:
        raise WrongState(f"container {container.id} is not running")
    if None in size or not all(0 <= n < 1 << 16 for n in size if n is not None):
        raise RequestRefused("invalid size: h and w are rows and columns")
    with Session.attach(container, 0) as session:
        session.send(frames.RESIZE, size)
    return ApiReply()


ROUTES = {
    ("POST", "/containers/*/attach"): _attach,
    ("POST", "/containers/*/wait"): _wait,
    ("GET", "/containers/*/logs"): _logs,
    ("POST", "/containers/*/resize"): _resize,
}
