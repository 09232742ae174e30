"""What tells one store from another, also across namespaces: what `_ping` answers and the command line asks."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

STORE_HEADER = "Boxwright-Store"


def identity(root: Path) -> str:
    """What tells a store from others: its path, and the file that its directory is (a path may mean another directory
    elsewhere, such as in a container); '' when it is not there."""
    try:
        info = os.stat(root)
    except OSError:
        return ""
    return f"{info.st_dev:x}:{info.st_ino:x}:{os.path.realpath(root)}"
