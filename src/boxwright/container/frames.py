"""What a supervisor and its clients say to each other on a Unix stream socket.

A frame is Docker's attach header (one byte of type, three zero bytes, the length as 32 bits big-endian) and a body.
Types 0 to 2 are the streams, as in Docker; the others carry marshalled values: both ends are the same installation.
Imported by the supervisor: nothing but C modules here.
"""

from __future__ import annotations

import marshal
from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2
JOB = 16  # client: the container to run (`job.Job`); the first frame on a supervisor's own socket
HELLO = 17  # client: what it wants (bits below); the first frame on an attach socket
RESIZE = 18  # client: (rows, columns)
SIGNAL = 19  # client: number
STOP = 20  # client: (signal, seconds; negative = wait for ever; whether it is a stop for `events`)
STDIN_END = 21  # client: no more input
PAUSE, RESUME, RESTART = 22, 23, 24  # client; RESTART: (signal, seconds)
UPDATE = 25  # client: what has changed (`job.RestartChange`)
REMOVED = 26  # client: the container's record and files are gone, nothing is left to do
ADOPT = 27  # client: as JOB, of a container that runs and whose supervisor was killed
PROBE = 28  # client: health checks as if due now
EXEC = 29  # client: (id, words for `events`, file of an OCI process): one more process, which is let be

STARTED = 32  # supervisor: pid
EXITED = 33  # supervisor: {"code", "restarting", "oom", "error", "remove"}
FAILED = 34  # supervisor: {"log": the runtime's log, "stage", "message"}: it did not start
DONE = 35  # supervisor: an operation is done: '' or what stopped it

WANT_STDIN, WANT_STDOUT, WANT_STDERR, WANT_NEXT_EXIT, WANT_LAST_EXIT = 1, 2, 4, 8, 16

HEADER = Struct(">BxxxI")
MAX_BODY = 16 << 20


def frame(kind: int, body: bytes = b"") -> bytes:
    """A frame with raw bytes."""
    return HEADER.pack(kind, len(body)) + body


def message(kind: int, value: Any) -> bytes:
    """A frame with a value: None, numbers, text, bytes, lists, tuples, dicts."""
    return frame(kind, marshal.dumps(value))


def value(body: bytes) -> Any:
    """The value of a `message`'s body."""
    return marshal.loads(body)


class Decoder:
    """Bytes in, whole frames out. Raises ValueError on an impossible length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield what is complete."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 8:
            kind, length = HEADER.unpack_from(buffer, at)
            if length > MAX_BODY:
                raise ValueError(f"frame of {length} bytes")
            if len(buffer) - at - 8 < length:
                break
            yield kind, bytes(buffer[at + 8 : at + 8 + length])
            at += 8 + length
        del buffer[:at]
