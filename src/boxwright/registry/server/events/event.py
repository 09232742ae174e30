"""What the registry tells its webhooks: a push, a pull or a deletion."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`action` is one of `config.EVENTS`; `digest` is '' when a tag alone was deleted; `size` is in bytes, `time` a
    Unix time; `user` and `remote` (an address) are '' for what the registry did by itself."""

    action: str
    repository: str
    digest: str
    tag: str = ""
    size: int = 0
    media_type: str = ""
    user: str = ""
    remote: str = ""
    time: float = field(default_factory=time.time)
