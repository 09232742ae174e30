"""What ``build`` is asked for, as people write it: secrets, agents, outputs and extra hosts as text, a request by the
names of its fields. Pure but for the names that are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from boxwright.build.fields import RequestInvalid, fields
from boxwright.build.ops.context import Secret
from boxwright.build.request import Attest, Brought, BuildRequest, Output, SshSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


def at_home(path: str) -> str:
    """A path whose ``~`` is the user's home."""
    return os.path.expanduser(path)


def parse_secret(text: str, environ: Mapping[str, str]) -> Secret:
    """``id=x,src=FILE``, ``id=x,env=NAME``, ``id=x`` (the variable x if it is set, else the file x). Raises
    RequestInvalid."""
    values = fields(text, "secret")
    unknown = set(values) - {"id", "src", "source", "env", "type"}
    if unknown:
        raise RequestInvalid(f"invalid secret {text!r}: unexpected key {min(unknown)!r}")
    identity = values.get("id", "")
    source = values.get("src", values.get("source", ""))
    kind = values.get("type", "")
    if kind not in ("", "file", "env"):
        raise RequestInvalid(f"unsupported secret type {kind!r}", hint="file or env")
    variable = values.get("env", source if kind == "env" else "")
    if not identity:
        identity = Path(source).name if source else variable
    if not identity:
        raise RequestInvalid(f"invalid secret {text!r}: it has no id")
    if kind == "env" or "env" in values or (not kind and not source and identity in environ):
        value = environ.get(variable or identity)
        if value is None:
            raise RequestInvalid(f"secret {identity}: the variable {variable or identity} is not set")
        return Secret(identity, value=value.encode("utf-8", "surrogateescape"))
    path = Path(at_home(source or identity))
    if not path.is_file():
        raise RequestInvalid(
            f"secret {identity}: {path} is no file"
            if path.exists()
            else f"secret {identity}: {path} does not exist"
        )
    return Secret(identity, path=path.absolute())


def parse_ssh(text: str, environ: Mapping[str, str]) -> tuple[str, SshSource]:
    """``default``, ``id=SOCKET``, ``id=KEY[,KEY…]``, each with ``,raw=true``: an agent's socket or private keys by id.
    Raises RequestInvalid."""
    identity, _, rest = text.partition("=")
    paths: list[str] = []
    raw = False
    for word in rest.split(",") if rest else []:
        if word.startswith("raw="):
            if word not in ("raw=true", "raw=false", "raw=1", "raw=0"):
                raise RequestInvalid(f"invalid ssh {text!r}: raw is true or false")
            raw = word in ("raw=true", "raw=1")
        elif word:
            paths.append(word)
    if "," in identity:  # default,raw=true
        raise RequestInvalid(f"invalid ssh {text!r}", hint="ID[=SOCKET|KEY[,KEY]][,raw=true]")
    if not paths:
        paths = [environ.get("SSH_AUTH_SOCK", "")]
    if not paths[0]:
        raise RequestInvalid(
            f"invalid empty ssh agent socket for {text!r}", hint="make sure SSH_AUTH_SOCK is set"
        )
    found = tuple(Path(at_home(path)).absolute() for path in paths)
    for path in found:
        if not path.exists():
            raise RequestInvalid(f"ssh {identity}: {path} does not exist")
        if not path.is_socket() and not path.is_file():
            raise RequestInvalid(f"ssh {identity}: {path} is neither an agent's socket nor a key file")
    return identity or "default", SshSource(found, raw)


def parse_agents(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, SshSource]:
    """Several ``--ssh`` by id. Raises RequestInvalid."""
    found: dict[str, SshSource] = {}
    for text in texts:
        identity, source = parse_ssh(text, environ)
        if identity in found:
            raise RequestInvalid(f"duplicate agent ID {identity!r}", hint="separate keys of one by commas")
        found[identity] = source
    return found


def parse_output(text: str) -> Output:
    """``type=local,dest=DIR``; a bare path is a directory, ``-`` a tar on standard output. Raises RequestInvalid."""
    if text == "-":
        return Output("tar", "-")
    if "=" not in text:
        return Output("local", text)
    values = fields(text, "output")
    kind = values.pop("type", "")
    if not kind:
        raise RequestInvalid(f"output type is required for {text!r}")
    return Output(kind, values.pop("dest", ""), values)


def outputs(texts: Iterable[str], *, load: bool = False, push: bool = False) -> tuple[Output, ...]:
    """``--output`` with its short forms: `load` is ``type=docker``, `push` is ``type=registry``, or makes the images
    among the outputs be pushed. Raises RequestInvalid."""
    found = [parse_output(text) for text in texts]
    if push:
        images = [o for o in found if o.type in ("image", "registry")]
        pushed = [Output(o.type, o.dest, {**o.options, "push": "true"}) if o in images else o for o in found]
        found = pushed if images else [*found, Output("registry")]
    if load and not any(o.type == "docker" and not o.dest for o in found):
        found.append(Output("docker"))
    return tuple(found)


def parse_hosts(values: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``name:address`` or ``name=address``, the address perhaps in brackets. Raises RequestInvalid, Unfit."""
    found = []
    for value in values:
        from boxwright.network.files import parse_extra

        name, separator, address = value.partition("=") if "=" in value else value.partition(":")
        if not separator or not name or not address:
            raise RequestInvalid(f"bad format for add-host: {value!r}")
        address = address.removeprefix("[").removesuffix("]")
        parse_extra(f"{name}:{address}")
        found.append((name, address))
    return tuple(found)


def parse_pairs(values: Iterable[str], what: str, *, alone: bool = True) -> dict[str, str]:
    """``key=value`` lists; a key alone has the value '', unless it may not stand `alone`. Raises RequestInvalid."""
    out: dict[str, str] = {}
    for value in values:
        key, _, text = value.partition("=")
        if not key:
            raise RequestInvalid(f"invalid {what} {value!r}: it has no name")
        if not text and not alone:
            raise RequestInvalid(f"invalid {what} {value!r}, expected key=value")
        out[key] = text
    return out


def parse_annotations(values: Iterable[str]) -> dict[str, str]:
    """``[level[platform][,level…]:]key=value`` by what stands before ``=``. Raises RequestInvalid."""
    out: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise RequestInvalid(f"invalid annotation {value!r}, expected key=value")
        out[key] = text
    return out


def parse_build_args(values: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """``--build-arg NAME=VALUE``; a NAME alone takes the caller's variable, and is left out when that is not set."""
    out: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name:
            raise RequestInvalid(f"invalid build argument {value!r}: it has no name")
        if equals:
            out[name] = text
        elif name in environ:
            out[name] = environ[name]
    return out


def request_of(place: str | Path | None, options: Mapping[str, Any]) -> BuildRequest:
    """The request for a directory or a URL, with its other fields by name; one text serves where several may stand.
    `dockerfile` as text is a URL, or a path in the context, or where it is not there, as it stands. Raises
    ArgumentInvalid."""
    from boxwright.spec.arguments import fields_of

    options = dict(options)
    short: dict[str, Any] = {k: options.pop(k) for k in ("attest", "provenance", "sbom") if k in options}
    special = {
        "add_hosts": _hosts,
        "secrets": _secrets,
        "outputs": _outputs,
        "attests": _attests,
        "cache_from": lambda value: _caches(value, False),
        "cache_to": lambda value: _caches(value, True),
        "ssh": _agents,
        "stream": _stream,
        "brought": _brought,
    }
    given = fields_of(BuildRequest, options, special)
    if short:
        given["attests"] = (*given.get("attests", ()), *_short_forms(short))
    if place is not None:
        from boxwright.build.gitref import is_url

        given |= {"remote": str(place)} if is_url(str(place)) else {"context": Path(place)}
    context, named = given.get("context"), options.get("dockerfile")
    if isinstance(named, str) and named.startswith(("http://", "https://")):
        del given["dockerfile"]
        given["dockerfile_url"] = named
    if isinstance(context, Path) and isinstance(named, str) and (context / named).is_file():
        given["dockerfile"] = context / named
    return BuildRequest(**given)


def _hosts(value: Any) -> tuple[tuple[str, str], ...]:
    from boxwright.spec.arguments import pairs

    if isinstance(value, (list, tuple)) and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        value = dict(value)
    return parse_hosts(pairs("add_hosts", value, ":"))


def _secrets(value: Any) -> tuple[Any, ...]:
    from boxwright.spec.arguments import ArgumentInvalid

    items = (value,) if isinstance(value, Secret) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, Secret) for item in items):
        raise ArgumentInvalid(
            "secrets are no list of Secret", hint='Secret("name", value=b"…") or Secret("name", path=…)'
        )
    return tuple(items)


def _agents(value: Any) -> dict[str, Path | SshSource]:
    """Sockets or keys by id."""
    from boxwright.spec.arguments import ArgumentInvalid

    example = 'ssh={"default": "/path/of/socket/or/key"}'
    if not isinstance(value, Mapping):
        raise ArgumentInvalid(f"ssh is {value!r}, which is no dict", hint=example)
    for identity, source in value.items():
        if not isinstance(identity, str) or not isinstance(source, (str, os.PathLike, SshSource)):
            raise ArgumentInvalid(f"ssh has {identity!r}: {source!r}", hint=example)
    return {key: one if isinstance(one, SshSource) else Path(one) for key, one in value.items()}


def _stream(value: Any) -> BinaryIO | None:
    from boxwright.spec.arguments import ArgumentInvalid

    if value is not None and not hasattr(value, "read"):
        raise ArgumentInvalid(f"stream is {type(value).__name__}, which is no open file")
    found: BinaryIO | None = value
    return found


def _brought(value: Any) -> Mapping[str, Brought]:
    from boxwright.spec.arguments import ArgumentInvalid

    if not isinstance(value, Mapping) or not all(isinstance(one, Brought) for one in value.values()):
        raise ArgumentInvalid("brought is no dict of Brought")
    return value


def _attests(value: Any) -> tuple[Attest, ...]:
    from boxwright.build.attest.asked import parse_attest
    from boxwright.spec.arguments import several

    return several(name="attests", value=value, kind=Attest, parse=parse_attest)


def _short_forms(given: Mapping[str, Any]) -> tuple[Attest, ...]:
    """``attest=["type=sbom"]``, ``sbom=True``, ``provenance="mode=max"``."""
    from boxwright.build.attest.asked import short_form
    from boxwright.spec.arguments import fitted

    found = [*_attests(given.get("attest", ()))]
    for kind in ("provenance", "sbom"):
        value = fitted(kind, given.get(kind), "str | bool | None")
        if value is not None:
            found.append(short_form(kind, str(value).lower() if isinstance(value, bool) else value))
    return tuple(found)


def _caches(value: Any, to: bool) -> tuple[Any, ...]:
    from boxwright.build.remotecache.options import places

    return places(value, to=to)


def _outputs(value: Any) -> tuple[Output, ...]:
    from boxwright.spec.arguments import several

    return several(name="outputs", value=value, kind=Output, parse=parse_output)
