"""The steps of a build as BuildKit's provenance tells them (``llbDefinition``): for each what was done, and on what.

The words are those of BuildKit's solver definition; fields for which our steps have no value are left out. No value of
a secret, no proxy and no path of this host is in any operation, and none comes in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.build.graph import Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecMount, ExecOp
from boxwright.build.ops.git import GitOp
from boxwright.build.ops.http import HttpOp
from boxwright.build.ops.source import ImageOp, ScratchOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.spec.urls import public, redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NETWORKS = {"host": 1, "none": 2}
_MOUNTS = {"bind": 0, "secret": 1, "ssh": 2, "cache": 3, "tmpfs": 4}


def numbered(order: Sequence[Vertex]) -> dict[str, str]:
    """``step0``, ``step1`` … by the vertices' ids; scratch is no step."""
    steps = [vertex for vertex in order if not isinstance(vertex.op, ScratchOp)]
    return {vertex.id: f"step{number}" for number, vertex in enumerate(steps)}


def definition(order: Sequence[Vertex]) -> dict[str, Any]:
    """``buildConfig``: the steps, inputs before users, and which of our ids is which."""
    names = numbered(order)
    steps = []
    for vertex in order:
        if vertex.id in names:
            step: dict[str, Any] = {"id": names[vertex.id], "op": _op(vertex)}
            if inputs := [f"{names[v.id]}:0" for v in vertex.inputs if v.id in names]:
                step["inputs"] = inputs
            steps.append(step)
    return {"llbDefinition": steps, "digestMapping": {v: names[v] for v in sorted(names)}}


def locations(order: Sequence[Vertex]) -> dict[str, Any]:
    """The lines of the Dockerfile that each step is from."""
    names = numbered(order)
    out: dict[str, Any] = {}
    for vertex in order:
        if vertex.id in names:
            place = vertex.location
            lines = {"start": {"line": place.start}, "end": {"line": place.end}} if place else {}
            out[names[vertex.id]] = {"locations": [{"ranges": [lines]}]} if lines else {}
    return out


def _op(vertex: Vertex) -> dict[str, Any]:
    op = vertex.op
    if isinstance(op, ImageOp):
        return {"Op": {"source": {"identifier": f"docker-image://{vertex.base}"}}, "constraints": {}}
    if isinstance(op, GitOp):
        attributes = {"git.fullurl": public(op.url)} | ({"git.checksum": op.checksum} if op.checksum else {})
        identifier = f"git://{public(op.url).partition('://')[2]}#{op.ref}".rstrip("#")
        return {"Op": {"source": {"identifier": identifier, "attrs": attributes}}, "constraints": {}}
    if isinstance(op, HttpOp):
        source: dict[str, Any] = {"identifier": redacted(op.url)}
        if op.checksum:
            source["attrs"] = {"http.checksum": op.checksum}
        return {"Op": {"source": source}, "constraints": {}}
    if isinstance(op, ExecOp):
        return {"Op": {"exec": _exec(op)}, "platform": _platform(op.platform), "constraints": {}}
    if isinstance(op, CopyOp):
        actions = [_copy(op, part) for part in op.parts]
        return {"Op": {"file": {"actions": actions}}, "constraints": {}}
    if isinstance(op, WorkdirOp):
        made = {"path": op.path, "mode": 0o755, "makeParents": True}
        return {"Op": {"file": {"actions": [{"Action": {"mkdir": made}}]}}, "constraints": {}}
    return {"Op": {"other": {"kind": op.kind}}, "constraints": {}}


def _exec(op: ExecOp) -> dict[str, Any]:
    env = [f"{k}={redacted(v)}" for k, v in (*op.env, *op.build_args)]
    meta: dict[str, Any] = {"args": [redacted(word) for word in op.argv], "env": env, "cwd": op.cwd}
    if op.user:
        meta["user"] = op.user
    out: dict[str, Any] = {"meta": meta, "mounts": [{"dest": "/"}, *(_mount(m) for m in op.mounts)]}
    if op.network in _NETWORKS:
        out["network"] = _NETWORKS[op.network]
    if op.security == "insecure":
        out["security"] = 1
    return out


def _mount(mount: ExecMount) -> dict[str, Any]:
    out: dict[str, Any] = {"dest": mount.target, "input": mount.input if mount.input is not None else -1}
    if kind := _MOUNTS[mount.type]:
        out["mountType"] = kind
    if mount.type == "secret":
        out["secretOpt"] = {"ID": mount.id, "optional": not mount.required}
    elif mount.type == "ssh":
        out["SSHOpt"] = {"ID": mount.id, "optional": not mount.required}
    elif mount.type == "cache":
        out["cacheOpt"] = {"ID": mount.id}
    elif mount.type == "bind":
        out["selector"], out["readonly"] = mount.source, mount.readonly
    return out


def _copy(op: CopyOp, part: CopyPart) -> dict[str, Any]:
    if part.origin == "inline":
        return {"Action": {"mkfile": {"path": op.dest, "name": part.source}}}
    copied: dict[str, Any] = {"src": part.source, "dest": op.dest}
    if op.chown:
        copied["owner"] = op.chown
    if op.chmod:
        copied["modeStr"] = op.chmod
    if part.unpack:
        copied["attemptUnpackDockerCompatibility"] = True
    if op.excludes:
        copied["excludePatterns"] = list(op.excludes)
    action: dict[str, Any] = {"Action": {"copy": copied}}
    return action | (
        {"input": part.input}
        if part.origin == "input"
        else {"source": f"local://{part.context or 'context'}"}
    )


def _platform(text: str) -> Mapping[str, str]:
    from boxwright.spec.platform import Platform

    if not text:
        return {}
    platform = Platform.parse(text)
    return {"Architecture": platform.architecture, "OS": platform.os} | (
        {"Variant": platform.variant} if platform.variant else {}
    )
