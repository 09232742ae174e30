"""Removed rules, as the kernel tells of them: the filter run on datagrams as the kernel's machine does."""

from __future__ import annotations

from struct import calcsize, iter_unpack, pack

import pytest

from boxwright.network.removals import program

TABLE, NEW, DELETED, GENERATION = (
    0,
    6,
    8,
    15,
)  # NFT_MSG_NEWTABLE, NFT_MSG_NEWRULE, NFT_MSG_DELRULE, NFT_MSG_NEWGEN


def message(kind: int, size: int = 24) -> bytes:
    data = pack("IHHII", size, 10 << 8 | kind, 0, 1, 0)
    return data + bytes((size - len(data) + 3) & ~3)


def passes(datagram: bytes) -> bool:
    """socket(7): what the machine answers is how much is let through; a load from outside answers 0."""
    code = list(iter_unpack("HBBI", program()))
    a = x = m = at = 0
    while True:
        operation, then, otherwise, value = code[at]
        at += 1
        match operation:
            case 0x01:
                x = value
            case 0x50:
                if x + value >= len(datagram):
                    return False
                a = datagram[x + value]
            case 0x15:
                at += then if a == value else otherwise
            case 0x64:
                a <<= value
            case 0x0C:
                a += x
            case 0x02:
                m = a
            case 0x61:
                x = m
            case 0x04:
                a += value
            case 0x54:
                a &= value
            case 0x07:
                x = a
            case 0x06:
                return value > 0


@pytest.mark.parametrize(
    "kinds, let_through",
    [
        ([DELETED], True),
        ([TABLE], True),
        ([NEW, TABLE], True),
        ([NEW], False),
        ([GENERATION], False),
        ([NEW, NEW, NEW], False),
        ([NEW, NEW, DELETED], True),
        ([NEW] * 7 + [DELETED], True),
        ([NEW] * 7, False),
        ([NEW] * 20, True),  # not looked through: who reads it does
    ],
)
@pytest.mark.parametrize("size", [24, 27, 200, 300, 1021])
def test_only_removals_and_tables_are_let_through(kinds: list[int], let_through: bool, size: int) -> None:
    assert passes(b"".join(message(kind, size) for kind in kinds)) is let_through


def test_the_program_is_one_that_the_kernel_takes() -> None:
    assert calcsize("HBBI") == 8 and len(program()) % 8 == 0 and len(program()) // 8 <= 255
