"""What a supervisor writes beside its container's state, for the process that cleans up after it was killed: the job
that it was given, and what it has set up on the host."""

from __future__ import annotations

import json
import os

from boxwright.container.job import Job, Restart
from boxwright.container.records import Container, State, runtime_of
from boxwright.runtime.process import ProgramMissing
from boxwright.spec import hashes
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from boxwright.image.services import Services
    from boxwright.snapshot.mount import HostMounts

_SIGKILL = 9  # `signal` makes enumerations of all its numbers first


def policy(container: Container) -> Restart:
    """As it is now; `update` may have changed it since the start."""
    restart = container.config.restart
    return Restart(name=restart.name, maximum=restart.maximum)


def dns_directory(services: Services) -> Path:
    """Where this root's name server finds its entries: gone at boot, as the server is."""
    path: Path = services.settings.runtime_dir / (
        "dns-" + hashes.sha256(str(services.root).encode()).hexdigest()[:12]
    )
    return path


def keep_job(container: Container, job: Job) -> None:
    """Remember what a supervisor is told. Raises OSError."""
    from boxwright.network.plan import named

    text = json.dumps(named(replace(job, state={}, filter=None)))
    fd = os.open(container.job_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w") as file:
        file.write(text)


def kept_job(container: Container) -> Job | None:
    """None when there is none that this release can read."""
    try:
        return Job.of(json.loads(container.job_path.read_text()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def clean_up(services: Services, container: Container, mounts: HostMounts | None = None) -> None:
    """Take away what a supervisor that is gone left of a run: the runtime's container with all its processes, its
    mount, its rules, its names, and the bridges that nothing else uses. Idempotent; under the container's lock."""
    from boxwright.container.supervisor.mounted import take_down, unshare
    from boxwright.network import dns, firewall, janitor
    from boxwright.snapshot.mount import HostMounts

    state, job = container.state, kept_job(container)
    try:
        runtime_of(services, state).delete(container.id, force=True)
    except ProgramMissing:  # the runtime was uninstalled meanwhile
        _kill(state)
    (mounts or HostMounts()).detach(container.rootfs)
    if job is not None:
        take_down(job.mounts)
        for lock, place in job.shares:
            unshare(lock, place)
    plan = job.network if job is not None else None
    try:
        if state.ports or (plan is not None and plan.ports):
            firewall.forget(container.id)
        if named := [e["id"] for e in state.networks.values() if e["names"]]:
            dns.unregister(str(dns_directory(services)), container.id, named)
    except OSError:  # rules that cannot be removed now harm this address alone
        pass
    for endpoint in plan.endpoints if plan is not None else ():
        if endpoint.driver != "bridge":
            continue
        janitor.leave(endpoint.plumbing(), plan.lock if plan is not None else "")
    for name in ("attach.sock", "job.json"):
        try:
            os.unlink(container.directory / name)
        except FileNotFoundError:
            pass


def _kill(state: State) -> None:
    """End the container's process, unless the number is another's by now."""
    try:
        if state.alive:
            os.kill(state.pid, _SIGKILL)
    except OSError:  # it is gone
        pass
