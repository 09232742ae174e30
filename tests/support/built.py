"""What an archive of `docker save` has in it, in words that two engines share."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator
from typing import Any


def opened(archive: bytes) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The config of a saved image, and its layers that hold something, each as path -> its kind and content."""
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


_KINDS = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE), "f"),
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.LNKTYPE: "h",
}


def entries(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Each with its kind (f, d, l, h or ?) and what tells its content from others."""
    for info in tar:
        content = ""
        if info.isreg():
            file = tar.extractfile(info)
            assert file is not None
            content = hashlib.sha256(file.read()).hexdigest()[:12]
        yield info, _KINDS.get(info.type, "?"), content


def listed(layer: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for info, kind, content in entries(tar):
            name = info.name.strip("/").removeprefix("./")
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
