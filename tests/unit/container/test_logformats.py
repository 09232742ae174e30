"""What log servers are told, parsed by readers of the formats; hostile lines, tags and names stay in their place."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.container.supervisor import logformats

_SYSLOG = {
    "": re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (\S+)\[\d+\]: ([^\n]*)\n\Z"),
    "rfc3164": re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ (\S+)\[\d+\]: ([^\n]*)\n\Z"),
    "rfc5424": re.compile(
        rb"<(\d+)>1 \d{4}-\d\d-\d\dT[\d:]{8}(?:Z|[+-]\d\d:\d\d) \S+ (\S+) \d+ \S+ - ([^\n]*)\n\Z"
    ),
    "rfc5424micro": re.compile(
        rb"<(\d+)>1 \d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}(?:Z|[+-]\d\d:\d\d) \S+ (\S+) \d+ \S+ - ([^\n]*)\n\Z"
    ),
}


@pytest.mark.parametrize("form", _SYSLOG)
@given(st.binary(max_size=60), st.text(min_size=1, max_size=20), st.sampled_from([1, 2]))
def test_syslog(form: str, line: bytes, tag: str, stream: int) -> None:
    message = logformats.syslog(
        line, stream=stream, seconds=1e9 + 0.25, form=form, facility=3, host="h o\nst", tag=tag
    )
    match = _SYSLOG[form].match(message)
    assert match and int(match[1]) == 3 * 8 + (3 if stream == 2 else 6)
    assert match[3] == line.replace(b"\n", b" ")
    length, _, rest = logformats.framed(message).partition(b" ")
    assert int(length) == len(rest) == len(message)


@given(st.binary(max_size=60), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4))
def test_gelf(line: bytes, extra: dict[str, str]) -> None:
    message = logformats.gelf(line, stream=2, seconds=12.3456, host="h", extra=extra)
    assert b"\0" not in message
    found = json.loads(message)
    assert found["version"] == "1.1" and found["level"] == 3 and found["timestamp"] == 12.346
    assert found["short_message"] == line.decode("utf-8", "replace")
    assert all(found[f"_{key}"] == value for key, value in extra.items())


def test_gelf_in_chunks() -> None:
    assert logformats.chunks(b"x" * 1420) == [b"x" * 1420]
    message = bytes(range(256)) * 20
    parts = logformats.chunks(message)
    assert all(part[:2] == b"\x1e\x0f" and len(part) <= 1420 for part in parts)
    assert len({part[2:10] for part in parts}) == 1
    assert [part[10] for part in parts] == list(range(len(parts))) and {part[11] for part in parts} == {
        len(parts)
    }
    assert b"".join(part[12:] for part in parts) == message
    assert logformats.chunks(b"x" * 1408 * 129) == []


def unpacked(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One value of MessagePack, as far as it is used here."""
    head = data[at]
    at += 1
    if head & 0xF0 == 0x90:
        items = []
        for _ in range(head & 15):
            item, at = unpacked(data, at)
            items.append(item)
        return items, at
    if head & 0xF0 == 0x80 or head == 0xDE:
        count = head & 15
        if head == 0xDE:
            count, at = struct.unpack_from(">H", data, at)[0], at + 2
        values = {}
        for _ in range(count):
            key, at = unpacked(data, at)
            values[key], at = unpacked(data, at)
        return values, at
    if head & 0xE0 == 0xA0:
        return data[at : at + (head & 31)].decode(), at + (head & 31)
    if head in (0xD9, 0xDA, 0xDB):
        form = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}[head]
        size = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
        return data[at : at + size].decode(), at + size
    if head == 0xCE:
        return struct.unpack_from(">I", data, at)[0], at + 4
    assert data[at - 1 : at + 1] == b"\xd7\0", hex(head)
    return struct.unpack_from(">II", data, at + 1), at + 9


@given(
    st.text(max_size=400),
    st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=20),
    st.booleans(),
)
def test_fluentd(tag: str, record: dict[str, str], precise: bool) -> None:
    data = logformats.fluentd(tag, 1000000000.25, record, precise=precise)
    value, end = unpacked(data)
    assert end == len(data)
    assert value == [tag, (1000000000, 250000000) if precise else 1000000000, record]
    value, _ = unpacked(logformats.fluentd(tag, 1.0, record, precise=False, chunk="abc"))
    assert value[3] == {"chunk": "abc"}


def entries(data: bytes) -> dict[str, bytes]:
    """As the journal reads them."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            found[name.decode()], data = value, rest
            continue
        size = struct.unpack_from("<Q", rest)[0]
        assert rest[8 + size : 9 + size] == b"\n"
        found[name.decode()], data = rest[8 : 8 + size], rest[9 + size :]
    return found


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_journal(line: bytes, other: bytes) -> None:
    assert entries(logformats.journal({"MESSAGE": line, "IMAGE_NAME": other})) == {
        "MESSAGE": line,
        "IMAGE_NAME": other,
    }


@given(st.text(max_size=90))
def test_names_of_journal_fields(text: str) -> None:
    assert re.fullmatch(r"([A-Z][A-Z0-9_]{0,63})?", logformats.journal_name(text))
    assert logformats.journal_name("_com.example/x=1\ny") == "COM_EXAMPLE_X_1_Y"
