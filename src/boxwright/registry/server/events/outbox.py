"""Events as others will get them, in the form of Docker's registry.

A transactional outbox: an event is a row that is written in the transaction which made it true, and goes when its
receiver has it. So a push that was acknowledged is told, whichever process dies when, perhaps twice (an event keeps
its id). Pulls change nothing and are told without that promise: they wait in memory for up to a second.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

from boxwright.registry.server.auth.policy import fits
from boxwright.registry.server.config import Webhook
from boxwright.registry.server.events.event import Event
from boxwright.spec.times import rfc3339

_MOST = 10_000  # waiting events of a webhook; more are dropped and counted
_MOST_PULLS = 10_000  # in memory


class Outbox:
    """What is to be told. Writing is part of the caller's transaction."""

    def __init__(self, hooks: Sequence[Webhook]) -> None:
        self._hooks = tuple(hooks)
        self.wants_pulls = any("pull" in hook.events for hook in hooks)
        self._pulls: deque[Event] = deque(maxlen=_MOST_PULLS)
        self.dropped = 0

    def record(self, sql: sqlite3.Connection, event: Event) -> None:
        """Within the transaction that made the event true."""
        self.record_pulls(sql)  # what was pulled before comes before
        self._insert(sql, event)

    def pulled(self, event: Event) -> None:
        """From the event loop; never waits."""
        self._pulls.append(event)

    @property
    def pulls(self) -> bool:
        """Whether some are not written yet."""
        return bool(self._pulls)

    def record_pulls(self, sql: sqlite3.Connection) -> None:
        """Within a transaction."""
        while self._pulls:
            self._insert(sql, self._pulls.popleft())

    def _insert(self, sql: sqlite3.Connection, event: Event) -> None:
        for hook in self._hooks:
            if event.action not in hook.events or not fits(event.repository, hook.repositories):
                continue
            body = json.dumps(envelope(event))
            self.dropped += not sql.execute(
                "INSERT INTO events (hook, body, made) SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM "
                "(SELECT 1 FROM events WHERE hook = ?1 LIMIT ?4)) < ?4",
                (key_of(hook), body, event.time, _MOST),
            ).rowcount


def key_of(hook: Webhook) -> str:
    """A webhook across restarts: two may have one URL."""
    return " ".join((hook.url, ",".join(hook.events), ",".join(hook.repositories)))


def envelope(event: Event) -> dict[str, Any]:
    """One event in Docker's form."""
    target: dict[str, Any] = {
        "repository": event.repository,
        "digest": event.digest,
        "tag": event.tag,
        "mediaType": event.media_type,
        "size": event.size,
        "length": event.size,
    }
    stamp = rfc3339(event.time, digits=6)
    return {
        "events": [
            {
                "id": str(uuid.uuid4()),
                "timestamp": stamp,
                "action": event.action,
                "target": {k: v for k, v in target.items() if v},
                "request": {"addr": event.remote},
                "actor": {"name": event.user},
                "source": {},
            }
        ]
    }
