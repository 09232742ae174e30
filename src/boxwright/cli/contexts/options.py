"""``--docker`` of `context create` and `update`: where the engine is, and what it is reached with."""

from __future__ import annotations

from pathlib import Path

from boxwright.cli.contexts import files
from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Parser

_MATERIALS = ("ca", "cert", "key")
KEYS = ("from", "host", *_MATERIALS, "skip-tls-verify")
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")


class EndpointInvalid(Invalid):
    """What ``--docker`` says is no endpoint of an engine."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(f"unable to create docker endpoint config: {reason}", hint=hint)


def docker_args(p: Parser) -> None:
    """The options that create and update share."""
    p.add_argument("--description", metavar="string", help="Description of the context")
    p.add_argument(
        "--docker",
        action="append",
        metavar="stringToString",
        help=f"set the docker endpoint; keys: {', '.join(KEYS)}",
    )


def pairs(words: list[str], prog: str) -> dict[str, str]:
    """The keys and values of every ``--docker``, as the client's comma-separated lists have them. Raises FlagError."""
    import csv

    from boxwright.cli.flags import FlagError

    found: dict[str, str] = {}
    for word in words:
        for pair in next(csv.reader([word]), []):
            key, equals, value = pair.partition("=")
            if not equals:
                raise FlagError(
                    f'invalid argument "{word}" for "--docker" flag: {pair} must be formatted as key=value',
                    prog=prog,
                )
            found[key] = value
    return found


def endpoint(ctx: Context, said: Mapping[str, str]) -> tuple[dict[str, Any], files.Materials]:
    """The endpoint as a meta.json has it, and its certificates and keys. Raises EndpointInvalid, NoSuchContext,
    ContextFileInvalid."""
    from boxwright.spec.text import go_bool

    for key in said:
        if key not in KEYS:
            raise EndpointInvalid(f"unrecognized config key: {key}", hint=f"the keys are {', '.join(KEYS)}")
    if "from" in said:
        if len(said) > 1:
            raise EndpointInvalid(
                "from takes the endpoint of another context as it is, and leaves no place for other keys"
            )
        return files.saved(ctx, said["from"]).docker, _of_docker(files.materials(ctx, said["from"]))
    skip = go_bool(said["skip-tls-verify"]) if "skip-tls-verify" in said else False
    if skip is None:
        raise EndpointInvalid(f'skip-tls-verify: parsing "{said["skip-tls-verify"]}": invalid syntax')
    host = said.get("host", "")
    _check_host(host)
    keys = {f"{name}.pem": _material(said[name]) for name in _MATERIALS if said.get(name)}
    _check_keys(keys)
    found = {"Host": host, "SkipTLSVerify": skip} if host else {"SkipTLSVerify": skip}
    return found, {"docker": keys} if keys else {}


def _of_docker(materials: files.Materials) -> files.Materials:
    return {name: keys for name, keys in materials.items() if name == "docker"}


def _material(name: str) -> bytes:
    try:
        return files.bounded(Path(name))
    except files.ContextFileInvalid as error:
        raise EndpointInvalid(str(error)) from error


def _check_host(host: str) -> None:
    """An address that a docker client would take. Raises EndpointInvalid."""
    if not host:
        return
    scheme, separator, rest = host.partition("://")
    if not separator or not rest or not scheme.isascii() or any(c.isspace() or c < " " for c in host):
        raise EndpointInvalid(
            f"unable to apply docker endpoint options: unable to parse docker host `{host}`",
            hint="write unix:///path, tcp://host:port or ssh://user@host",
        )
    if scheme not in _SCHEMES:
        raise EndpointInvalid(
            f"unable to apply docker endpoint options: {scheme} is no protocol of this machine's clients",
            hint=f"the protocols are {', '.join(_SCHEMES)}",
        )
    if scheme == "ssh" and ":" in rest.rpartition("@")[0]:
        raise EndpointInvalid(
            "invalid docker endpoint options: ssh host connection is not valid: invalid SSH URL: "
            "plain-text password is not supported",
            hint="use a key of the SSH agent",
        )


def _check_keys(keys: Mapping[str, bytes]) -> None:
    """Raises EndpointInvalid for what TLS could not use."""
    import ssl

    if "ca.pem" in keys:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
                cadata=keys["ca.pem"].decode("ascii")
            )
        except (ssl.SSLError, ValueError) as error:
            raise EndpointInvalid(
                "invalid docker endpoint options: failed to retrieve context tls info: ca.pem seems invalid"
            ) from error
    for name in ("cert.pem", "key.pem"):
        if name in keys and b"-----BEGIN " not in keys[name]:
            raise EndpointInvalid(
                f"invalid docker endpoint options: failed to retrieve context tls info: {name} is not PEM"
            )
