"""Locks between processes: that they exclude, end with their descriptor, and are waited for in one order."""

from __future__ import annotations

import errno
import re
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.files import locks
from boxwright.files.locks import Held, Lock, Rank
from support.descriptors import none_left_open

DOCS = Path(__file__).parents[3] / "docs" / "architecture.md"


def test_one_has_it_and_those_who_share_have_it_together(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with ExitStack() as shared:
        for _ in range(2):
            shared.enter_context(Lock.at(locks.STORE, path, shared=True))
        with pytest.raises(BlockingIOError):
            Lock.at(locks.STORE, path, wait=False)
    with Lock.at(locks.STORE, path, wait=False) as lock:
        assert lock.is_at(path)
        path.unlink()
        assert not lock.is_at(path)
    assert lock.fd == -1
    lock.close()


def test_a_directory_is_locked_by_itself(tmp_path: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with Lock.on(tmp_path):
            order.append("other")

    with Lock.on(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"] and not list(tmp_path.iterdir())


def test_where_directories_cannot_be_locked_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.EBADF, "as NFS says of what is not open for writing")

    monkeypatch.setattr("fcntl.flock", refuse)
    with none_left_open(), Lock.on(tmp_path), pytest.raises(AssertionError):  # the order holds all the same
        Held(locks.STORE)
    Held(locks.STORE).release()
    with pytest.raises(NotADirectoryError):
        Lock.on(__file__)


@pytest.mark.parametrize("first", range(len(locks.ORDER)))
def test_what_comes_earlier_is_not_waited_for(first: int, tmp_path: Path) -> None:
    rank = locks.ORDER[first]
    with none_left_open(), Lock.at(rank, tmp_path / "first"):
        for later in locks.ORDER[first + 1 :]:
            Lock.at(later, tmp_path / "second").close()
        for earlier in locks.ORDER[: first if rank.nests else first + 1]:
            for polled in (True, False):
                with pytest.raises(AssertionError, match=r"is waited for with \[the lock "):
                    Lock.at(earlier, tmp_path / "second", wait=not polled, polled=polled)
            Lock.at(earlier, tmp_path / "second", wait=False).close()
    Lock.at(locks.ORDER[0], tmp_path / "first").close()  # and nothing is held any more


def test_the_order_is_kept_for_each_thread_and_ended_by_any(tmp_path: Path) -> None:
    lock = Lock.at(locks.INDEX, tmp_path / "lock")
    taken = threading.Event()

    def other() -> None:
        Lock.at(locks.STORE, tmp_path / "other").close()
        lock.close()
        taken.set()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert taken.is_set()
    Lock.at(locks.STORE, tmp_path / "other").close()


def test_the_store_and_its_database_are_in_the_order(tmp_path: Path) -> None:
    store, database = LocalStore(tmp_path), Database(tmp_path / "boxwright.db")
    with store.committing(), store.committing(), database.write(), database.write():
        pass
    with database.write(), pytest.raises(AssertionError), store.committing():
        pass
    with store.committing(), pytest.raises(AssertionError), store.sweeping():
        pass
    with store.sweeping(), ExitStack() as stack:
        stack.callback(Held(locks.MOUNTS).release)


def test_the_documented_order_is_this_one() -> None:
    text = DOCS.read_text()
    rows = re.findall(r"^\d+\. `([^`]+)`: (.*?)(?=\n\d+\. |\n\n)", text, re.M | re.S)
    assert [(files, " ".join(what.split())) for files, what in rows] == [
        (rank.files, rank.guards) for rank in locks.ORDER
    ]


def test_every_rank_is_in_the_order() -> None:
    ranks = {rank for rank in vars(locks).values() if isinstance(rank, Rank)}
    assert ranks == set(locks.ORDER)
    assert [rank.number for rank in locks.ORDER] == list(range(len(locks.ORDER)))
