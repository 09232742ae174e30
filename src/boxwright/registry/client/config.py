"""What the client is told: files to read, proxies, patience. A value, so that tests need no environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from boxwright import __version__


@dataclass(frozen=True, slots=True)
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
    insecure: tuple[str, ...] = ()  # host[:port] or CIDR
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # domain -> URLs, from our own configuration
    user_agent: str = f"boxwright/{__version__}"
    connect_timeout: float = 15.0
    read_timeout: float = 60.0  # between two pieces of a body
    tries: int = 5
    backoff: float = 0.3  # the first pause; doubles, with jitter
    longest_pause: float = 60.0  # a Retry-After beyond it is an error
    streams: int = 4  # range requests inside one big layer; 1 = never
    slow: float = 40e6  # bytes a second below which one stream is helped by others
