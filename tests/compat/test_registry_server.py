"""Stock clients against our registry: docker, podman, skopeo and our own log in, push, pull; and mirrors of real peers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from support.peers import (
    Boxwright,
    docker_registry,
    dockerd,
    free_port,
    layout,
    needs,
    podman,
    registry,
    run,
)
from support.registry import make_image, noise

pytestmark = pytest.mark.peer
CONFIG = """
[auth]
htpasswd = "htpasswd"
admins = ["root"]
anonymous = ["**"]
private = ["alice/private"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("guarded")
    for user in ("root", "alice"):
        run(
            sys.executable,
            "-m",
            "boxwright",
            "registry",
            "user",
            "add",
            "--htpasswd",
            folder / "htpasswd",
            "--password-stdin",
            user,
            input=f"pw-{user}\n",
        )
    with registry(folder, CONFIG) as host:
        yield host


@pytest.fixture
def image(tmp_path: Path) -> Path:
    layout(tmp_path / "lay", "x", make_image({"bin/app": b"#!/bin/sh\n", "data": noise(2_000_000)}))
    return tmp_path / "lay"


def catalogue(host: str) -> list[str]:
    repositories: list[str] = json.loads(
        run("curl", "-s", "-u", "root:pw-root", f"http://{host}/v2/_catalog")
    )["repositories"]
    return repositories


@needs("skopeo")
def test_skopeo(guarded: str, image: Path, tmp_path: Path) -> None:
    auth = ["--authfile", str(tmp_path / "auth.json")]
    source, name = f"oci:{image}:x", f"docker://{guarded}/alice/skopeo:1"
    run("skopeo", "copy", "--dest-tls-verify=false", *auth, source, name, fails=True)
    run("skopeo", "login", "--tls-verify=false", *auth, "-u", "alice", "-p", "wrong", guarded, fails=True)
    run("skopeo", "login", "--tls-verify=false", *auth, "-u", "alice", "-p", "pw-alice", guarded)
    run("skopeo", "copy", "--dest-tls-verify=false", *auth, source, name)
    denied = run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        *auth,
        source,
        f"docker://{guarded}/busybox:1",
        fails=True,
    )
    assert "denied" in denied or "not authorized" in denied or "may not push" in denied
    run("skopeo", "copy", "--src-tls-verify=false", name, f"oci:{tmp_path}/out:x")  # without an account
    run("skopeo", "copy", "--dest-tls-verify=false", *auth, source, f"docker://{guarded}/alice/private:1")
    run(
        "skopeo",
        "copy",
        "--src-tls-verify=false",
        f"docker://{guarded}/alice/private:1",
        f"oci:{tmp_path}/out2:x",
        fails=True,
    )
    run(
        "skopeo",
        "copy",
        "--src-tls-verify=false",
        *auth,
        f"docker://{guarded}/alice/private:1",
        f"oci:{tmp_path}/out2:x",
    )
    assert json.loads(run("skopeo", "list-tags", "--tls-verify=false", f"docker://{guarded}/alice/skopeo"))[
        "Tags"
    ] == ["1"]
    run("skopeo", "delete", "--tls-verify=false", *auth, name)
    run("skopeo", "inspect", "--tls-verify=false", name, fails=True)


@needs("docker", "dockerd", "skopeo")
def test_docker(guarded: str, image: Path, tmp_path: Path) -> None:
    run("skopeo", "copy", f"oci:{image}:x", f"docker-archive:{tmp_path}/image.tar:{guarded}/alice/docker:1")
    with dockerd(tmp_path / "docker") as docker:
        docker = [docker[0], "--config", str(tmp_path / "config"), *docker[1:]]
        run(*docker, "load", "-i", tmp_path / "image.tar")
        assert (
            "denied" in (said := run(*docker, "push", f"{guarded}/alice/docker:1", fails=True))
            or "authentication required" in said
            or "unauthorized" in said
        )
        assert "incorrect username or password" in run(
            *docker, "login", "-u", "alice", "--password-stdin", guarded, input="wrong", fails=True
        )
        assert "Login Succeeded" in run(
            *docker, "login", "-u", "alice", "--password-stdin", guarded, input="pw-alice"
        )
        assert "digest: sha256:" in run(*docker, "push", f"{guarded}/alice/docker:1")
        run(*docker, "tag", f"{guarded}/alice/docker:1", f"{guarded}/alice/other:1")
        assert "Mounted from alice/docker" in run(*docker, "push", f"{guarded}/alice/other:1")
        run(*docker, "tag", f"{guarded}/alice/docker:1", f"{guarded}/official:1")
        assert "alice may not push official" in run(*docker, "push", f"{guarded}/official:1", fails=True)
        run(*docker, "rmi", f"{guarded}/alice/docker:1", f"{guarded}/alice/other:1", f"{guarded}/official:1")
        run(*docker, "logout", guarded)
        assert "Downloaded newer image" in run(*docker, "pull", f"{guarded}/alice/docker:1")


@needs("podman", "skopeo")
def test_podman(guarded: str, image: Path, tmp_path: Path) -> None:
    with podman(tmp_path / "podman") as start:
        auth = ["--authfile", str(tmp_path / "auth.json"), "--tls-verify=false"]
        run(*start, "pull", "-q", f"oci:{image}:x")
        id = run(*start, "images", "-q").split()[0]
        run(*start, "login", *auth, "-u", "alice", "-p", "pw-alice", guarded)
        run(*start, "push", *auth, id, f"{guarded}/alice/podman:1")
        run(*start, "rmi", "-af")
        run(*start, "pull", "-q", "--tls-verify=false", f"{guarded}/alice/podman:1")
        assert "alice/podman" in catalogue(guarded)


@needs("skopeo")
def test_ourselves(guarded: str, image: Path, tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    assert "incorrect username or password" in ours(
        "login", "-u", "alice", "--password-stdin", guarded, input="wrong\n", fails=True
    )
    ours("login", "-u", "alice", "--password-stdin", guarded, input="pw-alice\n")
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        "alice:pw-alice",
        f"oci:{image}:x",
        f"docker://{guarded}/alice/private:2",
    )
    ours("pull", f"{guarded}/alice/private:2")
    ours("tag", f"{guarded}/alice/private:2", f"{guarded}/alice/ours:1")
    ours("push", f"{guarded}/alice/ours:1")
    assert ours("tags", "ls", f"{guarded}/alice/ours").split() == ["1"]
    ours("copy", f"{guarded}/alice/ours:1", f"{guarded}/alice/ours:2")
    assert ours("tags", "rm", f"{guarded}/alice/ours:1") == f"Deleted: {guarded}/alice/ours:1\n"
    assert ours("tags", "ls", f"{guarded}/alice/ours").split() == ["2"]
    assert "may not delete official" in ours("tags", "rm", f"{guarded}/official:1", fails=True)


@needs("skopeo")
def test_tls(image: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certs = tmp_path / "certs"
    certs.mkdir()
    authority.cert_pem.write_to_path(certs / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    with registry(
        tmp_path / "reg",
        "",
        "--tls-cert",
        str(tmp_path / "cert.pem"),
        "--tls-key",
        str(tmp_path / "key.pem"),
        scheme="https",
    ) as host:
        run("skopeo", "copy", "--dest-cert-dir", certs, f"oci:{image}:x", f"docker://{host}/a/b:1")
        run("skopeo", "copy", "--src-cert-dir", certs, f"docker://{host}/a/b:1", f"oci:{tmp_path}/out:x")


@needs("docker-registry", "skopeo")
def test_a_mirror_of_dockers_registry(image: Path, tmp_path: Path) -> None:
    """Two workers, an upstream with a password; then the upstream goes away."""
    import bcrypt

    port = free_port()
    line = "u:" + bcrypt.hashpw(b"p", bcrypt.gensalt(4)).decode() + "\n"
    config = f'[[upstream]]\nprefix = "up"\nurl = "http://127.0.0.1:{port}"\nusername = "u"\npassword = "p"\nttl = 0\n'
    with docker_registry(tmp_path / "up", htpasswd=line, port=port) as upstream:
        run(
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            "u:p",
            f"oci:{image}:x",
            f"docker://{upstream}/team/app:1",
        )
        with registry(tmp_path / "mirror", config) as host:
            run(
                "skopeo",
                "copy",
                "--src-tls-verify=false",
                f"docker://{host}/up/team/app:1",
                f"oci:{tmp_path}/out:x",
            )
            digest = run(
                "skopeo",
                "inspect",
                "--tls-verify=false",
                "--format",
                "{{.Digest}}",
                f"docker://{host}/up/team/app:1",
            )
            by_namespace = run(
                "curl",
                "-s",
                "-D-",
                "-o",
                "/dev/null",
                f"http://{host}/v2/team/app/manifests/1?ns=127.0.0.1:{port}",
            )
            assert digest.strip() in by_namespace
    with registry(tmp_path / "mirror", config) as host:
        run(
            "skopeo",
            "copy",
            "--src-tls-verify=false",
            f"docker://{host}/up/team/app:1",
            f"oci:{tmp_path}/again:x",
        )
        stale = run("curl", "-s", "-D-", "-o", "/dev/null", f"http://{host}/v2/up/team/app/manifests/1")
        assert "200 OK" in stale and "Response is Stale" in stale
        assert "502" in run(
            "curl", "-s", "-D-", "-o", "/dev/null", f"http://{host}/v2/up/team/app/manifests/2"
        )
