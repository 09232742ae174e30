"""``docker search HOST/TERM`` and ``podman search HOST/TERM`` with the programs as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REAL_ROOT
from support.images_pushed import push_image
from support.peers import Boxwright, dockerd, needs, podman, run
from support.server import Client, serving

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.peer
NOTE = "org.opencontainers.image.description"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "registry") as client:
        push_image(client, "acme/web", annotations={NOTE: "Serves pages"})
        push_image(client, "acme/web-admin", annotations={NOTE: "Administers\npages"})
        push_image(client, "web")
        push_image(client, "acme/other")
        client("PUT", "/api/stars/acme/web-admin")
        yield client


@needs("dockerd", "docker")
@pytest.mark.skipif(not REAL_ROOT, reason="dockerd needs root")
def test_docker_search(registry: Client, tmp_path: Path) -> None:
    host = registry.host
    with dockerd(tmp_path / "d") as docker:
        line = "{{.Name}}|{{.Description}}|{{.StarCount}}|{{.IsOfficial}}"
        found = run(*docker, "search", "--format", line, f"{host}/web").splitlines()
        assert found == [
            f"{host}/web||0|[OK]",
            f"{host}/acme/web|Serves pages|0|",
            f"{host}/acme/web-admin|Administers pages|1|",
        ]
        assert run(
            *docker, "search", "--filter", "stars=1", "--format", "{{.Name}}", f"{host}/web"
        ).split() == [f"{host}/acme/web-admin"]
        assert run(
            *docker, "search", "--filter", "is-official=true", "--format", "{{.Name}}", f"{host}/web"
        ).split() == [f"{host}/web"]
        assert (
            len(run(*docker, "search", "--limit", "2", "--format", "{{.Name}}", f"{host}/web").split()) == 2
        )
        assert len(run(*docker, "search", "--format", "{{.Name}}", f"{host}/").split()) == 4
        ours = Boxwright(tmp_path / "ours")
        for options in (
            (),
            ("--no-trunc",),
            ("--limit", "2"),
            ("--filter", "stars=1"),
            ("--filter", "is-official=true"),
            ("--filter", "is-official=false", "--limit", "1"),
            ("--format", line),
            ("--format", "json"),
            ("--format", "{{json .}}"),
            ("--format", "table {{.Name}}\t{{.StarCount}}"),
        ):
            assert ours("search", *options, f"{host}/web") == run(
                *docker, "search", *options, f"{host}/web"
            ), options
        name = found[0].partition("|")[0]
        assert "no basic auth" not in run(
            *docker, "pull", name, fails=True
        )  # the name can be pulled; its layers are no tars


@needs("podman")
def test_podman_search(registry: Client, tmp_path: Path) -> None:
    host = registry.host
    with podman(tmp_path / "pod") as pod:
        line = "{{.Index}}|{{.Name}}|{{.Description}}|{{.Stars}}|{{.Official}}"
        found = run(*pod, "search", "--tls-verify=false", "--format", line, f"{host}/web").splitlines()
        assert found == [
            f"{host}|{host}/web||0|[OK]",
            f"{host}|{host}/acme/web|Serves pages|0|",
            f"{host}|{host}/acme/web-admin|Administers pages|1|",
        ]
        names = run(*pod, "search", "--tls-verify=false", "--format", "{{.Name}}", f"{host}/").split()
        assert sorted(names) == [
            f"{host}/acme/other",
            f"{host}/acme/web",
            f"{host}/acme/web-admin",
            f"{host}/web",
        ]
        assert "latest" in run(*pod, "search", "--tls-verify=false", "--list-tags", f"{host}/acme/web")


def test_our_own_search(registry: Client, tmp_path: Path) -> None:
    out = Boxwright(tmp_path)("search", f"{registry.host}/admin")
    assert "acme/web-admin" in out and "acme/other" not in out
