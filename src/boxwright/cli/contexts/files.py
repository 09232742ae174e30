"""Docker's contexts as its files have them, below its configuration directory.

``contexts/meta/<sha256 of the name>/meta.json`` says where the engine is; ``contexts/tls/<the same>/<endpoint>/`` has
its certificates and keys. A context is there when its meta.json is, which is written last and removed first. This
engine is the context called default, which has no files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from boxwright.cli.endpoint import context_directory
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.files.locks import Lock

    # The content of each certificate and key, by endpoint and file name.
    Materials = Mapping[str, Mapping[str, bytes]]

DEFAULT = "default"
ABOUT_DEFAULT = "Current DOCKER_HOST based configuration"
_SOCKET = "unix:///var/run/docker.sock"  # where an engine of this machine would be asked
_NAME = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"
LARGEST = 1 << 20  # bytes of a context's file


class NoSuchContext(NotFound):
    """Docker's files have no context of this name."""


class ContextFileInvalid(Invalid):
    """A context's file is none, or cannot be read or written."""


class ContextNameInvalid(Invalid):
    """A context cannot be called so, or the name is reserved."""


class ContextExists(Conflict):
    """Another context is called so."""


@dataclass(frozen=True, kw_only=True)
class SavedContext:
    """What a meta.json says. `body` is its JSON without the name."""

    body: Mapping[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """Its description, and what other programs keep of it."""
        metadata = self.body.get("Metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def docker(self) -> dict[str, Any]:
        """Its endpoint for the docker client."""
        endpoints = self.body.get("Endpoints")
        docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
        return docker if isinstance(docker, dict) else {}


def current(ctx: Context) -> str:
    """The name of the context in force: of `--context`, DOCKER_HOST (`default`), DOCKER_CONTEXT, or config.json.
    Raises ContextFileInvalid."""
    environ = ctx.settings.environ
    if ctx.docker_context:
        return ctx.docker_context
    if environ.get("DOCKER_HOST"):
        return DEFAULT
    return environ.get("DOCKER_CONTEXT") or named_in_config(ctx)


def named_in_config(ctx: Context) -> str:
    """The current context of config.json. Raises ContextFileInvalid."""
    name = _config(ctx).get("currentContext") or DEFAULT
    return name if isinstance(name, str) else DEFAULT


def make_current(ctx: Context, name: str) -> None:
    """Write it to config.json, within `changing`. Raises ContextFileInvalid."""
    from boxwright.files import whole

    path = ctx.settings.docker_config / "config.json"
    body = _config(ctx)
    body.pop("currentContext", None)
    if name != DEFAULT:
        body["currentContext"] = name
    try:
        whole.replace_in_place_of(path, json.dumps(body, indent="\t", ensure_ascii=False).encode())
    except OSError as error:
        raise ContextFileInvalid(f"cannot write {path}: {error.strerror}") from error


def changing(ctx: Context) -> Lock:
    """Docker's configuration directory, locked: what is read until this ends is still true when it is written. Raises
    ContextFileInvalid."""
    from boxwright.files.disk import make_directories
    from boxwright.files.locks import Lock

    path = ctx.settings.docker_config
    try:
        make_directories(path, mode=0o700)
        return Lock.on(path)
    except OSError as error:
        raise ContextFileInvalid(f"cannot write in {path}: {error.strerror}") from error


def all_names(ctx: Context) -> list[str]:
    """Every context that the files have, sorted, and the default; a file that is none hides no other."""
    found = {DEFAULT}
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
        if isinstance(name, str) and directory(ctx, name, "meta").name == folder.name:
            found.add(name)
    return sorted(found)


def check_name(name: str) -> str:
    """A name that a context can be given. Raises ContextNameInvalid."""
    import re

    if name == DEFAULT:
        raise ContextNameInvalid(f'"{DEFAULT}" is a reserved context name', hint="it is this engine's")
    if not re.fullmatch(_NAME[1:-1], name):
        raise ContextNameInvalid(
            f'context name "{name}" is invalid, names are validated against regexp "{_NAME}"'
        )
    return name


def saved(ctx: Context, name: str) -> SavedContext:
    """Raises NoSuchContext, ContextFileInvalid."""
    if name == DEFAULT:
        endpoint = {"Host": ctx.settings.environ.get("DOCKER_HOST") or _SOCKET, "SkipTLSVerify": False}
        body = {"Metadata": {"Description": ABOUT_DEFAULT}, "Endpoints": {"docker": endpoint}}
        return SavedContext(body=body)
    found = _read(directory(ctx, name, "meta") / "meta.json")
    if found is None:
        raise NoSuchContext(
            f'context "{name}": context not found', hint="boxwright context ls lists those there are"
        )
    found.pop("Name", None)
    return SavedContext(body=found)


def materials(ctx: Context, name: str) -> Materials:
    """The certificates and keys of a context. Raises ContextFileInvalid."""
    tls = directory(ctx, name, "tls")
    return {
        endpoint: {file: bounded(tls / endpoint / file) for file in files}
        for endpoint, files in material_names(tls).items()
    }


def exists(ctx: Context, name: str) -> bool:
    """Whether the files have it."""
    return name == DEFAULT or (directory(ctx, name, "meta") / "meta.json").exists()


def save(ctx: Context, name: str, context: SavedContext, tls: Materials) -> None:
    """Write all of it, in place of what there was of this name, within `changing`. Raises ContextFileInvalid."""
    from boxwright.files import trees, whole
    from boxwright.files.disk import make_directories

    meta, keys = directory(ctx, name, "meta"), directory(ctx, name, "tls")
    try:
        trees.erase(keys)
        for endpoint, files in tls.items():
            make_directories(keys / endpoint, mode=0o700)
            for file, data in files.items():
                whole.replace(keys / endpoint / file, data, mode=0o600)
        make_directories(meta)
        text = json.dumps({"Name": name, **context.body}, ensure_ascii=False, separators=(",", ":"))
        whole.replace(meta / "meta.json", text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ContextFileInvalid(f"cannot write context {name}: {error.strerror}") from error


def remove(ctx: Context, name: str) -> None:
    """Remove it with its keys, within `changing`. Nothing there is no error. Raises ContextFileInvalid."""
    from boxwright.files import trees

    try:
        for kind in ("meta", "tls"):
            trees.erase(directory(ctx, name, kind))
    except OSError as error:
        raise ContextFileInvalid(f"cannot remove context {name}: {error.strerror}") from error


def directory(ctx: Context, name: str, kind: str) -> Path:
    """Where the files of one kind (meta or tls) are."""
    return Path(context_directory(str(ctx.settings.docker_config), name, kind))


def material_names(tls: Path) -> dict[str, list[str]]:
    """The names of the certificates and keys of each endpoint."""
    try:
        return {one.name: sorted(os.listdir(one)) for one in sorted(tls.iterdir()) if one.is_dir()}
    except OSError:
        return {}


def _config(ctx: Context) -> dict[str, Any]:
    return _read(ctx.settings.docker_config / "config.json") or {}


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no file. Raises ContextFileInvalid."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ContextFileInvalid(f"cannot read {path}: {error.strerror}") from error
    return json_object(raw, str(path))


def json_object(raw: bytes, where: str) -> dict[str, Any]:
    """Raises ContextFileInvalid for what is no JSON object."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ContextFileInvalid(f"cannot read {where}: {error}") from error
    if not isinstance(body, dict):
        raise ContextFileInvalid(f"cannot read {where}: it is no JSON object")
    return body


def bounded(path: Path) -> bytes:
    """The content of a small file. Raises ContextFileInvalid."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ContextFileInvalid(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > LARGEST:
        raise ContextFileInvalid(f"{path} is larger than {LARGEST} bytes, which no certificate or key is")
    return data
