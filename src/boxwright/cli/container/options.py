"""The options of `run` and `create`, and what they say as a ContainerConfig."""

from __future__ import annotations

import os

from boxwright.cli.flags import REMAINDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.container.config import (
        ContainerConfig,
        DeviceRequest,
        EndpointConfig,
        MountSpec,
        PortBinding,
        Ulimit,
    )


def said(function: str, module: str = "boxwright.container.options") -> Any:
    """A converter that imports its parser only when the option is typed, and whose errors name the option."""

    def convert(text: str) -> Any:
        from importlib import import_module

        return getattr(import_module(module), function)(text)

    return convert


def _mount(text: str) -> MountSpec:
    from boxwright.container.mounts import parse_mount

    return parse_mount(text, os.getcwd())


# short name, name, help: options that may be given several times
_LISTS = (
    ("-a", "--attach", "Attach to STDIN, STDOUT or STDERR"),
    ("", "--add-host", "Add a custom host-to-IP mapping (host:ip)"),
    ("", "--annotation", "Add an annotation to the container (passed through to the OCI runtime)"),
    ("", "--blkio-weight-device", "Block IO weight (relative device weight) (default [])"),
    ("", "--cap-add", "Add Linux capabilities"),
    ("", "--cap-drop", "Drop Linux capabilities"),
    ("", "--device", "Add a host device to the container"),
    ("", "--device-cgroup-rule", "Add a rule to the cgroup allowed devices list"),
    ("", "--device-read-bps", "Limit read rate (bytes per second) from a device (default [])"),
    ("", "--device-read-iops", "Limit read rate (IO per second) from a device (default [])"),
    ("", "--device-write-bps", "Limit write rate (bytes per second) to a device (default [])"),
    ("", "--device-write-iops", "Limit write rate (IO per second) to a device (default [])"),
    ("", "--dns", "Set custom DNS servers"),
    ("", "--dns-option", "Set DNS options"),
    ("", "--dns-search", "Set custom DNS search domains"),
    ("-e", "--env", "Set environment variables"),
    ("", "--env-file", "Read in a file of environment variables"),
    ("", "--expose", "Expose a port or a range of ports"),
    ("", "--gpus", "GPU devices to add to the container ('all' to pass all GPUs)"),
    ("", "--group-add", "Add additional groups to join"),
    ("-l", "--label", "Set meta data on a container"),
    ("", "--label-file", "Read in a line delimited file of labels"),
    ("", "--link", "Add link to another container"),
    ("", "--link-local-ip", "Container IPv4/IPv6 link-local addresses"),
    ("", "--log-opt", "Log driver options"),
    ("", "--mount", "Attach a filesystem mount to the container"),
    ("", "--network", "Connect a container to a network"),
    ("", "--network-alias", "Add network-scoped alias for the container"),
    ("-p", "--publish", "Publish a container's port(s) to the host"),
    ("", "--security-opt", "Security Options"),
    ("", "--storage-opt", "Storage driver options for the container"),
    ("", "--sysctl", "Sysctl options"),
    ("", "--tmpfs", "Mount a tmpfs directory"),
    ("", "--ulimit", "Ulimit options"),
    ("-v", "--volume", "Bind mount a volume"),
    ("", "--volumes-from", "Mount volumes from the specified container(s)"),
)
_TEXTS = (
    ("", "--cgroup-parent", "string", "Optional parent cgroup for the container"),
    ("", "--cgroupns", "string", "Cgroup namespace to use (host|private)"),
    ("", "--cidfile", "string", "Write the container ID to the file"),
    ("", "--cpus", "decimal", "Number of CPUs"),
    ("", "--cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("", "--cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("", "--domainname", "string", "Container NIS domain name"),
    ("", "--health-cmd", "string", "Command to run to check health"),
    ("", "--health-interval", "duration", "Time between running the check (ms|s|m|h) (default 0s)"),
    (
        "",
        "--health-start-interval",
        "duration",
        "Time between running the check during the start period (ms|s|m|h) (default 0s)",
    ),
    (
        "",
        "--health-start-period",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    ),
    ("", "--health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    ("-h", "--hostname", "string", "Container host name"),
    ("", "--ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
    ("", "--ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
    ("", "--ipc", "string", "IPC mode to use"),
    ("", "--isolation", "string", "Container isolation technology"),
    ("", "--kernel-memory", "bytes", "Kernel memory limit"),
    ("", "--log-driver", "string", "Logging driver for the container"),
    ("", "--mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    ("-m", "--memory", "bytes", "Memory limit"),
    ("", "--memory-reservation", "bytes", "Memory soft limit"),
    ("", "--memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    ("", "--name", "string", "Assign a name to the container"),
    ("", "--pid", "string", "PID namespace to use"),
    ("", "--platform", "string", "Set platform if server is multi-platform capable"),
    ("", "--restart", "string", 'Restart policy to apply when a container exits (default "no")'),
    ("", "--runtime", "string", "Runtime to use for this container"),
    ("", "--shm-size", "bytes", "Size of /dev/shm"),
    ("", "--stop-signal", "string", "Signal to stop the container"),
    ("", "--umask", "string", "Set the umask of the container's processes, as podman does (octal)"),
    ("-u", "--user", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("", "--userns", "string", "User namespace to use"),
    ("", "--uts", "string", "UTS namespace to use"),
    ("", "--volume-driver", "string", "Optional volume driver for the container"),
    ("-w", "--workdir", "string", "Working directory inside the container"),
)
_NUMBERS = (
    ("", "--blkio-weight", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    ("", "--cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("", "--cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("", "--cpu-rt-period", "Limit CPU real-time period in microseconds"),
    ("", "--cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
    ("-c", "--cpu-shares", "CPU shares (relative weight)"),
    ("", "--health-retries", "Consecutive failures needed to report unhealthy"),
    ("", "--oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
    ("", "--pids-limit", "Tune container pids limit (set -1 for unlimited)"),
)
_SWITCHES = (
    ("", "--init", "Run an init inside the container that forwards signals and reaps processes"),
    ("-i", "--interactive", "Keep STDIN open even if not attached"),
    ("", "--no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    ("", "--oom-kill-disable", "Disable OOM Killer"),
    ("", "--privileged", "Give extended privileges to this container"),
    ("-P", "--publish-all", "Publish all exposed ports to random ports"),
    ("-q", "--quiet", "Suppress the pull output"),
    ("", "--read-only", "Mount the container's root filesystem as read only"),
    ("", "--rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
    (
        "",
        "--rootfs",
        "IMAGE is a directory of the host, which becomes the container's tree (as podman has it)",
    ),
    ("-t", "--tty", "Allocate a pseudo-TTY"),
    ("", "--use-api-socket", "==SUPPRESS=="),
)
# What docker/cli reads while it parses the flags, so that the error names the flag.
_READ = {
    "--add-host": said("parse_host"),
    "--attach": said("parse_stream"),
    "--blkio-weight": said("parse_weight"),
    "--blkio-weight-device": said("parse_weight", "boxwright.container.blockio"),
    "--cpus": said("parse_cpus"),
    "--device-cgroup-rule": said("parse_device_rule"),
    "--device-read-bps": said("parse_bps", "boxwright.container.blockio"),
    "--device-read-iops": said("parse_iops", "boxwright.container.blockio"),
    "--device-write-bps": said("parse_bps", "boxwright.container.blockio"),
    "--device-write-iops": said("parse_iops", "boxwright.container.blockio"),
    "--dns": said("parse_address"),
    "--env": said("parse_env"),
    "--gpus": said("parse_gpus", "boxwright.container.requests"),
    "--health-interval": said("parse_duration", "boxwright.spec.times"),
    "--health-start-interval": said("parse_duration", "boxwright.spec.times"),
    "--health-start-period": said("parse_duration", "boxwright.spec.times"),
    "--health-timeout": said("parse_duration", "boxwright.spec.times"),
    "--ip": said("parse_address"),
    "--kernel-memory": said("parse_size", "boxwright.spec.units"),
    "--label": said("parse_label"),
    "--link": said("parse_link"),
    "--memory": said("parse_size", "boxwright.spec.units"),
    "--memory-reservation": said("parse_size", "boxwright.spec.units"),
    "--memory-swap": said("parse_swap"),
    "--mount": _mount,
    "--shm-size": said("parse_size", "boxwright.spec.units"),
    "--sysctl": said("parse_sysctl"),
    "--tmpfs": said("parse_tmpfs"),
    "--ulimit": said("parse_ulimit"),
    "--umask": said("parse_umask"),
}
_KINDS = {
    "--gpus": "gpu-request",
    "--mount": "mount",
    "--network": "network",
    "--sysctl": "map",
    "--ulimit": "ulimit",
}


WINDOWS = ("--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops")


def declare(p: Parser) -> None:
    """The options that `run` and `create` share."""
    kinds = {
        "--network": "network",
        "--volumes-from": "container",
        "--env-file": "file",
        "--label-file": "file",
    }
    for short, name, text in _LISTS:
        p.add_argument(
            *filter(None, (short, name)),
            action="append",
            help=text,
            complete=kinds.get(name, ""),
            type=_READ.get(name),
            metavar=_KINDS.get(name),
        )
    for short, name, kind, text in _TEXTS:
        p.add_argument(
            *filter(None, (short, name)), metavar=kind, default="", help=text, type=_READ.get(name)
        )
    for short, name, text in _NUMBERS:
        p.add_argument(
            *filter(None, (short, name)),
            type=_READ.get(name, int),
            default=0,
            help=text,
            metavar="uint16" if name in _READ else None,
        )
    for short, name, text in _SWITCHES:
        p.add_argument(*filter(None, (short, name)), action="store_true", help=text)
    p.add_argument("--entrypoint", metavar="string", help="Overwrite the default ENTRYPOINT of the image")
    p.add_argument(
        "--memory-swappiness", type=int, default=-1, help="Tune container memory swappiness (0 to 100)"
    )
    p.add_argument(
        "--pull",
        default="missing",
        choices=("always", "missing", "never"),
        help='Pull image before running ("always", "missing", "never")',
    )
    p.add_argument("--stop-timeout", type=int, help="Timeout (in seconds) to stop a container")
    p.add_argument(
        "--trust-host-ca",
        nargs="?",
        const="always",
        default="",
        choices=("auto", "always", "never"),
        metavar="string",
        help="Let the container trust the certificates that the host trusts (auto, always, never)",
    )
    for name in WINDOWS:
        p.add_argument(name, help="==SUPPRESS==")
    for name in ("--net", "--net-alias", "--dns-opt"):  # Docker's older names
        p.add_argument(name, action="append", help="==SUPPRESS==")
    p.add_argument("--disable-content-trust", action="store_true", default=True, help="==SUPPRESS==")
    p.add_argument("image", metavar="IMAGE", complete="image")
    p.add_argument("command", nargs=REMAINDER, metavar="COMMAND")


def read(ctx: Context, args: Namespace) -> ContainerConfig:
    """What was typed, understood. Raises OptionInvalid, MountInvalid, PortInvalid,
    ContainerConfigInvalid."""
    from boxwright.container import options
    from boxwright.container.config import ContainerConfig

    environ = ctx.settings.environ
    _check(ctx, args)
    network, endpoints = _networks(args)
    if args.publish or args.publish_all:
        _say_what_is_discarded(ctx, {network, *(e.network for e in endpoints)})
    entrypoint = None if args.entrypoint is None else ((args.entrypoint,) if args.entrypoint else ())
    env = options.environment(args.env_file, args.env, environ) + options.unset_names(args.env, environ)
    named = options.cdi_names(args.device)
    attach = tuple(args.attach)
    detached = getattr(args, "detach", False)
    if not attach and not detached:
        attach = (*(("stdin",) if args.interactive else ()), "stdout", "stderr")
    return ContainerConfig(
        image=args.image,
        rootfs=os.path.abspath(args.image) if args.rootfs else "",
        command=tuple(args.command),
        entrypoint=entrypoint,
        name=args.name,
        env=env,
        labels=options.labels(args.label_file, args.label),
        annotations=options.parse_annotations(args.annotation),
        workdir=args.workdir,
        user=args.user,
        umask=None if args.umask == "" else args.umask,
        hostname=args.hostname,
        domainname=args.domainname,
        tty=args.tty,
        stdin=args.interactive,
        attach=attach,
        auto_remove=args.rm,
        mounts=_mounts(args),
        volumes_from=tuple(args.volumes_from),
        ports=_published(args.publish),
        publish_all=args.publish_all,
        expose=_exposed(args.expose),
        network=network,
        endpoints=endpoints,
        links=tuple(args.link),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=(*args.dns_option, *args.dns_opt),
        extra_hosts=tuple(args.add_host),
        read_only=args.read_only,
        cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop),
        privileged=args.privileged,
        init=args.init,
        security_opt=options.parse_security(args.security_opt),
        devices=tuple(options.parse_device(text) for text in args.device if text not in named),
        device_requests=_requests(args.gpus, named),
        device_rules=tuple(args.device_cgroup_rule),
        ulimits=tuple(args.ulimit),
        shm_size=args.shm_size or 0,
        pid=_mode(args.pid, "pid"),
        ipc=_mode(args.ipc, "ipc"),
        uts=_mode(args.uts, "uts"),
        userns=_mode(args.userns, "userns"),
        cgroupns=_mode(args.cgroupns, "cgroupns"),
        cgroup_parent=args.cgroup_parent,
        sysctls=options.parse_map(args.sysctl, "sysctl"),
        limits=_limits(args),
        oom_score_adj=_score(args.oom_score_adj),
        group_add=tuple(args.group_add),
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_timeout,
        restart=options.parse_restart(args.restart),
        health=options.health(
            args.health_cmd,
            interval=args.health_interval or 0,
            timeout=args.health_timeout or 0,
            start_period=args.health_start_period or 0,
            start_interval=args.health_start_interval or 0,
            retries=args.health_retries,
            none=args.no_healthcheck,
        ),
        platform=args.platform,
        pull=args.pull,
        log_driver=args.log_driver,
        log_opts=options.parse_map(args.log_opt, "log option"),
        runtime=args.runtime,
        trust_host_ca=args.trust_host_ca,
    )


def _check(ctx: Context, args: Namespace) -> None:
    from boxwright.container.options import OptionInvalid, parse_mac, parse_storage

    if args.isolation not in ("", "default"):
        raise OptionInvalid(f"invalid isolation: \"{args.isolation}\" - linux only supports 'default'")
    if not args.disable_content_trust:
        raise OptionInvalid("--disable-content-trust: content trust (Notary) is not supported")
    if args.volume_driver not in ("", "local"):
        raise OptionInvalid(
            f'error looking up volume plugin {args.volume_driver}: plugin "{args.volume_driver}" not found',
            hint="the driver is local",
        )
    say_what_is_ignored(ctx, args)
    if args.oom_kill_disable and not args.memory:
        ctx.warn(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    for limit in args.ulimit:
        _say_what_is_lowered(ctx, limit)
    parse_storage(args.storage_opt)
    if args.use_api_socket:
        raise OptionInvalid("--use-api-socket: there is no daemon whose socket could be given")
    for name in WINDOWS:
        if name.strip("-").replace("-", "_") in args.given:
            raise OptionInvalid(f'"{name}" is only supported on Windows, and containers here run on Linux')
    if any(request.options for request in args.gpus):
        ctx.warn("--gpus: options= is kept and shown, and read by no driver")
    if args.mac_address:
        parse_mac(args.mac_address)


def say_what_is_ignored(ctx: Context, args: Namespace) -> None:
    """Of `run`, `create` and `update`."""
    if args.kernel_memory:
        ctx.warn("--kernel-memory is not supported and is ignored: the kernel has no such limit any more")


def within_reach(ctx: Context, config: ContainerConfig) -> ContainerConfig:
    """The config without limits that this host cannot keep; warns of each. Raises ContainerConfigInvalid."""
    from boxwright.container.config import Limits

    if config.limits == Limits():
        return config
    from boxwright.container.possible import possible
    from boxwright.spec.values import replace

    limits, lacking = possible(config.limits)
    for sentence in lacking:
        ctx.warn(sentence)
    return replace(config, limits=limits) if lacking else config


def _say_what_is_lowered(ctx: Context, limit: Ulimit) -> None:
    from boxwright.runtime.host import host

    ceiling = host().hard_limits.get(limit.name, -1)
    if ceiling >= 0 and not 0 <= limit.hard <= ceiling:
        ctx.warn(
            f"--ulimit {limit.name}: {limit.hard} is lowered to {ceiling}, the hard limit of this process"
        )


def _say_what_is_discarded(ctx: Context, names: set[str]) -> None:
    if names == {"host"}:
        ctx.warn("Published ports are discarded when using host network mode")
    elif not names & {"bridge", "default", "none"}:
        internal = {n.name for n in ctx.engine.networks.list() if n.internal}
        if names <= internal:
            ctx.warn("Published ports are discarded in internal networks")


def _published(texts: list[str]) -> tuple[PortBinding, ...]:
    if not texts:
        return ()
    from boxwright.container.ports import parse_publish

    return tuple(binding for text in texts for binding in parse_publish(text))


def _exposed(texts: list[str]) -> tuple[str, ...]:
    if not texts:
        return ()
    from boxwright.container.ports import parse_expose

    return tuple(port for text in texts for port in parse_expose(text))


_MODE_NAMES = {"userns": "USER", "cgroupns": "CGROUP"}
_MODES = {
    "pid": ("host",),
    "ipc": ("host", "none", "private", "shareable"),
    "uts": ("host",),
    "userns": ("host",),
    "cgroupns": ("host", "private"),
}


def _mode(text: str, what: str) -> str:
    from boxwright.container.options import OptionInvalid

    joins = what in ("pid", "ipc") and text.startswith("container:") and len(text) > len("container:")
    if text and text not in _MODES[what] and not joins:
        raise OptionInvalid(
            f"--{what}: invalid {_MODE_NAMES.get(what, what.upper())} mode",
            hint=f"known are {', '.join(_MODES[what])}"
            + (" and container:NAME" if what in ("pid", "ipc") else ""),
        )
    return text


def _score(value: int) -> int:
    from boxwright.container.options import OptionInvalid

    if not -1000 <= value <= 1000:
        raise OptionInvalid(f"Invalid value {value}, range for oom score adj is [-1000, 1000]")
    return value


def _limits(args: Namespace) -> Any:
    from boxwright.container.config import Limits

    return Limits(
        memory=args.memory or 0,
        memory_swap=args.memory_swap or 0,
        memory_reservation=args.memory_reservation or 0,
        memory_swappiness=args.memory_swappiness,
        nano_cpus=args.cpus or 0,
        cpu_shares=args.cpu_shares,
        cpu_period=args.cpu_period,
        cpu_quota=args.cpu_quota,
        cpuset_cpus=args.cpuset_cpus,
        cpuset_mems=args.cpuset_mems,
        pids_limit=args.pids_limit,
        cpu_rt_period=args.cpu_rt_period,
        cpu_rt_runtime=args.cpu_rt_runtime,
        blkio_weight=args.blkio_weight,
        blkio_weight_device=tuple(args.blkio_weight_device),
        device_read_bps=tuple(args.device_read_bps),
        device_write_bps=tuple(args.device_write_bps),
        device_read_iops=tuple(args.device_read_iops),
        device_write_iops=tuple(args.device_write_iops),
        oom_kill_disable=args.oom_kill_disable,
    )


def _requests(gpus: list[DeviceRequest], names: tuple[str, ...]) -> tuple[DeviceRequest, ...]:
    if not names:
        return tuple(gpus)
    from boxwright.container.requests import by_name

    return (*gpus, *by_name(names))


def _mounts(args: Namespace) -> tuple[MountSpec, ...]:
    if not (args.volume or args.mount or args.tmpfs):
        return ()
    from boxwright.container.config import MountSpec
    from boxwright.container.mounts import parse_volume

    found = [*(parse_volume(text, os.getcwd()) for text in dict.fromkeys(args.volume)), *args.mount]
    return (
        *found,
        *(MountSpec(kind="tmpfs", target=target, options=given, flag=True) for target, given in args.tmpfs),
    )


def _networks(args: Namespace) -> tuple[str, tuple[EndpointConfig, ...]]:
    """The mode and the endpoints."""
    from boxwright.container.config import EndpointConfig
    from boxwright.container.options import OptionInvalid, parse_network
    from boxwright.spec.values import replace

    wanted = [parse_network(text) for text in (*args.network, *args.net)] or [("bridge", {})]
    mode = wanted[0][0]
    aliases = (*args.network_alias, *args.net_alias)
    endpoints = [
        EndpointConfig(name, **{**wishes, "aliases": tuple(wishes.get("aliases", ()))})
        for name, wishes in wanted
    ]
    if aliases or args.ip or args.ip6 or args.link_local_ip or args.mac_address:
        if len(wanted) > 1:
            raise OptionInvalid(
                "conflicting options: --network-alias, --ip, --ip6, --link-local-ip and --mac-address need a single "
                "--network",
                hint="use --network name=NETWORK,alias=ALIAS,ip=ADDRESS,ip6=ADDRESS",
            )
        first = endpoints[0]
        endpoints = [
            replace(
                first,
                aliases=(*first.aliases, *aliases),
                ipv4=args.ip or first.ipv4,
                ipv6=args.ip6 or first.ipv6,
                link_local=(*first.link_local, *args.link_local_ip),
                mac=args.mac_address or first.mac,
            )
        ]
    plain = mode in ("host", "none") or mode.startswith("container:")
    if plain and len(endpoints) > 1:
        raise OptionInvalid(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    return mode, tuple(e for e in endpoints if not plain or e != EndpointConfig(e.network))
