"""What a runtime says in a program's place when the program cannot be run after all: its interpreter is missing, or
it is in no format that the kernel runs. Docker's users see one line, `exec PATH: REASON`, in the output and in
`logs`; runc writes it, crun writes a line of JSON there. Imported by the supervisor: C modules only."""

from __future__ import annotations

_BEGIN = b'{"msg":"exec container process '
_RED = b"\x1b[1;31m"  # on a terminal
_NOTE = b"(missing dynamic library?) "
_END = b'","level":"error"'
# Of a program that joins a container, since crun 1.21; before, its log said so.
_REASONS = (b"Exec format error", b"No such file or directory")


def docker_line(data: bytes, program: str = "") -> bytes:
    """The first output of a process, with crun's complaint in Docker's words. `program` is known where it joined a
    container by `exec`."""
    if data.endswith((b"\n", b"\r\n")) and data.startswith(b"exec") and program:
        line = data.rstrip(b"\r\n")
        path = program.encode(errors="surrogateescape")
        if any(line in (b"exec: " + reason, b"exec `" + path + b"`: " + reason) for reason in _REASONS):
            return b"exec " + path + b": " + line.rpartition(b": ")[2].lower() + data[len(line) :]
    begun = data.removeprefix(_RED)
    if not begun.startswith((_BEGIN, b"{\n", b"{\r\n")):
        return data
    line, newline, rest = _joined(begun)
    message, end, _ = line.removeprefix(_BEGIN).removeprefix(_NOTE).partition(_END)
    name, separator, reason = message.rpartition(b"`: ")
    if not line.startswith(_BEGIN) or not end or not separator or not name.startswith(b"`"):
        return data
    carriage = b"\r" if line.endswith(b"\r") else b""
    return b"exec " + name[1:] + b": " + reason.lower() + carriage + newline + rest


def _joined(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The first line, or crun 1.28's several as the one that it wrote before; the newline; and the rest."""
    line, newline, rest = data.partition(b"\n")
    if line.rstrip(b"\r") != b"{":
        return line, newline, rest
    end = rest.find(b"\n}")
    if end < 0:
        return data, b"", b""
    fields = [field.strip().replace(b'": ', b'":', 1) for field in rest[:end].split(b"\n")]
    last, newline, rest = rest[end + 1 :].partition(b"\n")
    return b"{" + b"".join(fields).replace(b"\\/", b"/") + last, newline, rest
