"""What a runtime says in a program's place when the program cannot be run after all: its interpreter is missing, or
it is in no format that the kernel runs. Docker's users see one line, `exec PATH: REASON`, in the output and in
`logs`; runc writes it, crun writes a line of JSON there. Imported by the supervisor: C modules only."""

from __future__ import annotations

_BEGIN = b'{"msg":"exec container process '
_RED = b"\x1b[1;31m"  # on a terminal
_NOTE = b"(missing dynamic library?) "
_END = b'","level":"error"'


def docker_line(data: bytes) -> bytes:
    """The first output of a process, with crun's complaint in Docker's words."""
    if not data.startswith((_BEGIN, _RED + _BEGIN)):
        return data
    line, newline, rest = data.removeprefix(_RED).partition(b"\n")
    message, end, _ = line.removeprefix(_BEGIN).removeprefix(_NOTE).partition(_END)
    program, separator, reason = message.rpartition(b"`: ")
    if not end or not separator or not program.startswith(b"`"):
        return data
    carriage = b"\r" if line.endswith(b"\r") else b""
    return b"exec " + program[1:] + b": " + reason.lower() + carriage + newline + rest
