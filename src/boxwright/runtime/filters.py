"""Seccomp filters, compiled once a boot.

libseccomp takes 20 to 30 ms for Docker's profile, which is longer than everything else that crun does for a container.
crun leaves the compiled program in the directory of a container's state and takes one in an annotation of the config;
so what it made for the first container serves all later ones with the same rules. runc has no such annotation.
Imported by the supervisor: C modules only.

    <state>/filters/<digest of runtime and rules>     the BPF program, in memory as the state is
"""

from __future__ import annotations

import os

from boxwright.files import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.runtime.oci import Runtime

_ANNOTATION = "run.oci.seccomp_bpf_data"
_LARGEST = 1 << 18  # bytes; the kernel takes 4,096 instructions of 8 bytes


def prepare(runtime: Runtime, config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The OCI config with the compiled filter in it, and where `keep` is to put the filter when there was none ('' when
    there is nothing to keep). The rules stay in the config: a runtime that does not know the annotation obeys them."""
    rules = (config.get("linux") or {}).get("seccomp")
    if runtime.name != "crun" or not rules or rules.get("listenerPath"):
        return dict(config), ""
    from binascii import b2a_base64

    path = runtime.root.parent / "filters" / _key(runtime, rules)
    try:
        program = path.read_bytes()
    except OSError:
        return dict(config), str(path)
    annotations = {
        **(config.get("annotations") or {}),
        _ANNOTATION: b2a_base64(program, newline=False).decode(),
    }
    return {**config, "annotations": annotations}, ""


def keep(state: str, path: str) -> bool:
    """Remember what the runtime compiled for the container whose `state` directory this is; whether it was there."""
    try:
        os.stat(f"{state}/status")  # written once the filter is whole
        with open(f"{state}/seccomp.bpf", "rb") as file:
            program = file.read(_LARGEST + 1)
        if not 0 < len(program) <= _LARGEST or len(program) % 8:
            return False
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        whole.replace(path, program, sync=False)
    except OSError:  # only a memory: the next container is compiled for again
        return False
    return True


def _key(runtime: Runtime, rules: Mapping[str, Any]) -> str:
    import json

    from boxwright.spec.digest import Digest

    stat = os.stat(runtime.program)
    text = json.dumps([runtime.version, stat.st_mtime_ns, stat.st_size, rules], sort_keys=True)
    return Digest.of(text.encode()).hex
