"""Which snapshot driver was found to work here, for commands that need its name and no tree: light to import.

The answer is kept in ROOT/driver.json until the machine boots, the user changes or the root is used elsewhere.
"""

from __future__ import annotations

import os

from boxwright.files.found import boot_id, recall, remember
from boxwright.files.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

DRIVERS = ("mounted", "unpacked", "copied")


def chosen(root: Path, wanted: str) -> dict[str, Any] | None:
    """``driver``, ``reason`` and ``userxattr`` as they were found; None when they have to be found out."""
    known = recall(Places(root).driver, _key(root, wanted))
    return known if known is not None and known.get("driver") in DRIVERS else None


def keep(root: Path, wanted: str, found: Mapping[str, Any]) -> None:
    """For the next command."""
    remember(Places(root).driver, _key(root, wanted), found)


def _key(root: Path, wanted: str) -> list[Any]:
    return [boot_id(), os.geteuid(), _namespace(), str(root), wanted]


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/user")
    except OSError:
        return ""
