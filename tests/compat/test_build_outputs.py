"""`build --output`, `--annotation` and `--metadata-file`, beside buildx and the BuildKit of dockerd: the same manifests
but for their digests, the same keys of the metadata, the same refusals."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.cli.main import main
from support import REAL_ROOT
from support.corpus import leave
from support.peers import dockerd, needs, registry, run

pytestmark = [
    pytest.mark.peer,
    pytest.mark.rooted,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    needs("docker", "dockerd", "curl"),
]
DOCKERFILE = "FROM scratch\nLABEL a=b\nCOPY f /f\nWORKDIR /d\n"
OCI = "oci-mediatypes=true"
EPOCH = "1000000000"
ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """With the store of images that knows indexes and media types."""
    folder = tmp_path_factory.mktemp("docker")
    with dockerd(folder, "--feature", "containerd-snapshotter=true") as command:
        if subprocess.run([*command, "buildx", "version"], capture_output=True).returncode:
            pytest.skip("there is no buildx: make peers")
        yield command


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("root"))
    yield engine
    leave(engine)


class Pair:
    """One command line there and here, with the metadata of both."""

    def __init__(self, docker: list[str], engine: Engine, folder: Path) -> None:
        self.docker, self.engine, self.folder = docker, engine, folder
        (folder / "context").mkdir()
        (folder / "context/f").write_text("text")
        (folder / "context/Dockerfile").write_text(DOCKERFILE)

    def __call__(self, *words: str) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """(exit code, metadata) of theirs and of ours; SIDE in a word is what tells them apart."""
        return self.theirs(*words), self.ours(*words)

    def _words(self, side: str, words: tuple[str, ...]) -> list[str]:
        said = ["--metadata-file", str(self.folder / side), *words, str(self.folder / "context")]
        return [word.replace("SIDE", side) for word in said]

    def _meta(self, side: str) -> Any:
        path = self.folder / side
        found = json.loads(path.read_text()) if path.exists() else None
        path.unlink(missing_ok=True)
        return found

    def theirs(self, *words: str) -> tuple[int, Any]:
        env = {
            **os.environ,
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }
        argv = [*self.docker, "buildx", "build", *self._words("theirs", words)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env)
        self.error = done.stderr
        return done.returncode, self._meta("theirs")

    def ours(self, *words: str) -> tuple[int, Any]:
        argv = ["--root", str(self.engine.root), "build", *self._words("ours", words)]
        return main(argv), self._meta("ours")


@pytest.fixture
def both(docker: list[str], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setenv("BUILDX_METADATA_WARNINGS", "1")
    monkeypatch.setenv("BUILDX_METADATA_PROVENANCE", "disabled")
    monkeypatch.setenv("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
    return Pair(docker, engine, tmp_path)


def shape(value: Any, key: str = "") -> Any:
    """A manifest or metadata without what is of one build: digests, sizes, names of builds, times."""
    if isinstance(value, dict):
        return {k: shape(v, k) for k, v in sorted(value.items()) if k not in ("data", "vertex")}
    if isinstance(value, list):
        return [shape(one) for one in value]
    if key in ("digest", "size", "org.opencontainers.image.created") or key.endswith(".digest"):
        return "…"
    return value.rpartition("/")[0] if key == "buildx.build.ref" else value


def manifest(where: str, name: str) -> Any:
    url = f"http://{where}/v2/lib/{name.replace(':', '/manifests/', 1)}"
    body = json.loads(run("curl", "-sf", "-H", f"Accept: {ACCEPT}", url))
    if "manifests" in body:
        for entry in body["manifests"]:
            entry["content"] = json.loads(
                run("curl", "-sf", "-H", f"Accept: {ACCEPT}", f"{url.rpartition('/')[0]}/{entry['digest']}")
            )
    return body


@pytest.mark.parametrize(
    "words",
    [
        ["-o", f"type=registry,{OCI}"],
        ["-o", f"type=image,push=true,{OCI},compression=zstd,force-compression=true"],
        ["-o", "type=registry,oci-mediatypes=false"],
        ["-o", f"type=registry,{OCI},compression=uncompressed,force-compression=true"],
        ["--push", "--annotation", "a=b", "--annotation", "manifest-descriptor:c=d"],
        ["--platform=linux/amd64,linux/arm64", "-o", f"type=registry,{OCI}"],
        ["--platform=linux/amd64,linux/arm64", "-o", "type=registry,oci-mediatypes=false"],
        [
            "--platform=linux/amd64,linux/arm64",
            "--push",
            *("--annotation", "all=1"),
            *("--annotation", "index:i=2"),
            *("--annotation", "manifest[linux/arm64],manifest-descriptor[linux/amd64]:one=3"),
            *("--annotation", "index-descriptor:over=4"),
        ],
        ["-o", f'type=registry,{OCI},annotation.a=b,"annotation-manifest-descriptor.x=1,2"'],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_what_is_pushed(both: Pair, where: str, words: list[str]) -> None:
    (theirs, their_meta), (ours, our_meta) = both("-t", f"{where}/lib/SIDE:1", *words)
    assert (theirs, ours) == (0, 0), both.error
    pushed = manifest(where, "ours:1")
    assert shape(pushed) == shape(manifest(where, "theirs:1"))
    text = json.dumps(shape(their_meta)).replace("lib/theirs", "lib/ours")
    assert shape(our_meta) == json.loads(text)
    digest = our_meta["containerimage.digest"]
    assert manifest(where, f"ours:{digest}") == pushed  # what the metadata name is what the registry has


@pytest.mark.parametrize("kind", ["oci", "docker", "local", "tar"])
def test_what_is_written(both: Pair, kind: str) -> None:
    dest, more = both.folder / "out-SIDE", f",{OCI}" if kind in ("oci", "docker") else ""
    words = ("-t", "x:1", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "-o", f"type={kind},dest={dest}{more}")
    (theirs, their_meta), (ours, our_meta) = both(*words)
    assert (theirs, ours) == (0, 0), both.error
    assert shape(our_meta) == shape(their_meta)
    found: dict[str, Any] = {}
    for side in ("theirs", "ours"):
        path = Path(str(dest).replace("SIDE", side))
        if kind == "local":
            found[side] = {p.name: (p.stat().st_mode, p.stat().st_mtime) for p in path.iterdir()}
            continue
        with tarfile.open(path) as tar:
            if kind == "tar":
                found[side] = {m.name: (m.mode, m.mtime) for m in tar}
                continue
            index = tar.extractfile("index.json")
            assert index is not None
            found[side] = shape(json.load(index))
            found[side]["manifests"][0]["annotations"].pop("config.digest", None)
            found[side].setdefault("mediaType", "application/vnd.oci.image.index.v1+json")
    assert found["ours"] == found["theirs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "type=image,compression=lz4"], "unsupported compression type lz4"),
        (
            ["-o", f"type=image,{OCI},annotation-index.a=b"],
            "index annotations not supported for single platform",
        ),
        (
            ["--platform=linux/amd64,linux/arm64", "-o", f"type=image,{OCI},annotation[linux/s390x].a=b"],
            "no platform linux/s390x found in source",
        ),
        (["--annotation", "foo:a=b"], "unknown annotation type"),
        (["--annotation", "a"], "expected key=value"),
        (["-o", "type=registry"], "tag is needed when pushing to registry"),
        (
            ["--platform=linux/amd64,linux/arm64", "-o", "type=local,dest=out,platform-split=false"],
            "cannot overwrite",
        ),
    ],
)
def test_refusals(
    both: Pair,
    words: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(both.folder)
    assert both.theirs(*words)[0] != 0 and message in both.error, both.error
    capfd.readouterr()
    assert both.ours(*words)[0] != 0 and message in capfd.readouterr().err


def test_warnings_in_the_metadata(both: Pair) -> None:
    (both.folder / "context/Dockerfile").write_text("FROM scratch as x\nMAINTAINER me\nCOPY f /\n")
    (_, theirs), (_, ours) = both("-o", "type=cacheonly")

    def told(meta: Any) -> list[Any]:
        return sorted(shape(meta["buildx.build.warnings"]), key=lambda one: str(one["range"]))

    assert shape({k: v for k, v in ours.items() if k != "buildx.build.warnings"}) == shape(
        {k: v for k, v in theirs.items() if k != "buildx.build.warnings"}
    )
    for one in (mine := told(ours)):
        one["sourceInfo"].pop("definition", None)
    for one in (other := told(theirs)):
        one["sourceInfo"] = {"filename": one["sourceInfo"]["filename"]}
    assert [sorted(one) for one in mine] == [sorted(one) for one in other]
    assert [(one["short"], one["range"], one["url"]) for one in mine] == [
        (one["short"], one["range"], one["url"]) for one in other
    ]
