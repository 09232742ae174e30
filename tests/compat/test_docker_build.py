"""Two hundred Dockerfiles, each built by dockerd's BuildKit and here: the same outcome, config, history and layers.

Each exercises a sentence of the Dockerfile reference. tests/data/dockerfiles.json has them; where we differ on
purpose, docs/dockerfile.md says it. The peer is docker 28 (`make peers`): BuildKit of older ones does not know half of
it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.differences as differences
import support.images
from boxwright import Engine
from boxwright.cli.main import main
from support import DATA
from support.built import history, opened, settings
from support.corpus import leave
from support.peers import DOCKERD, dockerd

pytestmark = DOCKERD
CASES: list[dict[str, Any]] = json.loads((DATA / "dockerfiles.json").read_text())


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with dockerd(tmp_path_factory.mktemp("docker")) as command:
        said = subprocess.run([*command, "version", "--format", "{{.Server.Version}}"], capture_output=True)
        if int(said.stdout.split(b".")[0]) < 28:
            pytest.skip(f"docker {said.stdout.decode().strip()} is too old: make peers")
        subprocess.run(
            [*command, "import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/usr/bin:/bin", "-", "busybox"],
            input=support.images.busybox_tar(),
            check=True,
        )
        yield command


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    engine.images.import_(
        io.BytesIO(support.images.busybox_tar()), "busybox", changes=['CMD ["sh"]', "ENV PATH=/usr/bin:/bin"]
    )
    yield engine
    leave(engine)


def lay_out(case: dict[str, Any], top: Path) -> Path:
    top.mkdir()
    for name, what in case.get("files", {}).items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir()
        elif isinstance(what, str):
            path.write_text(what)
        elif "link" in what:
            path.symlink_to(what["link"])
        else:
            path.write_text(what["text"])
            path.chmod(int(what["mode"], 8))
    for name, mode in case.get("tars", {}).items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(top / name, mode) as tar:
            for entry, data in (("td", None), ("td/f", b"tf"), ("g", b"gg")):
                info = tarfile.TarInfo(entry)
                info.uid = info.gid = 33
                info.mtime, info.mode, info.size = 1_600_000_000, 0o640 if data else 0o750, len(data or b"")
                info.type = tarfile.REGTYPE if data else tarfile.DIRTYPE
                tar.addfile(info, io.BytesIO(data or b""))
    for name, text in case.get("gzip", {}).items():
        (top / name).write_bytes(gzip.compress(text.encode()))
    (top / "Dockerfile").write_text(case["dockerfile"], newline="")
    return top


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_same_image(
    case: dict[str, Any],
    docker: list[str],
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    context = lay_out(case, tmp_path / "context")
    for name, value in case.get("environment", {}).items():
        monkeypatch.setenv(name, value)
    arguments = [
        "--network",
        "none",
        *(word.replace("{context}", str(context)) for word in case.get("arguments", ())),
    ]
    theirs = subprocess.run(
        [*docker, "build", "-q", "-t", case["name"], *arguments, str(context)],
        capture_output=True,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        timeout=120,
    )
    code = main(
        [
            "--root",
            str(engine.root),
            "build",
            "-q",
            "--trust-host-ca=never",
            "-t",
            case["name"],
            *arguments,
            str(context),
        ]
    )
    said = capfd.readouterr().err
    assert "Traceback" not in said
    if (theirs.returncode == 0) != (code == 0):
        differences.check(case["name"], [f"{theirs.stderr.decode()}\n{said}"])
        return
    if code:
        assert "ERROR: " in said
        return
    saved = io.BytesIO()
    engine.images.save([case["name"]], saved)
    theirs_config, theirs_layers = opened(
        subprocess.run([*docker, "save", case["name"]], capture_output=True, check=True).stdout
    )
    ours_config, ours_layers = opened(saved.getvalue())
    base = not case["dockerfile"].startswith("FROM scratch")
    assert settings(ours_config) == settings(theirs_config)
    assert history(ours_config, base) == history(theirs_config, base)
    assert ours_config.get("author") == theirs_config.get("author")
    layers = [] if ours_layers == theirs_layers else [f"here:  {ours_layers}\nthere: {theirs_layers}"]
    differences.check(case["name"], layers)
