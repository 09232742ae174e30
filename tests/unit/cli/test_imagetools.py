"""`imagetools inspect`: what is said of an image, as buildx prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.cli.main import main
from support.registry import FakeRegistry, running


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as registry:
        yield registry


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<E /f<&>\nx\nE\n")


def shown(capsys: pytest.CaptureFixture[str], name: str, text: str) -> str:
    capsys.readouterr()
    assert main(["buildx", "imagetools", "inspect", name, "--format", text]) == 0
    return capsys.readouterr().out


def built(tmp_path: Path, name: str, *words: str) -> None:
    assert main(["build", "-q", "-t", name, *words, "--push", str(tmp_path)]) == 0


def test_one_platform(registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{registry.host}/lib/app:1"
    built(tmp_path, name, "--sbom=true", "--provenance=mode=max")
    assert list(json.loads(shown(capsys, name, "{{json .SBOM}}"))) == ["SPDX"]
    told = shown(capsys, name, "{{json .Provenance}}")
    assert told.startswith('{\n  "SLSA": {\n    "buildDefinition": {') and not told.endswith("\n")
    assert "\\u003c\\u0026\\u003e" in told  # as Go writes it
    assert shown(capsys, name, "{{.Provenance.SLSA.runDetails.builder.id}}{{.Name}}") == name
    assert list(json.loads(shown(capsys, name, "{{json .}}"))) == ["name", "manifest", "image"]
    assert json.loads(shown(capsys, name, "{{json .Image}}"))["rootfs"]["type"] == "layers"
    assert shown(capsys, name, "{{range .Manifest.Manifests}}{{.Platform.OS}} {{end}}") == "linux unknown "
    assert "Manifests:" in shown(capsys, name, "{{.Manifest}}")


def test_several_platforms(
    registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{registry.host}/lib/app:1"
    built(tmp_path, name, "--platform=linux/amd64,linux/arm64")
    both = ["linux/amd64", "linux/arm64"]
    assert list(json.loads(shown(capsys, name, "{{json .Provenance}}"))) == both
    assert list(json.loads(shown(capsys, name, "{{json .Image}}"))) == both
    assert shown(capsys, name, "{{json .SBOM}}") == "{}"
    assert shown(capsys, name, '{{(index .Image "linux/arm64").Architecture}}') == "arm64"


def test_no_index(registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{registry.host}/lib/app:1"
    built(tmp_path, name, "--provenance=false")
    for text in ("{{json .Provenance}}", "{{json .SBOM}}"):
        assert shown(capsys, name, text) == "{}"
    assert json.loads(shown(capsys, name, "{{json .Manifest}}"))["mediaType"].endswith("manifest.v1+json")


def test_what_is_no_statement(
    registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registry that serves something else under the statement's digest, and an index that lies."""
    name = f"{registry.host}/lib/app:1"
    built(tmp_path, name)
    blobs = registry.blobs["lib/app"]
    (digest,) = [d for d, raw in blobs.items() if b"in-toto.io/Statement" in raw]
    blobs[digest] = blobs[digest].replace(b"slsa", b"slsb")
    assert main(["imagetools", "inspect", name, "--format", "{{json .Provenance}}"]) == 1
    assert "Traceback" not in capsys.readouterr().err
