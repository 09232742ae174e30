"""What several tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def vectors(name: str) -> Any:
    """A table of upstream test vectors (tests/data/vectors, with its licence note)."""
    return json.loads((DATA / "vectors" / name).read_text())
