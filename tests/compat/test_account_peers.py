"""Accounts that one program keeps and another uses: ours, skopeo's (and so podman's), docker's, and their helpers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import Boxwright, dockerd, layout, needs, run
from support.registry import make_image
from support.server import serving

bcrypt = pytest.importorskip("bcrypt")
pytest.importorskip("aiohttp")
pytestmark = [pytest.mark.peer, needs("skopeo")]


@pytest.fixture(params=["bearer", "basic"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry where nothing can be had without an account; it has alice/app:1."""
    from boxwright.registry.server.config import Auth

    (tmp_path / "htpasswd").write_bytes(b"alice:" + bcrypt.hashpw(b"pw-alice", bcrypt.gensalt(4)) + b"\n")
    with serving(
        tmp_path / "registry",
        auth=Auth(htpasswd=tmp_path / "htpasswd", anonymous=(), challenge=request.param),
    ) as client:
        layout(tmp_path / "lay", "x", make_image({"a": b"x" * 1000}))
        auth = json.dumps({"auths": {client.host: {"username": "alice", "password": "pw-alice"}}})
        (tmp_path / "first").mkdir()
        first = Boxwright(tmp_path / "first")
        first.env["DOCKER_AUTH_CONFIG"] = auth
        first("copy", f"oci:{tmp_path}/lay:x", f"{client.host}/alice/app:1")
        yield client.host


def log_in(ours: Boxwright, host: str) -> None:
    ours("login", "-u", "alice", "--password-stdin", host, input="pw-alice\n")


def skopeo_sees(host: str, file: Path, **env: str) -> bool:
    return "alice/app" in run(
        "skopeo", "list-tags", "--tls-verify=false", "--authfile", file, f"docker://{host}/alice/app", env=env
    )


def we_see(ours: Boxwright, host: str) -> bool:
    return ours("tags", "ls", f"{host}/alice/app").split() == ["1"]


def test_ours_for_skopeo_and_skopeos_for_us(host: str, tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    refused = ours("tags", "ls", f"{host}/alice/app", fails=True)
    assert "unauthorized" in refused or "no basic auth" in refused
    log_in(ours, host)
    assert we_see(ours, host) and skopeo_sees(host, ours.home / ".docker/config.json")
    ours("logout", host)
    ours("tags", "ls", f"{host}/alice/app", fails=True)
    file = ours.home / ".config/containers/auth.json"
    file.parent.mkdir(parents=True)
    run(
        "skopeo",
        "login",
        "--tls-verify=false",
        "--authfile",
        file,
        "-u",
        "alice",
        "--password-stdin",
        host,
        input="pw-alice",
    )
    assert we_see(ours, host)
    run("skopeo", "logout", "--authfile", file, host)
    ours("tags", "ls", f"{host}/alice/app", fails=True)


def test_one_helper_for_both(host: str, tmp_path: Path) -> None:
    """What we give to a helper is what skopeo gets from it, an identity token as well as a password."""
    program = tmp_path / "bin/docker-credential-shared"
    program.parent.mkdir()
    program.write_text(
        "#!/usr/bin/env python3\nimport json,sys,pathlib\n"
        f"f=pathlib.Path({str(tmp_path / 'secrets')!r}); d=json.loads(f.read_text()) if f.exists() else {{}}\n"
        "v=sys.argv[1]; t=sys.stdin.read()\n"
        "if v=='store': e=json.loads(t); d[e['ServerURL']]=e\n"
        "elif v=='erase': d.pop(t.strip(),None)\n"
        "elif t.strip() not in d: print('credentials not found in native keychain'); sys.exit(1)\n"
        "else: print(json.dumps(d[t.strip()]))\n"
        "f.write_text(json.dumps(d))\n"
    )
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    ours = Boxwright(tmp_path)
    ours.env["PATH"] = path
    (ours.home / ".docker").mkdir()
    (ours.home / ".docker/config.json").write_text(json.dumps({"credHelpers": {host: "shared"}}))
    log_in(ours, host)
    assert json.loads((tmp_path / "secrets").read_text())[host]["Secret"]
    assert "auth" not in json.loads((ours.home / ".docker/config.json").read_text())["auths"][host]
    assert we_see(ours, host) and skopeo_sees(host, ours.home / ".docker/config.json", PATH=path)
    podmans = ours.home / ".config/containers/auth.json"
    podmans.parent.mkdir(parents=True)
    podmans.write_text(json.dumps({"credHelpers": {host: "shared"}}))
    (ours.home / ".docker/config.json").unlink()
    assert we_see(ours, host) and skopeo_sees(host, podmans, PATH=path)


@needs("dockerd", "docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root")
def test_dockers_for_us_and_ours_for_docker(host: str, tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    with dockerd(tmp_path / "d") as docker:
        run(*docker, "login", "-u", "alice", "--password-stdin", host, input="pw-alice", env=ours.env)
        assert we_see(ours, host)
        ours("logout", host)
        assert "Not logged in" in ours("logout", host)
        run(*docker, "pull", f"{host}/alice/app:1", env=ours.env, fails=True)
        log_in(ours, host)
        run(*docker, "pull", f"{host}/alice/app:1", env=ours.env)
