"""The API's own behaviour: versions, headers, errors, and what hostile clients send."""

from __future__ import annotations

import gc
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.api import server
from boxwright.api.listening import listen
from boxwright.api.server import unversioned
from boxwright.engine import Engine
from boxwright.files.identity import identity
from support.engine_api import ApiClient, served
from support.image import add_step, imported, layer_of
from support.registry import make_image, running
from support.waiting import eventually


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("api") / "root")


@pytest.fixture(scope="module")
def api(engine: Engine) -> Iterator[ApiClient]:
    engine.images.list()
    with served(engine) as client:
        yield client


def test_a_ping_says_what_a_client_chooses_by(api: ApiClient, engine: Engine) -> None:
    for path in ("/_ping", "/v1.24/_ping", "/v1.51/_ping"):
        status, body, headers = api.ask("GET", path)
        assert (status, body) == (200, b"OK")
        assert headers["Api-Version"] == "1.51" and headers["Ostype"] == "linux"
        assert headers["Docker-Experimental"] == "false" and headers["Builder-Version"] == "1"
        assert headers["Boxwright-Store"] == identity(engine.root) != ""
    status, body, headers = api.ask("HEAD", "/_ping")
    assert (status, body, headers["Api-Version"]) == (200, b"", "1.51")


def test_versions_beyond_ours_are_refused_as_docker_does(api: ApiClient) -> None:
    status, body, _ = api.ask("GET", "/v1.52/version")
    assert status == 400
    assert body == {"message": "client version 1.52 is too new. Maximum supported API version is 1.51"}
    status, body, _ = api.ask("GET", "/v1.23/version")
    assert status == 400 and body["message"].startswith("client version 1.23 is too old.")


def test_a_path_without_a_version_speaks_ours() -> None:
    assert unversioned("/images/v1.2/json") == ("/images/v1.2/json", (1, 51))
    assert unversioned("/v1.44/images/json") == ("/images/json", (1, 44))


def test_paths_that_are_not_there(api: ApiClient) -> None:
    assert api.ask("GET", "/nope")[:2] == (404, {"message": "page not found"})
    status, body, _ = api.ask("POST", "/v1.44/session")
    assert status == 501 and "DOCKER_BUILDKIT=0" in body["message"]
    assert api.ask("GET", "/swarm")[0] == 503
    assert api.ask("GET", "/containers/x/attach/ws")[0] == 501


def test_images(api: ApiClient) -> None:
    assert api.ask("GET", "/images/json")[:2] == (200, [])
    status, body, _ = api.ask("GET", "/images/a/b:1/json")
    assert (status, body) == (404, {"message": "No such image: a/b:1"})
    assert api.ask("DELETE", "/images/a")[0] == 404
    assert api.ask("POST", "/images/a/tag?repo=b")[0] == 404
    assert api.ask("POST", "/images/prune")[1] == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    assert api.ask("GET", "/images/json?filters=%7B%22x%22%3A%5B%5D%7D")[0] == 400


def test_a_search_asks_the_registry_that_the_term_names(api: ApiClient) -> None:
    with running() as registry:
        registry.searchable = True
        registry.add_image("team/tool", "1", make_image({"a": b"a"}))
        status, found, _ = api.ask("GET", f"/images/search?term={registry.host}/tool&limit=5")
    assert status == 200
    assert [(one["name"], one["is_official"]) for one in found] == [(f"{registry.host}/team/tool", False)]
    assert api.ask("GET", "/images/search?term=x&limit=many")[0] == 400


def test_no_more_than_so_many_requests_at_a_time(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_REQUESTS", 1)
    with socket.socket(socket.AF_UNIX) as lasting:
        lasting.connect(str(api.path))
        lasting.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: api.ask("GET", "/_ping")[0] == 503)
    eventually(lambda: api.ask("GET", "/_ping")[0] == 200)


def test_info_and_df(api: ApiClient) -> None:
    assert api.ask("GET", "/info")[1]["Containers"] == 0
    assert set(api.ask("GET", "/system/df")[1]) == {
        "LayersSize",
        "Images",
        "Containers",
        "Volumes",
        "BuildCache",
    }
    assert set(api.ask("GET", "/system/df?type=volume")[1]) == {"Volumes"}


def test_df_says_which_records_of_the_build_cache_images_keep(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "root")
    imported(engine, "app", "1")
    imported(engine, "gone", "2")
    add_step(engine, "kept", layer_of(engine, "app"))
    add_step(engine, "alone", layer_of(engine, "gone"))
    engine.images.remove("gone")
    with served(engine) as client:
        cache = client.ask("GET", "/system/df?type=build-cache")[1]["BuildCache"]
    assert {one["ID"]: (one["InUse"], one["Shared"]) for one in cache} == {
        "kept": (True, True),
        "alone": (False, False),
    }
    assert all(one["CreatedAt"].endswith("Z") for one in cache)


def test_requests_leave_no_descriptors(api: ApiClient) -> None:
    for _ in range(5):  # the database's connections that are kept are there
        api.ask("GET", "/images/json")
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for _ in range(30):
            api.ask("GET", "/images/json")
            api.ask("GET", "/images/none/json")
    finally:
        gc.enable()
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_events_begin_at_once_and_end_with_the_client(api: ApiClient, engine: Engine) -> None:
    before = threading.active_count()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(api.path))
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        assert b" 200 OK" in head
        engine.volumes.create("told")
        line = head.partition(b"\r\n\r\n")[2]
        while b'"told"' not in line:
            line += connection.recv(4096)
        engine.volumes.remove("told")
    for _ in range(200):  # the thread that waited has ended, with nothing to wake it but the client's leaving
        if threading.active_count() <= before:
            break
        threading.Event().wait(0.02)
    assert threading.active_count() <= before


def test_a_slow_client_holds_up_no_other(api: ApiClient) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(api.path))
        slow.sendall(b"POST /images/prune HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert api.ask("GET", "/_ping")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\xff\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /images/%ff/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /images/%00/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v9999999.1/_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /images/json?" + b"a&" * 5000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_hostile_requests_are_refused(
    api: ApiClient, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = api.raw(request_)
    assert "Traceback" not in caplog.text
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/9.9 4")), answer[:200]
    assert b"Traceback" not in answer
    assert api.ask("GET", "/_ping")[0] == 200


def test_a_page_in_a_browser_is_refused(engine: Engine) -> None:
    listener = listen("tcp://127.0.0.1:0", {})
    port = listener.socket.getsockname()[1]

    def ask(head: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(f"GET /_ping HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
            out = b""
            while more := connection.recv(4096):
                out += more
            return out

    with served(engine, listener=listener):
        assert ask(f"Host: 127.0.0.1:{port}\r\n").startswith(b"HTTP/1.1 200")
        assert ask(f"Host: 127.0.0.1:{port}\r\nOrigin: http://evil.test\r\n").startswith(b"HTTP/1.1 400")
        assert ask("Host: evil.test\r\n").startswith(b"HTTP/1.1 400")


def test_errors_are_docker_json(api: ApiClient) -> None:
    answer = api.raw(b"GET /images/x/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"message": "No such image: x:latest"}
    assert Path(api.path).exists()
