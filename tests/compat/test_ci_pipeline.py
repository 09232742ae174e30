"""A job of a CI service, as people write them for docker, with `docker` being Boxwright.

Each run has a machine of its own: an empty store, an empty home, nothing but a checkout and a registry.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.corpus as corpus
import support.images
from boxwright import Engine
from support import REAL_ROOT
from support.gitserver import git
from support.peers import Boxwright, needs, registry, run

pytestmark = [
    pytest.mark.peer,
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed"),
    needs("git", "curl"),
]

DOCKERFILE = """# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM busybox AS build
WORKDIR /src
COPY app.sh .
RUN --mount=type=cache,target=/root/.cache/build \\
    --mount=type=secret,id=token,env=TOKEN,required \\
    sh -n app.sh && test ${#TOKEN} = 7 && cp app.sh /app && chmod 755 /app
RUN wc -l < app.sh > /lines

FROM busybox
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION
COPY --from=build /app /lines /usr/bin/
ENTRYPOINT ["/usr/bin/app"]
"""

JOB = """set -eu
git clone -q "$REPOSITORY" checkout
cd checkout
app=$REGISTRY/acme/app

printf %s "$PASSWORD" | docker login --username ci --password-stdin "$REGISTRY"
docker buildx create --name ci --driver docker-container --use --bootstrap
docker buildx inspect ci
docker buildx build \\
    --tag "$app:$(git rev-parse --short HEAD)" --tag "$app:latest" \\
    --build-arg VERSION="$(git describe --always --tags)" \\
    --secret id=token,env=TOKEN \\
    --cache-from "type=registry,ref=$app:cache" \\
    --cache-to "type=registry,ref=$app:cache,mode=max" \\
    --provenance mode=max --sbom true \\
    --push --metadata-file ../metadata.json --progress plain .
digest=$(sed -n 's/^ *"containerimage.digest": "\\(.*\\)",*$/\\1/p' ../metadata.json)

docker buildx imagetools inspect "$app:latest"
docker buildx imagetools inspect --raw "$app@$digest" > ../index.json
docker buildx imagetools inspect --format '{{json .Provenance}}' "$app@$digest" > ../provenance.json
docker buildx imagetools inspect --format '{{json .SBOM}}' "$app@$digest" > ../sbom.json
if command -v cosign > /dev/null; then
    cosign sign --yes --key "$KEY.key" --use-signing-config=false --tlog-upload=false --allow-insecure-registry "$app@$digest"
    cosign verify --key "$KEY.pub" --insecure-ignore-tlog --allow-insecure-registry --output json "$app:latest" > ../signed.json
fi
docker buildx rm ci
docker logout "$REGISTRY"
"""


class Machine:
    """A new machine, and what the job left on it."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/docker").write_text(f'#!/bin/sh\nexec {sys.executable} -m boxwright "$@"\n')
        (folder / "bin/docker").chmod(0o755)
        (folder / "home/.config/boxwright").mkdir(parents=True)
        (folder / "home/.config/boxwright/config.toml").write_text(
            f'[registry-mirrors]\n"docker.io" = ["http://{environ["REGISTRY"]}"]\n'
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOXWRIGHT_")}
        self.environ = kept | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "DOCKER_CONFIG": str(folder / "home/.docker"),
            "XDG_CONFIG_HOME": str(folder / "home/.config"),
            "BOXWRIGHT_ROOT": str(folder / "root"),
            "TOKEN": "hunter2",
            "COSIGN_PASSWORD": "x",
            **environ,
        }

    def run(self) -> str:
        """Both streams of the job, which succeeds."""
        try:
            done = subprocess.run(
                ["sh", "-c", JOB],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
            )
        finally:
            corpus.leave(Engine(self.folder / "root"))
        assert done.returncode == 0, done.stdout
        return done.stdout

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A repository, and a registry that has the base and knows the job's account."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main", ".")
    (repository / "Dockerfile").write_text(DOCKERFILE)
    (repository / "app.sh").write_text("#!/bin/sh\necho the app\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    if shutil.which("cosign"):
        run(
            "cosign",
            "generate-key-pair",
            "--output-key-prefix",
            tmp_path / "key",
            env={"COSIGN_PASSWORD": "x"},
        )
    users = tmp_path / "htpasswd"
    ours = Boxwright(tmp_path / "before")
    for name in ("ci", "root"):
        ours(
            "registry", "user", "add", name, "--htpasswd", users, "--password-stdin", input="right password\n"
        )
    auth = f'[auth]\nhtpasswd = "{users}"\nanonymous = ["library/**"]\nadmins = ["root"]\n'
    config = f'{auth}[organisations]\nacme = ["ci"]\n'
    with registry(tmp_path / "registry", config) as host:
        (tmp_path / "base.tar").write_bytes(support.images.busybox_tar())
        ours("import", "-c", 'CMD ["sh"]', tmp_path / "base.tar", f"{host}/library/busybox")
        ours("login", "-u", "root", "--password-stdin", host, input="right password")
        ours("push", f"{host}/library/busybox")
        yield {
            "REGISTRY": host,
            "PASSWORD": "right password",
            "REPOSITORY": str(repository),
            "KEY": str(tmp_path / "key"),
        }


def ran(said: str) -> dict[str, bool]:
    """Step of the build -> whether it was found."""
    names = dict(re.findall(r"^#(\d+) (\[.*\d+/\d+\] .*)$", said, re.MULTILINE))
    ends = dict(re.findall(r"^#(\d+) (DONE|CACHED)", said, re.MULTILINE))
    return {name: ends[number] == "CACHED" for number, name in names.items()}


def test_a_job_and_the_next_one_on_another_machine(environ: dict[str, str], tmp_path: Path) -> None:
    first = Machine(tmp_path / "one", environ)
    said = first.run()
    steps = {name: found for name, found in ran(said).items() if "FROM" not in name}
    assert len(steps) == 5 and not any(steps.values()), said

    digest = first.read("metadata.json")["containerimage.digest"]
    assert f"Digest:    {digest}" in said
    made, beside = first.read("index.json")["manifests"]
    assert beside["annotations"]["vnd.docker.reference.digest"] == made["digest"]
    provenance = json.dumps(first.read("provenance.json"))
    assert "hunter2" not in provenance and git(tmp_path / "repository", "rev-parse", "HEAD") in provenance
    assert first.read("sbom.json")["SPDX"]["spdxVersion"] == "SPDX-2.3"
    if shutil.which("cosign"):
        (signed,) = first.read("signed.json")
        assert signed["critical"]["image"]["docker-manifest-digest"] == digest

    second = Machine(tmp_path / "two", environ)
    steps = {name: found for name, found in ran(second.run()).items() if "FROM" not in name}
    assert len(steps) == 5 and all(steps.values()), steps
    assert second.read("index.json")["manifests"][0]["digest"] == made["digest"]

    (tmp_path / "repository/app.sh").write_text("#!/bin/sh\necho another\n")
    git(tmp_path / "repository", "commit", "-q", "-a", "-m", "second")
    third = Machine(tmp_path / "three", environ)
    found = ran(third.run())
    assert [name.split("] ")[1] for name, cached in found.items() if cached and "FROM" not in name] == [
        "WORKDIR /src"
    ]
    assert third.environ["PASSWORD"] not in (third.folder / "home/.docker/config.json").read_text()
