"""Events of a running container, for `events`. Imported by the supervisor: C modules only."""

from __future__ import annotations

from boxwright.content import journal  # before the job comes, while the command that started us prepares it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.container.job import Job


def tell(job: Job, action: str, **attributes: str) -> None:
    """Something happened to the container itself."""
    journal.tell(
        job.journal,
        kind="container",
        action=action,
        identity=job.id,
        attributes={**job.attributes, **attributes},
    )


def tell_joined(job: Job, state: Mapping[str, Any], *, began: bool) -> None:
    """What it uses was joined and mounted, or left and unmounted."""
    for name, endpoint in (state.get("Networks") or {}).items():
        journal.tell(
            job.journal,
            kind="network",
            action="connect" if began else "disconnect",
            identity=endpoint.get("id", ""),
            attributes={"container": job.id, "name": name, "type": "bridge"},
        )
    for name, target, writable in job.volumes:
        words = {"container": job.id, "driver": "local"}
        if began:
            words |= {"destination": target, "propagation": "", "read/write": str(writable).lower()}
        journal.tell(
            job.journal,
            kind="volume",
            action="mount" if began else "unmount",
            identity=name,
            attributes=words,
        )
