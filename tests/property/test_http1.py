"""Whatever a peer sends: it is an answer or one of our errors, and pieces of any size mean the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.registry.client.http1 import BodyStream, Stream, framing, parse_head, read_head
from boxwright.registry.client.peers import NotHttp, PeerUnreachable

PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=30)
NAMES = st.text("abcXYZ019-_!#", min_size=1, max_size=12)
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30
)
PARTS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 ",
    b"\r\n",
    b"\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b": ",
    b"\0",
    b"ffffffffffffffff\r\n",
]


def stream(data: bytes, pieces: list[int]) -> Stream:
    at = turn = 0

    def more(size: int) -> bytes:
        nonlocal at, turn
        count = min(pieces[turn % len(pieces)], size)
        piece = data[at : at + count]
        at, turn = at + len(piece), turn + 1
        return piece

    return Stream(more)


def answer(data: bytes, pieces: list[int], method: str = "GET", size: int = 7) -> object:
    source = stream(data, pieces)
    try:
        _, status, fields = read_head(source)
        content = BodyStream(source, framing(method, status, fields))
        out = b""
        while piece := content.read(size):
            assert len(piece) <= size
            out += piece
        return status, fields, out
    except (NotHttp, PeerUnreachable) as error:
        return type(error)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=12).map(b"".join),
    PIECES,
    st.sampled_from(["GET", "HEAD"]),
)
def test_anything_is_an_answer_or_an_error(data: bytes, pieces: list[int], method: str) -> None:
    assert answer(data, pieces, method) == answer(data, [1 << 20], method)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=20), st.integers(200, 599))
def test_fields_come_as_they_were_sent(fields: list[tuple[str, str]], status: int) -> None:
    head = "\r\n".join([f"HTTP/1.1 {status} Why", *(f"{name}: {value}" for name, value in fields)])
    assert parse_head(head.encode("latin-1")) == (1, status, [(n, v.strip(" \t")) for n, v in fields])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), PIECES, st.integers(1, 60))
def test_chunks_of_any_size(chunks: list[bytes], pieces: list[int], size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    got = answer(head + data, pieces, size=size)
    assert got == (200, [("Transfer-Encoding", "chunked")], b"".join(chunks))
