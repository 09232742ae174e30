"""`Engine.run`: what is made, fed and thrown away, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.container import foreground, frames
from boxwright.container.config import ContainerConfig


class Talk:
    """A session that answers with some output and exit code 3."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("closed")

    def converse(self, data: bytes | None, output: dict[int, list[bytes]]) -> int:
        self.done.append(f"fed {data!r}")
        output[frames.STDOUT] += [b"a", b"b"]
        output[frames.STDERR] += [b"e"]
        return 3

    def send(self, kind: int) -> None:
        self.done.append("told of the removal" if kind == frames.REMOVED else "?")

    def drain(self) -> None:
        pass


class Few:
    """Containers that note what is asked of them."""

    def __init__(self, done: list[str], fails: bool = False) -> None:
        self.done, self.fails = done, fails
        self.config: ContainerConfig | None = None
        self.wants = 0

    def create(self, config: ContainerConfig) -> str:
        self.config = config
        self.done.append("created")
        return "box"

    def start(self, container: str, *, session: Talk, wants: int) -> None:
        self.wants = wants
        if self.fails:
            raise ValueError("no such program")
        self.done.append("started")

    def discard(self, container: str) -> None:
        self.done.append("discarded")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(foreground.Session, "launch", lambda: Talk(done))
    return done


def run(few: Few, input: bytes | None = None, **more: Any) -> foreground.Finished:
    return foreground.run(few, ContainerConfig(image="i", **more), input=input)  # type: ignore[arg-type]


def test_output_and_code_are_returned(done: list[str]) -> None:
    few = Few(done)
    assert run(few) == (3, b"ab", b"e")
    assert done == ["created", "started", "fed None", "closed"]
    assert few.config is not None and few.config.attach == ("stdout", "stderr") and not few.config.stdin
    assert not few.wants & frames.WANT_STDIN


def test_input_opens_its_stream(done: list[str]) -> None:
    few = Few(done)
    run(few, b"x")
    assert few.config is not None and few.config.stdin and "stdin" in few.config.attach
    assert few.wants & frames.WANT_STDIN and "fed b'x'" in done


def test_nothing_of_one_that_removes_itself_stays(done: list[str]) -> None:
    run(Few(done), auto_remove=True)
    assert done[-3:] == ["discarded", "told of the removal", "closed"]


@pytest.mark.parametrize("auto_remove", [True, False])
def test_one_that_does_not_start_is_kept_unless_it_removes_itself(done: list[str], auto_remove: bool) -> None:
    with pytest.raises(ValueError, match="no such program"):
        run(Few(done, fails=True), auto_remove=auto_remove)
    assert ("discarded" in done) == auto_remove and done[-1] == "closed"
