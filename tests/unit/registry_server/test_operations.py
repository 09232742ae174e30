"""Configuration, health, metrics, logs, limits, events, pull-through."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from boxwright.registry.server import serve, tasks
from boxwright.registry.server.auth.limits import Buckets
from boxwright.registry.server.config import (
    RegistryConfig,
    RegistryConfigInvalid,
    RequestLimits,
    Upstream,
    Webhook,
    load,
    size,
)
from boxwright.registry.server.events.metrics import Metrics, counted
from boxwright.registry.server.events.observe import AccessLog
from support.server import Client, serving
from support.waiting import eventually
from support.web import Asked, Reply, answering

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def push(client: Client, name: str, tag: str, layer: bytes) -> str:
    descs = [
        {"mediaType": "application/x", "digest": client.push_blob(name, d), "size": len(d)}
        for d in (b"{}", layer)
    ]
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": descs[0], "layers": descs[1:]}
    ).encode()
    assert client.push_manifest(name, tag, raw).status == 201
    return descs[1]["digest"]


# --- configuration ---------------------------------------------------------------------------------


def test_a_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'addr = ":5001"\nworkers = 3\nread-only = true\nbase-url = "https://r.example/"\n[tls]\ncert = "c.pem"\nkey = "/k.pem"\n'
        '[auth]\nhtpasswd = "users"\nadmins = ["root"]\nanonymous = []\ntoken-ttl = "10m"\n[organisations]\nacme = ["ann"]\n'
        '[[rule]]\nrepository = "x/**"\nusers = ["@acme"]\nactions = ["pull"]\n[housekeeping]\ngrace = "2d"\n'
        '[[retention]]\nrepository = "**"\nkeep-tags = 3\n[quotas]\n"*" = "10GB"\n[limits]\nrate = 5\nmax-blob = "1.5G"\n'
        '[[webhook]]\nurl = "http://x/"\n[[upstream]]\nprefix = "hub"\nurl = "https://registry-1.docker.io"\n[search]\nany = 1\n'
    )
    config = load(tmp_path / "r.toml", default_storage=tmp_path / "data", addr="1.2.3.4:5", workers=None)
    assert (
        config.auth is not None
        and config.auth.htpasswd == tmp_path / "users"
        and config.auth.token_ttl == 600
        and config.auth.anonymous == ()
    )
    assert (config.addr, config.workers, config.storage, config.base_url) == (
        "1.2.3.4:5",
        3,
        tmp_path / "data",
        "https://r.example",
    )
    assert (
        config.tls == (tmp_path / "c.pem", Path("/k.pem"))
        and config.quotas == {"*": 10 << 30}
        and config.housekeeping.grace == 172_800
    )
    assert (
        config.limits.max_blob == 3 << 29 and config.limits.rate == 5 and config.other["search"] == {"any": 1}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adr = 'x'", "unknown key 'adr'"),
        ("workers = '3'", "workers is '3'; it must be a whole number"),
        ("[tls]\ncert = 'x'", "go together"),
        ("[auth]\nadmins = []", "htpasswd is missing"),
        ("[[rule]]\nrepository = 'x'\nusers = []", "need accounts"),
        ("x", "not valid TOML"),
        ("[limits]\nmax-blob = 'much'", "must be a size"),
        ("[housekeeping]\ngrace = '3 moons'", "must be a time"),
        ("workers = -1", "negative"),
        ("[[upstream]]\nurl = 'docker.io'", "must begin with http"),
        ("[upstream]\nurl = 'x'", r"each under \[\[upstream\]\]"),
        ("[[webhook]]\nurl = 'http://x'\nevents = ['eat']", "events are"),
        ("[auth]\nhtpasswd = 'x'\nadmins = 'root'", "list of text"),
        ("read-only = 1", "true or false"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RegistryConfigInvalid, match=said):
        load(tmp_path / "r.toml", default_storage=tmp_path)


def test_missing_file_and_sizes(tmp_path: Path) -> None:
    with pytest.raises(RegistryConfigInvalid, match="cannot read"):
        load(tmp_path / "no.toml", default_storage=tmp_path)
    assert [size(t, "x") for t in ("1", 7, "1k", "2KiB", "3 MB", "1g")] == [
        1,
        7,
        1024,
        2048,
        3 << 20,
        1 << 30,
    ]


# --- watching --------------------------------------------------------------------------------------


def test_each_server_counts_in_a_directory_of_its_own(tmp_path: Path) -> None:
    """What one that was killed left is removed; another that runs over the same storage keeps its own."""
    left = tmp_path / "reg/metrics/killed"
    left.mkdir(parents=True)
    (left / "7.json").write_text("[{}]")
    with counted(tmp_path / "reg") as first:
        assert first is not None and first.parent == left.parent and not left.exists()
        assert first.stat().st_mode & 0o777 == left.parent.stat().st_mode & 0o777 == 0o700
        with counted(tmp_path / "reg") as second:
            assert sorted(left.parent.iterdir()) == sorted((first, second))
        assert list(left.parent.iterdir()) == [first]
    assert list(left.parent.iterdir()) == []


def test_a_registry_serves_without_metrics_where_none_can_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_text("a file")
    with counted(tmp_path) as folder:
        assert folder is None
    assert "no metrics are kept" in caplog.text


def test_health_metrics_and_log(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with serving(tmp_path / "reg", access_log=str(tmp_path / "log")) as client:
        client.service.observer.metrics = Metrics(tmp_path / "m")
        assert (
            client("GET", "/healthz").body == b"ok\n"
            and client("GET", "/readyz").status == 200
            and client("HEAD", "/healthz").body == b""
        )
        assert client("POST", "/healthz").status == 405 and client("GET", "/nothing").status == 404
        layer = push(client, "a/x", "1", b"L" * 1000)
        for _ in range(3):
            assert len(client("GET", f"/v2/a/x/blobs/{layer}").body) == 1000
        assert client("GET", "/v2/a/x/manifests/no").status == 404
        text = client("GET", "/metrics").body.decode()
        assert 'boxwright_http_requests_total{code="200",method="GET",route="blobs"} 3.0' in text
        assert 'boxwright_http_requests_total{code="404",method="GET",route="manifests"} 1.0' in text
        assert (
            'boxwright_http_request_seconds_count{method="GET",route="blobs"} 3.0' in text
            and "boxwright_repositories 1.0" in text
        )
        assert float(re.search(r"^boxwright_sent_bytes_total (\S+)", text, re.M)[1]) >= 3000  # type: ignore[index]
        other = Metrics(tmp_path / "m")  # another worker's file beside ours
        other.request("GET", "blobs", 200, 0.1, 5, 0)
        other.flush()
        os.rename(tmp_path / f"m/{os.getpid()}.json", tmp_path / "m/1.json")
        assert 'code="200",method="GET",route="blobs"} 4.0' in client("GET", "/metrics").body.decode()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    entry = next(e for e in lines if e["method"] == "GET" and "/blobs/" in e["path"])
    assert (entry["status"], entry["bytes"], entry["repository"], entry["remote"]) == (
        200,
        1000,
        "a/x",
        "127.0.0.1",
    ) and entry["duration"] > 0


def test_log_lines_are_whole(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.flush()
    assert (tmp_path / "log").read_text() == ""
    log.close()


def test_rate_limit(tmp_path: Path) -> None:
    with serving(tmp_path, limits=RequestLimits(rate=1, burst=5)) as client:
        assert {client("GET", path).status for path in ("/healthz", "/readyz") for _ in range(8)} == {200}
        answers = [client("GET", "/v2/") for _ in range(8)]
        assert [a.status for a in answers[:5]] == [200] * 5 and answers[-1].status == 429
        assert answers[-1].code == "TOOMANYREQUESTS" and int(answers[-1].headers["Retry-After"]) >= 1
    buckets = Buckets()
    assert [buckets.take("a", 0.1, 2) == 0 for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", 0.1, 2) == 0, "another client"
    buckets.give("a", 0.1)
    assert [buckets.take("a", 0.1, 2) == 0 for _ in range(2)] == [True, False]


def test_size_and_patience(tmp_path: Path) -> None:
    with serving(tmp_path, limits=RequestLimits(max_blob=1000, body_timeout=1, header_timeout=1)) as client:
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, b"x" * 2000).status == 413
        host, port = client.host.split(":")
        for text, status in (
            (f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", b"408"),
            ("GET /v2/ HT", b""),
        ):
            with socket.create_connection((host, int(port)), 10) as slow:
                slow.sendall(text.encode())
                started, got = time.monotonic(), b""
                while data := slow.recv(1000):
                    got += data
                assert status in got[:12] and time.monotonic() - started < 8
        assert client("GET", location).headers["Range"] == "0-2", "what came in time counts"


def test_a_task_that_fails_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "_AGAIN", 0.01)
    monkeypatch.setattr(tasks, "_FLUSH", 0.0)
    monkeypatch.setattr(tasks, "_LOG", 0.01)
    with serving(tmp_path) as client:
        broken = [RuntimeError("once"), sqlite3.DatabaseError("twice")]
        flush = client.service.observer.flush

        def fails(catalog: object) -> None:
            if broken:
                raise broken.pop()
            flush(catalog)

        monkeypatch.setattr(client.service.observer, "flush", fails)
        push(client, "a/x", "1", b"layer")
        client("GET", "/v2/a/x/manifests/1")
        eventually(lambda: client("GET", "/api/repositories/a/x").json["pulls"] == 1)
        assert not broken and "flush failed and starts again" in caplog.text


# --- events ----------------------------------------------------------------------------------------


@contextmanager
def hook(fail_first: int = 0, port: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """A receiver of events that fails so many times first: its URL, and the headers and the body of what it took."""
    got: list[Any] = []
    failures = [fail_first]

    def answer(asked: Asked) -> Reply:
        failures[0] -= 1
        if failures[0] >= 0:
            return Reply(status=500)
        got.append((asked.headers, asked.body))
        return Reply()

    with answering(answer, port) as site:
        yield f"{site.url}/hook", got


def test_events(tmp_path: Path) -> None:
    with hook(fail_first=2) as (url, got):
        hooks = (Webhook(url, ("push", "pull", "delete"), ("a/**",), {"X-Own": "1"}, "s3cret"),)
        with serving(tmp_path, webhooks=hooks) as client:
            push(client, "a/x", "1", b"layer")
            push(client, "b/y", "1", b"layer")
            client("GET", "/v2/a/x/manifests/1")
            client("DELETE", "/v2/a/x/manifests/1")
            end = time.monotonic() + 30
            while len(got) < 3 and time.monotonic() < end:
                time.sleep(0.05)
    events = [json.loads(body)["events"][0] for _, body in got]
    assert [(e["action"], e["target"]["repository"], e["target"]["tag"]) for e in events] == [
        ("push", "a/x", "1"),
        ("pull", "a/x", "1"),
        ("delete", "a/x", "1"),
    ]
    headers, body = got[0]
    assert (
        headers["X-Own"] == "1"
        and headers["X-Boxwright-Signature"]
        == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    )
    assert events[0]["target"]["mediaType"] == MANIFEST and events[0]["target"]["digest"].startswith(
        "sha256:"
    )


def test_events_outlive_the_server_and_an_absent_receiver(tmp_path: Path) -> None:
    """Written with what they tell: the next start delivers, in order, and only once."""
    with hook() as (url, got):
        pass  # no receiver listens there now
    hooks = (Webhook(url),)
    with serving(tmp_path, webhooks=hooks) as client:
        push(client, "a/x", "1", b"layer")
        assert client("DELETE", "/v2/a/x/manifests/1").status == 202
    port = int(url.split(":")[2].split("/")[0])
    with hook(port=port) as (url, got):
        for _ in range(2):
            with serving(tmp_path, webhooks=hooks) as client:
                end = time.monotonic() + 30
                while Outboxed(client).count() and time.monotonic() < end:
                    time.sleep(0.05)
    assert [json.loads(body)["events"][0]["action"] for _, body in got] == ["push", "delete"]


class Outboxed:
    def __init__(self, client: Client) -> None:
        self._catalog = client.service.catalog

    def count(self) -> int:
        rows: int = self._catalog.connection().execute("SELECT count(*) FROM events").fetchone()[0]
        return rows


def test_events_are_bounded_and_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from boxwright.registry.server.events import outbox, webhooks

    monkeypatch.setattr(outbox, "_MOST", 3)
    monkeypatch.setattr(webhooks, "_TRIES", 2)
    with hook(fail_first=1000) as (url, _), serving(tmp_path, webhooks=()) as client:
        service = client.service
        service.observer.outbox = outbox.Outbox((Webhook(url),))
        for tag in "12345":
            push(client, "a/x", tag, b"layer")
        assert (Outboxed(client).count(), service.observer.outbox.dropped) == (3, 2)
        sender = webhooks.Sender((Webhook(url),), first_pause=0.01)

        async def some() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    await sender.run(service)

        asyncio.run(some())
        assert Outboxed(client).count() == 0, (
            "a receiver that refuses again and again does not hold up the others for ever"
        )


def test_a_change_that_fails_tells_nothing(tmp_path: Path) -> None:
    with hook() as (url, got), serving(tmp_path, webhooks=(Webhook(url),)) as client:
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "x/y", "digest": "sha256:" + "0" * 64, "size": 1},
            "layers": [],
        }
        assert client.push_manifest("a/x", "1", body).status == 400
        assert client("DELETE", "/v2/a/x/manifests/1").status == 404
        push(client, "a/x", "1", b"layer")
        end = time.monotonic() + 30
        while not got and time.monotonic() < end:
            time.sleep(0.05)
    assert [json.loads(body)["events"][0]["action"] for _, body in got] == ["push"]


# --- pull-through ----------------------------------------------------------------------------------


def mirror_of(client: Client, **more: Any) -> tuple[Upstream, ...]:
    return (Upstream("up", f"http://{client.host}", **more),)


def test_a_mirror_of_everything_takes_no_pushes(tmp_path: Path) -> None:
    with serving(tmp_path / "up") as upstream:
        layer = push(upstream, "team/app", "1", b"layer")
        with serving(tmp_path / "mirror", upstreams=(Upstream("", f"http://{upstream.host}"),)) as mirror:
            assert mirror("GET", "/v2/team/app/manifests/1").status == 200
            assert mirror("GET", f"/v2/team/app/blobs/{layer}").body == b"layer"
            assert mirror("POST", "/v2/own/app/blobs/uploads/").code == "DENIED"
            assert mirror.push_manifest("own/app", "1", b"{}").code == "DENIED"


def test_a_mirror_shows_what_is_attached(tmp_path: Path) -> None:
    with serving(tmp_path / "up") as upstream:
        push(upstream, "team/app", "1", b"layer")
        subject = upstream("HEAD", "/v2/team/app/manifests/1").headers
        pointer = {
            "mediaType": MANIFEST,
            "digest": subject["Docker-Content-Digest"],
            "size": int(subject["Content-Length"]),
        }
        config = {"mediaType": "application/x", "digest": upstream.push_blob("team/app", b"{}"), "size": 2}
        for kind in ("application/sbom", "application/signature"):
            body = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "artifactType": kind,
                    "config": config,
                    "layers": [],
                    "subject": pointer,
                }
            ).encode()
            assert (
                upstream.push_manifest("team/app", f"sha256:{hashlib.sha256(body).hexdigest()}", body).status
                == 201
            )
        with serving(tmp_path / "mirror", upstreams=mirror_of(upstream)) as mirror:
            path = f"/v2/up/team/app/referrers/{pointer['digest']}"
            assert mirror("GET", path).json == upstream("GET", path.replace("/up/", "/")).json
            (found,) = mirror("GET", f"{path}?artifactType=application/sbom").json["manifests"]
            assert (
                mirror("GET", f"/v2/up/team/app/manifests/{found['digest']}").json["artifactType"]
                == "application/sbom"
            )


def test_a_mirror_fetches_once_and_serves_stale(tmp_path: Path) -> None:
    with serving(tmp_path / "mirror-data") as unused:
        assert unused
    with serving(tmp_path / "up", access_log=str(tmp_path / "log")) as upstream:
        data = os.urandom(3_000_000)
        layer = push(upstream, "team/app", "1", data)
        with serving(tmp_path / "mirror", upstreams=mirror_of(upstream, ttl=0)) as mirror:
            assert mirror("GET", "/v2/up/team/app/manifests/1").status == 200
            assert mirror("GET", f"/v2/team/app/manifests/1?ns={upstream.host}").status == 200
            answers: list[bytes] = []
            threads = [
                threading.Thread(
                    target=lambda: answers.append(mirror("GET", f"/v2/up/team/app/blobs/{layer}").body)
                )
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert answers == [data] * 8
            assert mirror("GET", f"/v2/up/team/app/blobs/{layer}", Range="bytes=5-9").body == data[5:10]
            assert mirror("GET", "/v2/up/team/app/tags/list").json["tags"] == ["1"]
            assert mirror("GET", "/v2/up/team/app/manifests/2").status == 404
            assert mirror("GET", f"/v2/up/team/app/blobs/sha256:{'0' * 64}").status == 404
            assert mirror("POST", "/v2/up/team/app/blobs/uploads/").status == 403
            push(upstream, "team/app", "1", b"newer")
            newer = upstream("HEAD", "/v2/team/app/manifests/1").headers["Docker-Content-Digest"]
            answer = mirror("GET", "/v2/up/team/app/manifests/1")
            assert answer.headers["Docker-Content-Digest"] == newer and "Warning" not in answer.headers
    fetched = [
        e
        for e in map(json.loads, (tmp_path / "log").read_text().splitlines())
        if e["method"] == "GET" and layer in e["path"]
    ]
    assert 1 <= len(fetched) <= 4, "one download, of which parts may come side by side"
    with serving(tmp_path / "mirror", upstreams=mirror_of(upstream, ttl=0)) as mirror:
        answer = mirror("GET", "/v2/up/team/app/manifests/1")
        assert answer.headers["Docker-Content-Digest"] == newer and "Stale" in answer.headers["Warning"]
        assert mirror("GET", f"/v2/up/team/app/blobs/{layer}").body == data
        assert mirror("GET", "/v2/up/team/other/manifests/1").status == 502


def test_a_mirror_keeps_nothing_that_is_wrong(tmp_path: Path) -> None:
    with serving(tmp_path / "up") as upstream:
        layer = push(upstream, "team/app", "1", b"A" * 2_000_000)
        path = next(p for p in (tmp_path / "up").glob("blobs/sha256/*/*") if p.name == layer[7:])
        path.chmod(0o600)
        path.write_bytes(b"B" * 2_000_000)
        with serving(tmp_path / "mirror", upstreams=mirror_of(upstream)) as mirror:
            try:
                answer = mirror("GET", f"/v2/up/team/app/blobs/{layer}")
                assert answer.status >= 500
            except OSError:
                pass  # the connection broke before the last byte
            except Exception as error:
                assert "IncompleteRead" in repr(error)
            assert (
                mirror.service.blobs.size(
                    __import__("boxwright.spec.digest", fromlist=["Digest"]).Digest.parse(layer)
                )
                is None
            )


def test_the_default_configuration(tmp_path: Path) -> None:
    assert load(None, default_storage=tmp_path) == RegistryConfig(
        storage=tmp_path,
        workers=0,
        other={
            "search": {},
            "pages": {},
            "build": {
                "enabled": False,
                "command": [],
                "pull": [],
                "allow-host-root": False,
                "allow-local-git": False,
            },
        },
    )
