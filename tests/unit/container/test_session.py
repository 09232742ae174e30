"""The client's end of a supervisor."""

from __future__ import annotations

import os

from boxwright.container.session import Session, wait_gone
from support.waiting import eventually


def test_a_closed_session_leaves_no_zombie() -> None:
    sessions = [Session.launch() for _ in range(3)]
    pids = [session.supervisor_pid for session in sessions]
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    for session in sessions:
        session.close()
    # A zombie has a directory under /proc until its parent took note of it.
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 20)


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    assert wait_gone(0) and wait_gone(2**22)
    assert not wait_gone(os.getpid(), 0.01)
