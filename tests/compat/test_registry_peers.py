"""Real registries and real clients on the other side."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.spec.descriptor import Descriptor
from support import REAL_ROOT
from support.peers import Boxwright, docker_registry, dockerd, layout, needs, podman, run
from support.registry import make_image, noise

pytestmark = [pytest.mark.peer, needs("docker-registry", "skopeo")]
FILES = ({"bin/app": b"#!/bin/sh\necho hi\n", "etc/x": b"x" * 100_000}, {"data": noise(3_000_000)})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


def digest_at(name: str) -> str:
    return run(
        "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"
    ).strip()


@pytest.mark.parametrize("compress", ["gzip", "zstd", "none"])
def test_we_pull_what_skopeo_pushed_and_push_it_on(registry: str, tmp_path: Path, compress: str) -> None:
    desc = layout(tmp_path / "lay", "x", make_image(*FILES, compress=compress))
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--preserve-digests",
        f"oci:{tmp_path}/lay:x",
        f"docker://{registry}/from-skopeo:{compress}",
    )
    ours = Boxwright(tmp_path)
    out = ours("pull", f"{registry}/from-skopeo:{compress}")
    assert out.splitlines() == [
        f"Digest: {desc.digest}",
        f"Status: Downloaded newer image for {registry}/from-skopeo:{compress}",
        f"{registry}/from-skopeo:{compress}",
    ]
    assert "Image is up to date" in ours("pull", f"{registry}/from-skopeo:{compress}")
    ours("tag", f"{registry}/from-skopeo:{compress}", f"{registry}/onward:{compress}")
    pushed = ours("push", f"{registry}/onward:{compress}")
    assert pushed == f"{compress}: digest: {desc.digest} size: {desc.size}\n"
    assert digest_at(f"{registry}/onward:{compress}") == str(desc.digest)
    shown = json.loads(ours("image", "inspect", f"{registry}/onward:{compress}"))[0]
    assert sorted(shown["RepoDigests"]) == [
        f"{registry}/from-skopeo@{desc.digest}",
        f"{registry}/onward@{desc.digest}",
    ]


def test_docker_schema_2(registry: str, tmp_path: Path) -> None:
    layout(tmp_path / "lay", "x", make_image(*FILES))
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--format",
        "v2s2",
        f"oci:{tmp_path}/lay:x",
        f"docker://{registry}/schema2:1",
    )
    digest = digest_at(f"{registry}/schema2:1")
    ours = Boxwright(tmp_path)
    assert f"Digest: {digest}" in ours("pull", f"{registry}/schema2:1")
    ours("tag", f"{registry}/schema2:1", f"{registry}/schema2-again:1")
    assert digest in ours("push", f"{registry}/schema2-again:1")


def test_stock_clients_pull_what_we_built_and_pushed(registry: str, tmp_path: Path) -> None:
    """A loaded image has uncompressed layers, as a built one; it is compressed on its way."""
    layout(tmp_path / "lay", "x", make_image(*FILES, compress="none"))
    run("skopeo", "copy", f"oci:{tmp_path}/lay:x", f"docker-archive:{tmp_path}/x.tar:{registry}/built:1")
    ours = Boxwright(tmp_path)
    ours("load", "-i", tmp_path / "x.tar")
    out = ours("push", f"{registry}/built:1")
    assert out == ours("push", f"{registry}/built:1")  # the same bytes again
    manifest = json.loads(
        run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry}/built:1")
    )
    assert all(layer["mediaType"].endswith("gzip") for layer in manifest["layers"])
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{registry}/built:1", f"dir:{tmp_path}/out")
    image_id = json.loads(ours("image", "inspect", f"{registry}/built:1"))[0]["Id"]
    assert manifest["config"]["digest"] == image_id
    ours("tag", f"{registry}/built:1", f"{registry}/other:z")
    zstd = ours("push", "--compression", "zstd", f"{registry}/other:z")
    assert zstd != out
    again = Boxwright(tmp_path / "second")
    again("pull", f"{registry}/other:z")
    assert json.loads(again("image", "inspect", f"{registry}/other:z"))[0]["Id"] == image_id


@needs("podman")
@pytest.mark.skipif(not REAL_ROOT, reason="podman's storage here needs root")
def test_podman_both_ways(registry: str, tmp_path: Path) -> None:
    desc = layout(tmp_path / "lay", "x", make_image(*FILES))
    ours = Boxwright(tmp_path)
    ours("copy", f"oci:{tmp_path}/lay:x", f"{registry}/for-podman:1")
    with podman(tmp_path / "pod") as pod:
        image_id = run(*pod, "pull", "-q", "--tls-verify=false", f"{registry}/for-podman:1").strip()
        assert (
            image_id
            == json.loads((tmp_path / "lay/blobs/sha256" / desc.digest.hex).read_text())["config"][
                "digest"
            ].partition(":")[2]
        )
        run(*pod, "push", "-q", "--tls-verify=false", image_id, f"{registry}/from-podman:1")
    ours("pull", f"{registry}/from-podman:1")
    assert json.loads(ours("image", "inspect", f"{registry}/from-podman:1"))[0]["Id"] == f"sha256:{image_id}"


@needs("dockerd", "docker")
@pytest.mark.skipif(not REAL_ROOT, reason="dockerd needs root")
def test_docker_both_ways(registry: str, tmp_path: Path) -> None:
    layout(tmp_path / "lay", "x", make_image(*FILES))
    ours = Boxwright(tmp_path)
    ours("copy", f"oci:{tmp_path}/lay:x", f"{registry}/for-docker:1")
    with dockerd(tmp_path / "d") as docker:
        run(*docker, "pull", "-q", f"{registry}/for-docker:1")
        image_id = run(*docker, "image", "inspect", "-f", "{{.Id}}", f"{registry}/for-docker:1").strip()
        run(*docker, "tag", f"{registry}/for-docker:1", f"{registry}/from-docker:1")
        run(*docker, "push", f"{registry}/from-docker:1")
    ours("pull", f"{registry}/from-docker:1")
    assert json.loads(ours("image", "inspect", f"{registry}/from-docker:1"))[0]["Id"] == image_id


def test_several_platforms(registry: str, tmp_path: Path) -> None:
    images = [
        make_image({"a": name.encode() * 1000}, platform=name)
        for name in ("linux/amd64", "linux/arm64", "linux/arm/v6")
    ]
    desc = layout(tmp_path / "lay", "x", *images)
    ours = Boxwright(tmp_path)
    ours("copy", f"oci:{tmp_path}/lay:x", f"{registry}/multi:1")
    assert digest_at(f"{registry}/multi:1") == str(desc.digest)
    ours("pull", "--platform", "linux/amd64", f"{registry}/multi:1")
    assert json.loads(ours("image", "inspect", f"{registry}/multi:1"))[0]["Architecture"] == "amd64"
    note = ours("push", "-q", f"{registry}/multi:1", input="")
    assert note.strip() == f"{registry}/multi:1"
    assert digest_at(f"{registry}/multi:1") == str(
        images[0].manifest.descriptor.digest
    )  # as docker: what is here
    ours("copy", f"oci:{tmp_path}/lay:x", f"{registry}/multi:1")
    ours("pull", "--platform", "linux/amd64,linux/arm64,linux/arm/v7", f"{registry}/multi:1")
    ours("push", "-q", f"{registry}/multi:1")
    assert digest_at(f"{registry}/multi:1") == str(desc.digest)
    error = ours("pull", "--platform", "linux/s390x", f"{registry}/multi:1", fails=True)
    assert "no matching manifest for linux/s390x in the manifest list entries" in error
    ours(
        "manifest",
        "create",
        f"{registry}/multi:made",
        f"{registry}/multi@{images[0].manifest.descriptor.digest}",
        f"{registry}/multi@{images[1].manifest.descriptor.digest}",
    )
    made = ours("manifest", "push", f"{registry}/multi:made").strip()
    assert digest_at(f"{registry}/multi:made") == made
    assert "linux/arm64" in ours("imagetools", "inspect", f"{registry}/multi:made")


@needs("docker")
def test_manifest_lists_as_the_docker_client_makes_them(registry: str, tmp_path: Path) -> None:
    """docker's manifest commands are its client's alone; theirs and ours on the same images, output beside output."""
    ours, name = Boxwright(tmp_path), f"{registry}/lists"
    for tag, platform in (("amd", "linux/amd64"), ("arm", "linux/arm64")):
        layout(tmp_path / tag, "x", make_image({"a": tag.encode()}, platform=platform))
        ours("copy", f"oci:{tmp_path / tag}:x", f"{name}:{tag}")

    def docker(verb: str, *argv: str, fails: bool = False) -> str:
        insecure = [] if verb in ("annotate", "rm") else ["--insecure"]
        env = {"DOCKER_CONFIG": str(tmp_path / "docker"), "DOCKER_HOST": f"unix://{tmp_path}/nobody"}
        return run("docker", "manifest", verb, *insecure, *argv, env=env, fails=fails)

    def both(verb: str, *argv: str) -> tuple[str, str]:
        return ours("manifest", verb, *argv), docker(verb, *argv)

    assert len(set(both("create", f"{name}:list", f"{name}:amd", f"{name}:arm"))) == 1
    assert len(set(both("create", "--amend", f"{name}:list", f"{name}:amd"))) == 1
    about = ("--variant", "v8", "--os-version", "1", "--os-features", "a,b")
    assert both("annotate", f"{name}:list", f"{name}:arm", *about) == ("", "")
    for argv in (
        [f"{name}:amd"],
        ["-v", f"{name}:amd"],
        [f"{name}:list", f"{name}:arm"],
        ["-v", f"{name}:list", f"{name}:arm"],
        ["-v", f"{name}:list"],
    ):
        mine, theirs = both("inspect", *argv)
        assert json.loads(mine) == json.loads(theirs), argv
        assert "Raw" in mine or mine == theirs, argv
    mine, theirs = map(json.loads, both("inspect", f"{name}:list"))
    assert mine["manifests"] == theirs["manifests"] and mine["manifests"][1]["platform"]["variant"] == "v8"
    for end, who in (("ours", ours), ("theirs", None)):
        digest = (
            ours("manifest", "push", "--purge", f"{name}:list")
            if who
            else docker("push", "--purge", f"{name}:list")
        ).strip()
        assert digest_at(f"{name}:list") == digest, end
        ours("pull", "-q", "--platform", "linux/arm64", f"{name}:list")
        assert json.loads(ours("image", "inspect", f"{name}:list"))[0]["Architecture"] == "arm64"
    assert "o such manifest" in ours("manifest", "rm", f"{name}:list", fails=True)
    assert "o such manifest" in docker("rm", f"{name}:list", fails=True)


def test_copy_between_registries_touches_no_store(registry: str, tmp_path: Path) -> None:
    desc = layout(
        tmp_path / "lay",
        "x",
        *[make_image({"a": p.encode()}, platform=p) for p in ("linux/amd64", "linux/arm64")],
    )
    ours = Boxwright(tmp_path)
    with docker_registry(tmp_path / "second") as other:
        assert ours("copy", "-q", f"oci:{tmp_path}/lay:x", f"docker://{registry}/c:1").strip() == str(
            desc.digest
        )
        ours("copy", f"{registry}/c:1", f"{other}/d/e:2")
        assert digest_at(f"{other}/d/e:2") == str(desc.digest)
        ours("copy", f"{other}/d/e:2", f"docker-archive:{tmp_path}/a.tar:x/y:1")
        assert "x/y:1" in json.loads(run("tar", "xOf", tmp_path / "a.tar", "manifest.json"))[0]["RepoTags"]
    assert not [f for f in (tmp_path / "root/blobs/sha256").glob("*") if f.is_file()]


def test_errors_read_like_docker(registry: str, tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    layout(tmp_path / "lay", "x", make_image({"a": b"1"}))
    ours("copy", f"oci:{tmp_path}/lay:x", f"{registry}/e:1")
    assert f"manifest for {registry}/e:2 not found: manifest unknown" in ours(
        "pull", f"{registry}/e:2", fails=True
    )
    assert "an image does not exist locally with the tag: nothing" in ours("push", "nothing", fails=True)
    assert "tag can't be used with --all-tags" in ours("pull", "-a", f"{registry}/e:1", fails=True)
    assert "connection refused" in ours("pull", "127.0.0.1:1/x", fails=True)


def test_all_tags_and_listing(registry: str, tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    for tag in ("one", "two", "three"):
        layout(tmp_path / tag, "x", make_image({"a": tag.encode()}))
        ours("copy", f"oci:{tmp_path / tag}:x", f"{registry}/many:{tag}")
    assert sorted(ours("tags", "ls", f"{registry}/many").split()) == ["one", "three", "two"]
    assert ours("pull", "-a", f"{registry}/many").count("Digest:") == 3
    with docker_registry(tmp_path / "second") as other:
        for tag in ("one", "two"):
            ours("tag", f"{registry}/many:{tag}", f"{other}/many:{tag}")
        assert ours("push", "-a", f"{other}/many").count("digest:") == 2
        assert sorted(ours("tags", "ls", f"{other}/many").split()) == ["one", "two"]
        assert f"{other}/many" in ours("search", f"{other}/many")


# --- accounts and TLS -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """docker-registry with basic auth and a certificate of a private authority; host and the authority's file."""
    bcrypt = pytest.importorskip("bcrypt")
    trustme = pytest.importorskip("trustme")
    folder = tmp_path_factory.mktemp("guarded")
    ca = trustme.CA()
    cert = ca.issue_cert("127.0.0.1", "localhost")
    ca.cert_pem.write_to_path(str(folder / "ca.crt"))
    cert.private_key_pem.write_to_path(str(folder / "key.pem"))
    for n, blob in enumerate(cert.cert_chain_pems):
        blob.write_to_path(str(folder / "cert.pem"), append=n > 0)
    secret = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    with docker_registry(
        folder / "r", htpasswd=f"bob:{secret}\n", tls=(folder / "cert.pem", folder / "key.pem")
    ) as host:
        yield host, folder / "ca.crt"


def trusting(folder: Path, host: str, ca: Path) -> Boxwright:
    ours = Boxwright(folder)
    certs = ours.home / ".config/docker/certs.d" / host
    certs.mkdir(parents=True)
    (certs / "ca.crt").write_bytes(ca.read_bytes())
    return ours


def test_login_push_pull_over_tls(guarded: tuple[str, Path], tmp_path: Path) -> None:
    host, ca = guarded
    layout(tmp_path / "lay", "x", make_image(*FILES))
    ours = trusting(tmp_path, host, ca)
    assert "no basic auth credentials" in ours("pull", f"{host}/app:1", fails=True)
    error = ours("login", "-u", "bob", "--password-stdin", host, input="wrong\n", fails=True)
    assert "unauthorized" in error.lower() or "authentication" in error.lower()
    assert not (ours.home / ".docker/config.json").exists()
    assert ours("login", "-u", "bob", "--password-stdin", host, input="s3cret\n") == "Login Succeeded\n"
    ours("copy", f"oci:{tmp_path}/lay:x", f"{host}/app:1")
    second = trusting(tmp_path / "two", host, ca)
    second.env["DOCKER_AUTH_CONFIG"] = (ours.home / ".docker/config.json").read_text()
    second("pull", f"{host}/app:1")
    creds = json.loads((ours.home / ".docker/config.json").read_text())
    skopeo = (
        "skopeo",
        "inspect",
        "--creds",
        "bob:s3cret",
        "--cert-dir",
        ours.home / ".config/docker/certs.d" / host,
        f"docker://{host}/app:1",
    )
    assert run(*skopeo) and host in creds["auths"]
    assert "Removing login credentials" in ours("logout", host)
    assert "no basic auth credentials" in ours("pull", f"{host}/app:1", fails=True)


def test_an_unknown_authority_is_named(guarded: tuple[str, Path], tmp_path: Path) -> None:
    """localhost counts as insecure, as with docker; with certs.d it is checked all the same."""
    trustme = pytest.importorskip("trustme")
    host, _ = guarded
    (tmp_path / "other.crt").write_bytes(trustme.CA().cert_pem.bytes())
    error = trusting(tmp_path, host, tmp_path / "other.crt")("pull", f"{host}/app:1", fails=True)
    assert f"cannot trust {host}" in error and "certs.d" in error


# --- a mirror ---------------------------------------------------------------------------------------


def test_pull_through_mirror_for_any_registry(tmp_path: Path) -> None:
    desc = layout(tmp_path / "lay", "x", make_image(*FILES))
    ours = Boxwright(tmp_path)
    with docker_registry(tmp_path / "origin") as origin:
        ours("copy", f"oci:{tmp_path}/lay:x", f"{origin}/app:1")
        with docker_registry(tmp_path / "mirror", mirror_of=f"http://{origin}") as mirror:
            (ours.home / ".config/containers").mkdir(parents=True)
            (ours.home / ".config/containers/registries.conf").write_text(
                f'[[registry]]\nlocation = "{origin}"\n[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
            )
            ours("pull", f"{origin}/app:1")
            cached = list((tmp_path / "mirror/data").rglob("data"))
            assert len(cached) >= 4  # manifest, config and layers went through it
            second = Boxwright(tmp_path / "two")
            (second.home / ".config/containers").mkdir(parents=True)
            (second.home / ".config/containers/registries.conf").write_bytes(
                (ours.home / ".config/containers/registries.conf").read_bytes()
            )
            with_digest = f"{origin}/app@{desc.digest}"
            assert str(desc.digest) in second("pull", with_digest)


def test_hosts_toml_of_containerd_names_a_mirror(tmp_path: Path) -> None:
    """certs.d/HOST/hosts.toml with a registry that answers: the origin is not asked, and no credential goes there."""
    from boxwright.registry.client.client import RegistryClient
    from support.registry import client_config, running

    desc = layout(tmp_path / "lay", "x", make_image(*FILES))
    with docker_registry(tmp_path / "mirror") as mirror, running() as origin:
        Boxwright(tmp_path)("copy", f"oci:{tmp_path}/lay:x", f"{mirror}/team/app:1")
        name, _, port = origin.host.partition(":")
        folder = tmp_path / "etc/containerd/certs.d" / f"{name}_{port}_"
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(
            f'server = "http://{origin.host}"\n[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        engine = Engine(tmp_path / "two")
        engine.services.__dict__["registry"] = RegistryClient(client_config(tmp_path))
        (done,) = engine.images.pull(f"{origin.host}/team/app:1")
        assert done.target.digest == desc.digest and origin.log == []
        assert [row.tags for row in engine.services.catalog.rows()] == [[f"{origin.host}/team/app:1"]]
        engine.services.registry.close()
        engine.services.db.close()


def test_docker_hub_names_come_from_its_mirror(tmp_path: Path) -> None:
    """daemon.json's registry-mirrors, for names without a host. Nothing but the mirror is asked."""
    desc = layout(tmp_path / "lay", "x", make_image(*FILES))
    ours = Boxwright(tmp_path)
    with docker_registry(tmp_path / "mirror") as mirror:
        ours("copy", f"oci:{tmp_path}/lay:x", f"{mirror}/library/official:1")
        (ours.home / ".config/docker").mkdir(parents=True)
        (ours.home / ".config/docker/daemon.json").write_text(
            json.dumps({"registry-mirrors": [f"http://{mirror}"]})
        )
        out = ours("pull", "official:1")
        assert out.splitlines() == [
            f"Digest: {desc.digest}",
            "Status: Downloaded newer image for official:1",
            "docker.io/library/official:1",
        ]


# --- killing and resuming ---------------------------------------------------------------------------


def test_a_killed_pull_is_resumed_by_the_next(tmp_path: Path) -> None:
    """Across processes, and only the missing bytes are asked for."""
    import signal
    import subprocess
    import time

    from support.registry import Request, Response, ranged, running

    image = make_image({"data": noise(8_000_000)})
    layer = image.layers[0]
    ours = Boxwright(tmp_path)
    with running() as fake:
        fake.add_image("app", "1", image)
        half = len(layer) // 2

        def slowly() -> Iterator[bytes]:
            yield layer[:half]
            time.sleep(30)

        fake.hook = lambda r: (
            Response(200, {"Content-Length": str(len(layer))}, chunks=slowly())
            if r.path.endswith(str(image.manifest.layers[0].digest))
            else None
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "boxwright", "pull", f"{fake.host}/app:1"],
            env={**os.environ, **ours.env},
            stderr=subprocess.PIPE,
        )
        part = tmp_path / "root/ingest" / str(image.manifest.layers[0].digest).replace(":", "-")
        end = time.monotonic() + 30
        while not part.exists() or part.stat().st_size < half - (2 << 20):
            assert time.monotonic() < end
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert child.wait(10) == 130 and time.monotonic() - began < 6
        assert child.stderr is not None
        assert b"Traceback" not in child.stderr.read()
        child.stderr.close()
        have = part.stat().st_size
        assert have > 0

        def honest(request: Request) -> Response | None:
            return (
                ranged(request, layer)
                if request.path.endswith(str(image.manifest.layers[0].digest))
                else None
            )

        fake.hook = honest
        before = len(fake.log)
        ours("pull", f"{fake.host}/app:1")
        asked = [
            r.headers.get("range")
            for r in fake.log[before:]
            if r.path.endswith(str(image.manifest.layers[0].digest))
        ]
        assert asked == [f"bytes={have}-"]
    assert not part.exists()
    assert Engine(tmp_path / "root").system.fsck() == []


@pytest.mark.parametrize("kind", ["ours", "docker-registry"])
def test_a_killed_push_goes_on_or_begins_again(tmp_path: Path, kind: str) -> None:
    """Our registry says how far the upload came, and the rest is sent; Go's gives a broken PATCH up, and gets all."""
    import time
    from contextlib import ExitStack
    from typing import BinaryIO, cast

    from boxwright.registry.client.client import RegistryClient
    from boxwright.spec.digest import Digest
    from boxwright.spec.reference import Reference
    from support.registry import client_config
    from support.server import serving

    class Body(io.BytesIO):
        dies_at, taken = 1 << 60, 0

        def rewind(self, offset: int) -> None:
            self.seek(offset)

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= self.dies_at:
                raise KeyboardInterrupt
            piece = super().read(size)
            self.taken += len(piece)
            return piece

    data = noise(30_000_000)
    desc = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(data), len(data))
    (tmp_path / "ingest").mkdir()
    with ExitStack() as stack:
        host = (
            stack.enter_context(docker_registry(tmp_path / "r"))
            if kind == "docker-registry"
            else stack.enter_context(serving(tmp_path / "r")).host
        )
        for dies in (True, False):
            speaker = RegistryClient(client_config(tmp_path, uploads=tmp_path / "ingest"))
            body = Body(data)
            body.dies_at = 15_000_000 if dies else 1 << 60
            remote = speaker.remote(Reference.parse(f"{host}/a/b"), push=True)
            if dies:
                with pytest.raises(KeyboardInterrupt):
                    remote.push(desc, cast(BinaryIO, body))
                time.sleep(0.5)  # the registry learns of it, and counts what it has
            else:
                remote.push(desc, cast(BinaryIO, body))
                assert remote.exists(desc)
                with remote.open(desc) as back:
                    assert back.read() == data
            speaker.close()
    assert body.taken < 20_000_000 if kind == "ours" else body.taken >= len(data)
