"""What compilers wrote into programs: the modules of Go programs, the crates of Rust programs (cargo-auditable)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

from boxwright.build.attest.sbom.elf import Elf, ElfPart
from boxwright.build.attest.sbom.package import Found, Package, usable
from boxwright.spec.purl import purl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_MAGIC = b"\xff Go buildinf:"
_SEARCHED = 1 << 20  # bytes of a data segment in which Go's own reader looks, too
_MOST_TEXT = 16 << 20  # bytes of a module list, or of a crate list once it is inflated
_MOST = 50_000  # crates or modules of one program


def binary(file: BinaryIO, found: Found) -> Iterator[Package]:
    """Packages of an ELF file, which may be anything else."""
    try:
        elf = Elf(file)
        sections = elf.sections()
        if (part := sections.get(".dep-v0")) is not None and part.size <= _MOST_TEXT:
            yield from rust(elf.read(part.offset, part.size), found)
        yield from go(_modules(elf, sections.get(".go.buildinfo")), found)
    except ValueError:
        return


# --- Go ----------------------------------------------------------------------------------------------


def _modules(elf: Elf, part: ElfPart | None) -> str:
    """The list of modules that the linker put in, into a section or a data segment; '' when there is none. Raises
    ValueError."""
    if part is None:
        part = next((segment for segment in elf.segments() if segment.writable), None)
    if part is None:
        return ""
    data = elf.read(part.offset, min(part.size, _SEARCHED))
    at = data.find(_MAGIC)
    while at % 16 and at >= 0:
        at = data.find(_MAGIC, at + 1)
    if at < 0 or at + 32 > len(data):
        return ""
    flags = data[at + 15]
    if flags & 2:  # since Go 1.18 both texts follow, each behind its length
        _, end = _varint_text(elf, part.offset + at + 32)
        text, _ = _varint_text(elf, end)
    else:
        text = _pointed(elf, data[at + 16 :], data[at + 14])
    # Between two marks of 16 bytes.
    return text[16:-16].decode("utf-8", "replace") if len(text) >= 33 else ""


def _varint_text(elf: Elf, offset: int) -> tuple[bytes, int]:
    head = elf.read(offset, 10)
    size = shift = 0
    for count, byte in enumerate(head, 1):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if size > _MOST_TEXT:
                raise ValueError("the text is too long")
            return elf.read(offset + count, size), offset + count + size
    raise ValueError("the length has no end")


def _pointed(elf: Elf, pointers: bytes, width: int) -> bytes:
    """The text behind the second of two pointers to Go strings."""
    if width not in (4, 8):
        return b""
    form = "Q" if width == 8 else "I"
    (string,) = elf.unpack(form, pointers, width)
    header = elf.at(string, 2 * width)
    address, size = elf.unpack(form * 2, header)
    return elf.at(address, size) if size <= _MOST_TEXT else b""


def go(text: str, found: Found) -> Iterator[Package]:
    """``path``, ``mod``, ``dep`` and ``=>`` lines: the main module and what it was linked with; replaced modules are
    those that took their place."""
    modules: list[tuple[str, str]] = []
    program = ""
    for row in text.splitlines()[:_MOST]:
        words = row.split("\t")
        if words[0] in ("mod", "dep") and len(words) >= 2:
            modules.append((words[1], words[2] if len(words) > 2 else ""))
        elif words[0] == "path" and len(words) > 1 and words[1] != "command-line-arguments":
            program = words[1]
        elif words[0] == "=>" and len(words) >= 3 and modules:
            modules[-1] = words[1], words[2]
    for path, version in modules or [(program, "")]:  # one that was built without modules
        version = "" if version == "(devel)" else version
        if usable(path) and (not version or usable(version)) and not path.startswith((".", "/")):
            namespace, _, name = path.lower().rpartition("/")
            yield Package(
                kind="go",
                name=path,
                version=version,
                purl=purl("golang", name, version, namespace=namespace),
                place=found.path,
            )


# --- Rust --------------------------------------------------------------------------------------------


def rust(packed: bytes, found: Found) -> Iterator[Package]:
    """The section ``.dep-v0``: JSON, deflated. Crates that only built it are left out."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, _MOST_TEXT)
        body = json.loads(text) if not inflater.unconsumed_tail else None
    except (zlib.error, ValueError, RecursionError):
        return
    crates = body.get("packages") if isinstance(body, dict) else None
    for crate in crates[:_MOST] if isinstance(crates, list) else ():
        if not isinstance(crate, dict) or crate.get("kind") == "build":
            continue
        name, version = crate.get("name"), crate.get("version")
        if isinstance(name, str) and isinstance(version, str) and usable(name, version):
            yield Package(
                kind="cargo", name=name, version=version, purl=purl("cargo", name, version), place=found.path
            )
