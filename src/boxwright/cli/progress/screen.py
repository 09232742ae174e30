"""Lines at the end of a terminal that are rewritten in place, for builds and transfers.

Hand-written escape sequences: what draws tables would take longer to import than a build that is fully on record.
"""

from __future__ import annotations

import sys
import threading

from boxwright.runtime.tty import window_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from boxwright.cli.context import Context

_REFRESH = 0.1  # seconds


class Screen:
    """`picture` gives the lines for so many columns and rows, None at the end for all of them. It is asked under
    `lock`, which another writer to the terminal must hold meanwhile."""

    def __init__(
        self,
        ctx: Context,
        picture: Callable[[int, int | None], list[str]],
        lock: AbstractContextManager[object],
    ) -> None:
        self._ctx, self._picture, self._lock = ctx, picture, lock
        self._drawn = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether the last picture is wanted."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Draw the last picture, which stays."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._draw(final=True)

    def above(self, text: str) -> None:
        """A line that stays, above the picture."""
        with self._lock:
            self._write([text])
            self._drawn = 0
            self._draw()

    def _refresh(self) -> None:
        while not self._stop.wait(_REFRESH):
            with self._lock:
                self._draw()

    def _draw(self, *, final: bool = False) -> None:
        try:
            rows, columns = window_size(sys.stderr.fileno()) or (24, 80)
        except OSError:  # no file at all
            rows, columns = 24, 80
        self._drawn = self._write(self._picture(columns, None if final else max(rows - 2, 4)))

    def _write(self, lines: list[str]) -> int:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        sys.stderr.write(
            up
            + "".join(f"\r\x1b[2K{self._ctx.shown(line)}\n" for line in lines)
            + ("\x1b[0J" if len(lines) < self._drawn else "")
        )
        sys.stderr.flush()
        return len(lines)
