"""After a supervisor that was killed, and after a boot: a process that runs on gets a new supervisor, what a process
that ended meanwhile has left is taken away, and the restart policy is applied. There is no daemon for it: the next
command that looks at a container does it (`ContainerCatalog.settled`), or `system up`."""

from __future__ import annotations

from boxwright.container import frames
from boxwright.container.records import Container, ended, event_attributes, save_state, tell
from boxwright.container.remains import clean_up, kept_job, policy
from boxwright.container.session import Session, SupervisorLost
from boxwright.container.supervisor import telling
from boxwright.errors import BoxwrightError
from boxwright.network.plan import plain
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.image.services import Services
    from boxwright.network.networks import Networks
    from boxwright.snapshot.mount import HostMounts

_ANSWER = 30.0  # seconds for a new supervisor to take over


def due(container: Container) -> bool:
    """Whether `system up` is to start a container that does not run, as Docker's daemon does when it starts: one with
    `always` also when it was stopped by hand. One that never started has no policy yet."""
    state, restart = container.state, policy(container)
    if state.active or not state.started_at or (state.stopped and restart.name != "always"):
        return False
    return restart.wanted(state.exit_code, state.restart_count)


class Life:
    """Containers of one root. `find` finds one by name or id, and all of them by None; `discard` takes one away with
    its anonymous volumes."""

    def __init__(
        self,
        services: Services,
        *,
        networks: Callable[[], Networks],
        find: Callable[[str | None], Any],
        discard: Callable[[Container], None],
        mounts: HostMounts | None = None,
    ) -> None:
        self._services, self._networks, self._find, self._discard = services, networks, find, discard
        self._mounts = mounts

    def settle(self, container: Container, *, revive: bool = True) -> None:
        """Adopt it, or clean up and, with `revive`, apply its policy. A --rm container is removed. Under the
        container's lock, when it is `unattended`. What cannot be started again says so in its state."""
        if container.state.alive and self._adopt(container):
            container.refresh()
            return
        state, job = container.state, kept_job(container)
        clean_up(self._services, container, self._mounts)
        save_state(container.directory, ended(state))
        container.refresh()
        if state.running:
            if job is not None:
                telling.tell_joined(job, state.to_json(), began=False)
            tell(self._services, container, "die", exitCode=str(container.state.exit_code))
        if container.config.auto_remove:
            if state.started_at or state.active:
                self._discard(container)
        elif (
            revive
            and state.active
            and not state.stopped
            and policy(container).wanted(container.state.exit_code, state.restart_count)
        ):
            # One that waited for its restart has counted it.
            restarts = state.restart_count + (state.status != "restarting")
            try:
                with Session.launch() as session:
                    self.start(container, session, restarts=restarts)
            except BoxwrightError:  # its state has the reason, which `ps` and `inspect` show
                pass
            container.refresh()

    def start(
        self,
        container: Container,
        session: Session,
        *,
        restarts: int = 0,
        wants: int = 0,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Have the session's supervisor run it. Under its lock. Raises what stopped it."""
        from boxwright.container.launch import Launcher

        launcher = Launcher(
            services=self._services,
            networks=self._networks(),
            container=container,
            find=self._find,
            mounts=self._mounts,
        )
        launcher.start(session, wants=wants, size=size, restarts=restarts)

    def _adopt(self, container: Container) -> bool:
        """Give a process that runs a new supervisor; False when it cannot have one, for it has just ended."""
        job = kept_job(container)
        if job is None:
            return False
        job = replace(
            job,
            restart=policy(container),
            auto_remove=container.config.auto_remove,
            name=container.name,
            attributes=event_attributes(container),
            state=container.state.to_json(),
            filter=None,
            wants=0,
        )
        session = Session.launch()
        try:
            if job.network is not None:
                _hand_over(container, session.supervisor_pid)
            session.send(frames.ADOPT, plain(job))
            kind, _ = session.expect(frames.STARTED, frames.FAILED, silence=_ANSWER)
            if kind == frames.FAILED:
                session.drain()
        except (SupervisorLost, TimeoutError, OSError):
            return False
        finally:
            session.close()
        return bool(kind == frames.STARTED)


def _hand_over(container: Container, supervisor: int) -> None:
    """Have the runtime find the network namespace at the new supervisor when it starts the container again. Raises
    OSError."""
    import json

    from boxwright.container.launch import NAMESPACE
    from boxwright.files import whole

    path = container.directory / "config.json"
    bundle = json.loads(path.read_bytes())
    for namespace in bundle["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = NAMESPACE.format(supervisor)
    whole.replace(str(path), json.dumps(bundle).encode(), sync=False)
