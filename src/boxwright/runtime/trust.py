"""The host's CA bundle inside containers and RUN steps (``--trust-host-ca``).

Behind a proxy that intercepts TLS with a private CA only the host trusts what it is shown. The bundle is mounted
read-only at a fixed path, and the variables by which common programs find one point there. It is no part of any
image, history or cache key. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boxwright.errors import NotFound
from boxwright.spec.runtimespec import bind
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TARGET = "/run/boxwright/ca-certificates.crt"
VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)


class BundleMissing(NotFound):
    """The host's CA bundle is wanted and there is none."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What to add: one mount, and variables that the user did not set."""

    bundle: Path

    def mount(self) -> dict[str, Any]:
        """An entry for the OCI config's `mounts`."""
        return bind(
            str(self.bundle),
            TARGET,
            readonly=True,
            options=("rbind", "rprivate", "nosuid", "nodev", "noexec"),
        )

    def env(self, present: Iterable[str]) -> list[str]:
        """``NAME=path`` for each variable that is not among ``NAME=value`` entries."""
        names = {entry.partition("=")[0] for entry in present}
        return [f"{name}={TARGET}" for name in VARIABLES if name not in names]


def decide(wanted: str, setting: str, bundle: Path | None, *, named: bool) -> Trust | None:
    """Whether to trust: `wanted` is the flag (auto, always, never, or '' = `setting`); `auto` goes by whether the
    host's environment named a bundle. Raises BundleMissing for `always` without one."""
    choice = wanted or setting
    if choice == "never" or (choice == "auto" and not named):
        return None
    if bundle is None:
        if choice == "auto":
            return None
        raise BundleMissing(
            "this host has no CA bundle to trust",
            hint="install ca-certificates, or name one with SSL_CERT_FILE",
        )
    return Trust(bundle)
