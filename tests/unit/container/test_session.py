"""The client's end of a supervisor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from boxwright.container.session import Session, wait_gone


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_closed_session_leaves_no_zombie() -> None:
    sessions = [Session.launch() for _ in range(3)]
    pids = [session.supervisor_pid for session in sessions]
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    for session in sessions:
        session.close()
    # A zombie has a directory under /proc until its parent took note of it.
    assert eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    assert wait_gone(0) and wait_gone(2**22)
    assert not wait_gone(os.getpid(), 0.01)
