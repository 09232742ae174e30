"""From a repository to the hosts that serve it: the wire name of Docker Hub, mirrors, insecure hosts, certificates.

Four dialects are read, none is written: our own configuration, containerd's certs.d/*/hosts.toml, podman's
registries.conf and docker's daemon.json. The first of them that names mirrors for a domain decides its mirrors;
a host is insecure when any of them says so.
"""

from __future__ import annotations

from functools import cached_property

from boxwright.registry.client import dialects
from boxwright.registry.client.addresses import address_of, is_loopback, split, within
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.endpoint import (
    HUB,
    HUB_HOST,
    READ,
    HostsInvalid,
    Mirrored,
    RegistryEndpoint,
    RegistryHost,
)
from boxwright.registry.client.peers import Tls
from boxwright.spec.values import dataclass, field, replace


@dataclass(frozen=True)
class Hosts:
    """The endpoints of any repository, by this configuration."""

    config: ClientConfig
    _cache: dict[tuple[str, str], tuple[RegistryEndpoint, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def endpoints(self, domain: str, path: str) -> tuple[RegistryEndpoint, ...]:
        """Where a repository can be had, mirrors first, the origin last.

        Raises RegistryBlocked, HostsInvalid.
        """
        known = self._cache.get((domain, path))
        if known is None:
            known = self._cache[(domain, path)] = self._find(domain, path)
        return known

    def origin(self, domain: str, path: str = "") -> RegistryEndpoint:
        """The repository itself, where pushes go."""
        return self.endpoints(domain, path)[-1]

    def _find(self, domain: str, path: str) -> tuple[RegistryEndpoint, ...]:
        origin = RegistryEndpoint(
            self.host(HUB_HOST, domain=HUB) if domain == HUB else self.host(domain), path
        )
        said = [
            self._own(domain, path),
            dialects.containerd(self, domain, path),
            dialects.podman(self, domain, path),
            dialects.docker(self, domain, path),
        ]
        origin = next((m.origin for m in said if m is not None and m.origin is not None), origin)
        mirrors = next((m.mirrors for m in said if m is not None and m.mirrors), ())
        return (*mirrors, origin)

    def _own(self, domain: str, path: str) -> Mirrored | None:
        urls = self.config.mirrors.get(domain)
        return Mirrored(tuple(self.mirror(url, path) for url in urls)) if urls else None

    def mirror(self, url: str, path: str, *, namespace: str = "") -> RegistryEndpoint:
        """A mirror given as ``https://host[:port][/prefix]`` or without scheme; a prefix goes before the repository."""
        parts = split(url if "://" in url else "//" + url)
        if parts is None or not parts.netloc or parts.scheme not in ("", "http", "https"):
            raise HostsInvalid(f"{url!r} is no mirror: wanted http[s]://host[:port][/prefix]")
        prefix = parts.path.strip("/").removeprefix("v2").strip("/")
        host = self.host(parts.netloc.rpartition("@")[2], scheme=parts.scheme)
        return RegistryEndpoint(
            replace(host, namespace=namespace),
            f"{prefix}/{path}" if prefix else path,
            origin=False,
            capabilities=READ,
        )

    def host(self, name: str, *, scheme: str = "", domain: str = "") -> RegistryHost:
        """One server, with its certificates and whether it is insecure."""
        insecure = self.is_insecure(name) or scheme == "http"
        authorities, client = self.certificates(name)
        # As docker does: an insecure host's certificate is not checked, unless the user said how to check it.
        tls = Tls(verify=not insecure or bool(authorities), authorities=authorities, client=client)
        return RegistryHost(name=name, scheme=scheme, insecure=insecure, tls=tls, domain=domain or name)

    def is_insecure(self, name: str) -> bool:
        """Loopback, or named by a configuration file (host, host:port or CIDR)."""
        bare = _without_port(name)
        if is_loopback(bare) or name in self._insecure_rules or bare in self._insecure_rules:
            return True
        networks = [rule for rule in self._insecure_rules if "/" in rule]
        address = address_of(bare) if networks else None
        return address is not None and any(within(address, network) for network in networks)

    @cached_property
    def _insecure_rules(self) -> frozenset[str]:
        return frozenset((*self.config.insecure, *dialects.insecure(self)))

    def certificates(self, name: str) -> tuple[tuple[str, ...], tuple[str, str] | None]:
        """Authorities (``*.crt``) and client certificate (``*.cert`` with ``*.key``) of certs.d directories."""
        etc, home = self.config.etc, self.config.home
        authorities: list[str] = []
        client: tuple[str, str] | None = None
        for base in (
            etc / "docker",
            home / ".config/docker",
            etc / "containers",
            home / ".config/containers",
            etc / "boxwright",
        ):
            try:
                entries = sorted((base / "certs.d" / name).iterdir())
            except OSError:
                continue
            authorities += [str(e) for e in entries if e.suffix == ".crt"]
            for cert in entries:
                key = cert.with_suffix(".key")
                if cert.suffix == ".cert" and key in entries and client is None:
                    client = (str(cert), str(key))
        return tuple(authorities), client


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
