"""Hostile and unlucky requests, a worker killed under load, a full disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.registry.server.config import RegistryConfig
from boxwright.registry.server.store.blobs import FileBlobs
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.fsck import check
from support import REAL_ROOT
from support.peers import free_port
from support.server import Client, serving
from support.waiting import eventually
from support.web import Asked, Reply, answering

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TRICKS = (
    "..",
    "%2e%2e",
    "..%2f..%2fetc",
    ".",
    "a/../b",
    "A",
    "a//b",
    "%00",
    "a%00b",
    "\\..\\",
    "a" * 300,
    "a" + "/b" * 200,
    "é",
    "%ff",
    "sha256:",
    "sha256:../../x",
    "sha256:" + "0" * 63,
    "sha256:" + "g" * 64,
    "sha512:" + "0" * 64,
    "md5:" + "0" * 32,
    "latest",
    "_upload",
    "uploads",
    "-",
    "a b",
    "a?b",
    "#",
    "%",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with serving(tmp_path_factory.mktemp("faults") / "reg") as served:
        yield served


def raw(client: Client, data: bytes, *, end: bool = False) -> bytes:
    host, port = client.host.split(":")
    with socket.create_connection((host, int(port)), 15) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        while piece := sock.recv(65536):
            got += piece
        return got


part = st.one_of(
    st.sampled_from(TRICKS),
    st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?", fullmatch=True),
    st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)
PATHS = (
    "/v2/{}/manifests/{}",
    "/v2/{}/blobs/{}",
    "/v2/{}/blobs/uploads/{}",
    "/v2/{}/tags/list?n={}",
    "/v2/{}/referrers/{}",
    "/v2/_catalog?n={}&last={}",
    "/{}/{}",
    "/v2/{}/{}",
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW")),
    st.sampled_from(PATHS),
    part,
    part,
    st.dictionaries(
        st.sampled_from(
            ("Range", "Content-Range", "Content-Type", "Authorization", "If-None-Match", "Accept")
        ),
        st.sampled_from(
            (
                "bytes=0-",
                "bytes=9-1",
                "5-1",
                "0-99999999999999999999",
                "Basic x",
                "Bearer a.b.c",
                "",
                "*/*",
                "é",
                MANIFEST,
            )
        ),
    ),
    st.sampled_from((b"", b"{", b"{}", b"[]", b'{"schemaVersion":2}', b"\xff" * 10, b"[" * 100_000)),
)
def test_any_request_gets_an_answer_that_is_no_accident(
    client: Client, method: str, path: str, one: str, two: str, headers: dict[str, str], body: bytes
) -> None:
    target = path.format(one, two).encode("latin-1", "replace").replace(b" ", b"%20").replace(b"#", b"%23")
    lines = b"".join(f"{k}: {v}\r\n".encode("latin-1") for k, v in headers.items())
    answer = raw(
        client,
        method.encode()
        + b" "
        + target
        + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + lines
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body,
    )
    status = int(answer.split(b" ", 2)[1])
    assert status < 500, answer
    if status >= 400 and target.startswith(b"/v2/") and method != "HEAD" and b"application/json" in answer:
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]
        assert error["code"].isupper() and error["message"]


def test_nothing_outside_of_the_storage(client: Client) -> None:
    (client.service.blobs.root.parent / "secret").write_text("secret")
    for name in ("..", "../secret", "%2e%2e/secret", "..%2fsecret", "a/../../secret"):
        for path in (
            f"/v2/{name}",
            f"/v2/a/blobs/{name}",
            f"/v2/a/blobs/uploads/{name}",
            f"/v2/a/blobs/sha256:{name}",
            f"/{name}",
        ):
            answer = raw(client, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert int(answer.split(b" ", 2)[1]) in (400, 404, 405) and b"\r\n\r\nsecret" not in answer


def test_lying_lengths(client: Client) -> None:
    location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
    digest = "sha256:" + hashlib.sha256(b"abc").hexdigest()
    raw(
        client,
        f"PUT {location}?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc".encode(),
        end=True,
    )
    assert client("HEAD", f"/v2/a/x/blobs/{digest}").status == 404, (
        "half a body is no blob, even if its digest fits"
    )
    for value in ("-1", "x", "99999999999999999999999"):
        assert (
            b" 400 "
            in raw(
                client, f"PUT {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {value}\r\n\r\nabc".encode()
            )[:20]
        )
    assert (
        b" 413 "
        in raw(client, b"PUT /v2/a/x/manifests/t HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{")[
            :20
        ]
    )
    answer = raw(
        client,
        f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\nabc".encode(),
    )
    assert b" 400 " in answer[:20] or b" 202 " not in answer


def test_a_cancelled_upload_stores_nothing(client: Client) -> None:
    """DELETE while the last PUT is under way: no zeros under a good digest."""
    data = os.urandom(2_000_000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    for _ in range(5):
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        statuses: list[int] = []
        thread = threading.Thread(
            target=lambda at=location, out=statuses: out.append(
                client("PUT", f"{at}?digest={digest}", data).status
            )
        )
        thread.start()
        time.sleep(0.01)
        client("DELETE", location)
        thread.join()
        got = client("GET", f"/v2/a/x/blobs/{digest}")
        assert got.status == 404 or got.body == data
        assert statuses[0] in (201, 404)


class Served:
    """`boxwright registry serve` as processes."""

    def __init__(self, storage: Path, *options: str) -> None:
        self.host = f"127.0.0.1:{free_port()}"
        self.log = storage.with_name(storage.name + ".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "boxwright",
                    "registry",
                    "serve",
                    "--addr",
                    self.host,
                    "--storage",
                    str(storage),
                    "--workers",
                    "2",
                    *options,
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 30
        while not answers(self.host):
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def workers(self) -> list[int]:
        return [
            int(p)
            for p in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(40) == 0


def test_a_killed_server_leaves_nothing_that_the_next_does_not_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    served = Served(tmp_path / "reg")
    workers = served.workers()
    served.process.kill()
    served.process.wait()
    eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    left = list((tmp_path / "reg/metrics").iterdir())
    assert len(left) == 1 and not any((tmp_path / "tmp").iterdir())
    served = Served(tmp_path / "reg")
    try:
        assert len(list((tmp_path / "reg/metrics").iterdir())) == 1 and not left[0].exists()
        assert Client(served.host)("GET", "/metrics").status == 200
    finally:
        served.stop()
    assert not any((tmp_path / "reg/metrics").iterdir())


def test_kill_workers_under_load(tmp_path: Path) -> None:
    """What was acknowledged is there afterwards, byte for byte, whichever process died when."""
    served = Served(tmp_path / "reg")
    client, acknowledged, stop = Client(served.host), {}, threading.Event()

    def pusher(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            data = f"{number} {turn} ".encode() * 5000
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            body = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": {"mediaType": "application/x", "digest": digest, "size": len(data)},
                    "layers": [],
                }
            ).encode()
            try:
                answer = client("POST", f"/v2/p{number}/x/blobs/uploads/?digest={digest}", data)
                if (
                    answer.status == 201
                    and client.push_manifest(f"p{number}/x", f"t{turn}", body).status == 201
                ):
                    acknowledged[f"p{number}/x", f"t{turn}"] = (digest, data)
            except (OSError, http.client.HTTPException):
                continue

    threads = [threading.Thread(target=pusher, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    killed = 0
    for _ in range(6):
        time.sleep(0.7)
        for worker in served.workers()[:1]:
            os.kill(worker, signal.SIGKILL)
            killed += 1
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert killed == 6 and len(acknowledged) > 10
    for (name, tag), (digest, data) in acknowledged.items():
        assert json.loads(client("GET", f"/v2/{name}/manifests/{tag}").body)["config"]["digest"] == digest
        assert client("GET", f"/v2/{name}/blobs/{digest}").body == data
    served.stop()
    assert (
        list(
            check(
                RegistryConfig(storage=tmp_path / "reg"),
                RegistryCatalog(tmp_path / "reg/registry.db"),
                FileBlobs(tmp_path / "reg"),
            )
        )
        == []
    )


def test_a_worker_dies_within_an_upload(tmp_path: Path) -> None:
    """What was acknowledged of it counts, what was under way is sent again, to whichever worker comes."""
    served = Served(tmp_path / "reg")
    client = Client(served.host)
    data = os.urandom(9_000_000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    try:
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, data[:3_000_000]).headers["Range"] == "0-2999999"
        host, port = served.host.split(":")
        with socket.create_connection((host, int(port)), 15) as sock:
            sock.sendall(
                f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n".encode()
                + data[3_000_000:8_000_000]
            )
            eventually(
                lambda: (tmp_path / "reg/uploads" / location.rpartition("/")[2]).stat().st_size > 4_000_000,
                30,
            )
            for worker in served.workers():
                os.kill(worker, signal.SIGKILL)
            with suppress(ConnectionError):
                assert sock.recv(1) == b""
        eventually(lambda: answers(served.host), 30)
        assert client("GET", location).headers["Range"] == "0-2999999"
        assert (
            client(
                "PUT",
                f"{location}?digest={digest}",
                data[3_000_000:],
                Content_Range=f"3000000-{len(data) - 1}",
            ).status
            == 201
        )
        assert client("GET", f"/v2/a/x/blobs/{digest}").body == data
    finally:
        served.stop()


def answers(host: str) -> bool:
    try:
        return Client(host)("GET", "/readyz").status == 200
    except OSError:
        return False


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """Else they would hold the address, and the administrator who starts the registry again could not."""
    served = Served(tmp_path / "reg")
    workers = served.workers()
    assert len(workers) == 2
    served.process.kill()
    served.process.wait()
    eventually(lambda: not any(_runs(worker) for worker in workers), 30)


def _runs(pid: int) -> bool:
    """A zombie does not: in a container, no init process may reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pushed(folder: Path, port: int) -> tuple[Served, Path, list[str]]:
    """A registry that tells the port of pushes, five of which were acknowledged."""
    config = folder / "registry.toml"
    config.write_text(f'[[webhook]]\nurl = "http://127.0.0.1:{port}/"\nevents = ["push"]\n')
    served = Served(folder / "reg", "--config", str(config))
    client = Client(served.host)
    digest = client.push_blob("a/x", b"layer")
    body = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/x", "digest": digest, "size": 5},
        "layers": [],
    }
    tags = [f"t{n}" for n in range(5)]
    assert [client.push_manifest("a/x", tag, body).status for tag in tags] == [201] * 5
    return served, config, tags


def kill_all(served: Served) -> None:
    for process in (*served.workers(), served.process.pid):
        os.kill(process, signal.SIGKILL)
    served.process.wait()


def test_an_event_outlives_kills(tmp_path: Path) -> None:
    """What was acknowledged while no receiver listened is told after everything was killed, in order."""
    port = free_port()
    served, config, tags = pushed(tmp_path, port)
    kill_all(served)
    with listening(port) as (got, answer):
        answer.set()
        served = Served(tmp_path / "reg", "--config", str(config))
        try:
            eventually(lambda: [e["target"]["tag"] for e in got] == tags, 60)
        finally:
            served.stop()


def test_an_event_that_was_half_told_is_told_again(tmp_path: Path) -> None:
    port = free_port()
    with listening(port) as (got, answer):
        served, config, tags = pushed(tmp_path, port)
        eventually(lambda: len(got) == 1, 30)  # it came; that it did is not said
        kill_all(served)
        answer.set()
        served = Served(tmp_path / "reg", "--config", str(config))
        try:
            eventually(lambda: [e["target"]["tag"] for e in got] == ["t0", *tags], 60)
            assert got[0]["id"] == got[1]["id"], "told twice, it is the same event"
        finally:
            served.stop()


@contextmanager
def listening(port: int) -> Iterator[tuple[list[dict[str, Any]], threading.Event]]:
    """A receiver of events that keeps its answers back until it is told to give them."""
    got: list[dict[str, Any]] = []
    answer = threading.Event()

    def take(asked: Asked) -> Reply:
        got.extend(json.loads(asked.body)["events"])
        answer.wait(60)
        return Reply()

    with answering(take, port):
        try:
            yield got, answer
        finally:
            answer.set()


def test_an_upload_survives_a_restart(tmp_path: Path) -> None:
    served = Served(tmp_path / "reg")
    data = os.urandom(3_000_000)
    location = Client(served.host)("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
    assert Client(served.host)("PATCH", location, data[:2_000_000]).status == 202
    served.stop()
    served = Served(tmp_path / "reg")
    try:
        client = Client(served.host)
        assert client("GET", location).headers["Range"] == "0-1999999"
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        assert (
            client(
                "PUT", f"{location}?digest={digest}", data[2_000_000:], Content_Range="2000000-2999999"
            ).status
            == 201
        )
        assert client("GET", f"/v2/a/x/blobs/{digest}").body == data
    finally:
        served.stop()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    if not REAL_ROOT:
        pytest.skip("needs root: mounts a small file system")
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.rooted
def test_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "6m") as storage, serving(storage) as client:
        small = client.push_blob("a/x", b"small")
        data = os.urandom(8_000_000)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        answer = client("PUT", f"{location}?digest={digest}", data)
        assert (answer.status, answer.code) == (503, "UNAVAILABLE") and "full" in answer.json["errors"][0][
            "message"
        ]
        assert client("HEAD", f"/v2/a/x/blobs/{digest}").status == 404
        assert client("GET", f"/v2/a/x/blobs/{small}").body == b"small", "reading goes on"
        assert client("DELETE", location).status == 204
        assert (
            client(
                "POST",
                f"/v2/a/x/blobs/uploads/?digest={'sha256:' + hashlib.sha256(b'again').hexdigest()}",
                b"again",
            ).status
            == 201
        )


@pytest.mark.rooted
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """Everything is on it, the access log too: nothing acknowledged is lost, reading and searching go on, what is
    deleted makes room, and the server ends as it should."""
    with small_disk(tmp_path / "small", "16m") as storage:
        config = tmp_path / "registry.toml"
        config.write_text(f'access-log = "{storage}/log"\n[housekeeping]\ngrace = 0\n')
        served = Served(storage, "--config", str(config))
        client, there, refused = Client(served.host), {}, 0
        try:
            while refused < 20:
                data = os.urandom(700_000 if not refused else 20_000)
                digest = "sha256:" + hashlib.sha256(data).hexdigest()
                answer = client("POST", f"/v2/a/x/blobs/uploads/?digest={digest}", data)
                assert answer.status == 201 or (answer.status, answer.code) == (503, "UNAVAILABLE"), answer
                body = {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": {"mediaType": "application/x", "digest": digest, "size": len(data)},
                    "layers": [],
                }
                if (
                    answer.status == 201
                    and client.push_manifest("a/x", tag := f"t{len(there)}", body).status == 201
                ):
                    there[tag] = digest, data
                else:
                    refused += 1
            assert (
                client("GET", "/api/search?q=a").json["total"] == 1
            )  # described, while there is room for it
            with (
                suppress(OSError),
                open(storage / "filler", "wb", buffering=0) as filler,
            ):  # another process takes the rest
                while True:
                    filler.write(b"x" * 4096)
            assert client("POST", "/v2/a/x/blobs/uploads/").status == 503
            for tag, (digest, data) in there.items():
                assert (
                    json.loads(client("GET", f"/v2/a/x/manifests/{tag}").body)["config"]["digest"] == digest
                )
                assert client("GET", f"/v2/a/x/blobs/{digest}").body == data
            for _ in range(150):  # more than the access log keeps back
                assert (
                    client("GET", "/api/search?q=a").status
                    == client("GET", "/r/a/x").status
                    == client("GET", "/healthz").status
                    == 200
                )
            (storage / "filler").unlink()
            for tag in list(there)[:10]:
                manifest = client("HEAD", f"/v2/a/x/manifests/{tag}").headers["Docker-Content-Digest"]
                assert client("DELETE", f"/v2/a/x/manifests/{manifest}").status == 202, (
                    "the registry leaves itself room for that"
                )
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "boxwright",
                    "registry",
                    "gc",
                    "--config",
                    str(config),
                    "--storage",
                    str(storage),
                ],
                check=True,
                capture_output=True,
            )
            data = os.urandom(2_000_000)
            assert client.push_blob("a/x", data)
        finally:
            served.stop()
        assert "Traceback" not in served.log.read_text()
        assert (
            list(
                check(
                    RegistryConfig(storage=storage),
                    RegistryCatalog(storage / "registry.db"),
                    FileBlobs(storage),
                )
            )
            == []
        )
