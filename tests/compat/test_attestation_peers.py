"""Attestations beside BuildKit's own and under the field's readers: buildx, cosign, docker with containerd's store."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import REAL_ROOT
from support.newer import fetched
from support.peers import Boxwright, dockerd, needs, registry, run

pytestmark = pytest.mark.peer

TEXT = """FROM scratch AS one
ARG V=1
COPY a /a
FROM one
LABEL x=$V
COPY --from=one /a /b
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Boxwright:
    return Boxwright(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    (folder / "Dockerfile").write_text(TEXT)
    (folder / "a").write_text("a")
    return folder


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A daemon with containerd's store, which alone pushes attestations, and buildx."""
    if not REAL_ROOT:
        pytest.skip("dockerd needs root")
    folder = tmp_path_factory.mktemp("docker")
    (folder / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    peers = fetched()
    (folder / "config").mkdir()
    plugins = [str(peers / "plugins")] if peers else []
    (folder / "config/config.json").write_text(json.dumps({"cliPluginsExtraDirs": plugins}))
    with dockerd(folder / "d", "--config-file", str(folder / "daemon.json")) as docker:
        client = "docker28" if peers and (peers / "bin/docker28").exists() else docker[0]
        command = [client, "--config", str(folder / "config"), *docker[1:]]
        for words in (("buildx", "version"), ("info", "-f", "{{.DriverStatus}}")):
            said = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
            if said.returncode or (words[0] == "info" and "io.containerd.snapshotter" not in said.stdout):
                pytest.skip("this docker has no buildx, or not containerd's store")
        yield command


def shape(value: Any) -> Any:
    """The fields of a document and the kinds of their values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else type(value).__name__


def manifest(name: str) -> Any:
    return json.loads(run("crane", "--insecure", "manifest", name))


@needs("crane", "docker", "dockerd")
@pytest.mark.parametrize("artifact", ["false", "true"])
@pytest.mark.parametrize("version", ["v0.2", "v1"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_as_buildkit_lays_it_out(
    ours: Boxwright, docker: list[str], host: str, context: Path, mode: str, version: str, artifact: str
) -> None:
    """Field by field: the index, the attestation manifest, its config, the statement, and of the predicate all but
    the steps, whose operations are each builder's own."""
    told = []
    output = f"type=image,push=true,oci-artifact={artifact}"
    for who in ("ours", "theirs"):
        name = f"{host}/attested/{who}:{mode}-{version}-{artifact}"
        words = ["buildx", "build", "-t", name, f"--provenance=mode={mode},version={version}", "-o", output]
        words += ["--build-arg", "V=2", "--label", "l=m", str(context)]
        ours(*words) if who == "ours" else run(*docker, *words)
        index = manifest(name)
        image, entry = index["manifests"]
        attested = manifest(f"{name.rpartition(':')[0]}@{entry['digest']}")
        repository = name.rpartition(":")[0]
        config = json.loads(
            run("crane", "--insecure", "blob", f"{repository}@{attested['config']['digest']}")
        )
        statement = json.loads(
            run("crane", "--insecure", "blob", f"{repository}@{attested['layers'][0]['digest']}")
        )
        assert entry["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        assert "sha256:" + statement["subject"][0]["digest"]["sha256"] == image["digest"]
        assert statement["subject"][0]["name"].startswith(
            f"pkg:docker/{repository}@{mode}-{version}-{artifact}?platform="
        )
        predicate = statement["predicate"]
        if version == "v1":
            internal = predicate["buildDefinition"]["internalParameters"]
            metadata = predicate["runDetails"]["metadata"]["buildkit_metadata"]
        else:
            internal, metadata = (
                predicate,
                predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"],
            )
        assert ("buildConfig" in internal) == (mode == "max")
        internal.pop("buildConfig", None)
        if mode == "max":
            info = metadata["source"]["infos"][0]
            assert info["filename"] == "Dockerfile" and len(info["data"]) > 50
            assert metadata["source"]["locations"]
            metadata.pop("source"), metadata.pop("layers", None)
        told.append((shape(index), shape(attested), shape(config), shape(statement)))
    assert told[0] == told[1]


@needs("docker", "dockerd")
def test_buildx_shows_what_we_show(ours: Boxwright, docker: list[str], host: str, context: Path) -> None:
    name = f"{host}/attested/shown:1"
    ours("build", "-t", name, "--sbom=true", "--push", context)
    for text in (
        "{{json .SBOM}}",
        "{{json .Provenance}}",
        "{{json .Manifest}}",
        "{{json .Image}}",
        "{{json .}}",
        "",
    ):
        words = ["buildx", "imagetools", "inspect", name, *(["--format", text] if text else [])]
        said = [ours(*words), run(*docker, *words)]  # where buildx shows annotations in any order
        assert said[0] == said[1] or (not text and len({str(sorted(s.splitlines())) for s in said}) == 1), (
            text
        )
    assert json.loads(ours("imagetools", "inspect", name, "--format", "{{json .SBOM}}"))["SPDX"]["packages"]


@needs("cosign")
def test_cosign_signs_and_verifies_what_was_pushed(
    ours: Boxwright, host: str, context: Path, tmp_path: Path
) -> None:
    """The index with its attestations, by the digest that the build tells."""
    name = f"{host}/attested/signed:1"
    ours("build", "-t", name, "--sbom=true", "--push", "--metadata-file", tmp_path / "meta", context)
    digest = json.loads((tmp_path / "meta").read_text())["containerimage.digest"]
    secret = {"COSIGN_PASSWORD": "x", "HOME": str(tmp_path)}
    run("cosign", "generate-key-pair", "--output-key-prefix", tmp_path / "key", env=secret)
    key = ["--allow-insecure-registry", "--key"]
    offline = ["--use-signing-config=false", "--tlog-upload=false"]
    run(
        "cosign",
        "sign",
        "--yes",
        *key,
        tmp_path / "key.key",
        *offline,
        f"{host}/attested/signed@{digest}",
        env=secret,
    )
    verify = ["cosign", "verify", *key, tmp_path / "key.pub", "--insecure-ignore-tlog", "--output=json", name]
    (said,) = json.loads(run(*verify, env=secret))
    assert said["critical"]["image"]["docker-manifest-digest"] == digest


@needs("docker", "dockerd")
def test_docker_runs_the_image_beside_its_attestations(
    ours: Boxwright, docker: list[str], host: str, context: Path
) -> None:
    name = f"{host}/attested/pulled:1"
    ours("build", "-t", name, "--push", context)
    run(*docker, "pull", name)
    assert run(*docker, "image", "inspect", "-f", "{{.Config.Labels.x}}", name).strip() == "1"
