"""Three foreign configuration dialects about mirrors and insecure registries, read-only.

docker      /etc/docker/daemon.json: registry-mirrors (Docker Hub only), insecure-registries
containerd  /etc/containerd/certs.d/HOST/hosts.toml, HOST_PORT_ and _default (docs/hosts.md)
podman      /etc/containers/registries.conf, registries.conf.d/*.conf, ~/.config/containers
            (containers-registries.conf(5))
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from boxwright.registry.client.addresses import split
from boxwright.registry.client.endpoint import (
    ALL,
    HUB,
    HUB_HOST,
    READ,
    HostsInvalid,
    Maker,
    Mirrored,
    RegistryBlocked,
    RegistryEndpoint,
    read_text,
    strings,
)
from boxwright.registry.client.peers import Tls
from boxwright.spec.times import SECOND, DurationInvalid, parse_duration
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_SAYS = (
    r"^[ \t]*\[\[[ \t]*[\"']?registry"  # a table [[registry]], not commented out; compiled at its first use
)


def insecure(hosts: Maker) -> list[str]:
    """Every host or CIDR that some file calls insecure."""
    found: list[str] = []
    for daemon in _daemon_files(hosts):
        found += strings(daemon.get("insecure-registries"))
    for entry in _registries(hosts):
        for place in (entry, *_tables(entry.get("mirror"))):
            if place.get("insecure") is True:
                found.append(str(place.get("location") or place.get("prefix") or "").partition("/")[0])
    return [f for f in found if f]


# --- docker ---------------------------------------------------------------------------------------


def docker(hosts: Maker, domain: str, path: str) -> Mirrored | None:
    """daemon.json's registry-mirrors, which mean Docker Hub and nothing else."""
    if domain != HUB:
        return None
    urls = [url for daemon in _daemon_files(hosts) for url in strings(daemon.get("registry-mirrors"))]
    return Mirrored(tuple(hosts.mirror(url, path) for url in urls)) if urls else None


def _daemon_files(hosts: Maker) -> list[dict[str, Any]]:
    found = []
    for path in (hosts.config.etc / "docker/daemon.json", hosts.config.home / ".config/docker/daemon.json"):
        if text := read_text(path):
            try:
                body = json.loads(text)
            except ValueError as error:
                raise HostsInvalid(f"{path} is not valid JSON: {error}") from error
            if isinstance(body, dict):
                found.append(body)
    return found


# --- containerd -----------------------------------------------------------------------------------


def containerd(hosts: Maker, domain: str, path: str) -> Mirrored | None:
    """hosts.toml of the domain, or of ``_default``."""
    base = hosts.config.etc / "containerd/certs.d"
    name, colon, port = domain.partition(":")
    spellings = [domain, f"{name}_{port}_", f"{name}_{port}"] if colon else [domain]
    for folder in (*spellings, "_default"):
        file = base / folder / "hosts.toml"
        text = read_text(file)
        if text is None:
            continue
        body = _toml(file, text)
        mirrors = tuple(
            _containerd_host(hosts=hosts, file=file, url=url, table=table, domain=domain, path=path)
            for url, table in (body.get("host") or {}).items()
            if isinstance(table, Mapping)
        )
        origin = None
        server = body.get("server")
        if isinstance(server, str) and server and folder != "_default":
            origin = replace(
                _containerd_host(hosts=hosts, file=file, url=server, table=body, domain=domain, path=path),
                origin=True,
                capabilities=ALL,
            )
            origin = replace(origin, host=replace(origin.host, domain=domain))
        return Mirrored(mirrors, origin)
    return None


def _containerd_host(
    hosts: Maker, file: Path, url: str, table: Mapping[str, Any], domain: str, path: str
) -> RegistryEndpoint:
    parts = split(url if "://" in url else "https://" + url)
    if parts is None or not parts.netloc or parts.scheme not in ("http", "https"):
        raise HostsInvalid(f"{file}: {url!r} is no host: wanted http[s]://host[:port]")
    host = hosts.host(parts.netloc, scheme=parts.scheme)
    own = HUB_HOST if domain == HUB else domain
    root = parts.path.rstrip("/")
    if not table.get("override_path") and not root.endswith("/v2"):
        root += "/v2"
    authorities = (*host.tls.authorities, *(_beside(file, c) for c in _some(table.get("ca"))))
    client = host.tls.client
    for pair in table.get("client") or []:
        names = _some(pair)
        if names:
            client = (_beside(file, names[0]), _beside(file, names[-1]))
            break
    skip = table.get("skip_verify") is True
    headers = tuple((str(k), v) for k, values in (table.get("header") or {}).items() for v in _some(values))
    capabilities = frozenset(strings(table.get("capabilities"))) & ALL if "capabilities" in table else READ
    host = replace(
        host,
        root=root,
        insecure=host.insecure or skip,
        headers=headers,
        namespace="" if parts.netloc == own else domain,
        dial_timeout=_seconds(table.get("dial_timeout")),
        tls=Tls(
            verify=not skip and (host.tls.verify or bool(authorities)), authorities=authorities, client=client
        ),
    )
    return RegistryEndpoint(host, path, origin=False, capabilities=capabilities)


def _seconds(value: object) -> float:
    """A duration of Go's, such as ``1.5s`` or ``1m30s``; 0 for what is none."""
    try:
        return parse_duration(value) / SECOND if isinstance(value, str) else 0.0
    except DurationInvalid:
        return 0.0


def _some(value: object) -> list[str]:
    return [value] if isinstance(value, str) else strings(value)


def _beside(file: Path, name: str) -> str:
    return str(file.parent / name)


# --- podman ---------------------------------------------------------------------------------------


def podman(hosts: Maker, domain: str, path: str) -> Mirrored | None:
    """The [[registry]] whose prefix is the longest that fits: location, mirrors, blocked."""
    whole = f"{domain}/{path}" if path else domain
    best: tuple[int, dict[str, Any]] | None = None
    for entry in _registries(hosts):
        prefix = str(entry.get("prefix") or entry.get("location") or "")
        length = _fits(prefix, whole)
        if length and (best is None or length >= best[0]):
            best = (length, entry)
    if best is None:
        return None
    length, entry = best
    if entry.get("blocked") is True:
        raise RegistryBlocked(f"registry {domain} is blocked by registries.conf")
    mirrors = []
    for table in _tables(entry.get("mirror")):
        location = str(table.get("location") or "")
        if location:
            only = str(
                table.get("pull-from-mirror")
                or ("digest-only" if entry.get("mirror-by-digest-only") is True else "all")
            )
            mirrors.append(
                replace(
                    _podman_place(hosts=hosts, location=location, rest=whole[length:], table=table),
                    origin=False,
                    capabilities=READ,
                    only=only,
                )
            )
    origin = None
    location = str(entry.get("location") or "")
    if location and not location.startswith("*") and location != str(entry.get("prefix") or location):
        origin = _podman_place(hosts=hosts, location=location, rest=whole[length:], table=entry)
    elif entry.get("insecure") is True and domain != HUB:
        origin = RegistryEndpoint(hosts.host(domain).made_insecure(), path)
    return Mirrored(tuple(mirrors), origin)


def _podman_place(hosts: Maker, location: str, rest: str, table: Mapping[str, Any]) -> RegistryEndpoint:
    where = (location.rstrip("/") + rest).strip("/")
    name, _, repository = where.partition("/")
    host = hosts.host(HUB_HOST, domain=HUB) if name == HUB else hosts.host(name)
    return RegistryEndpoint(host.made_insecure() if table.get("insecure") is True else host, repository)


def _fits(prefix: str, whole: str) -> int:
    """How many characters of `whole` the prefix covers; 0 when it does not fit."""
    if prefix.startswith("*."):
        domain = whole.partition("/")[0]
        return (
            len(domain) if domain.partition(":")[0].endswith(prefix[1:]) or domain.endswith(prefix[1:]) else 0
        )
    if prefix and whole.startswith(prefix) and whole[len(prefix) : len(prefix) + 1] in ("", "/", ":", "@"):
        return len(prefix)
    return 0


def _registries(hosts: Maker) -> list[dict[str, Any]]:
    """Every [[registry]] table; a user's file stands for the system's, drop-ins replace entries of the same prefix."""
    user, system = hosts.config.home / ".config/containers", hosts.config.etc / "containers"
    base = user if (user / "registries.conf").is_file() else system
    files = [base / "registries.conf"]
    for folder in (system / "registries.conf.d", user / "registries.conf.d"):
        try:
            files += sorted(p for p in folder.iterdir() if p.suffix == ".conf")
        except OSError:
            continue
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        text = read_text(file)
        # What only has comments and short names, as Debian's files, takes long to read.
        if text and re.search(_SAYS, text, re.MULTILINE):
            for entry in _tables(_toml(file, text).get("registry")):
                found[str(entry.get("prefix") or entry.get("location") or "")] = entry
    return list(found.values())


def _tables(value: object) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _toml(file: Path, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HostsInvalid(f"{file} is not valid TOML: {error}") from error
