"""A context as one file, which Docker's `context export` writes and `import` reads: a tar, or a zip of the same names.

``meta.json``, ``tls/<endpoint>/<file>``. An archive comes from elsewhere: it is at most `MOST` bytes, packed and
unpacked, names of other forms are refused, and nothing is written before all of it was read.
"""

from __future__ import annotations

import io
import json

from boxwright.cli.contexts import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MOST = 10 << 20  # bytes
_META = "meta.json"
_TLS = "tls"


def write(name: str, context: files.SavedContext, tls: files.Materials) -> bytes:
    """The tar, its times being none."""
    from boxwright.layer.scan import DIR
    from boxwright.layer.write import Entry, TarBuilder

    out = io.BytesIO()
    tar = TarBuilder(out)
    body = {"Name": name, **context.body}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
    tar.add(Entry(path=_META, mode=0o644, size=len(text)), text)
    tar.add(Entry(path=_TLS, type=DIR, mode=0o700))
    for endpoint, keys in tls.items():
        tar.add(Entry(path=f"{_TLS}/{endpoint}", type=DIR, mode=0o700))
        for file, data in keys.items():
            tar.add(Entry(path=f"{_TLS}/{endpoint}/{file}", mode=0o600, size=len(data)), data)
    tar.finish()
    return out.getvalue()


def read(stream: BinaryIO) -> tuple[files.SavedContext, files.Materials]:
    """Raises ContextFileInvalid."""
    data = stream.read(MOST + 1)
    if len(data) > MOST:
        raise files.ContextFileInvalid(f"invalid context: it is larger than {MOST} bytes")
    body = None
    tls: dict[str, dict[str, bytes]] = {}
    for name, content in _zipped(data) if data.startswith(b"PK") else _tarred(data):
        parts = name.split("/")
        if name == _META:
            body = files.json_object(content, f"{_META} of the archive")
        elif len(parts) == 3 and parts[0] == _TLS and all(_plain(part) for part in parts[1:]):
            tls.setdefault(parts[1], {})[parts[2]] = content
        else:
            raise files.ContextFileInvalid(
                f'invalid context: unexpected file "{name}"',
                hint=f"{_META} and {_TLS}/ENDPOINT/FILE belong to one",
            )
    if body is None:
        raise files.ContextFileInvalid(
            "invalid context: no metadata found", hint="is it an exported context?"
        )
    body.pop("Name", None)
    return files.SavedContext(body=body), tls


def _plain(part: str) -> bool:
    """Whether it is one name of a file, of the kind that contexts have."""
    return part not in ("", ".", "..") and part.isprintable() and "\\" not in part and len(part) < 200


def _tarred(data: bytes) -> Iterator[tuple[str, bytes]]:
    from boxwright.layer.reader import TarReader
    from boxwright.layer.scan import DIR, FILE, TarInvalid

    try:
        with TarReader(io.BytesIO(data)) as tar:
            for header in tar.entries():
                name = header.name.decode("utf-8", "replace").removeprefix("./").rstrip("/")
                if header.type == DIR:
                    continue
                if header.type != FILE:
                    raise files.ContextFileInvalid(f'invalid context: "{name}" is no file')
                yield name, tar.content(MOST)
    except TarInvalid as error:
        raise files.ContextFileInvalid(f"invalid context: {error}") from error


def _zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    import zipfile
    import zlib

    left = MOST
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                with archive.open(info) as file:
                    content = file.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise files.ContextFileInvalid(f"invalid context: it is larger than {MOST} bytes")
                yield info.filename, content
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise files.ContextFileInvalid(f"invalid context: {error}") from error
