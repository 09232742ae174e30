"""Sizes as text."""

from __future__ import annotations

import pytest

from boxwright.spec.units import SizeInvalid, binary_size, build_size, human_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("1.5m", 3 << 19),
        ("2G", 2 << 30),
        ("64mb", 64 << 20),
        ("1KiB", 1024),
        ("10 GB", 10 << 30),
        ("7b", 7),
        ("0.3k", 307),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1x", "1.2.3m", "m", "1.", ".5m", "²", "b", "1e3", "9" * 5000]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(SizeInvalid, match="invalid size"):
        parse_size(text)


def test_build_size() -> None:
    assert [build_size(n) for n in (97, 1270, 134_220_000)] == ["97B", "1.27kB", "134.22MB"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1kB"),
        (1240, "1.24kB"),
        (74_800_000, "74.8MB"),
        (124_000_000, "124MB"),
        (1_240_000_000, "1.24GB"),
        (999_900, "1MB"),  # Docker: 1e+03kB
        (2**80, "1.21YB"),
    ],
)
def test_human_size(size: int, expected: str) -> None:
    assert human_size(size) == expected


def test_binary_size() -> None:
    assert [binary_size(n) for n in (0, 1024, 8_000_000, 2 * 1024**3)] == ["0B", "1KiB", "7.629MiB", "2GiB"]


def test_sizes_have_sixty_four_bits() -> None:
    assert parse_size("9223372036854775807") == 2**63 - 1
    for text in ("9223372036854775808", "8388608t", "99999999999999999999", "8192p"):
        with pytest.raises(SizeInvalid, match="invalid size"):
            parse_size(text)
