"""What a server logs on standard error: one line for a client's mistake, and at most one a second of those that say the
same."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError

_LONGEST = 200
_PAUSE = 1.0  # seconds between lines that say the same
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def _one_line(record: logging.LogRecord) -> bool:
    """A request that cannot be read is the client's mistake: said in a line, without a traceback. Ours keep theirs."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (HttpProcessingError, ConnectionError)):
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        record.msg = f"{record.getMessage()}: {plain(text)}"
        record.args, record.exc_info, record.exc_text = (), None, None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def plain(text: str) -> str:
    """A client's text in a line of a log."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_LONGEST])


class _Seldom(logging.Filter):
    """One record a `_PAUSE`."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -_PAUSE

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._last < _PAUSE:
            return False
        self._last = now
        return True


requests = logging.getLogger("boxwright.registry.requests")
requests.addFilter(_one_line)
crowded = logging.getLogger("boxwright.registry.crowded")
crowded.addFilter(_Seldom())


def in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the event loop cannot raise anywhere. Without descriptors it would say so for each try to accept."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _OUT_OF:
        crowded.warning("a connection cannot be taken: %s", error.strerror)
    else:
        loop.default_exception_handler(context)
