"""Events of a running container, for `events`. Imported by the supervisor: C modules only."""

from __future__ import annotations

from boxwright.content import journal  # before the job comes, while the command that started us prepares it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


def tell_exec(job: Job, action: str, identity: str, words: str = "", **attributes: str) -> None:
    """One more process was created, started, has ended ("create", "start", "die")."""
    action = f"exec_{action}: {words}" if words else f"exec_{action}"
    tell(job, action, execID=identity, **attributes)


def shown(argv: Sequence[str]) -> str:
    """Words of a process as events show them: a blank follows the first."""
    return f"{argv[0]} {' '.join(argv[1:])}"


def tell_joined(job: Job, state: Mapping[str, Any], *, began: bool) -> None:
    """What it uses was mounted and joined, or left and unmounted."""
    if began:
        _tell_volumes(job, began)
    joined = [
        (name, e.get("id", ""), e.get("driver") or "bridge")
        for name, e in (state.get("Networks") or {}).items()
    ]
    for name, identity, kind in joined or job.alone:
        journal.tell(
            job.journal,
            kind="network",
            action="connect" if began else "disconnect",
            identity=identity,
            attributes={"container": job.id, "name": name, "type": kind},
        )
    if not began:
        _tell_volumes(job, began)


def _tell_volumes(job: Job, began: bool) -> None:
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
