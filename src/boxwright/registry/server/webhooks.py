"""Events to others, as Docker's registry sends them (``application/vnd.docker.distribution.events.v1+json``).

Delivery is beside the requests: a queue a worker and webhook, tried again with growing pauses. A full queue drops
the newest event and counts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from boxwright.registry.server.config import Webhook
from boxwright.registry.server.observe import Happening
from boxwright.registry.server.policy import fits

if TYPE_CHECKING:
    from boxwright.registry.server.service import Service

MEDIA_TYPE = "application/vnd.docker.distribution.events.v1+json"
_MOST = 10_000  # queued events
_TRIES = 8
_FIRST_PAUSE = 0.5  # seconds; doubles
_TIMEOUT = 10


class Sender:
    """One webhook of one worker; `run` is a task of the service."""

    def __init__(self, hook: Webhook, *, first_pause: float = _FIRST_PAUSE) -> None:
        self.hook = hook
        self._queue: asyncio.Queue[Happening] = asyncio.Queue(_MOST)
        self._first_pause = first_pause
        self.outcomes: dict[str, int] = {"sent": 0, "failed": 0, "dropped": 0}
        self._metrics: Any = None

    def __call__(self, event: Happening) -> None:
        """Take an event; never waits."""
        if event.action not in self.hook.events or not fits(event.repository, self.hook.repositories):
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._count("dropped")

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        if self._metrics is not None:
            self._metrics.count(f"events_{outcome}")

    async def run(self, service: Service) -> None:
        """Until cancelled; what is queued then is tried once more."""
        import aiohttp

        self._metrics = service.observer.metrics
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session:
            try:
                while True:
                    await self._deliver(session, await self._queue.get(), _TRIES)
            except asyncio.CancelledError:
                while not self._queue.empty():
                    await self._deliver(session, self._queue.get_nowait(), 1)
                raise

    async def _deliver(self, session: Any, event: Happening, tries: int) -> None:
        import aiohttp

        body = json.dumps(envelope(event)).encode()
        headers = {**self.hook.headers, "Content-Type": MEDIA_TYPE}
        if self.hook.secret:
            headers["X-Boxwright-Signature"] = "sha256=" + hmac.new(self.hook.secret.encode(), body, hashlib.sha256).hexdigest()
        for attempt in range(tries):
            try:
                async with session.post(self.hook.url, data=body, headers=headers, allow_redirects=False) as answer:
                    if answer.status < 300:
                        self._count("sent")
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            if attempt + 1 < tries:
                await asyncio.sleep(min(60.0, self._first_pause * 2**attempt))
        self._count("failed")


def envelope(event: Happening) -> dict[str, Any]:
    """One event in Docker's form."""
    target: dict[str, Any] = {"repository": event.repository, "digest": event.digest, "tag": event.tag, "mediaType": event.media_type, "size": event.size, "length": event.size}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.time)) + f".{int(event.time % 1 * 1e6):06d}Z"
    return {
        "events": [
            {
                "id": str(uuid.uuid4()), "timestamp": stamp, "action": event.action, "target": {k: v for k, v in target.items() if v},
                "request": {"addr": event.remote}, "actor": {"name": event.user}, "source": {},
            }
        ]
    }  # fmt: skip
