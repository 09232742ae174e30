"""The collector beside pushes, retention, quotas, read-only mode, fsck."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boxwright.registry.server.app import routes
from boxwright.registry.server.config import Housekeeping, RegistryConfig, Retention, Upstream
from boxwright.registry.server.store.collector import (
    AlreadyCollecting,
    Collected,
    RegistryCollector,
    exclusive_lock,
    rehearse,
)
from boxwright.registry.server.store.fsck import check
from support.server import Client, serving

NOW = Housekeeping(every=0, grace=0, uploads=3600)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def collect(
    client: Client, *, dry_run: bool = False, rules: Housekeeping = NOW, retention: tuple[Retention, ...] = ()
) -> Collected:
    config = RegistryConfig(storage=client.service.config.storage, housekeeping=rules, retention=retention)
    if dry_run:
        return rehearse(config, client.service.catalog, client.service.blobs)
    return RegistryCollector(config, client.service.catalog, client.service.blobs).run()


def findings(client: Client, **more: Any) -> dict[str, str]:
    service = client.service
    return {f.what: f.detail for f in check(service.config, service.catalog, service.blobs, **more)}


def push(client: Client, name: str, tag: str, layer: bytes, **more: Any) -> str:
    config = b'{"architecture":"amd64","os":"linux"}'
    descs = [
        {"mediaType": "application/x", "digest": client.push_blob(name, d), "size": len(d)}
        for d in (config, layer)
    ]
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": descs[0], "layers": descs[1:], **more}
    ).encode()
    reference = tag or digest_of(raw)
    assert client.push_manifest(name, reference, raw).status == 201
    return digest_of(raw)


def age(client: Client, seconds: float) -> None:
    with client.service.catalog.write() as sql:
        for statement in (
            "UPDATE blobs SET added = added - ?",
            "UPDATE tags SET updated = updated - ?",
            "UPDATE manifests SET pushed = pushed - ?1, untagged = untagged - ?1",
            "UPDATE uploads SET updated = updated - ?",
        ):
            sql.execute(statement, (seconds,))


def has(client: Client, name: str, digest: str) -> bool:
    return client("GET", f"/v2/{name}/blobs/{digest}").status == 200


def test_only_garbage_goes(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        push(client, "a/x", "1", b"kept")
        loose = client.push_blob("a/x", b"loose")
        shared = client.push_blob("a/x", b"shared")
        push(client, "b/y", "1", b"shared")
        dry = collect(client, dry_run=True)
        assert (dry.links, dry.blobs) == (2, [loose]) and has(client, "a/x", loose)
        done = collect(client)
        assert (done.links, done.blobs, done.bytes) == (2, [loose], 5)
        assert not has(client, "a/x", loose) and not has(client, "a/x", shared), "a/x let go of both"
        assert has(client, "b/y", shared) and has(client, "a/x", digest_of(b"kept"))
        assert list(client.service.blobs.root.joinpath("trash").iterdir()) == []
        assert (
            client(
                "DELETE",
                f"/v2/a/x/manifests/{client('HEAD', '/v2/a/x/manifests/1').headers['Docker-Content-Digest']}",
            ).status
            == 202
        )
        assert collect(client).blobs == [digest_of(b"kept")], "the config is shared with b/y"


def test_the_grace_keeps_what_a_push_brought_or_was_told_of(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        young = client.push_blob("a/x", b"young")
        rules = Housekeeping(grace=3600)
        assert collect(client, rules=rules).links == 0
        age(client, 7200)
        assert client("HEAD", f"/v2/a/x/blobs/{young}").status == 200, (
            "a client leaves it out of its push now"
        )
        assert collect(client, rules=rules).links == 0 and has(client, "a/x", young)
        age(client, 7200)
        assert collect(client, rules=rules).links == 1


def test_a_push_at_the_same_moment_keeps_its_blob(tmp_path: Path) -> None:
    """Pushes of the same few blobs while collections without any grace run in a row: whatever was acknowledged as
    part of a stored manifest is there in the end."""
    errors: list[str] = []
    with serving(tmp_path) as client:
        stop = threading.Event()

        def collector() -> None:
            while not stop.is_set():
                try:
                    collect(client)
                except AlreadyCollecting:
                    continue

        def pusher(number: int) -> None:
            for turn in range(25):
                name, data = f"p{number}/x", f"blob {turn % 5}".encode()
                digest = digest_of(data)
                location = client("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
                if client("PUT", f"{location}?digest={digest}", data).status != 201:
                    errors.append("blob refused")
                raw = json.dumps(
                    {
                        "schemaVersion": 2,
                        "mediaType": MANIFEST,
                        "config": {"mediaType": "application/x", "digest": digest, "size": len(data)},
                        "layers": [],
                    }
                ).encode()
                status = client.push_manifest(name, f"t{turn}", raw).status
                if status == 201:
                    if client("GET", f"/v2/{name}/blobs/{digest}").body != data:
                        errors.append(f"{name}:t{turn} has lost {digest}")
                elif (
                    status != 400
                ):  # without a grace the collector may come between blob and manifest: told, not lost
                    errors.append(f"manifest {status}")

        threads = [threading.Thread(target=pusher, args=(n,)) for n in range(3)]
        sweeper = threading.Thread(target=collector)
        for thread in (sweeper, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        sweeper.join()
        assert errors == []
        assert findings(client) == {}


def test_retention(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        digests = [push(client, "a/x", f"v{n}", f"layer {n}".encode()) for n in range(5)]
        push(client, "a/x", "stable", b"layer 0")
        for number in range(5):
            with client.service.catalog.write() as sql:
                sql.execute("UPDATE tags SET updated = ? WHERE name = ?", (1000.0 + number, f"v{number}"))
        done = collect(client, retention=(Retention("a/*", keep_tags=2, tags=("v*",)),))
        assert done.tags == ["a/x:v0", "a/x:v1", "a/x:v2"] and done.manifests == []
        assert client("GET", "/v2/a/x/tags/list").json["tags"] == ["stable", "v3", "v4"]
        age(client, 7200)
        done = collect(client, retention=(Retention("**", untagged_after=3600),))
        assert sorted(done.manifests) == sorted(f"a/x@{d}" for d in digests[1:3])
        assert sorted(done.blobs) == sorted(digest_of(f"layer {n}".encode()) for n in (1, 2))
        done = collect(client, retention=(Retention("**", not_pulled_for=86_400, tags=("v4",)),))
        assert done.tags == ["a/x:v4"], "pushed in 1970 and never pulled"


def test_retention_knows_indexes_and_referrers(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        child = push(client, "a/x", "", b"child")
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [{"mediaType": MANIFEST, "digest": child, "size": 1}],
            }
        ).encode()
        assert client.push_manifest("a/x", "multi", raw, INDEX).status == 201
        signature = push(
            client,
            "a/x",
            "",
            b"signature",
            subject={"mediaType": MANIFEST, "digest": child, "size": 1},
            artifactType="application/sig",
        )
        lonely = push(client, "a/x", "", b"lonely")
        age(client, 7200)
        done = collect(client, retention=(Retention("**", untagged_after=3600),))
        assert done.manifests == [f"a/x@{lonely}"]
        assert (
            client("GET", f"/v2/a/x/manifests/{signature}").status
            == client("GET", f"/v2/a/x/manifests/{child}").status
            == 200
        )


def test_uploads_grow_stale(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        assert client("PATCH", location, b"abc").status == 202
        assert collect(client, rules=Housekeeping(grace=0, uploads=3600)).uploads == 0
        age(client, 7200)
        assert collect(client, rules=Housekeeping(grace=0, uploads=3600)).uploads == 1
        assert client("GET", location).status == 404 and list((tmp_path / "uploads").iterdir()) == []


def test_one_collector(tmp_path: Path) -> None:
    with serving(tmp_path) as client, exclusive_lock(tmp_path), pytest.raises(AlreadyCollecting):
        collect(client)


def test_quotas(tmp_path: Path) -> None:
    with serving(tmp_path, quotas={"small": 1000, "*": 5000}) as client:
        client.push_blob("small/x", b"a" * 600)
        client.push_blob("small/y", b"a" * 600)  # the same bytes count once
        digest = digest_of(b"b" * 600)
        for query in (f"?digest={digest}", ""):
            answer = client("POST", f"/v2/small/y/blobs/uploads/{query}", b"b" * 600 if query else b"")
            if not query:
                answer = client("PUT", answer.headers["Location"] + f"?digest={digest}", b"b" * 600)
            assert (answer.status, answer.code) == (403, "DENIED") and "600 of 1000 bytes" in answer.json[
                "errors"
            ][0]["message"]
        assert client("HEAD", f"/v2/small/y/blobs/{digest}").status == 404
        client.push_blob("big/x", b"b" * 600)
        assert client("POST", f"/v2/small/y/blobs/uploads/?mount={digest}&from=big/x").status == 403
        client.push_blob("small/y", b"c" * 400)
        assert (
            client("POST", f"/v2/big/x/blobs/uploads/?digest={digest_of(b'd' * 5000)}", b"d" * 5000).status
            == 403
        )


def test_read_only(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        digest = push(client, "a/x", "1", b"layer")
    with serving(tmp_path, read_only=True) as client:
        assert (
            client("GET", "/v2/a/x/manifests/1").status
            == client("HEAD", f"/v2/a/x/blobs/{digest_of(b'layer')}").status
            == 200
        )
        for method, path in (
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/2"),
            ("DELETE", "manifests/1"),
            ("DELETE", f"blobs/{digest}"),
        ):
            answer = client(method, f"/v2/a/x/{path}")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")


def test_read_only_is_for_every_route(tmp_path: Path) -> None:
    """Whatever is asked with whatever method: the catalog is as it was."""
    build = {"build": {"enabled": True, "command": ["true"]}}
    with serving(tmp_path, other=build) as client:
        push(client, "a/x", "1", b"layer")
        assert client("GET", "/api/search?q=x").json["total"] == 1
    with serving(tmp_path, other=build, read_only=True) as client:
        before = "\n".join(client.service.catalog.connection().iterdump())
        bodies = ('{"description": "new", "url": "https://git.example/x.git"}', "name=a/x&on=1")
        for row in routes(client.service):
            path = row.path.replace("/*", "/a/x")
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                for body in bodies if method != "GET" else (None,):
                    assert client(method, path, body).status < 500, (method, path)
            if row.method != "GET" and row.path not in ("/login", "/logout"):
                assert client(row.method, path, bodies[0]).status == 405, row
        assert "\n".join(client.service.catalog.connection().iterdump()) == before


def test_what_only_begins_like_a_route_is_not_there(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        for row in routes(client.service):
            if not row.path.endswith("*"):
                for path in (row.path + "zzz", row.path + "/x"):
                    assert client(row.method, path).status == 404, path
                    assert client("GET", path, Accept="text/html").status == 404, path
        assert client("GET", "/healthz").status == 200 and client("POST", "/healthz").status == 405


def test_fsck(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        push(client, "a/x", "1", b"layer")
        assert findings(client) == {}
        path = next(p for p in tmp_path.glob("blobs/sha256/*/*") if p.name == digest_of(b"layer")[7:])
        path.write_bytes(b"Layer")
        gone = client.push_blob("a/x", b"gone")
        os.unlink(tmp_path / "blobs/sha256" / gone[7:9] / gone[7:])
        assert set(findings(client, repair=True)) == {f"blob {digest_of(b'layer')}", f"blob {gone}"}
        assert not has(client, "a/x", digest_of(b"layer"))
        assert set(findings(client)) == {"tag a/x:1"}, "it cannot be pulled until it is pushed again"
        client.push_blob("a/x", b"layer")
        assert has(client, "a/x", digest_of(b"layer")) and findings(client) == {}


def test_fsck_follows_every_tag_to_what_a_pull_asks_for(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        push(client, "a/x", "1", b"one")
        push(client, "a/x", "same", b"one")
        push(client, "b/y", "1", b"one")
        lost = push(client, "a/x", "", b"two")
        sql = client.service.catalog
        with sql.write() as write:
            write.execute("DELETE FROM blobs WHERE digest = ? AND repository = 1", (digest_of(b"one"),))
            write.execute("DELETE FROM blobs WHERE digest = ?", (digest_of(b"two"),))
        found = findings(client)
        assert set(found) == {"tag a/x:1", "tag a/x:same", f"manifest a/x@{lost}"}
        assert digest_of(b"one") in found["tag a/x:1"]
        mirror = replace(client.service.config, upstreams=(Upstream("a", "https://registry.example"),))
        assert list(check(mirror, sql, client.service.blobs)) == [], "a mirror fetches what is asked for"
        with sql.write() as write:
            write.execute("DELETE FROM contents WHERE digest = ?", (lost,))
        assert findings(client)[f"manifest a/x@{lost}"] == "its bytes are missing"


def test_a_rehearsal_tells_what_a_collection_does(tmp_path: Path) -> None:
    """With what retention frees, which frees manifests, which free blobs; and nothing is touched."""
    rules = (Retention("**", keep_tags=1, untagged_after=60),)
    with serving(tmp_path) as client:
        for number in range(3):
            push(client, "a/x", f"v{number}", f"layer {number}".encode())
            age(client, 3600)
        push(client, "a/x", "", b"never tagged")
        client.push_blob("a/x", b"loose")
        location = client("POST", "/v2/a/x/blobs/uploads/").headers["Location"]
        client("PATCH", location, b"abc")
        age(client, 7200)
        (tmp_path / "uploads" / ("0" * 32 + ".link")).write_bytes(b"left over")
        os.utime(tmp_path / "uploads" / ("0" * 32 + ".link"), (1, 1))

        def files() -> dict[Path, int]:
            folders = (tmp_path / "blobs", tmp_path / "uploads", tmp_path / "trash")
            return {p: p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file()}

        before = files()
        dump = "\n".join(client.service.catalog.connection().iterdump())
        told = collect(client, dry_run=True, retention=rules)
        assert files() == before
        assert dump == "\n".join(client.service.catalog.connection().iterdump())
        done = collect(client, retention=rules)
        assert told == done and done.tags and done.manifests and done.uploads == 2
        assert digest_of(b"loose") in done.blobs and digest_of(b"never tagged") in done.blobs


def test_an_image_goes_when_it_was_untagged_for_so_long(tmp_path: Path) -> None:
    """Yesterday's `latest` was pushed long ago; what counts is when it lost its name."""
    rules = (Retention("**", untagged_after=3600),)
    with serving(tmp_path) as client:
        child = push(client, "a/x", "", b"child")
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [{"mediaType": MANIFEST, "digest": child, "size": 1}],
            }
        ).encode()
        assert client.push_manifest("a/x", "latest", raw, INDEX).status == 201
        single = push(client, "a/x", "stable", b"stable")
        removed = push(client, "a/x", "old", b"old")
        age(client, 90 * 86_400)
        push(client, "a/x", "latest", b"new")
        push(client, "a/x", "stable", b"newer")
        assert client("DELETE", "/v2/a/x/manifests/old").status == 202
        assert collect(client, retention=rules).manifests == []
        for digest in (child, digest_of(raw), single, removed):
            assert client("GET", f"/v2/a/x/manifests/{digest}").status == 200
        assert has(client, "a/x", digest_of(b"child")), "an index that is kept keeps its children whole"
        age(client, 3000)
        assert collect(client, retention=rules).manifests == []
        age(client, 1000)
        gone = {f"a/x@{d}" for d in (child, digest_of(raw), single, removed)}
        assert set(collect(client, retention=rules).manifests) == gone


def test_pulls_are_counted(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        digest = push(client, "a/x", "1", b"layer")
        for _ in range(3):
            client("GET", "/v2/a/x/manifests/1")
        client("HEAD", "/v2/a/x/manifests/1")
        client.service.observer.flush(client.service.catalog)
        sql = client.service.catalog.connection()
        assert sql.execute("SELECT pulls FROM repositories").fetchone() == (3,)
        assert (
            sql.execute("SELECT last_pulled FROM manifests WHERE digest = ?", (digest,)).fetchone()[0]
            > time.time() - 60
        )
