"""Clients of today against our registry and our files: cosign, crane, oras, notation, skopeo (`make peers`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import Boxwright, layout, needs, registry, run
from support.registry import make_image, noise

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Boxwright:
    return Boxwright(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An OCI layout with an image called `v1`."""
    layout(tmp_path / "layout", "v1", make_image({"f": noise(7, 20_000)}, {"g": b"text"}))
    return tmp_path / "layout"


def pushed(ours: Boxwright, image: Path, name: str) -> str:
    """The image under a name in our registry; its digest."""
    return ours("copy", "-q", f"oci:{image}:v1", name).strip()


@needs("cosign")
def test_a_signature_of_cosign_goes_along(ours: Boxwright, host: str, image: Path, tmp_path: Path) -> None:
    digest = pushed(ours, image, f"{host}/signed/app:1")
    secret = {"COSIGN_PASSWORD": "x", "HOME": str(tmp_path)}
    run("cosign", "generate-key-pair", "--output-key-prefix", tmp_path / "key", env=secret)
    sign = ["cosign", "sign", "--yes", "--key", tmp_path / "key.key", "--allow-insecure-registry"]
    offline = ["--use-signing-config=false", "--tlog-upload=false"]
    run(*sign, *offline, "-a", "made=here", f"{host}/signed/app@{digest}", env=secret)

    def verified(name: str) -> list[str]:
        """The digests that cosign vouches for."""
        verify = ["cosign", "verify", "--key", tmp_path / "key.pub", "--allow-insecure-registry"]
        said = json.loads(run(*verify, "--insecure-ignore-tlog", "--output=json", name, env=secret))
        return [entry["critical"]["image"]["docker-manifest-digest"] for entry in said]

    assert verified(f"{host}/signed/app:1") == [digest]
    # To another repository, and through a file to a third: the signature arrives, and is still of this image.
    ours("copy", f"{host}/signed/app:1", f"{host}/signed/direct:1")
    assert verified(f"{host}/signed/direct:1") == [digest]
    ours("copy", f"{host}/signed/app:1", f"oci:{tmp_path / 'file'}:1")
    ours("copy", f"oci:{tmp_path / 'file'}:1", f"{host}/signed/again:1")
    assert verified(f"{host}/signed/again:1") == [digest]
    ours("copy", "--no-referrers", f"{host}/signed/app:1", f"{host}/signed/bare:1")
    verify = ["cosign", "verify", "--key", tmp_path / "key.pub", "--allow-insecure-registry"]
    run(*verify, "--insecure-ignore-tlog", f"{host}/signed/bare:1", env=secret, fails=True)


@needs("cosign")
def test_an_sbom_attested_by_cosign_goes_along(
    ours: Boxwright, host: str, image: Path, tmp_path: Path
) -> None:
    digest = pushed(ours, image, f"{host}/attested/app:1")
    secret = {"COSIGN_PASSWORD": "x", "HOME": str(tmp_path)}
    run("cosign", "generate-key-pair", "--output-key-prefix", tmp_path / "key", env=secret)
    (tmp_path / "sbom.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "name": "app"}))
    attest = ["cosign", "attest", "--yes", "--key", tmp_path / "key.key", "--allow-insecure-registry"]
    offline = ["--use-signing-config=false", "--tlog-upload=false"]
    what = ["--type", "spdxjson", "--predicate", tmp_path / "sbom.json"]
    run(*attest, *offline, *what, f"{host}/attested/app@{digest}", env=secret)
    ours("copy", f"{host}/attested/app:1", f"{host}/attested/copy:1")
    verify = ["cosign", "verify-attestation", "--key", tmp_path / "key.pub", "--allow-insecure-registry"]
    run(*verify, "--insecure-ignore-tlog", "--type=spdxjson", f"{host}/attested/copy:1", env=secret)


@needs("crane")
def test_crane(ours: Boxwright, host: str, image: Path, tmp_path: Path) -> None:
    digest = pushed(ours, image, f"{host}/crane/app:1")
    crane = ["crane", "--insecure"]
    assert run(*crane, "digest", f"{host}/crane/app:1").strip() == digest
    run(*crane, "copy", f"{host}/crane/app:1", f"{host}/crane/other:2")
    assert run(*crane, "ls", f"{host}/crane/other").split() == ["2"]
    assert {"crane/app", "crane/other"} <= set(run(*crane, "catalog", host).split())
    run(*crane, "pull", f"{host}/crane/app:1", tmp_path / "app.tar")
    assert ours("load", "-i", tmp_path / "app.tar").strip() == f"Loaded image: {host}/crane/app:1"
    ours("save", "-o", tmp_path / "ours.tar", f"{host}/crane/app:1")
    run(*crane, "push", tmp_path / "ours.tar", f"{host}/crane/back:1")
    config = json.loads(run(*crane, "config", f"{host}/crane/back:1"))
    assert config == json.loads(run(*crane, "config", f"{host}/crane/app:1"))
    run(*crane, "validate", "--remote", f"{host}/crane/back:1")
    run(*crane, "delete", f"{host}/crane/other@{digest}")
    run(*crane, "digest", f"{host}/crane/other:2", fails=True)


@needs("oras")
def test_oras(ours: Boxwright, host: str, image: Path, tmp_path: Path) -> None:
    digest = pushed(ours, image, f"{host}/oras/app:1")
    (tmp_path / "report.txt").write_text("all is well\n")
    plain = "--plain-http"
    kind = ["--artifact-type", "application/vnd.report"]
    attach = ["oras", "attach", plain, *kind, f"{host}/oras/app:1", "report.txt:text/plain"]
    run("sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", tmp_path, *attach)

    def reports(name: str) -> list[str]:
        found = json.loads(run("oras", "discover", plain, "--format", "json", name))
        return [entry["artifactType"] for entry in found.get("referrers") or found.get("manifests")]

    assert reports(f"{host}/oras/app:1") == ["application/vnd.report"]
    ours("copy", f"{host}/oras/app:1", f"{host}/oras/copy:1")
    assert reports(f"{host}/oras/copy:1") == ["application/vnd.report"]
    run(
        "oras",
        "cp",
        "-r",
        "--from-plain-http",
        "--to-oci-layout",
        f"{host}/oras/app:1",
        f"{tmp_path / 'file'}:1",
    )
    assert ours("copy", "-q", f"oci:{tmp_path / 'file'}:1", f"{host}/oras/back:1").strip() == digest
    assert reports(f"{host}/oras/back:1") == ["application/vnd.report"]


@needs("notation")
def test_a_signature_of_notation_goes_along(ours: Boxwright, host: str, image: Path, tmp_path: Path) -> None:
    digest = pushed(ours, image, f"{host}/notation/app:1")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    run("notation", "cert", "generate-test", "--default", "boxwright.test", env=home)
    run("notation", "sign", "--insecure-registry", f"{host}/notation/app@{digest}", env=home)
    (tmp_path / "policy.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "trustPolicies": [
                    {
                        "name": "all",
                        "registryScopes": ["*"],
                        "signatureVerification": {"level": "strict"},
                        "trustStores": ["ca:boxwright.test"],
                        "trustedIdentities": ["*"],
                    }
                ],
            }
        )
    )
    run("notation", "policy", "import", tmp_path / "policy.json", env=home)
    ours("copy", f"{host}/notation/app:1", f"{host}/notation/copy:1")
    said = run("notation", "verify", "--insecure-registry", f"{host}/notation/copy@{digest}", env=home)
    assert f"Successfully verified signature for {host}/notation/copy@{digest}" in said


@needs("skopeo")
def test_skopeo(ours: Boxwright, host: str, image: Path, tmp_path: Path) -> None:
    digest = pushed(ours, image, f"{host}/skopeo/app:1")
    skopeo = ["skopeo", "--insecure-policy"]
    seen = json.loads(run(*skopeo, "inspect", "--tls-verify=false", f"docker://{host}/skopeo/app:1"))
    assert seen["Digest"] == digest
    there = ["--src-tls-verify=false", "--preserve-digests"]
    run(*skopeo, "copy", *there, f"docker://{host}/skopeo/app:1", f"oci-archive:{tmp_path / 'a.tar'}:v1")
    assert (
        ours("copy", "-q", f"oci-archive:{tmp_path / 'a.tar'}:v1", f"{host}/skopeo/back:1").strip() == digest
    )
    ours("copy", f"{host}/skopeo/app:1", f"docker-archive:{tmp_path / 'd.tar'}:app:1")
    run(*skopeo, "copy", f"docker-archive:{tmp_path / 'd.tar'}", f"oci:{tmp_path / 'unpacked'}:v1")
    listed = json.loads(run(*skopeo, "list-tags", "--tls-verify=false", f"docker://{host}/skopeo/back"))
    assert listed["Tags"] == ["1"]


@needs("docker28")
def test_contexts_of_the_docker_client(tmp_path: Path) -> None:
    ours = Boxwright(tmp_path)
    theirs = {"DOCKER_CONFIG": ours.env["DOCKER_CONFIG"], "DOCKER_HOST": ""}
    ours("context", "create", "ours", "--docker", "host=unix:///o.sock", "--description", "one")
    run(
        "docker28",
        "context",
        "create",
        "theirs",
        "--docker",
        "host=ssh://me@h,skip-tls-verify=true",
        env=theirs,
    )
    inspected = [
        json.loads(said)
        for said in (
            ours("context", "inspect", "ours", "theirs"),
            run("docker28", "context", "inspect", "ours", "theirs", env=theirs),
        )
    ]
    assert inspected[0] == inspected[1]
    file = tmp_path / "theirs.tar"
    run("docker28", "context", "export", "theirs", file, env=theirs)
    ours("context", "import", "again", file)
    ours("context", "export", "ours", tmp_path / "ours.tar")
    run("docker28", "context", "import", "more", tmp_path / "ours.tar", env=theirs)
    ours("context", "update", "more", "--description", "two")
    assert ours("context", "ls") == run("docker28", "context", "ls", env=theirs)
    ours("context", "rm", "theirs", "again")
    assert run("docker28", "context", "ls", "-q", env=theirs).split() == ["default", "more", "ours"]
