"""From an image's config and a container's to the OCI runtime config. Pure: the host is in `ContainerFacts`.

The defaults are `spec.runtimespec`'s; here is what Docker's flags make of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from boxwright.container.config import ContainerConfig, ContainerConfigInvalid, Limits
from boxwright.container.imageconfig import ImageOptions
from boxwright.container.options import DEVICE_RULE, FALSE, merge_env
from boxwright.rootfs.users import ProcessUser
from boxwright.runtime.confinement import Confinement
from boxwright.runtime.trust import Trust
from boxwright.spec import runtimespec as rs
from boxwright.spec.config import DEFAULT_PATH
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.records import MountPoint

INIT_TARGET = "/sbin/docker-init"
_TMPFS = ("noexec", "nosuid", "nodev")
_CONTRARY = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "rw": "ro"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """What the host, the tree and the network contribute."""

    rootfs: str
    user: ProcessUser
    hostname: str
    bounding: frozenset[str]
    hard_limits: Mapping[str, int]
    cgroup_v2: bool
    cgroups_path: str
    namespaces: Mapping[str, str | None]
    files: Mapping[str, str]  # target -> source: hosts, hostname, resolv.conf
    mounts: Sequence[MountPoint] = ()
    devices: Sequence[Mapping[str, Any]] = ()
    seccomp: Mapping[str, Any] | None = field(default=None, hash=False)
    trust: Trust | None = None
    init: str = ""  # the init program's path on the host
    size: tuple[int, int] | None = None
    confinement: Confinement = Confinement()
    block_io: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of single devices
    links: Sequence[str] = ()  # variables


def merge_config(
    image: Mapping[str, Any], config: ContainerConfig, *, hostname: str, image_name: str
) -> dict[str, Any]:
    """Docker's Config of the container: the image's, overlaid by what the user said (moby runconfig.Merge)."""
    said = ImageOptions(image)
    entrypoint = said.words("Entrypoint") if config.entrypoint is None else list(config.entrypoint)
    # A new entrypoint makes the image's CMD meaningless.
    command = list(config.command) or (said.words("Cmd") if config.entrypoint is None else [])
    env = merge_env(said.words("Env"), config.env)
    exposed = {**said.keys("ExposedPorts"), **{p: {} for p in config.expose}}
    exposed |= {f"{p.container_port}/{p.protocol}": {} for p in config.ports}
    out: dict[str, Any] = {
        "Hostname": hostname,
        "Domainname": config.domainname,
        "User": config.user or said.text("User"),
        "AttachStdin": "stdin" in config.attach,
        "AttachStdout": "stdout" in config.attach,
        "AttachStderr": "stderr" in config.attach,
        "ExposedPorts": exposed,
        "Tty": config.tty,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin and "stdin" in config.attach,
        "Env": env or None,
        "Cmd": command or None,
        "Image": image_name,
        "Volumes": {
            **said.keys("Volumes"),
            **{m.target: {} for m in config.mounts if m.kind == "volume" and not m.source},
        }
        or None,
        "WorkingDir": config.workdir or said.text("WorkingDir"),
        "Entrypoint": entrypoint or None,
        "OnBuild": said.words("OnBuild") or None,
        "Labels": {**said.table("Labels"), **config.labels},
    }
    if not exposed:
        del out["ExposedPorts"]
    if stop := config.stop_signal or said.text("StopSignal"):
        out["StopSignal"] = stop
    if config.stop_timeout is not None:
        out["StopTimeout"] = config.stop_timeout
    if shell := said.words("Shell"):
        out["Shell"] = shell
    health = _health(said, config.health)
    if health:
        out["Healthcheck"] = health
    return out


def _health(image: ImageOptions, own: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if own is not None and own.get("Test") == ["NONE"]:
        return dict(own)
    return {**image.health(), **(own or {})} or None


def argv(merged: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command. Raises ContainerConfigInvalid when there is neither."""
    words = [*(merged.get("Entrypoint") or ()), *(merged.get("Cmd") or ())]
    if not words:
        raise ContainerConfigInvalid(
            "No command specified", hint="the image has no CMD: give a command after the image's name"
        )
    return words


def container_env(merged: Mapping[str, Any], facts: ContainerFacts) -> list[str]:
    """The process's environment: Docker's own entries, then image and user, then what trusting the host's CA adds."""
    base = [
        f"PATH={DEFAULT_PATH}",
        f"HOSTNAME={facts.hostname}",
        *(["TERM=xterm"] if merged.get("Tty") else []),
        *facts.links,
        f"HOME={facts.user.home}",
    ]
    env = merge_env(base, map(str, merged.get("Env") or ()))
    return env + facts.trust.env(env) if facts.trust is not None else env


def chosen_capabilities(config: ContainerConfig, bounding: frozenset[str] | None) -> tuple[str, ...]:
    """What --cap-add, --cap-drop and --privileged leave. Raises CapabilityInvalid."""
    return rs.capabilities(
        add=config.cap_add, drop=config.cap_drop, privileged=config.privileged, bounding=bounding
    )


def limits_of(config: ContainerConfig, hard: Mapping[str, int]) -> list[dict[str, Any]]:
    """`process.rlimits`. Raises LimitInvalid."""
    return rs.rlimits({u.name: (u.soft, u.hard) for u in config.ulimits}, hard)


def resources_of(limits: Limits) -> dict[str, Any]:
    """`linux.resources` without devices. Raises LimitInvalid."""
    return rs.Resources(
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        memory_reservation=limits.memory_reservation,
        swappiness=None if limits.memory_swappiness == -1 else limits.memory_swappiness,
        oom_kill_disable=limits.oom_kill_disable,
        cpu_shares=limits.cpu_shares,
        nano_cpus=limits.nano_cpus,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        cpu_rt_period=limits.cpu_rt_period,
        cpu_rt_runtime=limits.cpu_rt_runtime,
        pids_limit=limits.pids_limit,
        blkio_weight=limits.blkio_weight,
    ).json()


def make_process(
    words: Sequence[str], config: ContainerConfig, merged: Mapping[str, Any], facts: ContainerFacts
) -> dict[str, Any]:
    """The OCI `process` for `words`, with the container's user, environment and rights. Raises CapabilityInvalid,
    LimitInvalid."""
    return rs.ProcessSpec(
        argv=words,
        env=container_env(merged, facts),
        cwd=merged.get("WorkingDir") or "/",
        uid=facts.user.uid,
        gid=facts.user.gid,
        extra_gids=facts.user.extra_gids,
        terminal=bool(merged.get("Tty")),
        size=facts.size,
        capabilities=chosen_capabilities(config, facts.bounding),
        limits=limits_of(config, facts.hard_limits),
        no_new_privileges=no_new_privileges(config),
        apparmor=facts.confinement.apparmor,
        selinux=facts.confinement.process_label,
        oom_score_adj=config.oom_score_adj or None,
        umask=config.umask,
    ).json()


def make_spec(config: ContainerConfig, merged: Mapping[str, Any], facts: ContainerFacts) -> dict[str, Any]:
    """The whole OCI config. Raises ContainerConfigInvalid, CapabilityInvalid, LimitInvalid."""
    words = argv(merged)
    if facts.init:
        words = [INIT_TARGET, "--", *words]
    out = rs.RuntimeConfig(
        root=facts.rootfs,
        process=make_process(words=words, config=config, merged=merged, facts=facts),
        readonly=config.read_only,
        hostname=facts.hostname,
        domainname=config.domainname,
        mounts=_mounts(config, facts),
        namespaces=facts.namespaces,
        cgroup_v2=facts.cgroup_v2,
        cgroups_path=facts.cgroups_path,
        resources=with_block_io(resources_of(config.limits), facts.block_io),
        devices=facts.devices,
        device_rules=[*_rules(config.device_rules), *_allowed(facts.devices, config)],
        seccomp=facts.seccomp,
        sysctls=config.sysctls,
        shm_size=config.shm_size or rs.SHM_SIZE,
        privileged=config.privileged,
        writable_cgroups=_flag_of(config, "writable-cgroups"),
        annotations=config.annotations,
        masked=_paths(config, config.masked_paths),
        readonly_paths=_paths(config, config.readonly_paths),
    ).json()
    if facts.confinement.mount_label:
        out["linux"]["mountLabel"] = facts.confinement.mount_label
    return out


def with_block_io(resources: Mapping[str, Any], devices: Mapping[str, Any]) -> dict[str, Any]:
    """`linux.resources` with what `container.blockio` says of single devices."""
    return (
        {**resources, "blockIO": {**resources.get("blockIO", {}), **devices}} if devices else dict(resources)
    )


def no_new_privileges(config: ContainerConfig) -> bool:
    """--security-opt no-new-privileges[:true|false]; the last one counts."""
    return _flag_of(config, "no-new-privileges") or False


def _flag_of(config: ContainerConfig, name: str) -> bool | None:
    found = None
    for option in config.security_opt:
        key, _, value = option.partition("=")
        if key == name:
            found = value not in FALSE
    return found


def seccomp_choice(config: ContainerConfig) -> str:
    """'unconfined', 'builtin', or the text of a profile."""
    if config.privileged:
        return "unconfined"
    chosen = "builtin"
    for option in config.security_opt:
        key, _, value = option.partition("=")
        if key == "seccomp":
            chosen = value
    return chosen


def _paths(config: ContainerConfig, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if wanted is None and "systempaths=unconfined" in config.security_opt:
        return ()
    return wanted


def _mounts(config: ContainerConfig, facts: ContainerFacts) -> list[dict[str, Any]]:
    out = [oci_mount(point) for point in facts.mounts]
    taken = {point.target for point in facts.mounts}
    # The user's own mount over one of these files wins.
    for target, source in facts.files.items():
        if target not in taken:
            out.append(rs.bind(source, target, readonly=config.read_only))
    if facts.init:
        out.append(rs.bind(facts.init, INIT_TARGET, readonly=True))
    if facts.trust is not None:
        out.append(facts.trust.mount())
    if config.ipc == "none":
        out = [*out, rs.mount("/dev/shm", "tmpfs", "shm", options=["nosuid", "noexec", "nodev", "size=0"])]
    return sorted(out, key=lambda m: m["destination"].rstrip("/").count("/"))


def oci_mount(point: MountPoint) -> dict[str, Any]:
    """An entry of `mounts` for a volume, host path or tmpfs."""
    if point.kind == "tmpfs":
        options = [o for o in _TMPFS if not any(_CONTRARY.get(given) == o for given in point.options)]
        given = [o for o in point.options if o not in options and not (o in _CONTRARY and o != "rw")]
        return rs.mount(
            point.target, "tmpfs", "tmpfs", options=[*options, *([] if point.writable else ["ro"]), *given]
        )
    options = ["rbind" if point.recursive else "bind", point.propagation or "rprivate", *point.options]
    return rs.bind(point.source, point.target, readonly=not point.writable, options=options)


def _rules(texts: Iterable[str]) -> list[dict[str, Any]]:
    out = []
    for text in texts:
        match = re.match(DEVICE_RULE, text)
        if match is None:
            raise ContainerConfigInvalid(
                f"invalid device cgroup rule format: '{text}'", hint="wanted such as 'c 1:3 rwm'"
            )
        numbers = [None if number == "*" else int(number) for number in match.group(2, 3)]
        out.append(
            rs.device_rule(allow=True, kind=match[1], major=numbers[0], minor=numbers[1], access=match[4])
        )
    return out


def _allowed(devices: Sequence[Mapping[str, Any]], config: ContainerConfig) -> list[dict[str, Any]]:
    if config.privileged:
        return []
    access = {d.container: d.access for d in config.devices}
    return [
        rs.device_rule(
            allow=True,
            kind=d["type"],
            major=d["major"],
            minor=d["minor"],
            access=next(
                (a for p, a in access.items() if d["path"] == p or d["path"].startswith(p + "/")), "rwm"
            ),
        )
        for d in devices
    ]
