"""Fakes of the build: operations that run a Python callable, and a host without an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from boxwright.build.graph import BaseOp, Outcome, Selection, Tree, Vertex
from boxwright.build.step_locks import StepLocks
from boxwright.content.db import Database
from boxwright.spec.digest import DiffID


def diff(text: str) -> DiffID:
    """A diff ID that stands for this text."""
    return DiffID.of(text.encode())


@dataclass(frozen=True, slots=True)
class FakeOp(BaseOp):
    """Runs `work(inputs)`, which returns the name of the layer that it made."""

    kind: ClassVar[str] = "fake/1"

    name: str
    work: Callable[[Sequence[Tree]], str] = lambda inputs: "x"
    content: Callable[[], Mapping[str, str]] | None = None
    read: Any = "none"
    chosen: tuple[int, ...] = ()
    link: bool = False

    @property
    def reads(self) -> Any:
        return self.read

    @property
    def selects(self) -> tuple[int, ...]:
        return self.chosen

    @property
    def independent(self) -> bool:
        return self.link

    def definition(self) -> Mapping[str, object]:
        return {"name": self.name}


@dataclass(frozen=True, slots=True)
class FakeExecution:
    """Calls what the operation carries."""

    op: FakeOp
    host: FakeHost

    def select(self, inputs: Sequence[Tree]) -> Selection | None:
        if self.op.content is None:
            return None
        files = dict(self.op.content())
        return Selection("sha256:" + diff(repr(sorted(files.items()))).hex, files)

    def run(self, inputs: Sequence[Tree], selection: Selection | None) -> Outcome:
        layer = diff(self.op.work(inputs))
        self.host.publish(layer)
        return Outcome((layer,), 1)


class FakeHost:
    """Keeps rows in a real database, layers only as rows."""

    def __init__(self, root: Path) -> None:
        self.cancel = threading.Event()
        self.db = Database(root / "boxwright.db")
        self.held: set[DiffID] = set()
        self._step_locks = StepLocks(root)

    def publish(self, layer: DiffID) -> None:
        now = time.time()
        with self.db.write() as sql:
            sql.execute(
                "INSERT OR IGNORE INTO layers VALUES (?, 'tar', 0, 0, 0, ?, ?)", (str(layer), now, now)
            )

    def execution(self, vertex: Vertex) -> FakeExecution:
        assert isinstance(vertex.op, FakeOp)
        return FakeExecution(vertex.op, self)

    def hold(self, layers: Iterable[DiffID]) -> None:
        self.held |= set(layers)

    @contextmanager
    def exclusive(self, key: str) -> Iterator[bool]:
        with self._step_locks.exclusive(key, self.cancel) as waited:
            yield waited

    def stamp(self, seconds: float) -> str:
        return f"t{seconds:.6f}"

    def leave_thread(self) -> None:
        self.db.close()
