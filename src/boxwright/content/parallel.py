"""Work on many items by a few threads, of which the first failure counts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

_PATIENCE = 2.0  # seconds that a failed or interrupted call waits for its other threads


def in_parallel(jobs: int, items: Sequence[T], work: Callable[[T], object], *, stop: threading.Event) -> None:
    """Do `work` on every item, at most `jobs` at a time. The first failure sets `stop` and is raised.

    The threads are daemons and an interrupt waits for them only briefly: a peer that says nothing for a minute
    must not hold the user's Ctrl-C for as long.
    """
    if jobs <= 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    todo, endings, ended = deque(items), deque[BaseException | None](), threading.Semaphore(0)

    def run() -> None:
        failed = None
        try:
            while not stop.is_set():
                try:
                    item = todo.popleft()
                except IndexError:
                    break
                work(item)
        except BaseException as error:  # noqa: BLE001 - the thread that waits for all of them raises it
            failed = error
        endings.append(failed)  # before `stop`, so that no thread that stops because of it is heard first
        if failed is not None:
            stop.set()
        ended.release()

    threads = [
        threading.Thread(target=run, name=f"copy-{n}", daemon=True) for n in range(min(jobs, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            ended.acquire()
            if (error := endings.popleft()) is not None:
                raise error
    except BaseException:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(_PATIENCE / len(threads))
        raise
