"""What builds leave in the history: their record, their whole log, and no password."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build.metadata import metadata
from boxwright.build.ops.context import Secret
from boxwright.build.options import outputs
from boxwright.build.progress import BuildWarning, StepDone, StepFailure, StepLog, StepStarted, StepStatus
from boxwright.build.recording import Recording
from boxwright.build.request import BuildFailed
from boxwright.errors import BoxwrightError, NotFound
from boxwright.files.disk import DiskFull
from boxwright.image.builds import BuildRecord, BuildRecords
from support.registry import running
from support.web import Reply, answering

TEXT = b"FROM scratch\nARG V\nLABEL l=$V\nCOPY f /f\n"
MARKER = "MARKER3fa9"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "f").write_text("f")
    return folder


def test_a_build_and_its_record(engine: Engine, context: Path) -> None:
    result = engine.build(
        context=context, dockerfile_data=TEXT, tags=("app:1",), build_args={"V": "2"}, labels={"a": "b"}
    )
    record = engine.builds.get()
    assert (record.id, record.status, record.name) == (result.ref, "completed", "context")
    assert record.total == record.completed == 4 and record.cached == 0 and record.ended > record.started
    assert record.details["context"] == str(context) and record.details["dockerfile"] == "-"
    assert record.details["arguments"] == {"build-arg:V": "2", "label:a": "b"}
    (output,) = record.details["outputs"]
    assert output["names"] == ["docker.io/library/app:1"] and output["descriptor"]["digest"] == result.target
    kinds = [event["kind"] for event in engine.builds.logs()]
    assert kinds.count("started") == kinds.count("done") == 4
    (attached,) = engine.builds.attachments()
    assert str(attached.descriptor.digest) == result.target
    engine.build(context=context, dockerfile_data=TEXT, build_args={"V": "2"})
    assert engine.builds.get().cached == 1 and engine.builds.get("^1") == record
    assert list(engine.builds.remove(record.ref)) == [record.id] and len(engine.builds.list()) == 1
    assert engine.images.inspect("app:1")


def test_a_build_that_fails(engine: Engine, context: Path) -> None:
    with pytest.raises(BuildFailed):
        engine.build(context=context, dockerfile_data=b"FROM scratch\nCOPY none /\n")
    record = engine.builds.get()
    assert record.status == "error" and '"/none": not found' in record.details["error"]["message"]
    assert "COPY none /" in record.details["error"]["sources"]
    with pytest.raises(BuildFailed):
        engine.build(context=context, dockerfile_data=b"FORM scratch\n")
    assert engine.builds.get().status == "error" and engine.builds.get().details["error"]["sources"]


def test_a_question_is_no_build(engine: Engine, context: Path) -> None:
    engine.build(context=context, dockerfile_data=TEXT, call="check")
    assert engine.builds.list() == []


def test_the_log_is_whole(engine: Engine) -> None:
    """Bytes of any kind, more than anything keeps in memory."""
    records = BuildRecords(engine.root, engine.services.db)
    recording = Recording(records, BuildRecord(id="x", started=1.0), lambda event: None)
    recording.add(StepStarted("s", "[1/1] RUN x"))
    said = [b"line\n" * 300_000, b"\xff\x00\x1b[31m\r\n", "ü".encode() * 3, b"no end"]
    for data in said:
        recording.add(StepLog(step="s", stream=1, data=data, at=0.5))
    recording.add(StepStatus(step="s", id="half", current=1, total=2))
    recording.add(StepFailure("s", "it failed"))
    recording.finish({}, BoxwrightError("it failed"))
    recording.add(StepDone("s", 1.0))  # of a thread that is late
    events = list(records.events("x"))
    kept = "".join(event["data"] for event in events if event["kind"] == "log")
    assert kept.encode("utf-8", "surrogateescape") == b"".join(said)
    assert [event["kind"] for event in events] == ["started", "log", "log", "log", "log", "failed"]
    record = records.get("x")
    assert (record.status, record.total, record.completed) == ("error", 1, 1)


def test_a_full_disk_ends_the_log_and_not_the_build(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: BuildRecords, identity: str) -> int:
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(BuildRecords, "open_log", full)
    told: list[str] = []
    engine.build(context=context, dockerfile_data=TEXT, progress=heard(told))
    record = engine.builds.get()
    assert record.status == "completed" and record.details["log"] == "cut: the disk took no more"
    assert told == ["the log of this build is cut: the disk took no more"]


def heard(told: list[str]) -> Callable[[object], None]:
    """Takes the warnings out of what a build tells."""
    return lambda event: told.append(event.message) if isinstance(event, BuildWarning) else None


@pytest.mark.parametrize("when", ["begin", "finish"])
@pytest.mark.parametrize("text, error", [(TEXT, None), (b"FROM scratch\nCOPY none /\n", NotFound)])
def test_a_record_that_the_disk_does_not_take_changes_no_result(
    engine: Engine,
    context: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    text: bytes,
    error: type[BoxwrightError] | None,
) -> None:
    def full(self: BuildRecords, record: BuildRecord, *, durable: bool = True) -> None:
        raise DiskFull("no space left")

    monkeypatch.setattr(BuildRecords, when, full)
    told: list[str] = []
    if error is None:
        engine.build(context=context, dockerfile_data=text, tags=("kept",), progress=heard(told))
        assert engine.images.get("kept")
    else:
        with pytest.raises(BuildFailed) as raised:
            engine.build(context=context, dockerfile_data=text, progress=heard(told))
        assert isinstance(raised.value.cause, error)
    assert told == ["the history lacks this build, or its end: no space left"]


def test_builds_at_once_have_records_of_their_own(engine: Engine, context: Path) -> None:
    def one(number: int) -> None:
        engine.build(context=context, dockerfile_data=TEXT, build_args={"V": str(number)})
        engine.services.db.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = engine.builds.list()
    assert [one.status for one in found] == ["completed"] * 4
    assert {one.details["arguments"]["build-arg:V"] for one in found} == {"0", "1", "2", "3"}
    for record in found:
        assert sum(event["kind"] == "started" for event in engine.builds.logs(record.id)) == record.total


KILLED = """
import os, signal, sys
from pathlib import Path
from boxwright import Engine

def heard(event):
    if type(event).__name__ == sys.argv[3] and "exporting" in getattr(event, "name", "exporting"):
        os.kill(os.getpid(), signal.SIGKILL)

Engine(sys.argv[1]).build(context=Path(sys.argv[2]), dockerfile_data=b"FROM scratch\\nCOPY f /f\\n", progress=heard)
"""


@pytest.mark.parametrize("event", ["StepStarted", "StepDone"])
def test_a_build_that_is_killed_was_interrupted(engine: Engine, context: Path, event: str) -> None:
    words = [sys.executable, "-c", KILLED, str(engine.root), str(context), event]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    record = engine.builds.get()
    assert (record.status, record.ended) == ("interrupted", 0.0)
    assert next(iter(engine.builds.logs()))["kind"] == "started"
    engine.builds.prune(everything=True)
    assert engine.builds.list() == []


# --- passwords ---------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[str]:
    with answering(lambda asked: Reply(b"f") if asked.path == "/f" else Reply(status=404)) as site:
        yield site.host


def everything_in(root: Path) -> bytes:
    """The store's files, the database's log too."""
    return b"\0".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_no_password_is_anywhere(engine: Engine, context: Path, server: str, tmp_path: Path) -> None:
    """Of URLs in the Dockerfile, in arguments, of the context and of proxies, and of secrets: neither in the store, its
    records, logs and images, nor in what was pushed with everything that can be said of it."""
    (tmp_path / "secret").write_text(MARKER)
    account = f"me:{MARKER}@"
    text = f"FROM scratch\nARG V\nADD http://{account}{server}/f /g\nCOPY f /f\n".encode()
    more: dict[str, Any] = {
        "build_args": {
            "HTTP_PROXY": f"http://{account}proxy:1",
            "no_proxy": "127.0.0.1",
            "V": f"http://{account}h/",
        },
        "secrets": (
            Secret("file", path=tmp_path / "secret"),
            Secret("HTTP_AUTH_TOKEN", value=MARKER.encode()),
            Secret("GIT_AUTH_TOKEN", value=MARKER.encode()),
        ),
    }
    with running() as registry:
        engine.build(
            context=context,
            dockerfile_data=text,
            outputs=outputs(["type=registry", f"{tmp_path}/out"]),
            tags=(f"{registry.host}/lib/app:1",),
            provenance="mode=max",
            sbom=True,
            **more,
        )
        pushed = [
            *registry.blobs["lib/app"].values(),
            *(raw for _, raw in registry.manifests["lib/app"].values()),
        ]
        assert len(pushed) > 5 and not any(MARKER.encode() in raw for raw in pushed)
    said = (tmp_path / "out/provenance.json").read_text()
    assert MARKER not in said and f"http://{server}/f" in said
    for remote in (f"http://{account}{server}/x.git", f"http://{account}{server}/none.tar"):
        with pytest.raises(BoxwrightError):
            engine.build(remote)
    with pytest.raises(BoxwrightError):
        engine.build(
            context=context, dockerfile_data=f"FROM scratch\nADD http://{account}{server}/none /\n".encode()
        )
    assert len(engine.builds.list()) == 4
    engine.services.db.close()
    found = everything_in(engine.root)
    assert MARKER.encode() not in found and server.encode() in found
    assert MARKER not in json.dumps([dict(e) for r in engine.builds.list() for e in engine.builds.logs(r.id)])


def test_a_build_that_runs_nothing_waits_for_no_disk(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record could go with a power cut, and its steps that always end (the definition, the export) are ours."""
    synced: list[int] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(fd)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)

    def build(**more: Any) -> bool:
        """Whether the record was made durable."""
        durable: list[bool] = []
        finish = BuildRecords.finish

        def finished(
            records: BuildRecords, record: BuildRecord, *, durable_is: list[bool] = durable, **how: Any
        ) -> None:
            durable_is.append(how["durable"])
            finish(records, record, **how)

        with monkeypatch.context() as patch:
            patch.setattr(BuildRecords, "finish", finished)
            engine.build(context=context, dockerfile_data=TEXT, tags=("app:1",), **more)
        return durable == [True]

    assert build() and synced
    synced.clear()
    assert not build() and not synced
    assert build(no_cache=True) and synced
    assert [record.status for record in engine.builds.list()] == ["completed"] * 3


def opened(value: Any) -> str:
    """All text of a JSON value, what is in base64 too."""
    if isinstance(value, Mapping):
        return "\n".join(map(opened, value.values()))
    if isinstance(value, (list, tuple)):
        return "\n".join(map(opened, value))
    with suppress(ValueError):
        return f"{value}\n" + base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
    return str(value)


def test_no_password_of_the_dockerfile_is_in_what_is_told_of_it(
    engine: Engine, context: Path, server: str
) -> None:
    """Neither in warnings, their lines and the metadata file, nor in answers and errors."""
    url = f"http://me:{MARKER}@{server}"
    text = f"FROM scratch as x\nARG V={url}/\nADD {url}/f /g\n"
    heard: list[Any] = []
    result = engine.build(context=context, dockerfile_data=text.encode(), progress=heard.append)
    assert [w.rule for w in result.warnings] == ["FromAsCasing"]
    told = [
        opened(metadata(result, warnings=True)),
        *(w.excerpt for w in result.warnings),
        *(
            opened(engine.build(context=context, dockerfile_data=text.encode(), call=call).answer.data)
            for call in ("check", "outline", "targets")
        ),
        opened(
            engine.build(
                context=context, dockerfile_data=f"{text}NOTHING {url}\n".encode(), call="check"
            ).answer.data
        ),
    ]
    for wrong in (f"{text}NOTHING {url}\n", f"{text}ADD {url}/none /x\n"):
        with pytest.raises(BuildFailed) as failed:
            engine.build(context=context, dockerfile_data=wrong.encode())
        told.append(failed.value.render())
    for one in told:
        assert server in one and MARKER not in one, one
    assert MARKER not in repr(heard)
