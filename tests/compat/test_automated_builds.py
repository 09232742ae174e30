"""An automated image for real: git fetches, boxwright builds and pushes, the registry serves what was built."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support_peers import free_port, needs
from support_server import Client, serving

pytest.importorskip("aiohttp")
pytestmark = [pytest.mark.peer, needs("git")]


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", *words],
        check=True,
        capture_output=True,
    )


def test_a_webhook_brings_an_image(tmp_path: Path) -> None:
    source = tmp_path / "git" / "web"
    (source / "app").mkdir(parents=True)
    (source / "app" / "Dockerfile").write_text(
        "FROM scratch\nLABEL org.opencontainers.image.description=homegrown\nCOPY hello /hello\n"
    )
    (source / "app" / "hello").write_text("hello")
    git(source, "init", "-q", "-b", "main")
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "first")
    ports = free_port(), free_port()
    daemon = subprocess.Popen(
        [
            "git",
            "daemon",
            "--reuseaddr",
            "--export-all",
            "--listen=127.0.0.1",
            f"--port={ports[0]}",
            f"--base-path={source.parent}",
        ],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[0]), 1).close()
                break
            except OSError:
                assert daemon.poll() is None and time.monotonic() < end
                time.sleep(0.05)
        with serving(
            tmp_path / "registry", other={"build": {"enabled": True}}, base_url="", addr="127.0.0.1:0"
        ) as probe:
            assert isinstance(probe, Client)
            host = probe.host
            object.__setattr__(probe.service.config, "addr", host)  # the port is known only now
            body = json.dumps({"url": f"git://127.0.0.1:{ports[0]}/web#main:app", "secret": "shared"})
            assert probe("PUT", "/api/builds/acme/web", body).status == 201
            assert probe("POST", "/api/builds/acme/web?secret=shared", b"").status == 202
            for _ in range(600):
                (build,) = probe("GET", "/api/builds/acme/web").json["builds"]
                if build["ended"]:
                    break
                time.sleep(0.1)
            assert build["state"] == "done", probe(
                "GET", f"/api/builds/acme/web?log={build['id']}"
            ).body.decode()
            found = probe("GET", "/api/search?q=homegrown").json["results"]
            assert [(r["name"], r["automated"]) for r in found] == [("acme/web", True)]
            assert b"COPY" in probe("GET", "/r/acme/web/tags/latest").body
    finally:
        daemon.terminate()
        daemon.wait(10)
