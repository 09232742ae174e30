"""The environment and the configuration files, read once into a frozen value.

Only this module and the command line look at `os.environ`; everything else is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False  # importing `typing` takes longer than reading the settings
if TYPE_CHECKING:
    from typing import Any

_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
)
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


class SettingsInvalid(Invalid):
    """A configuration file or variable has a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the environment decides. `root` is where the store lives."""

    root: Path
    home: Path
    docker_config: Path  # directory of Docker's config.json
    runtime_dir: Path  # short-lived files: sockets, pids
    trust_host_ca: str = "auto"  # auto | always | never
    host_ca_bundle: Path | None = None  # named by the environment, or the distribution's own
    host_ca_named: bool = False  # the environment named it: what 'auto' goes by
    proxies: Mapping[str, str] = field(default_factory=dict)  # HTTP_PROXY … as the environment has them
    runtime: str = ""  # OCI runtime by name or path; '' = probe
    driver: str = ""  # snapshot driver; '' = probe
    platform: str = ""  # default platform; '' = the host's
    progress: str = "auto"
    context_metadata: str = "normalize"  # or keep: times and permissions of build contexts
    source_date_epoch: str = ""  # as the environment has it: builds know words for it, too
    auth_json: str = ""  # DOCKER_AUTH_CONFIG
    config: Mapping[str, Any] = field(default_factory=dict)  # the merged configuration files
    environ: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # for `-e NAME` and `--build-arg NAME`

    @property
    def epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH where only a number means something. Raises SettingsInvalid."""
        from boxwright.spec.times import epoch_seconds

        text = self.source_date_epoch
        seconds = epoch_seconds(text)
        if text and seconds is None:
            raise SettingsInvalid(
                f"SOURCE_DATE_EPOCH is {text!r}; it must be a whole number of seconds since 1970"
            )
        return seconds


def load(environ: Mapping[str, str] | None = None, *, root: str | None = None) -> Settings:
    """Read the environment and /etc/boxwright/config.toml, then $XDG_CONFIG_HOME/boxwright/config.toml.

    Raises SettingsInvalid.
    """
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or "/")
    config = _files(env, home)
    is_root = os.geteuid() == 0
    data_home = Path(env.get("XDG_DATA_HOME") or home / ".local/share")
    chosen = root or env.get("BOXWRIGHT_ROOT") or _text(config, "root")
    store = Path(chosen) if chosen else Path("/var/lib/boxwright") if is_root else data_home / "boxwright"
    _owned(store, store)
    runtime_dir = (
        Path("/run/boxwright")
        if is_root
        else Path(env.get("XDG_RUNTIME_DIR") or f"/tmp/boxwright-{os.getuid()}") / "boxwright"
    )
    named = next((Path(env[name]) for name in _CA_VARIABLES if env.get(name)), None)
    bundles = [
        Path("/etc/ssl/certs/ca-certificates.crt"),
        Path("/etc/pki/tls/certs/ca-bundle.crt"),
        Path("/etc/ssl/cert.pem"),
    ]
    bundle = (
        named if named is not None and named.is_file() else next((b for b in bundles if b.is_file()), None)
    )
    trust = env.get("BOXWRIGHT_TRUST_HOST_CA") or _text(config, "trust-host-ca") or "auto"
    trust = {"1": "always", "true": "always", "0": "never", "false": "never"}.get(trust, trust)
    if trust not in ("auto", "always", "never"):
        raise SettingsInvalid(f"trust-host-ca is {trust!r}; it must be auto, always or never")
    proxies = {
        name: value for key in _PROXY_VARIABLES for name in (key, key.lower()) if (value := env.get(name))
    }
    return Settings(
        root=Path(os.path.abspath(store)),
        home=home,
        docker_config=Path(env.get("DOCKER_CONFIG") or home / ".docker"),
        runtime_dir=runtime_dir,
        trust_host_ca=trust,
        host_ca_bundle=bundle,
        host_ca_named=named is not None and named == bundle,
        proxies=proxies,
        runtime=env.get("BOXWRIGHT_RUNTIME") or _text(config, "runtime"),
        driver=env.get("BOXWRIGHT_DRIVER") or _text(config, "driver"),
        platform=env.get("DOCKER_DEFAULT_PLATFORM") or _text(config, "platform"),
        progress=env.get("BUILDKIT_PROGRESS") or _text(config, "progress") or "auto",
        context_metadata=_text(config, "context-metadata") or "normalize",
        source_date_epoch=env.get("SOURCE_DATE_EPOCH", ""),
        auth_json=env.get("DOCKER_AUTH_CONFIG") or "",
        config=config,
        environ=dict(env),
    )


def _owned(place: int | Path, path: Path) -> None:
    """What decides which programs root runs, and holds what root mounts, must be root's own: with `sudo -E`, the
    variables lead to files of the user who typed it. Raises SettingsInvalid."""
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(place).st_uid
    except OSError:
        return
    if owner != 0:
        raise SettingsInvalid(
            f"{path} belongs to user {owner}, and this is root, who uses nothing that another user can change",
            hint="leave -E of sudo out, name a place of root's own with --root, or give the place to root with chown",
        )


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key, "")
    if not isinstance(value, (str, bool, int)):
        raise SettingsInvalid(f"{key} in the configuration file must be text")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _files(env: Mapping[str, str], home: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in (
        Path("/etc/boxwright/config.toml"),
        Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "boxwright/config.toml",
    ):
        try:
            with open(path, "rb") as file:
                _owned(file.fileno(), path)
                raw = file.read()
        except OSError:
            continue
        import tomllib

        try:
            merged.update(tomllib.loads(raw.decode()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"{path} is not valid TOML: {error}") from error
    return merged
