"""From targets to build requests; contexts as they are meant from where the command runs."""

from __future__ import annotations

import json
import os
import posixpath
from pathlib import Path

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.names import CWD
from boxwright.build.gitref import is_url
from boxwright.spec.text import go_bool
from boxwright.spec.urls import public
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from boxwright.bake.entries import TypedEntry
    from boxwright.bake.remote import BakeSource
    from boxwright.bake.target import BakeTarget
    from boxwright.build.ops.context import Secret
    from boxwright.build.request import BuildRequest


def settled(
    targets: Iterable[BakeTarget], *, cwd: Path, epoch: str = "", source: BakeSource | None = None
) -> None:
    """Contexts as paths of the working directory, or as folders of the repository that the definition lies in; the time
    of the sources as an argument; where archives go. Raises DefinitionInvalid."""
    for target in targets:
        for setting, said in target.to_json().items():
            if "\\u0000" in json.dumps(said).replace("\\\\", ""):
                raise DefinitionInvalid(
                    f"target {target.name}: {setting} has a NUL, which no path and no variable has"
                )
        if source is not None and source.is_tree:
            _inside(target, source, cwd)
        context, dockerfile = target.settings["context"], target.settings["dockerfile"]
        for name, value in (("context", context), ("dockerfile", dockerfile)):
            if value == "-":
                raise DefinitionInvalid(f"{name} from stdin not allowed in bake")
        if "" not in target.inside and not is_url(context):
            target.settings["context"] = posixpath.normpath(context.removeprefix(CWD) or ".")
        if outputs := target.get("output"):
            target.settings["output"] = [_placed(entry) for entry in outputs]
        args = target.get("args") or {}
        if epoch and "SOURCE_DATE_EPOCH" not in args:
            target.settings["args"] = {**args, "SOURCE_DATE_EPOCH": epoch}


def _placed(entry: TypedEntry) -> TypedEntry:
    """An output; an archive that has no place is written to standard output."""
    archive = entry.type == "tar" or (
        entry.type == "oci" and go_bool(entry.options.get("tar", "")) is not False
    )
    return replace(entry, dest="-") if archive and not entry.dest else entry


def _inside(target: BakeTarget, source: BakeSource, cwd: Path) -> None:
    """Name the contexts of a target that are folders of the source's tree. Raises DefinitionInvalid."""
    from boxwright.bake.allow import is_local

    context = target.settings["context"]
    for name, place in {**(target.get("contexts") or {}), "": context}.items():
        if (not is_url(place) if not name else is_local(place)) and not place.startswith(CWD):
            target.inside[name] = posixpath.normpath(place)
    if "" in target.inside:
        path = target.inside[""]
        target.settings["context"] = public(source.url) if path == "." else path
    elif context.startswith(CWD) and target.get("dockerfile-inline") is None:
        dockerfile = target.settings["dockerfile"]
        here = cwd / context.removeprefix(CWD) / dockerfile
        if not dockerfile.startswith(CWD) and os.path.lexists(here):
            raise DefinitionInvalid(
                "reading a dockerfile for a remote build invocation is currently not supported",
                hint=f'dockerfile = "cwd://{dockerfile}" is the one of this directory',
            )


def links(target: BakeTarget) -> dict[str, str]:
    """The targets whose results a target uses, by the name that they have in it."""
    found = (target.get("contexts") or {}).items()
    return {name: value.removeprefix("target:") for name, value in found if value.startswith("target:")}


def request_of(
    target: BakeTarget,
    cwd: Path,
    environ: Mapping[str, str],
    results: Mapping[str, str],
    *,
    used: bool = False,
    source: BakeSource | None = None,
) -> BuildRequest:
    """The request for one target. `results` are the images of the targets that it uses; `used`: another target uses
    this one's; `source` is where its definition lies. Raises RequestInvalid, DefinitionInvalid, FolderMissing."""
    from boxwright.build import options
    from boxwright.build.attest.asked import artifact_attestations, default_attestations
    from boxwright.build.fields import RequestInvalid
    from boxwright.spec.units import parse_size

    folders = (
        {name: source.folder(path) for name, path in target.inside.items()} if source is not None else {}
    )
    context = folders[""][0] if "" in folders else target.settings["context"]
    place = context if "" in folders or is_url(context) else cwd / context
    accounts = _accounts(context, source, environ) if "" not in folders and is_url(context) else ()
    try:
        given: dict[str, Any] = {
            **_dockerfile(target, place, cwd),
            "tags": tuple(target.get("tags") or ()),
            "target": target.get("target") or "",
            "build_args": _said(target.get("args")),
            "labels": _said(target.get("labels")),
            "annotations": options.parse_annotations(target.get("annotations") or ()),
            "call": "" if target.linked else _METHODS.get(target.get("call") or "", target.get("call") or ""),
            "platforms": _platforms(target),
            "build_contexts": {
                **_contexts(target, cwd, results),
                **{k: v[0] for k, v in folders.items() if k},
            },
            "brought": dict(folders.values()),
            "no_cache": bool(target.get("no-cache")),
            "no_cache_filter": tuple(target.get("no-cache-filter") or ()),
            "pull": bool(target.get("pull")),
            "network": _network(target.get("network") or "default"),
            "add_hosts": tuple(f"{k}={v}" for k, v in _said(target.get("extra-hosts")).items()),
            "allow": tuple(target.get("entitlements") or ()),
            "secrets": [
                *(options.parse_secret(_secret(s), environ) for s in target.get("secret") or ()),
                *accounts,
            ],
            "ssh": dict(options.parse_ssh(_agent(a), environ) for a in target.get("ssh") or ()),
            "ulimits": tuple(target.get("ulimits") or ()),
            "shm_size": parse_size(target.get("shm-size") or "0"),
            "outputs": _outputs(target, used),
            "default_attestations": default_attestations(environ),
            "artifact_attestations": artifact_attestations(environ),
        }
        for setting, name in _AS_TEXT.items():
            given[name] = [entry.to_text() for entry in target.get(setting) or ()]
        return options.request_of(str(place), given)
    except RequestInvalid as error:
        raise RequestInvalid(f"target {target.name}: {error}", hint=error.hint) from None


def _accounts(context: str, source: BakeSource | None, environ: Mapping[str, str]) -> Iterable[Secret]:
    """For where the definition is from; of one that lies here, for the repository that it names."""
    from boxwright.bake.remote import git_accounts

    return git_accounts(source.url if source is not None else context, environ)


# Settings that a build takes as text.
_AS_TEXT = {"cache-from": "cache_from", "cache-to": "cache_to", "attest": "attests"}
# What a definition calls the methods of a build otherwise.
_METHODS = {"lint": "check", "build": ""}


def _said(pairs: Mapping[str, str | None] | None) -> dict[str, str]:
    return {key: value for key, value in (pairs or {}).items() if value is not None}


def _dockerfile(target: BakeTarget, place: str | Path, cwd: Path) -> dict[str, Any]:
    inline, name = target.get("dockerfile-inline"), target.settings["dockerfile"]
    if inline is not None:
        return {"dockerfile_data": inline.encode()}
    if name.startswith(CWD):
        from boxwright.build.inputs import read_dockerfile

        path = cwd / name.removeprefix(CWD)
        return {"dockerfile_data": read_dockerfile(path)} if isinstance(place, str) else {"dockerfile": path}
    if name.startswith(("http://", "https://")):
        return {"dockerfile_url": name}
    if isinstance(place, str):
        return {} if name == "Dockerfile" else {"dockerfile": Path(name)}
    path = place / name
    return {} if name == "Dockerfile" and not os.path.lexists(path) else {"dockerfile": path}


def _platforms(target: BakeTarget) -> tuple[str, ...]:
    from boxwright.spec.platform import host

    return tuple(str(host()) if word == "local" else word for word in target.get("platforms") or ())


def _network(mode: str) -> str:
    from boxwright.build.fields import RequestInvalid

    if mode not in ("default", "none", "host", "bridge"):
        raise RequestInvalid(f'network mode "{mode}" not supported by buildkit', hint="default, none or host")
    return "default" if mode == "bridge" else mode


def _contexts(target: BakeTarget, cwd: Path, results: Mapping[str, str]) -> dict[str, str]:
    from boxwright.bake.allow import is_local

    found = {}
    for name, value in (target.get("contexts") or {}).items():
        if value.startswith("target:"):
            image = results[value.removeprefix("target:")]
            value = f"docker-image://{image or 'scratch'}"  # what was only checked has none
        elif is_local(value):
            value = str(cwd / value.removeprefix(CWD))
        found[name] = value
    return found


def _secret(entry: Any) -> str:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"{k}={v}" for k, v in entry.to_json().items()])
    return out.getvalue()


def _agent(entry: Any) -> str:
    return f"{entry.id}={','.join(entry.paths)}" if entry.paths else str(entry.id)


def _outputs(target: BakeTarget, used: bool) -> list[Any]:
    """The outputs; where another target uses the result, an image in the store is among them."""
    from boxwright.build.request import Output

    found = [Output(entry.type, entry.dest, entry.options) for entry in target.get("output") or ()]
    if target.linked:
        return []
    in_store = any(
        go_bool(one.options.get("store", "")) is not False
        if one.type in ("image", "registry")
        else one.type == "docker" and not one.dest
        for one in found
    )
    return [Output("image"), *found] if used and found and not in_store else found
