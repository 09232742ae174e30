"""What is kept, for handlers that must not wait: a pool of threads reads and writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.registry.server.store.blobs import BlobStorage
    from boxwright.registry.server.store.catalog import RegistryCatalog

T = TypeVar("T")
THREADS = 16  # for what blocks, half as many for bodies


class Storage:
    """The catalog and the blobs of a registry, as one worker has them."""

    def __init__(self, catalog: RegistryCatalog, blobs: BlobStorage) -> None:
        self.catalog = catalog
        self.blobs = blobs
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """A blocking call in the pool: writes of the catalog, files, hashing. A handler that is cancelled meanwhile
        waits for it all the same, so that nothing is cleaned up under a thread's feet."""
        call = asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            raise
