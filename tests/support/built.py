"""What an archive of `docker save` has in it, in words that two engines share."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import tarfile
from typing import Any


def opened(archive: bytes) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The config of a saved image, and its layers that hold something, each as path -> what is there."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

        def read(name: str) -> bytes:
            member = tar.getmember(name)
            if member.issym():  # how docker writes a layer twice
                member = tar.getmember(
                    posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                )
            file = tar.extractfile(member)
            assert file is not None
            return file.read()

        manifest = json.loads(read("manifest.json"))[0]
        config: dict[str, Any] = json.loads(read(manifest["Config"]))
        layers = [listed(read(name)) for name in manifest["Layers"]]
    return config, [layer for layer in layers if layer]


def listed(layer: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for info in tar:
            name, content = info.name.strip("/").removeprefix("./"), ""
            if info.isreg() and ".wh." not in name:
                file = tar.extractfile(info)
                assert file is not None
                content = hashlib.sha256(file.read()).hexdigest()[:12]
            kind = (
                "f"
                if info.isreg()
                else "d"
                if info.isdir()
                else "l"
                if info.issym()
                else "h"
                if info.islnk()
                else "?"
            )
            found[name] = (
                "whiteout"
                if ".wh." in name
                else f"{kind} {info.mode & 0o7777:04o} {info.uid}:{info.gid} {info.linkname.lstrip('/')} {content}"
            )
    for name in ("dev", "proc", "sys", "etc"):  # where BuildKit of 20.10 mounted something
        if name in found and not any(path.startswith(f"{name}/") for path in found):
            del found[name]
    return found


def settings(config: dict[str, Any]) -> dict[str, Any]:
    said = {
        key: value
        for key, value in (config.get("config") or {}).items()
        if value not in (None, "", [], {}, False)
    }
    return {key: value for key, value in said.items() if key not in ("Image", "Hostname", "ArgsEscaped")}


def history(config: dict[str, Any], base: bool) -> list[tuple[str, bool]]:
    """What made each layer, in words that both versions share: flags of COPY and values of ARG are shown since 23.0."""
    found = []
    for entry in config["history"][base:]:
        text = re.sub(r"^(COPY|ADD)( --\S+)+", r"\1", entry.get("created_by", ""))
        text = re.sub(r"^(ARG [^=]+)=.*", r"\1", text)
        text = re.sub(r"^RUN \|\d+ .*? (?=/bin/sh)", "RUN ", text).replace("//", "/")
        text = re.sub(r"^(EXPOSE|HEALTHCHECK) .*", r"\1", text)
        found.append((text, bool(entry.get("empty_layer"))))
    return found
