"""What a host, an endpoint and a mirror are, and what reads configuration files needs to make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from boxwright.errors import Denied, Invalid
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.peers import Tls
from boxwright.spec.hints import Protocol
from boxwright.spec.values import dataclass, field, replace

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
ALL = frozenset({"pull", "resolve", "push", "referrers"})
READ = frozenset({"pull", "resolve", "referrers"})


class RegistryBlocked(Denied):
    """registries.conf forbids the registry."""


class HostsInvalid(Invalid):
    """A configuration file about registries cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryHost:
    """One server and how to speak to it. `scheme` is '' until a request found out."""

    name: str  # host[:port]
    scheme: str = ""
    root: str = "/v2"  # where its API begins
    insecure: bool = False  # plain HTTP and unknown certificates are accepted
    tls: Tls = field(default_factory=Tls)
    namespace: str = ""  # sent as ?ns=, by which a mirror of many registries knows which is meant
    headers: tuple[tuple[str, str], ...] = ()
    dial_timeout: float = 0.0  # seconds to wait for a connection; 0 = as everywhere
    domain: str = ""  # whose credentials are sent: docker.io for Docker Hub, otherwise `name`

    def made_insecure(self) -> RegistryHost:
        """The same where plain HTTP and, unless the user said how to check it, any certificate will do."""
        return replace(self, insecure=True, tls=replace(self.tls, verify=bool(self.tls.authorities)))


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """A repository on a host."""

    host: RegistryHost
    repository: str
    origin: bool = True
    capabilities: frozenset[str] = ALL
    only: str = "all"  # which references a mirror serves: all, digest-only, tag-only

    def serves(self, what: str, *, by_digest: bool) -> bool:
        """Whether a request of this kind may go here."""
        if what not in self.capabilities:
            return False
        return self.only == "all" or (self.only == "digest-only") == by_digest


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one dialect says about a repository: mirrors in order, and where the origin really is."""

    mirrors: tuple[RegistryEndpoint, ...] = ()
    origin: RegistryEndpoint | None = None


class Maker(Protocol):
    """Makes hosts and mirrors with their certificates (hosts.Hosts)."""

    @property
    def config(self) -> ClientConfig: ...
    def host(self, name: str, *, scheme: str = "", domain: str = "") -> RegistryHost: ...
    def mirror(self, url: str, path: str, *, namespace: str = "") -> RegistryEndpoint: ...


def read_text(path: Path) -> str | None:
    """A configuration file; None when it is not there. Raises HostsInvalid when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return None  # root's own file; what it says is not for us
    except (OSError, UnicodeDecodeError) as error:
        raise HostsInvalid(f"cannot read {path}: {error}") from error


def strings(value: object) -> list[str]:
    """The strings of a JSON or TOML list; anything else is ignored."""
    return (
        [v for v in value if isinstance(v, str)]
        if isinstance(value, Iterable) and not isinstance(value, (str, Mapping))
        else []
    )
