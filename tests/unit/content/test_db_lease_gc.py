"""The database, leases and the collector's mark."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from boxwright.content.db import Database, StoreBusy, StoreDamaged
from boxwright.content.gc import mark
from boxwright.content.lease import Lease, drop_dead, held, in_use, process_alive, process_identity
from boxwright.files.disk import DiskFailing, DiskFull


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "boxwright.db")


def test_a_failed_transaction_leaves_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('v', 0, 0, '{}')")
        raise RuntimeError
    with db.read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (0,)


def test_writes_nest_into_one_transaction(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as sql:
        with db.write() as inner:
            inner.execute("INSERT INTO volumes VALUES ('v', 0, 0, '{}')")
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (1,)
        raise RuntimeError
    with db.read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (0,)


def test_a_commit_is_synced_unless_it_need_not_be_durable(db: Database) -> None:
    def level() -> int:
        with db.read() as sql:
            return int(sql.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    with db.write(durable=False), db.write(durable=False):
        assert level() == normal
    with db.write(), db.write(durable=False):
        assert level() == full
    with pytest.raises(AssertionError), db.write(durable=False), db.write():
        pass
    assert level() == full
    with Lease(db, "test"), db.write():
        assert level() == full
    with db.synced_later():
        with db.write(), db.write():
            assert level() == normal
        with db.synced_later():
            pass
        with db.write():
            assert level() == normal
    with db.write():
        assert level() == full


def test_a_connection_that_a_thread_leaves_is_the_next_ones(db: Database) -> None:
    seen: list[int] = []

    def work() -> None:
        with db.write() as sql:
            sql.execute("INSERT INTO volumes VALUES (?, 0, 0, '{}')", (f"v{len(seen)}",))
        seen.append(id(db.connection()))
        db.leave()

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(set(seen)) == 1
    assert db.connection().execute("SELECT count(*) FROM volumes").fetchone() == (3,)
    db.leave()
    assert db.connection().execute("SELECT count(*) FROM volumes").fetchone() == (3,)


def test_a_connection_in_the_middle_of_a_transaction_is_not_left_to_others(db: Database) -> None:
    connection = db.connection()
    connection.execute("BEGIN")
    db.leave()
    assert not db._idle
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_connections_do_not_cross_a_fork(db: Database) -> None:
    db.connection()
    db.leave()
    pid = os.fork()
    if not pid:
        os._exit(0 if db._left() is None else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_on_a_full_disk_what_is_read_is_a_copy_of_the_moment(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to look, and a long-lived reader sees what others write."""
    with db.write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('one', 0, 0, '{}')")
    full = {True}
    monkeypatch.setattr("boxwright.content.reserve.full", lambda path: bool(full))
    reader, before = Database(db.path), sorted(os.listdir(db.path.parent))

    def seen() -> list[str]:
        with reader.read() as sql:
            return [name for (name,) in sql.execute("SELECT name FROM volumes ORDER BY name")]

    assert seen() == ["one"] and sorted(os.listdir(db.path.parent)) == before
    with db.write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('two', 0, 0, '{}')")
    time.sleep(0.25)
    assert seen() == ["one", "two"]
    with pytest.raises(DiskFull), reader.write():
        pass
    full.clear()
    with reader.write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('three', 0, 0, '{}')")
    assert seen() == ["one", "three", "two"]
    with db.read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (3,)
    reader.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFailing),
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_READONLY, StoreBusy),
    ],
)
def test_what_sqlite_says_is_named(db: Database, code: int, kind: type[BaseException]) -> None:
    error = sqlite3.OperationalError("as SQLite words it")
    error.sqlite_errorcode = code
    with pytest.raises(kind, match=str(db.path)), db.write():
        raise error


def test_an_io_error_for_want_of_room_is_a_full_disk(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    with pytest.raises(DiskFull), db.write():
        monkeypatch.setattr("boxwright.content.reserve.full", lambda path: True)
        raise error


def test_what_was_closed_is_opened_again(db: Database) -> None:
    for _ in range(2):
        with db.read() as sql:
            assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (0,)
        db.close()
        db.close()


def test_a_wrong_statement_is_no_damage(db: Database) -> None:
    for _ in range(2):
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), db.write() as sql:
            for _ in range(2):
                sql.execute("INSERT INTO volumes VALUES ('one', 0, 0, '{}')")
    with db.read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (0,)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "boxwright.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreDamaged), Database(path).read() as sql:
        sql.execute("SELECT * FROM images")


@pytest.mark.parametrize(
    ("sound", "damaged"), [(b"tableleases", b"tablele\xffses"), (b"a-name", b"a\xffname")]
)
def test_a_damaged_text_is_told(tmp_path: Path, sound: bytes, damaged: bytes) -> None:
    path = tmp_path / "boxwright.db"
    database = Database(path)
    with database.write() as sql:
        sql.execute("CREATE TABLE extra (name TEXT)")
        sql.execute("INSERT INTO extra VALUES ('a-name')")
    database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert sound in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(sound, damaged))
    with pytest.raises(StoreDamaged), Database(path).read() as sql:
        sql.execute("SELECT name FROM extra").fetchall()


def test_many_processes_create_one_database(tmp_path: Path) -> None:
    path = tmp_path / "boxwright.db"
    code = "import sys; from pathlib import Path; from boxwright.content.db import Database; d = Database(Path(sys.argv[1]))\nwith d.write() as s: s.execute(\"INSERT INTO volumes VALUES (?, 0, 0, '')\", (sys.argv[2],))"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(6)]
    assert [c.wait(30) for c in children] == [0] * 6
    with Database(path).read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (6,)


def test_a_process_has_one_identity() -> None:
    assert process_alive(process_identity())
    assert not process_alive("")
    assert not process_alive(process_identity().rpartition(":")[0] + ":1")
    child = subprocess.Popen(["sleep", "60"])
    identity = process_identity(child.pid)
    assert process_alive(identity)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_alive(identity)  # ended, although its parent has not asked for its status yet
    child.wait()
    assert not process_alive(identity)


def test_a_lease_holds_until_its_block_ends(db: Database) -> None:
    with Lease(db, "test") as lease:
        lease.hold("layer", "sha256:1", "sha256:2")
        lease.hold("layer", "sha256:1")
        assert held(db, "layer") == {"sha256:1", "sha256:2"}
        assert drop_dead(db) == []
        assert held(db, "layer") == in_use(db, "layer")
    assert held(db, "layer") == set()


def test_a_lease_that_cannot_end_ends_with_its_process(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full by then does not take back what the work under it came to."""
    with Lease(db, "test") as lease:
        lease.hold("blob", "sha256:a")
        with monkeypatch.context() as full:
            full.setattr(Database, "write", Full.write)
            lease.release()
            with pytest.raises(DiskFull):
                lease.hold("blob", "sha256:b")
    assert not held(db, "blob")


class Full:
    """A database on a disk that takes no more."""

    def write(self, *, durable: bool = True) -> None:
        raise DiskFull("no space left")


def test_a_killed_owners_lease_ends_and_its_workspaces_are_told(db: Database, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from boxwright.content.db import Database; from boxwright.content.lease import Lease\n"
        "lease = Lease(Database(Path(sys.argv[1])), 'test'); lease.hold('workspace', 'w1'); lease.hold('blob', 'b1'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(db.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    assert drop_dead(db) == []
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert held(db, "blob") == {"b1"} and in_use(db, "blob") == set()
    assert drop_dead(db) == ["w1"]
    assert held(db, "blob") == set()


def test_an_expiring_lease_outlives_its_owner_and_then_ends(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(db, "test", seconds=60)
    lease.hold("blob", "b")
    assert drop_dead(db) == []
    assert held(db, "blob") == {"b"}
    later = time.time() + 61
    monkeypatch.setattr("boxwright.content.lease.time.time", lambda: later)
    drop_dead(db)
    assert held(db, "blob") == set()


def test_mark() -> None:
    graph = {1: [2, 3], 2: [4], 3: [4], 4: [1], 5: [6], 6: []}
    assert mark([1], graph.__getitem__) == {1, 2, 3, 4}
    assert mark([5, 6], graph.__getitem__) == {5, 6}
    assert mark([], graph.__getitem__) == set()


def test_several_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Switching to WAL is refused at once while another does it: without another try, 1 to 5 rounds in 100 fail."""
    import threading

    failures: list[BaseException] = []

    def use(path: Path, name: str) -> None:
        try:
            with Database(path).write() as sql:
                sql.execute("INSERT INTO volumes VALUES (?, 0, 0, '{}')", (name,))
        except BaseException as error:
            failures.append(error)

    for attempt in range(100):
        threads = [
            threading.Thread(target=use, args=(tmp_path / f"{attempt}.db", str(name))) for name in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
