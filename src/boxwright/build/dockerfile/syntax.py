"""Which frontend a file asks for: ``# syntax=``, ``// syntax=`` or JSON at its beginning."""

from __future__ import annotations

import re

from boxwright.build.dockerfile.directives import DirectiveReader
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.errors import Invalid
from boxwright.spec.reference import Reference

_SLASHES = rb"//[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(.+?)[ \t\r]*\Z"
_STANDARD = ("docker/dockerfile", "docker/dockerfile-upstream")
BUILT_IN = "dockerfile.v0"


def check_syntax(data: bytes, override: str | None = None) -> None:
    """Refuse a file that wants another frontend than the standard one, which is built in; `override` is
    BUILDKIT_SYNTAX. Raises DockerfileError."""
    found = (override, None) if override else detect_syntax(data)
    if found is None:
        return
    image = found[0].strip().partition(" ")[0]
    if not is_standard(image):
        raise DockerfileError(
            f"unsupported frontend {image!r}: only the standard one, docker/dockerfile, is built in",
            ranges=[found[1]] if found[1] is not None else [],
            hint="take the syntax directive out if the file is a Dockerfile",
        )


def is_standard(image: str) -> bool:
    """Whether an image is a release of the standard frontend, or a mirror's copy of one."""
    if image == BUILT_IN:
        return True
    try:
        path = Reference.parse(image).path
    except Invalid:
        return False
    return any(path == name or path.endswith(f"/{name}") for name in _STANDARD)


def detect_syntax(data: bytes) -> tuple[str, SourceRange] | None:
    """The value that a file gives, and its line; None when it names no frontend."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    reader, skipped = DirectiveReader(), int(lines[0].startswith(b"#!"))
    try:
        for number, raw in enumerate(lines[skipped:], 1 + skipped):
            found = reader.read(raw.decode("utf-8", "replace").strip(), number)
            if found is None:
                break
            if found.name == "syntax":
                return found.value, SourceRange(number, number)
    except DockerfileError:
        return None  # the parser will say what is wrong
    for number, raw in enumerate(lines[skipped:], 1 + skipped):
        match = re.match(_SLASHES, raw) if raw.startswith(b"//") else None
        if match is None:
            break
        if match[1].lower() == b"syntax":
            return match[2].decode("utf-8", "replace"), SourceRange(number, number)
    return _in_json(data)


def _in_json(data: bytes) -> tuple[str, SourceRange] | None:
    if not data.lstrip().startswith(b"{"):
        return None
    import json

    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = value.get("syntax") if isinstance(value, dict) else None
    return (found, SourceRange(1, 1)) if isinstance(found, str) and found else None
