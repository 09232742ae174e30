"""What is kept of a context between builds, in one file: plain values as `marshal` writes them.

`marshal` trusts its input: only what `save` wrote, whole, is read again.
"""

from __future__ import annotations

import marshal

from boxwright.files import whole
from boxwright.spec import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def load(path: Path, magic: bytes) -> dict[str, Any]:
    """What the file holds; nothing when it cannot be read, or is not whole, or of another `magic`."""
    try:
        body = path.read_bytes()
    except OSError:
        return {}
    head, end = len(magic), len(magic) + hashes.QUICK
    if body[:head] != magic or hashes.quick(memoryview(body)[end:]) != body[head:end]:
        return {}
    loaded: dict[str, Any] = marshal.loads(memoryview(body)[end:])
    return loaded


def save(path: Path, magic: bytes, known: dict[str, Any]) -> bool:
    """Write the file anew; whether that was possible."""
    payload = marshal.dumps(known)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(path, (magic, hashes.quick(payload), payload), sync=False)
    except OSError:
        return False
    return True
