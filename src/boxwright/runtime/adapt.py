"""An OCI config for the runtime that is here: where one runtime handles a setting worse than
the others, the config says the same in another way."""

from __future__ import annotations

import os

from boxwright.runtime import filters
from boxwright.spec.runtimespec import bind
from boxwright.spec.text import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.runtime.oci import Runtime

_KEEPS_FLAGS = (1, 28)  # the crun that is known to leave nosuid, nodev and noexec on read-only paths
_READONLY = ("rbind", "rprivate", "nosuid", "nodev", "noexec")


def adapt(runtime: Runtime, config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The config, and where `filters.keep` is to put the compiled filter ('' = nothing is to be kept)."""
    if runtime.name == "crun" and version(runtime.version) < _KEEPS_FLAGS:
        config = _readonly_as_mounts(config)
    return filters.prepare(runtime, config)


def _readonly_as_mounts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read-only directories of /proc as mounts of their own. They are the same for every process, or go by the
    namespaces of the process that looks; what they lie on (a file, a path that the user mounted over) stays in the
    list."""
    linux = dict(config["linux"])
    taken = {mount["destination"] for mount in config["mounts"]}
    paths = [
        path
        for path in linux.get("readonlyPaths") or ()
        if path.startswith("/proc/") and path not in taken and os.path.isdir(path)
    ]
    linux["readonlyPaths"] = [path for path in linux.get("readonlyPaths") or () if path not in paths]
    mounts = [bind(path, path, readonly=True, options=_READONLY) for path in paths]
    return {**config, "linux": linux, "mounts": [*config["mounts"], *mounts]}
