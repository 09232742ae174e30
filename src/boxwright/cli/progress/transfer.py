"""How far a pull, push or copy is: Docker's plain lines, one honest total with a line a layer on a terminal, or JSON.

Everything goes to standard error. A total counts the bytes that will really move: a blob that the other side has counts
neither as work done nor as work to do."""

from __future__ import annotations

import sys
import threading
import time

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.progress.screen import Screen
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest

PULL = {
    "started": "Pulling fs layer",
    "copied": "Pull complete",
    "exists": "Already exists",
    "mounted": "Mounted",
}
PUSH = {"started": "Preparing", "copied": "Pushed", "exists": "Layer already exists", "mounted": "Mounted"}
COPY = {"started": "Copying", "copied": "Copied", "exists": "Already exists", "mounted": "Mounted"}
KINDS = ("auto", "plain", "tty", "json", "quiet")
_INTERVAL = 0.1  # seconds between two reports on one layer in JSON
_WINDOW = 8.0  # seconds over which the speed is measured
_LAYERS = 20  # lines at most
_BAR = 28  # columns


def make(ctx: Context, kind: str, words: Mapping[str, str], *, quiet: bool = False) -> Tally | None:
    """The progress that ``--progress`` asks for; 'auto' goes by the terminal. None = silence. Raises Invalid."""
    if quiet:
        return None
    kind = kind or ctx.settings.progress or "auto"
    kind = {"rawjson": "json", "none": "quiet"}.get(kind, kind)
    if kind not in KINDS:
        raise Invalid(f"invalid progress mode {kind!r}: there are {', '.join(KINDS)}")
    if kind == "auto":
        kind = "tty" if ctx.stderr_is_tty else "plain"
    if kind == "quiet":
        return None
    return {"plain": PlainTally, "tty": TerminalTally, "json": Json}[kind](ctx, words)


class Tally:
    """Counts, under a lock; subclasses show. Use as a context manager around the transfer."""

    def __init__(self, ctx: Context, words: Mapping[str, str]) -> None:
        self.ctx = ctx
        self.words = words
        self.lock = threading.RLock()
        self.sizes: dict[Digest, int] = {}
        self.lines: dict[Digest, None] = {}  # those that get a line of their own, in order
        self.got: dict[Digest, int] = {}
        self.from_here: dict[Digest, int] = {}  # bytes of a resumed layer that did not move now
        self.how: dict[Digest, str] = {}
        self.samples: list[tuple[float, int]] = []
        self.moved = 0
        self.unchanged = (
            False  # the name pointed at the same image before: that its layers are here is no news
        )

    # --- content.progress.Progress -------------------------------------------------------------------

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        with self.lock:
            for blob in blobs:
                fresh = blob.digest not in self.sizes
                self.sizes[blob.digest] = blob.size
                if fresh and _shown(blob):
                    self.lines[blob.digest] = None
                    self.show_planned(blob)

    def started(self, desc: Descriptor) -> None:
        with self.lock:
            self.sizes.setdefault(desc.digest, desc.size)

    def resumed(self, desc: Descriptor, offset: int) -> None:
        with self.lock:
            self.from_here[desc.digest] = self.got[desc.digest] = offset
            self.show_advanced(desc)

    def advanced(self, desc: Descriptor, count: int) -> None:
        with self.lock:
            self.got[desc.digest] = self.got.get(desc.digest, 0) + count
            self.moved += count
            self.show_advanced(desc)

    def done(self, desc: Descriptor, how: str) -> None:
        with self.lock:
            if desc.digest not in self.how:
                self.how[desc.digest] = how
                self.show_done(desc, how)

    # --- sums --------------------------------------------------------------------------------------

    def total(self) -> tuple[int, int]:
        """Bytes moved and bytes to move, without what was there."""
        skipped = {d for d, how in self.how.items() if how != "copied"}
        to_move = sum(size - self.from_here.get(d, 0) for d, size in self.sizes.items() if d not in skipped)
        return sum(got - self.from_here.get(d, 0) for d, got in self.got.items() if d not in skipped), to_move

    def speed(self) -> float:
        """Bytes a second over the last seconds."""
        now = time.monotonic()
        self.samples.append((now, self.moved))
        while len(self.samples) > 2 and self.samples[0][0] < now - _WINDOW:
            self.samples.pop(0)
        (first, before), (last, after) = self.samples[0], self.samples[-1]
        return (after - before) / (last - first) if last - first > 0.05 else 0.0

    # --- to be shown ---------------------------------------------------------------------------------

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, text: str) -> None:
        """A line that belongs to the progress, not to the data."""
        self.ctx.err(text)

    def show_planned(self, desc: Descriptor) -> None: ...
    def show_advanced(self, desc: Descriptor) -> None: ...
    def show_done(self, desc: Descriptor, how: str) -> None: ...


class PlainTally(Tally):
    """Docker's lines without a terminal. A push prepares every layer; a pull shows one when its bytes move."""

    def __init__(self, ctx: Context, words: Mapping[str, str]) -> None:
        super().__init__(ctx, words)
        self._begun: set[Digest] = set()

    def show_planned(self, desc: Descriptor) -> None:
        if self.words is not PULL:
            self._begin(desc)

    def show_advanced(self, desc: Descriptor) -> None:
        if _shown(desc):
            self._begin(desc)

    def resumed(self, desc: Descriptor, offset: int) -> None:
        super().resumed(desc, offset)
        if offset and _shown(desc):
            from boxwright.spec.units import human_size

            self.say(f"{desc.digest.short}: Resuming at {human_size(offset)} of {human_size(desc.size)}")

    def show_done(self, desc: Descriptor, how: str) -> None:
        if not _shown(desc) or (how == "exists" and self.unchanged and self.words is PULL):
            return
        if how != "exists":
            self._begin(desc)
        self.say(f"{desc.digest.short}: {self.words[how]}")

    def _begin(self, desc: Descriptor) -> None:
        if desc.digest not in self._begun:
            self._begun.add(desc.digest)
            self.say(f"{desc.digest.short}: {self.words['started']}")


class Json(Tally):
    """One JSON object a line: layers as they come on, and the total with each."""

    def __init__(self, ctx: Context, words: Mapping[str, str]) -> None:
        super().__init__(ctx, words)
        self._last: dict[Digest, float] = {}

    def say(self, text: str) -> None:
        self._write({"status": text})

    def show_planned(self, desc: Descriptor) -> None:
        self._write(
            {
                "id": desc.digest.short,
                "digest": str(desc.digest),
                "status": self.words["started"],
                "total": desc.size,
            }
        )

    def show_advanced(self, desc: Descriptor) -> None:
        now = time.monotonic()
        if now - self._last.get(desc.digest, 0) >= _INTERVAL:
            self._last[desc.digest] = now
            self._write(self._state(desc))

    def show_done(self, desc: Descriptor, how: str) -> None:
        self._write({**self._state(desc), "status": self.words[how]})

    def _state(self, desc: Descriptor) -> dict[str, Any]:
        moved, total = self.total()
        speed = self.speed()
        return {
            "id": desc.digest.short,
            "digest": str(desc.digest),
            "status": "Transferring",
            "current": self.got.get(desc.digest, 0),
            "total": self.sizes[desc.digest],
            "overall": {
                "current": moved,
                "total": total,
                "bytesPerSecond": round(speed),
                "secondsLeft": round((total - moved) / speed, 1) if speed else None,
            },
        }

    def _write(self, body: dict[str, Any]) -> None:
        import json

        sys.stderr.write(json.dumps(body, separators=(",", ":")) + "\n")
        sys.stderr.flush()


class TerminalTally(Tally):
    """A line a layer and the total below, from the first byte that moves."""

    def __init__(self, ctx: Context, words: Mapping[str, str]) -> None:
        super().__init__(ctx, words)
        self._screen: Screen | None = None
        self._ended = False

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self._ended = True
            screen, self._screen = self._screen, None
        if screen is not None:
            screen.stop()

    def say(self, text: str) -> None:
        with self.lock:
            if self._screen is not None:
                self._screen.above(text)
            else:
                self.ctx.err(text)

    def show_advanced(self, desc: Descriptor) -> None:
        if self._screen is None and not self._ended:
            from boxwright.cli.progress.screen import Screen

            self._screen = Screen(self.ctx, self._picture, self.lock)
            self._screen.start()

    def _picture(self, columns: int, room: int | None) -> list[str]:
        from boxwright.spec.units import human_size

        rows = [d for d in self.lines if self.how.get(d) != "exists"]
        active = [d for d in rows if d not in self.how or len(rows) < _LAYERS]
        shown = []
        for digest in active[: _LAYERS if room is None else min(_LAYERS, room - 1)]:
            size, got = self.sizes[digest], self.got.get(digest, 0)
            how = self.how.get(digest)
            state = self.words[how] if how else f"{human_size(got)}/{human_size(size)}"
            shown.append(
                self._row(
                    name=digest.short, done=size if how else got, total=size, state=state, columns=columns
                )
            )
        moved, total = self.total()
        speed = self.speed()
        left = f", {_clock((total - moved) / speed)} left" if speed and moved < total else ""
        share = f"{100 * moved / total:.0f} %" if total else ""
        text = f"{human_size(moved)}/{human_size(total)} {share} {human_size(speed)}/s{left}"
        return [*shown, self._row(name="total", done=moved, total=total, state=text, columns=columns)]

    def _row(self, name: str, done: int, total: int, state: str, columns: int) -> str:
        width = max(min(_BAR, columns - 32), 4)
        filled = width * min(done, total) // total if total else width
        head, tail = f"{name:<12} ", f" {state}"[: max(columns - width - 14, 0)]
        return (
            head
            + self.ctx.paint("━" * filled, "cyan")
            + self.ctx.paint("─" * (width - filled), "faint")
            + tail
        )


def _shown(desc: Descriptor) -> bool:
    """Configs are too small to be worth a line."""
    return (
        ".config." not in desc.media_type
        and ".container.image." not in desc.media_type
        and desc.media_type != "application/vnd.oci.empty.v1+json"
    )


def _clock(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return (
        f"{whole}s"
        if whole < 60
        else f"{whole // 60}m{whole % 60:02}s"
        if whole < 3600
        else f"{whole // 3600}h{whole % 3600 // 60:02}m"
    )
