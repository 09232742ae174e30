"""The bud corpus: contexts for differential tests (tests/data/bud-corpus, from buildah's tests, Apache-2.0)."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from boxwright import Engine
from boxwright.build.request import BuildRequest
from boxwright.layer.tarstream import open_tar
from support import DATA, built
from support.snapshot import unmount_layers

CORPUS = DATA / "bud-corpus"


@cache
def cases() -> list[dict[str, Any]]:
    """Every case of the corpus."""
    import json

    found: list[dict[str, Any]] = json.loads((CORPUS / "index.json").read_text())["cases"]
    return found


def title(case: Mapping[str, Any]) -> str:
    """A readable test id."""
    return f"{case['context']}-{case['dockerfile'].replace('/', '_')}-{case['name'].replace(' ', '_').replace('/', '_')}"


def lay_out(case: Mapping[str, Any], directory: Path) -> Path:
    """A copy of the case's context, with its setup steps done."""
    target = directory / "context"
    shutil.copytree(CORPUS / case["context"], target, symlinks=True)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644 if not os.access(path, os.X_OK) else 0o755)
    link = target / "subdir-e/subdir-f/subdir-g/subdir-b"
    if link.is_file():  # a link upstream, kept as its text
        text = link.read_text()
        link.unlink()
        link.symlink_to(text)
    for step in case.get("setup", ()):
        if "mkdir" in step:
            (target / step["mkdir"]).mkdir(parents=True)
            (target / step["mkdir"]).chmod(int(step["mode"], 8))
        else:
            file = target / step["write"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step["text"])
            if "uid" in step and os.geteuid() == 0:
                os.chown(file, step["uid"], step["gid"])
            file.chmod(int(step["mode"], 8))
    if "dockerignore" in case:
        (target / ".dockerignore").write_text(case["dockerignore"])
    return target


def request(case: Mapping[str, Any], context: Path, **more: Any) -> BuildRequest:
    """The build of a case."""
    from boxwright.build.ops.context import Secret

    secrets = tuple(Secret(name, value=value.encode()) for name, value in case.get("secrets", {}).items())
    return BuildRequest(
        context=context,
        dockerfile=context / case["dockerfile"],
        build_args=case.get("build_args", {}),
        secrets=secrets,
        **more,
    )


@cache
def small_base() -> bytes:
    """A root file system without programs, for cases that run nothing."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode in (
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("usr", 0o755),
            ("usr/bin", 0o755),
            ("var", 0o755),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, mode, 1_700_000_000
            tar.addfile(info)
        users = b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
        for name, data in (
            ("etc/passwd", users),
            ("etc/group", b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def extended(base: bytes) -> bytes:
    """A busybox root file system with the files that cases expect of a distribution."""
    out = io.BytesIO(base)
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name in ("usr/local", "usr/local/bin", "dev"):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
            tar.addfile(info)
        for name in ("etc/os-release", "etc/nsswitch.conf"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 3, 1_700_000_000
            tar.addfile(info, io.BytesIO(b"x=1"))
        info = tarfile.TarInfo("usr/bin/env")
        info.type, info.linkname = tarfile.SYMTYPE, "../../bin/busybox"
        tar.addfile(info)
    return out.getvalue()


def provide_bases(engine: Engine, tar: bytes, *names: str) -> None:
    """Import one root file system under the names that cases build on."""
    wanted = names or (
        "busybox",
        "alpine",
        "debian:bookworm-slim",
        "mirror.gcr.io/busybox",
        "mirror.gcr.io/alpine",
    )
    row = engine.images.import_(io.BytesIO(tar), wanted[0], changes=['CMD ["/bin/sh"]'])
    for name in wanted[1:]:
        engine.images.tag(row.target, name)


def entries(engine: Engine, image: str, *, above: int = 0) -> list[list[str]]:
    """Per layer above the first `above` ones, its tar entries as lines: type, mode, owner, size, path, link, content."""
    found = []
    for diff_id in engine.services.images_store.resolve_platform(image).layers[above:]:
        layer = engine.services.layers.get(diff_id)
        with open_tar(layer) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            lines = [
                f"{kind} {info.mode:04o} {info.uid}:{info.gid} {info.name} {info.linkname} {content}".rstrip()
                for info, kind, content in built.entries(tar)
            ]
        found.append(lines)
    return found


def tree(engine: Engine, image: str) -> dict[str, str]:
    """The whole merged tree of an image: path -> type, mode, owner, content or link."""
    import hashlib

    from boxwright.layer.view import LayersView

    out = {}
    with LayersView(
        [engine.services.layers.get(d) for d in engine.services.images_store.resolve_platform(image).layers]
    ) as view:
        for node in view.walk(""):
            content = (
                hashlib.sha256(view.content(node)).hexdigest()[:12] if node.type == "file" else node.link
            )
            out[node.path] = f"{node.type} {node.mode:04o} {node.uid}:{node.gid} {content}".rstrip()
    return out


def leave(engine: Engine) -> None:
    """Take down what a root with real steps has on the host: mounts, and its bridge with its rules."""
    from boxwright.network.networks import Networks

    unmount_layers(engine.root)
    networks = Networks(engine.root, engine.services.db)
    for network in networks.list():
        networks.take_down(network)
    engine.services.db.close()
