"""Running a container to its end from a program: what `Engine.run` does."""

from __future__ import annotations

from boxwright.container import frames
from boxwright.container.config import ContainerConfig
from boxwright.container.session import Session
from boxwright.spec.hints import NamedTuple
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.manager import Containers


class Finished(NamedTuple):
    """How it ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def run(containers: Containers, config: ContainerConfig, *, input: bytes | None = None) -> Finished:
    """Create, start, feed, collect. With `auto_remove` nothing of it stays. Raises what `create` and `start` raise."""
    attach = ("stdin", "stdout", "stderr") if input is not None else ("stdout", "stderr")
    session = Session.launch()
    with session:
        container = containers.create(replace(config, attach=attach, stdin=input is not None))
        wants = (
            frames.WANT_NEXT_EXIT
            | frames.WANT_STDOUT
            | frames.WANT_STDERR
            | (frames.WANT_STDIN if input is not None else 0)
        )
        try:
            containers.start(container, session=session, wants=wants)
        except BaseException:
            if config.auto_remove:
                containers.discard(container)
            raise
        output: dict[int, list[bytes]] = {frames.STDOUT: [], frames.STDERR: []}
        code = session.converse(input, output)
        if config.auto_remove:
            containers.discard(container)
            session.send(frames.REMOVED)
            session.drain()
    return Finished(code, b"".join(output[frames.STDOUT]), b"".join(output[frames.STDERR]))
