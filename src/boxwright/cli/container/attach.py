"""Foreground containers: terminal or pipes, signals, detaching, the exit code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Parser
    from boxwright.container.records import Container
    from boxwright.container.session import Session
else:
    import _signal  # `signal` makes enumerations of all its numbers first

# Signals that are not passed on: those the kernel keeps to itself, and those that are about this process alone.
_KEPT = frozenset((9, 13, 17, 18, 19, 20, 21, 22, 23, 28, 32, 33))


def declare_detach_keys(p: Parser) -> None:
    """``--detach-keys`` of run, start, attach and exec."""

    def checked(text: str) -> str:
        from boxwright.runtime.tty import parse_detach_keys

        parse_detach_keys(text)
        return text

    p.add_argument(
        "--detach-keys",
        metavar="string",
        default="",
        type=checked,
        help="Override the key sequence for detaching a container",
    )


def detach_keys(ctx: Context, given: str) -> bytes:
    """The option's, those of Docker's config.json, or ctrl-p ctrl-q. Raises DetachKeysInvalid."""
    from boxwright.cli.tables import configured
    from boxwright.runtime.tty import parse_detach_keys

    return parse_detach_keys(given or configured(ctx, "detachKeys"))


def started(
    ctx: Context,
    container: Container,
    session: Session | None,
    *,
    wants: int = 0,
    size: tuple[int, int] | None = None,
) -> Session:
    """Start; a --rm container that cannot be started is removed."""
    try:
        return ctx.engine.containers.start(container, session=session, wants=wants, size=size)
    except BaseException:
        if container.config.auto_remove:
            ctx.engine.containers.discard(container)
        raise


class Attachment:
    """One terminal at one container. `session` has no job yet (run, start) or is attached."""

    def __init__(
        self,
        ctx: Context,
        container: Container,
        session: Session | None,
        *,
        keys: str = "",
        proxy: bool = True,
        stdin: bool = True,
        all_output: bool = False,
    ) -> None:
        self._ctx, self._container, self._session = ctx, container, session
        self._proxy = proxy
        merged = container.merged
        self._tty = bool(merged["Tty"])
        self._stdin = stdin and bool(merged["OpenStdin"] and (merged["AttachStdin"] or all_output))
        self._stdout, self._stderr = (
            all_output or bool(merged["AttachStdout"]),
            all_output or bool(merged["AttachStderr"]),
        )
        # Wrong ones are told before anything starts.
        self._keys = detach_keys(ctx, keys) if self._tty and self._stdin and ctx.stdin_is_tty else b""

    def run(self) -> int:
        """Start it, and stay until it ends or the user detaches; returns the exit code."""
        size = None
        if self._tty:
            from boxwright.runtime.tty import window_size

            size = window_size(1) or window_size(0)
        self._session = started(self._ctx, self._container, self._session, wants=self._wants(), size=size)
        return self.follow()

    def attached(self) -> int:
        """The same for a container that runs already."""
        from boxwright.container.session import Session

        self._stdout = self._stderr = True
        self._session = Session.attach(self._container, self._wants())
        self._tell("attach")
        return self.follow()

    def _tell(self, action: str) -> None:
        from boxwright.container.records import tell

        tell(self._ctx.engine.services, self._container, action)

    def _wants(self) -> int:
        from boxwright.container import frames

        wants = frames.WANT_NEXT_EXIT
        for wanted, bit in (
            (self._stdin, frames.WANT_STDIN),
            (self._stdout, frames.WANT_STDOUT),
            (self._stderr, frames.WANT_STDERR),
        ):
            wants |= bit if wanted else 0
        return wants

    def follow(self) -> int:
        """Relay until the end."""
        from contextlib import ExitStack

        from boxwright.container import frames
        from boxwright.container.session import SessionStreams, relay

        session = self._session
        assert session is not None
        sys.stdout.flush()
        streams = SessionStreams(
            0 if self._stdin else -1, 1 if self._stdout else -1, 2 if self._stderr else -1
        )
        terminal = self._tty and self._ctx.stdin_is_tty
        keys = None
        with ExitStack() as stack:
            if terminal:
                from boxwright.runtime.tty import DetachKeys, follow_window_size, raw_mode

                if self._stdin:
                    keys = DetachKeys(self._keys)
                    stack.enter_context(raw_mode(0))
                stack.enter_context(
                    follow_window_size(0, lambda rows, columns: session.send(frames.RESIZE, (rows, columns)))
                )
            if self._proxy:
                _forward_signals(session)
            ended = relay(session, streams, filter_input=keys.feed if keys else None)
        if ended is None:
            self._tell("detach")
            self._ctx.err("read escape sequence")
            return 0
        if self._container.config.auto_remove and ended.get("remove"):
            self._ctx.engine.containers.discard(self._container)
            session.send(frames.REMOVED)
            session.drain()
        return int(ended["code"])


def _forward_signals(session: Session) -> None:
    """Whatever this process is told, the container's process is told. For the rest of this process's life, which the
    third SIGINT or SIGTERM ends: a container may ignore them."""
    from boxwright.container import frames
    from boxwright.errors import BoxwrightError

    asked = 0

    def forward(number: int, _: object) -> None:
        nonlocal asked
        asked += number in (2, 15)
        if asked == 3:
            for last in (2, 15):  # one more while the interpreter ends would be the exit code
                _signal.signal(last, _signal.SIG_IGN)
            sys.stderr.write("\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n")
            raise SystemExit(1)
        try:
            session.send(frames.SIGNAL, number)
        except BoxwrightError:  # it has ended: the relay will see
            pass

    for number in range(1, 32):
        if number not in _KEPT and number not in (4, 6, 7, 8, 11):
            _signal.signal(number, forward)
