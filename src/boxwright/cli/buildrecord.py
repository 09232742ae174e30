"""A build record as `builds inspect` shows it: buildx's fields, and buildx's page."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence

from boxwright.cli.tables import align
from boxwright.spec import intoto
from boxwright.spec import mediatypes as mt
from boxwright.spec.times import SECOND, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.image.attachments import BuildAttachment
    from boxwright.image.builds import BuildRecord

_CONFIG = {  # BuildKit's names of arguments -> where buildx shows them, and their label
    "force-network-mode": ("Network", "Network"),
    "add-hosts": ("ExtraHosts", "Extra Hosts"),
    "no-cache": ("NoCache", "No Cache"),
    "shm-size": ("ShmSize", "Shm Size"),
    "ulimit": ("Ulimit", "Resource Limits"),
}


def types(text: str) -> frozenset[str]:
    """What ``--type`` means: buildx's words, or a type itself."""
    known = {
        "index": (mt.OCI_INDEX,),
        "manifest": (mt.OCI_MANIFEST,),
        "image": (mt.OCI_CONFIG,),
        "provenance": (f"{intoto.SLSA}v1", f"{intoto.SLSA}v0.2"),
        "sbom": (intoto.SPDX,),
    }
    return frozenset(known.get(text, (text,))) if text else frozenset()


def shown(record: BuildRecord, attachments: Sequence[BuildAttachment]) -> dict[str, Any]:
    """The fields of `--format json` and of templates."""
    said = record.details
    arguments = dict(said.get("arguments") or {})
    vcs = said.get("vcs") or {}
    body: dict[str, Any] = {
        "Name": record.name,
        "Ref": record.id,
        "Context": said.get("context", ""),
        "Dockerfile": said.get("dockerfile", ""),
        "VCSRepository": vcs.get("source", ""),
        "VCSRevision": vcs.get("revision", ""),
        "Target": arguments.pop("target", ""),
        "Platform": list(said.get("platforms") or ()),
        "NamedContexts": _pairs(arguments, "context:"),
        "StartedAt": rfc3339(record.started),
        "CompletedAt": rfc3339(record.ended) if record.ended else "",
        "Duration": round(record.seconds() * SECOND) if record.status != "interrupted" else 0,
        "Status": "failed" if record.status == "error" else record.status,
        "Error": _error(said.get("error")),
        "NumCompletedSteps": record.completed,
        "NumTotalSteps": record.total,
        "NumCachedSteps": record.cached,
        "BuildArgs": _pairs(arguments, "build-arg:"),
        "Labels": _pairs(arguments, "label:"),
        "Config": {name: arguments[key] or True for key, (name, _) in _CONFIG.items() if key in arguments},
        "Materials": [
            {"URI": m.get("uri", ""), "Digests": [f"{k}:{v}" for k, v in (m.get("digest") or {}).items()]}
            for m in said.get("materials") or ()
        ],
        "Attachments": [
            {"Digest": str(one.descriptor.digest), "Platform": one.platform, "Type": one.type}
            for one in attachments
        ],
    }
    always = ("Ref", "NumCompletedSteps", "NumTotalSteps", "NumCachedSteps", "Config")
    return {key: value for key, value in body.items() if value or key in always}


def _pairs(arguments: dict[str, str], prefix: str) -> list[dict[str, str]]:
    return [
        {"Name": key.removeprefix(prefix), "Value": value}
        for key, value in arguments.items()
        if key.startswith(prefix)
    ]


def _error(said: Any) -> dict[str, Any] | None:
    if not said:
        return None
    out = {
        "Message": said.get("message", ""),
        "Name": said.get("name", ""),
        "Logs": list(said.get("logs") or ()),
    }
    if sources := said.get("sources"):
        out["Sources"] = base64.b64encode(sources.encode("utf-8", "replace")).decode()
    return {key: value for key, value in out.items() if value}


def pretty(record: BuildRecord, body: dict[str, Any], *, named: bool) -> Iterator[str]:
    """The page, line by line."""
    about = [
        ("Name", body.get("Name", "")),
        ("Ref", "" if named else record.id),
        ("Context", body.get("Context", "")),
        ("Dockerfile", body.get("Dockerfile", "")),
        ("VCS Repository", body.get("VCSRepository", "")),
        ("VCS Revision", body.get("VCSRevision", "")),
        ("Target", body.get("Target", "")),
        ("Platforms", ", ".join(body.get("Platform", ()))),
    ]
    yield from _fields(about)
    yield from _table("NAMED CONTEXT", body.get("NamedContexts", ()))
    error = body.get("Error") or {}
    steps = f"{record.completed}/{record.total} ({100 * record.cached / max(1, record.total):.0f}% cached)"
    yield from _fields(
        [
            ("Started", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started))),
            ("Duration", _duration(record)),
            ("Error", error.get("Message", "") if record.status == "error" else ""),
            ("Status", record.status.capitalize() if record.status in ("canceled", "interrupted") else ""),
            ("Build Steps", steps),
        ]
    )
    labels = dict(_CONFIG.values())
    if config := [
        (labels[name], str(value).lower() if value is True else value)
        for name, value in body["Config"].items()
    ]:
        yield from _fields(config)
    yield from _table("BUILD ARG", body.get("BuildArgs", ()))
    yield from _table("LABEL", body.get("Labels", ()))
    if materials := body.get("Materials"):
        yield "Materials:"
        yield from align([["URI", "DIGEST"], *([m["URI"], ", ".join(m["Digests"])] for m in materials)])
        yield ""
    if attachments := body.get("Attachments"):
        yield "Attachments:"
        rows = [[a["Digest"], a["Platform"], a["Type"]] for a in attachments]
        yield from align([["DIGEST", "PLATFORM", "TYPE"], *rows])
        yield ""
    yield from str((record.details.get("error") or {}).get("sources", "")).splitlines()
    if logs := error.get("Logs"):
        yield "Logs:"
        yield f"> => {error.get('Name', '')}:"
        yield from (f"> {line}" for line in logs)
        yield ""
    yield f"Print build logs: boxwright builds logs {record.id}"


def _duration(record: BuildRecord) -> str:
    if record.status == "interrupted":
        return "unknown"
    return f"{record.seconds():.1f}s" + (" (running)" if record.status == "running" else "")


def _fields(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Labels and values; an empty line behind them."""
    given = [(label, " ".join(str(value).split("\n"))) for label, value in pairs if value]
    width = max((len(label) for label, _ in given), default=0) + 3
    yield from (f"{label}:".ljust(width) + value for label, value in given)
    yield ""


def _table(title: str, pairs: Sequence[dict[str, str]]) -> Iterator[str]:
    if pairs:
        yield from align([[title, "VALUE"], *([p["Name"], p["Value"]] for p in pairs)])
        yield ""
