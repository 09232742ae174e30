"""No credential that a build is given is in anything that it leaves: every one is a marker, and everything is looked
through, what is compressed or in base64 too."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from boxwright.build.metadata import metadata
from boxwright.build.ops.context import Secret
from boxwright.build.options import outputs
from boxwright.build.remotecache.options import parse_all
from boxwright.build.request import SshSource
from support.gha import GitHub, github
from support.gitserver import git, publish, serving
from support.image import engine as make_engine
from support.peers import needs
from support.registry import FakeRegistry, running
from support.s3 import Bucket, s3

pytestmark = [
    needs("git", "ssh-keygen", "ssh-agent"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
MARKER = "MARKER3fa9c1"
_TEXT = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")


def layers_of(raw: bytes) -> Iterator[bytes]:
    """The bytes, and what they are compressed or encoded of."""
    yield raw
    if raw[:2] == b"\x1f\x8b":
        yield from layers_of(gzip.decompress(raw))
    elif raw[:4] == b"\x28\xb5\x2f\xfd":
        yield from layers_of(zstandard.ZstdDecompressor().decompressobj().decompress(raw))
    else:
        for found in _TEXT.findall(raw):
            yield base64.b64decode(found[: len(found) // 4 * 4] if b"=" not in found else found + b"==")


def left_in(raw: bytes, markers: list[bytes]) -> list[bytes]:
    """Which of them are there."""
    return [marker for marker in markers for part in layers_of(raw) if marker in part]


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_credentials_are_in_nothing_that_a_build_leaves(tmp_path: Path, packed: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "secret").write_text(MARKER)
    with running() as registry, github() as hub, s3() as bucket, serving(tmp_path) as site:
        account = f"me:{MARKER}@"
        there = site.replace("http://", f"http://{account}")
        (work / "f").write_text("f")
        (work / "Dockerfile").write_text(
            f"FROM scratch\nARG V\nADD {there}/plain /g\nCOPY f /\nCOPY .git /git\n"
        )
        (tmp_path / "plain").write_text("plain")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "one")
        publish(work, tmp_path / "app.git")
        registry.basic = ("bob", MARKER)
        docker = tmp_path / "docker"
        docker.mkdir()
        auth = base64.b64encode(f"bob:{MARKER}".encode()).decode()
        (docker / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
        engine = make_engine(tmp_path / "root", DOCKER_CONFIG=str(docker))
        events: list[Any] = []
        result = engine.build(
            f"{there}/smart/app.git",
            tags=(f"{registry.host}/lib/app:1",),
            outputs=outputs(
                [
                    f"type=registry,compression={packed}",
                    f"{tmp_path}/out",
                    f"type=oci,dest={tmp_path}/oci.tar",
                ]
            ),
            provenance="mode=max",
            sbom=True,
            build_args={
                "V": f"http://{account}h/",
                "HTTPS_PROXY": f"http://{account}proxy:1",
                "BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1",
            },
            secrets=(
                Secret("one", path=tmp_path / "secret"),
                Secret("GIT_AUTH_TOKEN", value=MARKER.encode()),
            ),
            ssh={"default": SshSource((key,))},
            cache_to=parse_all(
                [
                    f"type=registry,ref={registry.host}/lib/app:cache,mode=max",
                    f"type=local,dest={tmp_path}/cache,mode=max",
                    bucket.options(mode="max"),
                    hub.options(mode="max"),
                    "type=inline",
                ],
                {},
                to=True,
            ),
            cache_from=parse_all([bucket.options(), hub.options()], {}),
            progress=events.append,
        )
        markers = [
            MARKER.encode(),
            auth.encode(),
            bucket.secret_key.encode(),
            bucket.access_key.encode(),
            hub.secret.encode(),
            key.read_bytes().splitlines()[2],
        ]
        found = _everything(registry, hub, bucket=bucket)
        found |= {"events": repr(events).encode(), "result": repr(result).encode()}
        found["metadata"] = json.dumps(metadata(result, warnings=True)).encode()
        found["log"] = json.dumps(
            [dict(e) for r in engine.builds.list() for e in engine.builds.logs(r.id)]
        ).encode()
        engine.services.registry.http.close()
        engine.services.db.close()
        for top in ("root", "out", "cache", "oci.tar"):
            place = tmp_path / top
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                if path.is_file():
                    found[str(path)] = path.read_bytes()
    assert len(registry.manifests["lib/app"]) > 2 and bucket.name and hub.entries
    assert any(name.startswith("s3 ") for name in found) and any(name.startswith("gha ") for name in found)
    assert {name: what for name, raw in found.items() if (what := left_in(raw, markers))} == {}
    # It does look into what is compressed: the file of the context is in a layer, the name of an argument in base64.
    assert [name for name, raw in found.items() if name.startswith("blob") and left_in(raw, [b"plain"])]
    assert [name for name, raw in found.items() if left_in(raw, [b"ARG V\nADD http"])]


def _everything(registry: FakeRegistry, hub: GitHub, bucket: Bucket) -> dict[str, bytes]:
    blobs = {f"blob {name}": raw for kept in registry.blobs.values() for name, raw in kept.items()}
    manifests = {f"manifest {n}": raw for kept in registry.manifests.values() for n, (_, raw) in kept.items()}
    entries = {f"gha {name}": entry.blob or b"" for name, entry in hub.entries.items()}
    return {
        **blobs,
        **manifests,
        **entries,
        **{f"s3 {name}": bucket.read(name) for name in list(bucket.keys())},
    }
