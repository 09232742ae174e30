"""From a record to a running container: mount the tree, write the bundle, give the supervisor its job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from boxwright.container import endpoints, frames, hostside, spec
from boxwright.container.job import HealthPlan, Job
from boxwright.container.options import OptionInvalid, parse_signal
from boxwright.container.records import (
    Container,
    MountPoint,
    State,
    WrongState,
    cgroup_of,
    event_attributes,
    load_state,
    save_state,
    tree_of,
)
from boxwright.container.remains import clean_up, dns_directory, keep_job, policy
from boxwright.container.session import Session, interpreter
from boxwright.container.shipments import plan_of
from boxwright.container.sources import Sources
from boxwright.container.supervisor.mounted import take_down
from boxwright.errors import BoxwrightError, NotFound, Unavailable, Unsupported
from boxwright.files.places import Places
from boxwright.network import files
from boxwright.network.plan import Endpoint, NameServer, NetworkPlan, plain, with_ways_out
from boxwright.rootfs.mountpoints import MountPoints
from boxwright.rootfs.root import Root
from boxwright.rootfs.users import ProcessUser, resolve_user
from boxwright.runtime import trust
from boxwright.runtime.adapt import adapt
from boxwright.runtime.confinement import confine
from boxwright.runtime.host import Host, host
from boxwright.runtime.moves import Ahead
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.volumes import Volumes
    from boxwright.image.services import Services
    from boxwright.network.networks import Networks
    from boxwright.snapshot.mount import HostMounts

NAMESPACE = "/proc/{}/fd/60"  # the supervisor holds the network namespace there
STOP_SECONDS = 10
_NOT_SET_UP = 128  # the exit code of what was not run, whatever code the command ends with
_LEAST_SPAN = 1_000_000  # nanoseconds, of a health check
# A --rm container that ends without an attached client is removed by a process with the whole engine.
_REAP = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path += sys.argv[4:]; from boxwright.engine "
    "import Engine; Engine(sys.argv[2]).containers.reap(sys.argv[3])"
)
_KEPT = (
    "HOME",
    "PATH",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "BOXWRIGHT_RUNTIME",
    "BOXWRIGHT_DRIVER",
)


class Launcher:
    """One start of one container."""

    def __init__(
        self,
        services: Services,
        networks: Networks,
        container: Container,
        find: Any,
        *,
        mounts: HostMounts | None = None,
        volumes: Volumes | None = None,
    ) -> None:
        from boxwright.snapshot.mount import HostMounts

        self._mounts = mounts or HostMounts()
        self._services, self._networks, self._container = services, networks, container
        self._config = container.config
        self._find = find  # name or id -> Container
        self._runtime = services.runtime_for(container.config.runtime)
        self._host: Host = host()
        self._state = load_state(container.directory)
        self._reserved: list[Any] = []
        self._sources = Sources(services, container, mounts=self._mounts, volumes=volumes)
        self._variables: list[str] = []  # of --link

    def start(
        self, session: Session, *, wants: int = 0, size: tuple[int, int] | None = None, restarts: int = 0
    ) -> None:
        """Give the job to the session's supervisor and wait until the process runs. On failure everything that was
        set up is undone, and the state says why. `restarts` says how many times its policy has started it. Raises what
        the runtime found, or what could not be set up."""
        container = self._container
        container.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with Ahead():
                job = self._job(session.supervisor_pid, wants, size=size, restarts=restarts)
                keep_job(container, job)
                session.send(frames.JOB, plain(job))
                kind, value = session.expect(frames.STARTED, frames.FAILED)
        except BoxwrightError as error:
            self._undo(error)
            raise
        finally:
            for held in self._reserved:
                held.close()
            self._sources.release()
        if kind == frames.FAILED:
            session.drain()
            failure = self._translate(value)
            self._note(failure, failure.exit_code if failure.exit_code in (126, 127) else _NOT_SET_UP)
            raise failure

    def _undo(self, error: BoxwrightError) -> None:
        if self._container.refresh().unattended:  # the supervisor was killed meanwhile
            clean_up(self._services, self._container, self._mounts)
        self._mounts.detach(self._container.rootfs)
        take_down(self._sources.mounts)
        self._note(error, _NOT_SET_UP)

    def _note(self, error: BoxwrightError, code: int) -> None:
        state = load_state(self._container.directory)
        status = self._state.status
        save_state(
            self._container.directory,
            State(
                status=status if not state.active else "exited",
                exit_code=code,
                error=str(error),
                started_at=state.started_at,
                finished_at=state.finished_at,
                placeholders=state.placeholders,
            ),
        )

    def _translate(self, value: Mapping[str, Any]) -> BoxwrightError:
        from boxwright.runtime.oci import last_error, translate

        if value["stage"] == "runtime":
            message = (
                last_error(value["message"].encode()) or value["message"] or "the runtime gave no reason"
            )
            error = translate(message, self._runtime.name, self._container.command[0])
            return type(error)(f"failed to create task for container: {error}", hint=error.hint)
        if value["stage"] == "log":
            return Unavailable(
                f"failed to create task for container: failed to initialize logging driver: {value['message']}"
            )
        return Unsupported(f"cannot set up the container: {value['message']}")

    # --- the job -------------------------------------------------------------------------------

    def _job(self, supervisor: int, wants: int, size: tuple[int, int] | None, restarts: int) -> Job:
        container, config = self._container, self._config
        found = map(MountPoint.from_json, container.record["mounts"])
        points = [self._sources.ready(number, point) for number, point in enumerate(found)]
        confinement = confine(config.security_opt, container.id, privileged=config.privileged)
        if confinement.mount_label:
            self._relabel(points, confinement.mount_label)
        self._mount(points, confinement.mount_label)
        namespaces, plan, addresses = self._network(supervisor)
        facts = spec.ContainerFacts(
            rootfs=str(container.rootfs),
            user=self._user(),
            hostname=container.record["hostname"],
            bounding=self._host.bounding,
            hard_limits=self._host.hard_limits,
            cgroup_v2=self._host.cgroup_v2,
            cgroups_path=cgroup_of(container),
            namespaces=namespaces,
            files=self._files(plan, addresses),
            mounts=tuple(points),
            devices=hostside.devices(config),
            seccomp=self._seccomp(),
            trust=self._trust(),
            init=hostside.init_program() if config.init else "",
            size=size,
            confinement=confinement,
            block_io=hostside.block_io(config.limits),
            links=self._variables,
        )
        kept = self._bundle(facts)
        return Job(
            id=container.id,
            directory=str(container.directory),
            rootfs=str(container.rootfs),
            runtime=tuple(self._runtime.bare_command()),
            hidden=self._runtime.hidden,
            filter=(str(self._runtime.root / container.id), kept) if kept else None,
            tty=config.tty,
            open_stdin=config.stdin,
            stdin_once=bool(container.merged["StdinOnce"]),
            size=size or (0, 0),
            log=plan_of(container),
            restart=policy(container),
            health=self._health(facts),
            network=plan,
            auto_remove=config.auto_remove,
            reaper=tuple(self._reaper()),
            reaper_environ={k: v for k, v in self._services.settings.environ.items() if k in _KEPT},
            state=self._fresh(plan, restarts, trusted=facts.trust is not None).to_json(),
            wants=wants,
            oom_files=tuple(self._oom_files()),
            name=container.name,
            journal=str(Places(self._services.root).events),
            attributes=event_attributes(container),
            volumes=tuple((p.name, p.target, p.writable) for p in points if p.kind == "volume"),
            mounts=tuple(self._sources.mounts),
            shares=tuple((share.lock, share.place) for share in self._sources.shares),
            alone=self._alone(),
        )

    def _bundle(self, facts: spec.ContainerFacts) -> str:
        """Write config.json and make what it mounts on. Returns where the compiled filter is to be kept, as `adapt`."""
        bundle = spec.make_spec(self._config, self._container.merged, facts)
        if self._config.device_requests:
            from boxwright.container import requests

            requests.give(bundle, self._config.device_requests)
        bundle, kept = adapt(self._runtime, bundle)
        self._prepare(bundle["mounts"])
        (self._container.directory / "config.json").write_bytes(
            json.dumps(bundle).encode("utf-8", "surrogateescape")
        )
        return kept

    def _fresh(self, plan: NetworkPlan | None, restarts: int, *, trusted: bool) -> State:
        """What the supervisor's first state begins with."""
        state, runtime = self._state, self._runtime
        return State(
            status="created",
            started_at=state.started_at,
            finished_at=state.finished_at,
            restart_count=restarts,
            ports=plan.ports if plan else (),
            networks={e.network: e.shown() for e in plan.endpoints} if plan else {},
            placeholders=state.placeholders,
            trusted=trusted,
            runtime=(runtime.name, runtime.program, str(runtime.root), runtime.hidden),
        )

    def _mount(self, points: list[MountPoint], label: str) -> None:
        """Mount the tree and fill new volumes."""
        container = self._container
        container.rootfs.mkdir(exist_ok=True)
        self._mounts.detach_all(container.rootfs)
        # A --rm container's tree is removed when it ends, and after a boot: it need not survive a power cut.
        volatile = container.config.auto_remove
        mounts = tree_of(self._services, container).mounts(container.id, volatile=volatile)
        if label:  # the tree's files have no label that a confined process may read
            mounts = [
                replace(m, options=(*m.options, f"context={label}")) if m.type == "overlay" else m
                for m in mounts
            ]
        self._mounts.attach(mounts, container.rootfs)
        if self._state.started_at:
            return
        fill = set(container.record.get("fill") or ())
        with Root.at(container.rootfs) as root:
            for point in points:
                if point.target in fill:
                    hostside.fill_volume(root, point.target, Path(point.source))

    @staticmethod
    def _relabel(points: list[MountPoint], label: str) -> None:
        """What ``:z`` and ``:Z`` ask for."""
        from boxwright.runtime.confinement import relabel

        for point in points:
            words = point.mode.split(",")
            if "z" in words or "Z" in words:
                relabel(point.source, label, shared="z" in words)

    def _prepare(self, mounts: list[dict[str, Any]]) -> None:
        """Make what is mounted on, and what Docker puts into every tree. Raises MountPointInvalid."""
        rootfs = self._container.rootfs
        if self._config.rootfs:  # it is the host's: only what is mounted on is made
            MountPoints().prepare(rootfs, mounts, self._announce)
            return
        with Root.at(rootfs) as root:
            links = hostside.links(root, spec_files())
            self._announce([*links, *hostside.unmarked(root)])
            hostside.replace_links(root, links)
            hostside.mark(root)
        MountPoints().prepare(rootfs, mounts, self._announce)

    def _announce(self, paths: list[str]) -> None:
        """Remember, before it is made, what is no part of `diff` and `commit`."""
        known = self._state.placeholders
        if new := [path for path in paths if path not in known]:
            self._state = replace(self._state, placeholders=(*known, *new))
            save_state(self._container.directory, self._state)

    def _user(self) -> ProcessUser:
        with Root.at(self._container.rootfs) as root:
            return resolve_user(root, str(self._container.merged.get("User") or ""), self._config.group_add)

    def _oom_files(self) -> list[str]:
        if not self._config.limits.memory:
            return []
        path = cgroup_of(self._container)
        return [f"/sys/fs/cgroup{path}/memory.events", f"/sys/fs/cgroup/memory{path}/memory.oom_control"]

    def _seccomp(self) -> Mapping[str, Any] | None:
        choice = spec.seccomp_choice(self._config)
        if choice == "unconfined":
            return None
        caps = spec.chosen_capabilities(self._config, self._host.bounding)
        return hostside.seccomp(choice, caps, self._host)

    def _trust(self) -> trust.Trust | None:
        settings = self._services.settings
        return trust.decide(
            self._config.trust_host_ca,
            settings.trust_host_ca,
            settings.host_ca_bundle,
            named=settings.host_ca_named,
        )

    def _health(self, facts: spec.ContainerFacts) -> HealthPlan | None:
        check = self._container.merged.get("Healthcheck") or {}
        test = check.get("Test") or ["NONE"]
        if test[0] not in ("CMD", "CMD-SHELL") or len(test) < 2:  # as Docker: an unknown kind is no check
            return None
        shell = self._container.merged.get("Shell") or ["/bin/sh", "-c"]
        words = [*shell, test[1]] if test[0] == "CMD-SHELL" else test[1:]
        process = spec.make_process(
            words=words, config=self._config, merged={**self._container.merged, "Tty": False}, facts=facts
        )

        def seconds(key: str, default: float) -> float:
            said = check.get(key) or 0  # an image may say anything, a negative span too
            return max(said, _LEAST_SPAN) / 1e9 if said else default

        return HealthPlan(
            interval=seconds("Interval", 30),
            timeout=seconds("Timeout", 30),
            start_period=seconds("StartPeriod", 0),
            start_interval=seconds("StartInterval", 5),
            retries=max(check.get("Retries") or 3, 1),
            process=process,
        )

    def _reaper(self) -> list[str]:
        import sys

        places = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
        return interpreter(_REAP, str(self._services.root), self._container.id, *places)

    # --- network -------------------------------------------------------------------------------

    def _network(
        self, supervisor: int
    ) -> tuple[dict[str, str | None], NetworkPlan | None, list[tuple[str, list[str]]]]:
        """Namespaces for the spec, the supervisor's plan (None = nothing to build), and the lines for /etc/hosts."""
        config, mode = self._config, self._config.network
        spaces: dict[str, str | None] = {}
        for kind, choice in (("pid", config.pid), ("ipc", config.ipc), ("uts", config.uts)):
            if choice == "host":
                spaces[kind] = None
            elif choice.startswith("container:"):
                spaces[kind] = f"/proc/{self._other(choice)}/ns/{kind}"
        if config.cgroupns == "host":
            spaces["cgroup"] = None
        elif config.cgroupns == "private":
            spaces["cgroup"] = ""
        if mode == "host":
            return {**spaces, "network": None}, None, []
        if mode.startswith("container:"):
            return {**spaces, "network": f"/proc/{self._other(mode)}/ns/net"}, None, []
        try:
            joined = () if mode == "none" else self._endpoints()
            ports = endpoints.bound(self._container, joined, containers=self._find(None), held=self._reserved)
        except BoxwrightError as error:
            error.args = (f"failed to set up container networking: {error}",)
            raise
        plan = NetworkPlan(
            id=self._container.id,
            lock=str(Places(self._services.root).network_lock),
            endpoints=joined,
            ports=ports,
            name_server=name_server(self._services) if any(e.names for e in joined) else None,
        )
        names = files.host_names(self._container.record["hostname"], config.domainname)
        lines = [(address, names) for e in joined for address, _ in e.addresses]
        if self._container.record.get("links"):
            from boxwright.container import links

            found = links.found(self._container, self._find)
            self._variables = links.variables(self._container, found)
            lines = links.host_lines(found) + lines
        for name, wish in self._container.record["networks"].items():
            lines += linked(self._find, name, wish)
        return {**spaces, "network": NAMESPACE.format(supervisor)}, plan, lines

    def _alone(self) -> tuple[tuple[str, str, str], ...]:
        if self._config.network not in ("none", "host"):
            return ()
        network = self._networks.get(self._config.network)
        return ((network.name, network.id, network.driver),)

    def _other(self, choice: str) -> int:
        other: Container = self._find(choice.partition(":")[2])
        state = other.refresh()
        if not state.running:
            raise WrongState(f"cannot join network of a non running container: {other.id}")
        return state.pid

    def _endpoints(self) -> tuple[Endpoint, ...]:
        found: list[Endpoint] = []
        for name, wish in self._container.record["networks"].items():
            network = self._networks.default() if name == "bridge" else self._networks.get(name)
            found.append(
                endpoints.joined(
                    self._networks,
                    network=network,
                    container=self._container,
                    wish=wish,
                    used=[e.interface for e in found],
                )
            )
        return with_ways_out(found)

    def _files(self, plan: NetworkPlan | None, addresses: list[tuple[str, list[str]]]) -> dict[str, str]:
        directory, config = self._container.directory, self._config
        if config.network.startswith("container:"):
            other = self._find(config.network.partition(":")[2]).directory
            return {
                target: str(other / name) for target, name in spec_files().items() if (other / name).exists()
            }
        shares = config.network == "host"
        joined = plan.endpoints if plan else ()
        internal = next((e.gateway or e.gateway6 for e in joined if e.names), "")
        gateway = next((e.gateway or e.gateway6 for e in joined), "")
        texts = {
            "hostname": self._container.record["hostname"] + "\n",
            "resolv.conf": files.resolv(
                hostside.read_text("/etc/resolv.conf"),
                servers=config.dns,
                search=config.dns_search,
                options=config.dns_options,
                local=shares,
                internal=internal,
            ),
            "hosts": files.host_hosts(hostside.read_text("/etc/hosts"), config.extra_hosts)
            if shares
            else files.hosts(config.extra_hosts, addresses, gateway=gateway),
        }
        for name, text in texts.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o644)
        return {target: str(directory / name) for target, name in spec_files().items()}


def spec_files() -> dict[str, str]:
    """Files that every container gets: target -> name in its directory."""
    return {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}


def linked(find: Any, network: str, wish: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Lines of /etc/hosts for the links of one network: those that run and are on it, too, as Docker has it."""
    lines = []
    for link in wish.get("links", ()):
        name, _, alias = link.partition(":")
        try:
            other: Container = find(name)
        except NotFound:
            continue
        found = other.refresh().networks.get(network) if other.state.running else None
        for key in ("address", "address6"):
            if found is not None and found.get(key):
                lines.append((found[key], [alias or name]))
    return lines


def name_server(services: Services) -> NameServer:
    """Of this root's user networks. Raises ProgramAbsent."""
    return NameServer(directory=str(dns_directory(services)), program=hostside.dns_program())


def stop_plan(container: Container, signal: str = "", seconds: float | None = None) -> tuple[int, float]:
    """The signal and the time for `stop`: the user's, the container's, then SIGTERM and 10 s."""
    wait = container.merged.get("StopTimeout", STOP_SECONDS) if seconds is None else seconds
    if signal:
        return parse_signal(signal), float(wait)
    try:
        return parse_signal(str(container.merged.get("StopSignal") or "SIGTERM")), float(wait)
    except OptionInvalid:  # an image may say anything; what it made must stop nevertheless, as in Docker
        return parse_signal("SIGTERM"), float(wait)
