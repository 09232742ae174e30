"""What a worker does beside answering: writing down what it counted, ending tokens, collecting garbage."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from boxwright.errors import BoxwrightError
from boxwright.registry.server.events.event import Event
from boxwright.registry.server.store.collector import AlreadyCollecting, Collected, RegistryCollector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.api.service import Service
    from boxwright.registry.server.store.catalog import RegistryCatalog

_FLUSH = 5.0  # seconds between writes of counters
_ACCOUNTS = 2.0  # seconds between looks at which accounts are gone
_LOG = 1.0  # seconds for which a line of the access log may wait


async def flush(service: Service) -> None:
    """Counted pulls and the access log, until cancelled and then once more."""
    passed = 0.0
    try:
        while True:
            await asyncio.sleep(_LOG)
            passed += _LOG
            if service.observer.metrics is not None:
                service.observer.metrics.flush()
            if service.observer.log is not None:
                service.observer.log.flush()
            await _write(service, service.observer.tell)
            if passed >= _FLUSH:
                passed = 0.0
                await _write(service, service.observer.flush)
    finally:
        if service.observer.log is not None:
            service.observer.log.flush()
        await _write(service, service.observer.tell)
        await _write(service, service.observer.flush)


async def _write(service: Service, write: Callable[[RegistryCatalog], None]) -> None:
    if service.read_only:
        return
    try:
        await service.run(write, service.catalog)
    except (BoxwrightError, sqlite3.OperationalError) as error:  # a full disk must not end the counting
        logging.getLogger("boxwright.registry").warning("pulls could not be written down: %s", error)


async def end_tokens(service: Service) -> None:
    """Those of accounts that are gone, in a read-only registry too: people log in there."""
    from boxwright.registry.server.auth.gate import Gate

    assert isinstance(service.access, Gate)
    while True:
        await asyncio.sleep(_ACCOUNTS)
        try:
            await service.run(service.access.end_tokens_of_removed_accounts)
        except (BoxwrightError, sqlite3.OperationalError, OSError) as error:
            logging.getLogger("boxwright.registry").warning(
                "tokens of removed accounts could not be ended: %s", error
            )


async def collect(service: Service) -> None:
    """Garbage collection now and then; of all workers that find the time come, one does it."""
    while True:
        await asyncio.sleep(service.config.housekeeping.every)
        try:
            done = await service.run(_run, service)
        except AlreadyCollecting:
            continue
        except (BoxwrightError, sqlite3.OperationalError, OSError) as error:
            logging.getLogger("boxwright.registry").warning("garbage collection stopped: %s", error)
            continue
        if service.observer.metrics is not None:
            service.observer.metrics.count("collected_bytes", done.bytes)


def _run(service: Service) -> Collected:
    from boxwright.registry.server.store.blobs import FileBlobs

    assert isinstance(service.blobs, FileBlobs)
    outbox = service.observer.outbox

    def deleted(sql: sqlite3.Connection, repository: str, tag: str, digest: str) -> None:
        if outbox is not None:
            outbox.record(sql, Event(action="delete", repository=repository, digest=digest, tag=tag))

    return RegistryCollector(
        config=service.config, catalog=service.catalog, blobs=service.blobs, deleted=deleted
    ).run()
