"""Automated images for real: git fetches, boxwright builds and pushes, the registry serves what was built."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import support.images
from boxwright.runtime.userns import subordinate
from support import REAL_ROOT
from support.gitserver import git
from support.peers import free_port, needs
from support.server import Client, serving

pytest.importorskip("aiohttp")
pytestmark = [pytest.mark.peer, needs("git")]


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str | bytes | Path]], str]]:
    """Makes a repository of files (a Path is a link) and gives its URL."""
    top = tmp_path / "git"
    top.mkdir()
    port = free_port()
    daemon = subprocess.Popen(
        [
            "git",
            "daemon",
            "--reuseaddr",
            "--export-all",
            "--listen=127.0.0.1",
            f"--port={port}",
            f"--base-path={top}",
        ],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def make(name: str, files: dict[str, str | bytes | Path]) -> str:
        source = top / name
        source.mkdir()
        for path, content in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                (source / path).symlink_to(content)
            else:
                (source / path).write_bytes(content if isinstance(content, bytes) else content.encode())
                (source / path).chmod(0o755)
        git(source, "init", "-q", "-b", "main")
        git(source, "add", "-A")
        git(source, "commit", "-q", "-m", "first")
        return f"git://127.0.0.1:{port}/{name}"

    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert daemon.poll() is None and time.monotonic() < end
                time.sleep(0.05)
        yield make
    finally:
        daemon.terminate()
        daemon.wait(10)


@pytest.fixture
def registry(tmp_path: Path, request: Any) -> Iterator[Client]:
    settings = {"enabled": True, "allow-local-git": True, **getattr(request, "param", {})}
    with serving(tmp_path / "registry", other={"build": settings}, base_url="", addr="127.0.0.1:0") as probe:
        object.__setattr__(probe.service.config, "addr", probe.host)  # the port is known only now
        yield probe


def built(registry: Client, name: str, url: str, **link: str) -> tuple[str, str]:
    """How the build of a link ended, and its log."""
    body = json.dumps({"url": url, "secret": "shared", **link})
    assert registry("PUT", f"/api/builds/{name}", body).status == 201
    assert registry("POST", f"/api/builds/{name}?secret=shared", b"").status == 202
    for _ in range(600):
        build = registry("GET", f"/api/builds/{name}").json["builds"][0]
        if build["ended"]:
            break
        time.sleep(0.1)
    return build["state"], registry("GET", f"/api/builds/{name}?log={build['id']}").body.decode()


def test_a_webhook_brings_an_image(
    repositories: Callable[[str, dict[str, Any]], str], registry: Client
) -> None:
    text = "FROM scratch\nLABEL org.opencontainers.image.description=homegrown\nCOPY hello /hello\n"
    url = repositories("web", {"app/Dockerfile": text, "app/hello": "hello"})
    state, log = built(registry, "acme/web", f"{url}#main:app")
    assert state == "done", log
    found = registry("GET", "/api/search?q=homegrown").json["results"]
    assert [(r["name"], r["automated"]) for r in found] == [("acme/web", True)]
    assert b"COPY" in registry("GET", "/r/acme/web/tags/latest").body


def test_a_repository_reads_nothing_of_the_host(
    repositories: Callable[[str, dict[str, Any]], str], registry: Client, tmp_path: Path
) -> None:
    """Links lead to what is in the checkout, or to nothing."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "Dockerfile").write_text("FROM scratch\nLABEL stolen=1\n")
    text = "FROM scratch\nCOPY . /\n"
    url = repositories(
        "evil",
        {
            "Dockerfile": text,
            "app/Dockerfile": text,
            "app/Link": outside / "Dockerfile",
            "app/Up": Path("../../config.json"),
            "app/.dockerignore": Path("/etc/hostname"),
            "up": Path(".."),
            "far": outside,
        },
    )
    for link in (
        {"dockerfile": "app/Link"},
        {"dockerfile": "app/Up"},
        {"dockerfile": "far/Dockerfile"},
        {"url": f"{url}#main:far"},
        {"url": f"{url}#main:up/config.json"},
    ):
        state, log = built(registry, "acme/evil", **{"url": url, **link})
        assert state == "failed" and ("has no f" in log or "not found" in log), (link, log)
        assert "stolen" not in log and "auths" not in log
    assert registry("GET", "/v2/acme/evil/tags/list").json.get("tags") in (None, [])
    # The top's '..' is the top, which has neither the repository nor anything of the job.
    state, log = built(registry, "acme/evil", f"{url}#main:up")
    assert state == "done", log
    names = _names(registry, "acme/evil")
    assert {"app", "up", "Dockerfile"} <= names and not any(
        name.startswith((".git", "config.json", "source", "out")) for name in names
    )


def _names(registry: Client, name: str) -> set[str]:
    import io
    import tarfile

    # The index of the image and of what is attested of it.
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    index = registry("GET", f"/v2/{name}/manifests/latest", Accept=accept).json
    image = next(one for one in index["manifests"] if one["platform"]["os"] != "unknown")
    manifest = registry("GET", f"/v2/{name}/manifests/{image['digest']}", Accept=accept).json
    found: set[str] = set()
    for layer in manifest["layers"]:
        blob = registry("GET", f"/v2/{name}/blobs/{layer['digest']}").body
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            found |= set(tar.getnames())
    return found


@pytest.mark.skipif(not REAL_ROOT, reason="needs root")
@pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed")
@pytest.mark.parametrize(
    ("registry", "root"), [({}, None), ({"allow-host-root": True}, "0")], indirect=["registry"]
)
def test_run_is_nobody_on_the_host(
    repositories: Callable[[str, dict[str, Any]], str], registry: Client, root: str | None
) -> None:
    """Unless the configuration wants it otherwise; no account of the worker's is there in either case."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    text = (
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
        "RUN --network=none busybox awk '{print \"root is\", $2}' /proc/self/uid_map; busybox env; "
        "busybox find / -xdev -name config.json -o -xdev -name .git; busybox id -u\n"
    )
    url = repositories("tool", {"Dockerfile": text, "busybox": busybox})
    state, log = built(registry, "acme/tool", url)
    assert state == "done", log
    assert f"root is {root or subordinate().base}" in log
    for word in ("BOXWRIGHT", "DOCKER_CONFIG", "GIT_", "config.json", ".git\n"):
        assert word not in log.replace("-name config.json", "").replace("-name .git", ""), log
    stores = list((registry.service.config.storage / "builders").iterdir())
    assert len(stores) == 1 and os.stat(stores[0]).st_mode & 0o007 == 0


@pytest.mark.skipif(not REAL_ROOT, reason="needs root")
def test_what_only_a_trusted_build_may(
    repositories: Callable[[str, dict[str, Any]], str], registry: Client
) -> None:
    for line, said in (
        (f"ADD http://{registry.host}/v2/_catalog /x", "which is this machine"),
        ("RUN --network=host true", "network.host"),
        ("RUN --security=insecure true", "security.insecure"),
    ):
        url = repositories(f"r{len(line)}", {"Dockerfile": f"FROM scratch\n{line}\n"})
        state, log = built(registry, "acme/x", url)
        assert state == "failed" and said in log, log
