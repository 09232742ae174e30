"""What the client is told: files to read, proxies, time limits. A value, so that tests need no environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from boxwright.errors import Invalid
from boxwright.files.places import Places
from boxwright.settings import Settings
from boxwright.spec.values import dataclass, field
from boxwright.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """`docker_config` is the directory of Docker's config.json. All paths may be absent; times are in seconds."""

    docker_config: Path
    home: Path
    runtime_dir: Path | None = None  # $XDG_RUNTIME_DIR, where podman keeps its auth.json
    auth_file: Path | None = None  # $REGISTRY_AUTH_FILE
    auth_json: str = ""  # $DOCKER_AUTH_CONFIG
    proxies: Mapping[str, str] = field(default_factory=dict)  # HTTPS_PROXY … under either spelling
    ca_bundle: Path | None = None  # named by the environment; otherwise the system's own
    etc: Path = Path("/etc")  # where docker/, containers/ and containerd/ are looked for
    uploads: Path | None = None  # where unfinished uploads are noted, so that the next command goes on
    insecure: tuple[str, ...] = ()  # host[:port] or CIDR
    mirrors: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # domain -> URLs, from our own configuration
    user_agent: str = f"boxwright/{__version__}"
    connect_timeout: float = 15.0
    read_timeout: float = 60.0  # between two pieces of a body
    tries: int = 5
    backoff: float = 0.3  # the first pause; doubles, with jitter
    longest_pause: float = 60.0  # a Retry-After beyond it is an error
    streams: int = 4  # range requests inside one big layer; 1 = never
    slow: float = 40e6  # bytes a second below which one stream is helped by others


def from_settings(settings: Settings) -> ClientConfig:
    """The environment's part, and ours of config.toml: ``insecure-registries = [...]`` and a table
    ``registry-mirrors`` of lists by domain. Raises Invalid."""
    env = settings.environ
    mirrors = settings.config.get("registry-mirrors") or {}
    insecure = settings.config.get("insecure-registries") or []
    if not isinstance(mirrors, Mapping) or not isinstance(insecure, list):
        raise Invalid("registry-mirrors must be a table of lists by domain, insecure-registries a list")
    return ClientConfig(
        docker_config=settings.docker_config,
        home=settings.home,
        runtime_dir=Path(env["XDG_RUNTIME_DIR"]) if env.get("XDG_RUNTIME_DIR") else None,
        auth_file=Path(env["REGISTRY_AUTH_FILE"]) if env.get("REGISTRY_AUTH_FILE") else None,
        auth_json=settings.auth_json,
        proxies=settings.proxies,
        ca_bundle=settings.host_ca_bundle if settings.host_ca_named else None,
        uploads=Places(settings.root).ingests,  # whose files are thrown away after a day
        insecure=_texts(insecure),
        mirrors={str(domain): _texts(urls) for domain, urls in mirrors.items()},
    )


def _texts(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise Invalid("registry-mirrors and insecure-registries must hold lists of text")
    return tuple(items)
