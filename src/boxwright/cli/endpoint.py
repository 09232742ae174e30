"""Another engine that is named: by ``-H``, ``--context``, DOCKER_HOST, DOCKER_CONTEXT, or as Docker's current context.

Boxwright acts on the store of this machine. A command that was meant for another engine must not act here: it is
refused, unless the endpoint is a unix socket where a Boxwright with this very store answers. Only the current context,
which the user did not type, is passed over where it means another engine of this machine (Docker Desktop, colima), in
one line.

A Boxwright that answers says so in a header of ``/_ping``: ``Boxwright-Store``, with `identity` of its root.
"""

from __future__ import annotations

from boxwright.errors import Unsupported
from boxwright.files.identity import STORE_HEADER, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from boxwright.cli.flags import Namespace
    from boxwright.settings import Settings

_UNIX = "unix://"
_SECONDS = 2.0  # for a socket of this machine to answer
_ENOUGH = 64 << 10  # bytes of an answer, whose headers are looked at


class OtherEngine(Unsupported):
    """The command is meant for an engine that is not this one."""

    exit_code = 125


def check(
    options: Namespace,
    environ: Mapping[str, str],
    settings: Callable[[], Settings],
    warn: Callable[[str], None],
) -> None:
    """Let the command act here, or raise OtherEngine. Costs one small read when no endpoint is named."""
    if not (options.host or options.context or environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT")):
        folder = options.config or environ.get("DOCKER_CONFIG") or f"{environ.get('HOME') or '/'}/.docker"
        current = _current_context(folder)
        if current:
            _current(name=current, folder=folder, settings=settings, warn=warn)
        return
    if len(options.host or ()) > 1:
        raise OtherEngine(f"{' and '.join(options.host)} are several engines", hint="name one with -H")
    if options.host and options.context:
        raise OtherEngine(
            f"-H {options.host[0]} and --context {options.context} are two engines", hint="name one of them"
        )
    if options.host:
        _named(options.host[0], f"-H {options.host[0]}", settings)
    elif options.context:
        _context(
            name=options.context,
            said=f"--context {options.context}",
            options=options,
            environ=environ,
            settings=settings,
        )
    elif environ.get("DOCKER_HOST"):
        _named(environ["DOCKER_HOST"], f"DOCKER_HOST={environ['DOCKER_HOST']}", settings)
    else:
        name = environ["DOCKER_CONTEXT"]
        _context(
            name=name, said=f"DOCKER_CONTEXT={name}", options=options, environ=environ, settings=settings
        )


def _context(
    name: str, said: str, options: Namespace, environ: Mapping[str, str], settings: Callable[[], Settings]
) -> None:
    if name == "default":  # which is DOCKER_HOST, or this machine
        if environ.get("DOCKER_HOST"):
            _named(environ["DOCKER_HOST"], f"{said}, which is {environ['DOCKER_HOST']}", settings)
        return
    host = context_host(str(settings().docker_config if not options.config else options.config), name)
    if not host:
        raise OtherEngine(
            f"{said} is an engine that is not known here", hint="name none to act on this machine"
        )
    _named(host, f"{said} ({host})", settings)


def _named(host: str, said: str, settings: Callable[[], Settings]) -> None:
    if host.startswith(_UNIX) and _is_ours(host.removeprefix(_UNIX), settings().root):
        return
    raise OtherEngine(
        f"{said} is another engine than this one: Boxwright acts on this machine only, on {settings().root}",
        hint="run the command there, or name no engine to act here",
    )


def _current(name: str, folder: str, settings: Callable[[], Settings], warn: Callable[[str], None]) -> None:
    host = context_host(folder, name)
    if host.startswith(_UNIX):
        if not _is_ours(host.removeprefix(_UNIX), settings().root):
            warn(f"Docker's current context {name} ({host}) is passed over: this acts on {settings().root}")
        return
    raise OtherEngine(
        f"Docker's current context {name}{f' ({host})' if host else ''} is another engine than this one",
        hint=f"name this machine with --context default, or change currentContext in {folder}/config.json",
    )


def _current_context(folder: str) -> str:
    """The current context of Docker's config.json; '' for this machine's own, and for a file that is none."""
    try:
        with open(f"{folder}/config.json", "rb") as file:
            raw = file.read()
    except OSError:
        return ""
    if b'"currentContext"' not in raw:
        return ""
    import json

    try:
        name = json.loads(raw).get("currentContext")
    except (ValueError, AttributeError, RecursionError):
        return ""  # whatever needs the file says what is wrong with it
    return name if isinstance(name, str) and name != "default" else ""


def context_directory(folder: str, name: str, kind: str) -> str:
    """Where Docker keeps what it knows of a context: `kind` is meta, or tls for its certificates and keys."""
    import hashlib

    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{folder}/contexts/{kind}/{digest}"


def context_host(folder: str, name: str) -> str:
    """The endpoint of one of Docker's contexts; '' when there is no such context."""
    import json

    directory = context_directory(folder, name, "meta")
    try:
        with open(f"{directory}/meta.json", "rb") as file:
            host = json.loads(file.read())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return host if isinstance(host, str) else ""


def _is_ours(path: str, root: Path) -> bool:
    """Whether a Boxwright with this store answers at a unix socket."""
    import socket

    own = identity(root)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: boxwright\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer and len(answer) < _ENOUGH:
                more = connection.recv(4096)
                if not more:
                    break
                answer += more
    except (OSError, ValueError):
        return False
    head = answer.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape").split("\r\n")
    said = {line.partition(":")[0].strip().lower(): line.partition(":")[2].strip() for line in head[1:]}
    return bool(own) and said.get(STORE_HEADER.lower()) == own
