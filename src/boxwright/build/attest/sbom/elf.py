"""Sections and segments of ELF files, as far as they are wanted; whatever their headers claim."""

from __future__ import annotations

import os
import struct

from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_MOST_SECTIONS = 4096
_MOST_SEGMENTS = 512
_MOST_NAMES = 1 << 20  # bytes
_LONGEST_NAME = 256  # bytes; a longer one is none that is asked for
_LARGEST_ENTRY = 256  # bytes of an entry of either table; those that compilers write have 64 at most


@dataclass(frozen=True, slots=True)
class ElfPart:
    """A part of the file that is loaded at an address. `writable` only of segments."""

    address: int
    offset: int
    size: int
    writable: bool = False


class Elf:
    """A file that begins as an ELF file does. Raises ValueError when it is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self.read(0, 64)
        if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
            raise ValueError("no ELF file")
        self.wide = head[4] == 2
        self.order = "<" if head[5] == 1 else ">"
        self._head = head
        if self.wide and len(head) < 64:
            raise ValueError("the ELF header is cut")

    def read(self, offset: int, size: int) -> bytes:
        """What the file has of it, which may be less."""
        try:
            self._file.seek(offset, os.SEEK_SET)
        except (OSError, ValueError, OverflowError):
            return b""
        return self._file.read(size)

    def unpack(self, form: str, data: bytes, at: int = 0) -> tuple[int, ...]:
        """Numbers in the file's byte order. Raises ValueError past the end."""
        try:
            return struct.unpack_from(self.order + form, data, at)
        except struct.error as error:
            raise ValueError("the file is cut") from error

    def sections(self) -> dict[str, ElfPart]:
        """By name; of several of one name the first."""
        if self.wide:
            (start,) = self.unpack("Q", self._head, 40)
            size, count, names = self.unpack("HHH", self._head, 58)
        else:
            (start,) = self.unpack("I", self._head, 32)
            size, count, names = self.unpack("HHH", self._head, 46)
        least = 64 if self.wide else 40
        if not least <= size <= _LARGEST_ENTRY or count > _MOST_SECTIONS or names >= count:
            return {}
        table = self.read(start, size * count)
        entries = []
        for at in range(0, len(table) - least + 1, size):
            (name,) = self.unpack("I", table, at)
            if self.wide:
                address, offset, length = self.unpack("QQQ", table, at + 16)
            else:
                address, offset, length = self.unpack("III", table, at + 12)
            entries.append((name, ElfPart(address, offset, length)))
        if names >= len(entries):
            return {}
        texts = self.read(entries[names][1].offset, min(entries[names][1].size, _MOST_NAMES))
        found: dict[str, ElfPart] = {}
        for name, part in entries:
            text, end, _ = texts[name : name + _LONGEST_NAME].partition(b"\0")
            if end:
                found.setdefault(text.decode("ascii", "replace"), part)
        return found

    def segments(self) -> list[ElfPart]:
        """Those that are loaded."""
        if self.wide:
            (start,) = self.unpack("Q", self._head, 32)
            size, count = self.unpack("HH", self._head, 54)
        else:
            (start,) = self.unpack("I", self._head, 28)
            size, count = self.unpack("HH", self._head, 42)
        least = 56 if self.wide else 32
        if not least <= size <= _LARGEST_ENTRY or count > _MOST_SEGMENTS:
            return []
        table, found = self.read(start, size * count), []
        for at in range(0, len(table) - least + 1, size):
            if self.wide:
                kind, flags, offset, address, _, length = self.unpack("IIQQQQ", table, at)
            else:
                kind, offset, address, _, length, _, flags = self.unpack("IIIIIII", table, at)
            if kind == 1:
                found.append(ElfPart(address=address, offset=offset, size=length, writable=bool(flags & 2)))
        return found

    def at(self, address: int, size: int) -> bytes:
        """What is loaded at an address."""
        for part in self.segments():
            if part.address <= address < part.address + part.size:
                gone = address - part.address
                return self.read(part.offset + gone, min(size, part.size - gone))
        return b""
