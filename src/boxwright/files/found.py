"""What was found out about this host by trying, kept in a file until something that it depends on
changes."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from boxwright.files import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def boot_id() -> str:
    """Another one after each boot; '' where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def recall(path: Path, key: list[Any]) -> dict[str, Any] | None:
    """What was remembered under the same key; None when nothing was, or the file is another program's."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("key") == key else None


def remember(path: Path, key: list[Any], value: Mapping[str, Any]) -> None:
    """Keep it, where that is possible: otherwise the next command finds it out again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(path, json.dumps({**value, "key": key}).encode(), sync=False)
