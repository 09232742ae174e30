"""Events of a running container, for `events`. Imported by the supervisor: C modules only."""

from __future__ import annotations

from boxwright.content import journal  # before the job comes, while the command that started us prepares it
from boxwright.spec.events import event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.container.job import Job


def tell(job: Job, action: str, **attributes: str) -> None:
    """Something happened to the container itself."""
    _tell(job, event("container", action, job.id, {**job.attributes, **attributes}))


def tell_joined(job: Job, state: Mapping[str, Any], *, began: bool) -> None:
    """What it uses was joined and mounted, or left and unmounted."""
    for name, endpoint in (state.get("Networks") or {}).items():
        words = {"container": job.id, "name": name, "type": "bridge"}
        _tell(job, event("network", "connect" if began else "disconnect", endpoint.get("id", ""), words))
    for name, target, writable in job.volumes:
        words = {"container": job.id, "driver": "local"}
        if began:
            words |= {"destination": target, "propagation": "", "read/write": str(writable).lower()}
        _tell(job, event("volume", "mount" if began else "unmount", name, words))


def _tell(job: Job, line: bytes) -> None:
    if job.journal:
        journal.append(job.journal, line)
