"""Which OCI runtime works here, found out by trying: versions promise nothing (crun before 1.9 refuses hosts with
hybrid cgroups, containers without some privilege refuse this or that).

The trial is a container with all usual namespaces and no file in its tree: a runtime that gets as far as missing the
program has done everything else. The answer is kept until the machine boots or a program changes.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from boxwright.errors import BoxwrightError, Unsupported
from boxwright.files.found import boot_id, recall, remember
from boxwright.files.places import Places
from boxwright.runtime.oci import ExecutableMissing, Runtime
from boxwright.runtime.process import ProgramMissing, find_program, run
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CGROUP_ATTEMPTS = 50
_CANDIDATES = ("crun", "runc")  # crun starts a container in half the time
_MEANING = 3  # of the memory's fields: what another version of Boxwright remembers is not ours


class NoRuntime(Unsupported):
    """No OCI runtime works on this host."""


def find_runtime(state: Path, *, wanted: str = "", cache: Path | None = None) -> Runtime:
    """The first runtime that works, or the wanted one (a name or a path), with its containers under `state`.

    `cache` is the directory where the answer is remembered; None = `state`. Raises NoRuntime, which says of each
    runtime what stopped it.
    """
    remembered = Places(cache or state).runtime(Path(wanted).name)
    programs: list[tuple[str, str]] = []
    stopped: list[str] = []
    for name in (wanted,) if wanted else _CANDIDATES:
        try:
            programs.append((Path(name).name, find_program(name)))
        except ProgramMissing as error:
            stopped.append(str(error))
    # A container may have cgroups of its own mounted, of another version than the host's.
    cgroups = os.stat("/sys/fs/cgroup").st_dev if os.path.isdir("/sys/fs/cgroup") else 0
    key = [
        _MEANING,
        boot_id(),
        os.geteuid(),
        cgroups,
        *(f"{program}:{_stamp(program)}" for _, program in programs),
    ]
    known = recall(remembered, key)
    if known is not None:
        return Runtime(
            name=known["name"],
            program=known["program"],
            version=known["version"],
            root=state / known["name"],
            hidden=known["hidden"],
            why=known["why"],
        )
    for name, program in programs:
        for hidden in ("", *_hybrid()):
            runtime = Runtime(
                name=name, program=program, version=_version(program), root=state / name, hidden=hidden
            )
            reason = try_runtime(runtime, state)
            if not reason:
                runtime = replace(runtime, why="; ".join(stopped))
                found = {"name": name, "program": program, "version": runtime.version, "hidden": hidden}
                remember(remembered, key, {**found, "why": runtime.why})
                return runtime
            stopped.append(reason)
    raise NoRuntime(
        "no OCI runtime works here: " + "; ".join(stopped),
        hint="install runc or crun" if not programs else "choose another with BOXWRIGHT_RUNTIME",
    )


def _hybrid() -> list[str]:
    """Where the second hierarchy of a host with hybrid cgroups is mounted: crun before 1.9 works without a sight of
    it."""
    unified = "/sys/fs/cgroup/unified"
    return [unified] if os.geteuid() == 0 and os.path.ismount(unified) else []


def try_runtime(runtime: Runtime, directory: Path) -> str:
    """Run the trial; returns what stopped the runtime, '' when nothing did."""
    bundle = directory / f"probe-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        (bundle / "rootfs").mkdir(parents=True)
    except OSError as error:
        raise NoRuntime(
            f"cannot write below {directory}: {error.strerror}",
            hint="choose a directory of yours with XDG_RUNTIME_DIR",
        ) from error
    try:
        (bundle / "config.json").write_text(json.dumps(_trial()))
        running = runtime.run(bundle, bundle.name)
        running.wait(60)
        refusal = running.error()
        if isinstance(refusal, ExecutableMissing):
            return ""
        return f"{runtime.name} {runtime.version}: {refusal or 'it ran a program that does not exist'}"
    except BoxwrightError as error:
        return f"{runtime.name}: {error}"
    finally:
        if (runtime.root / bundle.name).exists():
            runtime.delete(bundle.name, force=True)
        _remove_cgroups(bundle.name)
        # What the runtime made in the tree are empty mount points.
        for parent, _, files in os.walk(bundle, topdown=False):
            for file in files:
                os.unlink(f"{parent}/{file}")
            os.rmdir(parent)


def _remove_cgroups(name: str) -> None:
    """A runtime that fails late has made them, and may find nothing to delete."""
    top = Path("/sys/fs/cgroup")
    for group in (top / name, *top.glob(f"*/{name}")):
        for _ in range(_CGROUP_ATTEMPTS):
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:  # what was in it is about to end
                time.sleep(0.02)


def _trial() -> dict[str, Any]:
    from boxwright.spec.runtimespec import MOUNTS

    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/boxwright-probe"], "env": [], "cwd": "/"},
        "root": {"path": "rootfs"},
        "mounts": [dict(mount) for mount in MOUNTS],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc")],
            # In version 2 these are a program for the kernel, which not every runtime can load everywhere.
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }
    if os.geteuid() != 0:
        del spec["linux"]["resources"]
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
        spec["mounts"] = [
            dict(m, options=[o for o in m["options"] if o != "gid=5"])
            for m in spec["mounts"]
            if m["type"] != "cgroup"
        ]
    return spec


def _version(program: str) -> str:
    text = run([program, "--version"], check=False, timeout=20).stdout.decode(errors="replace")
    found = re.search(r"version:?\s+(\S+)", text)
    return found[1] if found else ""


def _stamp(program: str) -> str:
    stat = os.stat(program)
    return f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}"
