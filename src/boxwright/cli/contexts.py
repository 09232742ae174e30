"""context ls, show, inspect, use: Docker's contexts, as its files have them. This engine is the one called default."""

from __future__ import annotations

import json
import os

from boxwright.cli.endpoint import context_directory
from boxwright.errors import BoxwrightError, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

_DEFAULT = "default"
_SOCKET = "unix:///var/run/docker.sock"  # where an engine of this machine would be asked
_ABOUT = "Current DOCKER_HOST based configuration"
_LARGEST = 1 << 20  # bytes of a context's file
_COLUMNS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
    "Current": "CURRENT",
}
_SHOWN = ("Name", "Description", "DockerEndpoint", "Error")
_OVERRIDDEN = (
    "DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context "
    "flag, or unset DOCKER_HOST environment variable."
)


class NoSuchContext(NotFound):
    """Docker's files have no context of this name."""


class ContextFileInvalid(Invalid):
    """A context's file is none, or cannot be read or written."""


# --- the files -----------------------------------------------------------------------------------


def current(ctx: Context) -> str:
    """The name of the context in force: of `--context`, DOCKER_HOST (`default`), DOCKER_CONTEXT, or config.json.
    Raises ContextFileInvalid."""
    environ = ctx.settings.environ
    if ctx.docker_context:
        return ctx.docker_context
    if environ.get("DOCKER_HOST"):
        return _DEFAULT
    name = environ.get("DOCKER_CONTEXT") or _config(ctx).get("currentContext") or _DEFAULT
    return name if isinstance(name, str) else _DEFAULT


def _config(ctx: Context) -> dict[str, Any]:
    return _read(ctx.settings.docker_config / "config.json") or {}


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no file. Raises ContextFileInvalid."""
    try:
        with path.open("rb") as file:
            body = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ContextFileInvalid(f"cannot read {path}: {error}") from error
    if not isinstance(body, dict):
        raise ContextFileInvalid(f"cannot read {path}: it is no JSON object")
    return body


def _folder(ctx: Context, name: str, kind: str) -> Path:
    from pathlib import Path

    return Path(context_directory(str(ctx.settings.docker_config), name, kind))


def _described(ctx: Context, name: str) -> dict[str, Any]:
    """As `inspect` shows it. Raises NoSuchContext, ContextFileInvalid."""
    if name == _DEFAULT:
        host = ctx.settings.environ.get("DOCKER_HOST") or _SOCKET
        memory = "<IN MEMORY>"
        storage = {"MetadataPath": memory, "TLSPath": memory}
        return _inspected(name=name, metadata={}, host=host, tls={}, storage=storage)
    meta, tls = _folder(ctx, name, "meta"), _folder(ctx, name, "tls")
    body = _read(meta / "meta.json")
    if body is None:
        raise NoSuchContext(
            f'context "{name}": context not found', hint="boxwright context ls lists those there are"
        )
    endpoints = body.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    docker = docker if isinstance(docker, dict) else {}
    described = body.get("Metadata")
    found = _inspected(
        name=name,
        metadata=described if isinstance(described, dict) else {},
        host=str(docker.get("Host", "")),
        tls=_materials(tls),
        storage={"MetadataPath": str(meta), "TLSPath": str(tls)},
    )
    found["Endpoints"]["docker"]["SkipTLSVerify"] = docker.get("SkipTLSVerify") is True
    return found


def _inspected(
    *, name: str, metadata: dict[str, Any], host: str, tls: dict[str, Any], storage: dict[str, str]
) -> dict[str, Any]:
    return {
        "Name": name,
        "Metadata": metadata,
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}},
        "TLSMaterial": tls,
        "Storage": storage,
    }


def _materials(folder: Path) -> dict[str, list[str]]:
    """The names of the certificates and keys of each endpoint."""
    try:
        return {one.name: sorted(os.listdir(one)) for one in sorted(folder.iterdir()) if one.is_dir()}
    except OSError:
        return {}


def _names(ctx: Context) -> list[str]:
    """Every context that the files have, sorted, and the default; a file that is none hides no other."""
    names = {_DEFAULT}
    try:
        folders = list((ctx.settings.docker_config / "contexts/meta").iterdir())
    except OSError:
        folders = []
    for folder in sorted(folders):
        try:
            body = _read(folder / "meta.json") or {}
        except ContextFileInvalid as error:
            ctx.warn(str(error))
            continue
        name = body.get("Name")
        if isinstance(name, str) and _folder(ctx, name, "meta").name == folder.name:
            names.add(name)
    return sorted(names)


# --- the commands --------------------------------------------------------------------------------


def context_ls_args(p: Parser) -> None:
    p.add_table_format()
    p.add_argument("-q", "--quiet", action="store_true", help="Only show context names")


def context_ls(ctx: Context, args: Namespace) -> int:
    """Every context; a star is behind the name of the one in force."""
    from boxwright.cli.tables import table

    chosen = current(ctx)
    rows: list[dict[str, Any]] = []
    plain = args.format in ("", "table") and not args.quiet
    for name in sorted({*_names(ctx), chosen}):
        row: dict[str, Any] = dict.fromkeys(_COLUMNS, "")
        try:
            found = _described(ctx, name)
            about = _ABOUT if name == _DEFAULT else found["Metadata"].get("Description", "")
            row |= {"Description": str(about), "DockerEndpoint": found["Endpoints"]["docker"]["Host"]}
        except BoxwrightError as error:
            row["Error"] = str(error)
        row["Name"] = name + (" *" if plain and name == chosen else "")
        rows.append({**row, "Current": name == chosen})
    table(ctx, _COLUMNS, rows, default=_SHOWN, format=args.format, quiet=args.quiet)
    _warn(ctx)
    return 0


def _warn(ctx: Context) -> None:
    if ctx.settings.environ.get("DOCKER_HOST") and not ctx.docker_context:
        ctx.warn(_OVERRIDDEN)


def context_show_args(p: Parser) -> None:
    """It takes none."""


def context_show(ctx: Context, args: Namespace) -> int:
    """The name of the one in force."""
    ctx.out(current(ctx))
    return 0


def context_inspect_args(p: Parser) -> None:
    p.add_argument("name", nargs="*", metavar="CONTEXT")
    p.add_object_format()


def context_inspect(ctx: Context, args: Namespace) -> int:
    """What the files say of contexts; of the one in force without a name."""
    from boxwright.cli.inspect import show

    names = args.name or [current(ctx)]
    return show(
        ctx=ctx, names=names, find=lambda name: ("context", _described(ctx, name)), template=args.format
    )


def context_use_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")


def context_use(ctx: Context, args: Namespace) -> int:
    """Make one the current context of Docker's config.json. Boxwright acts on this machine whichever it is, or not at
    all: commands that another engine is meant for are refused."""
    from boxwright.files import whole
    from boxwright.files.disk import make_directories

    _described(ctx, args.name)
    path, body = ctx.settings.docker_config / "config.json", _config(ctx)
    body.pop("currentContext", None)
    if args.name != _DEFAULT:
        body["currentContext"] = args.name
    try:
        make_directories(path.parent, mode=0o700)
        whole.replace_in_place_of(path, json.dumps(body, indent="\t", ensure_ascii=False).encode())
    except OSError as error:
        raise ContextFileInvalid(f"cannot write {path}: {error.strerror}") from error
    ctx.out(args.name)
    ctx.err(f'Current context is now "{args.name}"')
    _warn(ctx)
    return 0
