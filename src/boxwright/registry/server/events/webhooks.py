"""Events on their way to others (``application/vnd.docker.distribution.events.v1+json``): of all workers one takes them
out of the `outbox` and delivers them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boxwright.registry.server.config import Webhook
from boxwright.registry.server.errors import RegistryError
from boxwright.registry.server.events.outbox import key_of
from boxwright.registry.server.store.blobs import try_exclusive_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.api.service import Service

MEDIA_TYPE = "application/vnd.docker.distribution.events.v1+json"


_TRIES = 8  # refusals by a receiver that answers
_PATIENCE = 86_400  # seconds for which a receiver may be away
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 60.0  # seconds; doubles
_LOOK = 0.1  # seconds between looks at the catalog's stamp
_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox."""

    id: int
    body: str
    made: float
    tries: int


class Sender:
    """Delivers; `run` is a task of the service."""

    def __init__(
        self, hooks: Sequence[Webhook], *, first_pause: float = _FIRST_PAUSE, patience: float = _PATIENCE
    ) -> None:
        self._hooks, self._first_pause, self._patience = tuple(hooks), first_pause, patience

    async def run(self, service: Service) -> None:
        """Until cancelled. What is not delivered by then waits for the next start."""
        import aiohttp

        while True:
            with try_exclusive_lock(service.config.storage / "events.lock") as locked:
                if locked:
                    await service.run(_expire, service, self._patience)
                    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
                    async with (
                        aiohttp.ClientSession(timeout=timeout) as session,
                        asyncio.TaskGroup() as group,
                    ):
                        for hook in self._hooks:
                            group.create_task(self._serve(service, session, hook))
            await asyncio.sleep(1)

    async def _serve(self, service: Service, session: Any, hook: Webhook) -> None:
        seen: object = None
        while True:
            version = service.catalog.version()
            if version == seen:
                await asyncio.sleep(_LOOK)
                continue
            try:
                while rows := await service.run(_waiting, service, hook):
                    for row in rows:
                        await self._deliver(service=service, session=session, hook=hook, row=row)
                seen = version
            except (RegistryError, sqlite3.OperationalError):  # a full disk, a busy catalog: nothing is lost
                await asyncio.sleep(1)

    async def _deliver(self, service: Service, session: Any, hook: Webhook, row: Waiting) -> None:
        """In order: while a receiver is away, its events wait behind the first one."""
        pause, tries = self._first_pause, row.tries
        while True:
            answered, sent = await _post(session, hook, row.body)
            tries += answered
            if sent or tries >= _TRIES or time.time() - row.made > self._patience:
                await service.run(_forget, service, row.id)
                if service.observer.metrics is not None:
                    service.observer.metrics.count("events_sent" if sent else "events_failed")
                return
            if answered:
                await service.run(_tried, service, row.id, tries)
            await asyncio.sleep(pause)
            pause = min(_LAST_PAUSE, pause * 2)


def _waiting(service: Service, hook: Webhook) -> list[Waiting]:
    rows = service.catalog.connection().execute(
        "SELECT id, body, made, tries FROM events WHERE hook = ? ORDER BY id LIMIT 100", (key_of(hook),)
    )
    return [Waiting(*row) for row in rows]


def _forget(service: Service, id: int) -> None:
    with service.catalog.write() as sql:
        sql.execute("DELETE FROM events WHERE id = ?", (id,))


def _expire(service: Service, patience: float) -> None:
    """Also what waits for webhooks that are no more."""
    with service.catalog.write() as sql:
        sql.execute("DELETE FROM events WHERE made < ?", (time.time() - patience,))


def _tried(service: Service, id: int, tries: int) -> None:
    with service.catalog.write() as sql:
        sql.execute("UPDATE events SET tries = ? WHERE id = ?", (tries, id))


async def _post(session: Any, hook: Webhook, text: str) -> tuple[bool, bool]:
    """Whether the receiver answered, and whether it took the event."""
    import aiohttp

    body = text.encode()
    headers = {**hook.headers, "Content-Type": MEDIA_TYPE}
    if hook.secret:
        headers["X-Boxwright-Signature"] = (
            "sha256=" + hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
        )
    try:
        async with session.post(hook.url, data=body, headers=headers, allow_redirects=False) as answer:
            return True, answer.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False, False
