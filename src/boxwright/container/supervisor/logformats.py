"""What a line of output is to each kind of log server. Pure, and bytes only: nothing of a line, a tag or a label can
end the message that it is in.

syslog: RFC 3164, 5424, 5425 (frames); GELF 1.1 (Graylog); fluentd's forward protocol 1 (MessagePack); the journal's
native protocol (systemd's JOURNAL_NATIVE_PROTOCOL). Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import os
import time
from _struct import pack

from boxwright.spec.text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_INFO, _ERROR = 6, 3  # severities (RFC 5424, section 6.2.1) of stdout and stderr
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CHUNK, _MOST_CHUNKS = 1408, 128  # GELF over UDP: bytes in a chunk of 1420, and how many a message may have


def severity(stream: int) -> int:
    """Of stream 1 or 2."""
    return _ERROR if stream == 2 else _INFO


def plain(text: str) -> str:
    """A tag or host name as one word of a syslog header."""
    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in text)


def syslog(
    line: bytes, *, stream: int, seconds: float, form: str, facility: int, host: str, tag: str
) -> bytes:
    """One message. `form` is '' (as syslog(3) writes to its local socket), rfc3164, rfc5424 or rfc5424micro."""
    priority = facility * 8 + severity(stream)
    tag, pid = plain(tag), os.getpid()
    if form.startswith("rfc5424"):
        head = f"<{priority}>1 {_rfc3339(seconds, micro=form.endswith('micro'))} {plain(host)} {tag} {pid} {tag} - "
    else:
        now = time.localtime(seconds)
        moment = (
            f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        )
        where = f"{plain(host)} " if form == "rfc3164" else ""
        head = f"<{priority}>{moment} {where}{tag}[{pid}]: "
    return head.encode("utf-8", "replace") + line.replace(b"\n", b" ") + b"\n"


def framed(message: bytes) -> bytes:
    """With its length in front (RFC 5425, section 4.3)."""
    return b"%d %s" % (len(message), message)


def _rfc3339(seconds: float, *, micro: bool) -> str:
    now = time.localtime(seconds)
    fraction = f".{int(seconds % 1 * 1e6):06d}" if micro else ""
    offset = now.tm_gmtoff or 0
    hours, minutes = divmod(abs(offset) // 60, 60)
    zone = f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}" if offset else "Z"
    return (
        f"{now.tm_year:04d}-{now.tm_mon:02d}-{now.tm_mday:02d}T{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        f"{fraction}{zone}"
    )


def gelf(line: bytes, *, stream: int, seconds: float, host: str, extra: Mapping[str, str]) -> bytes:
    """One message as JSON; `extra` are its additional fields, without their underscore."""
    fields: dict[str, Any] = {
        "version": "1.1",
        "host": host,
        "short_message": line.decode("utf-8", "replace"),
        "timestamp": round(seconds, 3),
        "level": severity(stream),
    }
    return to_json({**fields, **{f"_{key}": value for key, value in extra.items()}}).encode(
        "utf-8", "replace"
    )


def chunks(message: bytes) -> list[bytes]:
    """A GELF message as datagrams; none when it is too long for them."""
    if len(message) <= _CHUNK + 12:
        return [message]
    count = -(-len(message) // _CHUNK)
    if count > _MOST_CHUNKS:
        return []
    head = b"\x1e\x0f" + os.urandom(8)
    parts = (message[n * _CHUNK : (n + 1) * _CHUNK] for n in range(count))
    return [head + bytes([n, count]) + part for n, part in enumerate(parts)]


def fluentd(tag: str, seconds: float, record: Mapping[str, str], *, precise: bool, chunk: str = "") -> bytes:
    """One message in message mode; with a `chunk` the server is to answer it."""
    whole = int(seconds)
    moment = b"\xd7\x00" + pack(">II", whole, int((seconds - whole) * 1e9)) if precise else _number(whole)
    body = _text(tag.encode("utf-8", "replace")) + moment + _map(record)
    return (b"\x94" + body + _map({"chunk": chunk})) if chunk else b"\x93" + body


def _number(value: int) -> bytes:
    return b"\xce" + pack(">I", value) if value < 1 << 32 else b"\xcf" + pack(">Q", value)


def _text(data: bytes) -> bytes:
    size = len(data)
    if size < 32:
        return bytes([0xA0 | size]) + data
    if size < 1 << 8:
        return b"\xd9" + pack(">B", size) + data
    return (b"\xda" + pack(">H", size) if size < 1 << 16 else b"\xdb" + pack(">I", size)) + data


def _map(values: Mapping[str, str]) -> bytes:
    count = len(values)
    head = bytes([0x80 | count]) if count < 16 else b"\xde" + pack(">H", count)
    pairs = (
        _text(k.encode("utf-8", "replace")) + _text(v.encode("utf-8", "replace")) for k, v in values.items()
    )
    return head + b"".join(pairs)


def journal(fields: Mapping[str, bytes]) -> bytes:
    """One entry; names are those of `journal_name`."""
    out = []
    for name, value in fields.items():
        if b"\n" in value:
            out.append(name.encode() + b"\n" + pack("<Q", len(value)) + value + b"\n")
        else:
            out.append(name.encode() + b"=" + value + b"\n")
    return b"".join(out)


def journal_name(text: str) -> str:
    """A label's or variable's name as that of a field that a program may set: capitals, digits and underscores, and
    none of those at its beginning; '' when nothing is left."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in text.upper())
    return name.lstrip("_0123456789")[:64]
