"""The body of `POST /containers/create` as a config (Docker's container.CreateRequest)."""

from __future__ import annotations

from boxwright.api.asked import Fields, RequestRefused, whole
from boxwright.container import options as texts
from boxwright.container.config import (
    ContainerConfig,
    DeviceRate,
    DeviceRequest,
    DeviceSpec,
    EndpointConfig,
    Limits,
    MountSpec,
    PortBinding,
    RestartPolicy,
    Ulimit,
)
from boxwright.container.mounts import check_target, parse_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of HostConfig: what has no effect here, and is refused when it is given.
_ABSENT = (
    "StorageOpt",
    "VolumeDriver",
    "KernelMemory",
    "KernelMemoryTCP",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
)
_ECHOED = ("Isolation", "LogConfig", "ConsoleSize")


def config_of(body: Fields, name: str, platform: str) -> ContainerConfig:
    """Raises RequestRefused, and what the command line's own texts raise."""
    host = body.object("HostConfig")
    for absent in _ABSENT:
        if host.raw(absent):
            raise RequestRefused(f"HostConfig.{absent} has no effect here, so it is refused")
    network, endpoints = _networks(body, host)
    entrypoint = body.raw("Entrypoint")
    log = host.object("LogConfig")
    restart = host.object("RestartPolicy")
    for sysctl, value in host.map("Sysctls").items():
        texts.parse_sysctl(f"{sysctl}={value}")
    return ContainerConfig(
        image=body.text("Image"),
        command=body.texts("Cmd"),
        entrypoint=body.texts("Entrypoint") if entrypoint else None,
        name=name,
        env=tuple(texts.parse_env(text) for text in body.texts("Env")),
        labels=body.map("Labels"),
        annotations=host.map("Annotations"),
        workdir=body.text("WorkingDir"),
        user=body.text("User"),
        hostname=body.text("Hostname"),
        domainname=body.text("Domainname"),
        tty=body.switch("Tty"),
        stdin=body.switch("OpenStdin"),
        attach=tuple(
            stream for stream in ("stdin", "stdout", "stderr") if body.switch(f"Attach{stream.capitalize()}")
        ),
        auto_remove=host.switch("AutoRemove"),
        mounts=_mounts(body, host),
        volumes_from=host.texts("VolumesFrom"),
        ports=_ports(host),
        publish_all=host.switch("PublishAllPorts"),
        expose=body.names("ExposedPorts"),
        network=network,
        endpoints=endpoints,
        links=tuple(texts.parse_link(text.replace("/", "")) for text in host.texts("Links")),
        dns=tuple(texts.parse_address(text) for text in host.texts("Dns")),
        dns_search=tuple(texts.check_word(text, "search domain") for text in host.texts("DnsSearch")),
        dns_options=tuple(texts.check_word(text, "resolver option") for text in host.texts("DnsOptions")),
        extra_hosts=tuple(texts.parse_host(text) for text in host.texts("ExtraHosts")),
        read_only=host.switch("ReadonlyRootfs"),
        cap_add=host.texts("CapAdd"),
        cap_drop=host.texts("CapDrop"),
        privileged=host.switch("Privileged"),
        init=host.switch("Init"),
        security_opt=_security(host),
        devices=tuple(
            DeviceSpec(
                device.text("PathOnHost"),
                device.text("PathInContainer") or device.text("PathOnHost"),
                device.text("CgroupPermissions") or "rwm",
            )
            for device in host.objects("Devices")
        ),
        device_requests=tuple(_device_request(one) for one in host.objects("DeviceRequests")),
        device_rules=tuple(texts.parse_device_rule(text) for text in host.texts("DeviceCgroupRules")),
        ulimits=tuple(
            Ulimit(one.text("Name"), one.number("Soft"), one.number("Hard"))
            for one in host.objects("Ulimits")
        ),
        shm_size=host.number("ShmSize"),
        pid=host.text("PidMode"),
        ipc=host.text("IpcMode"),
        uts=host.text("UTSMode"),
        userns=host.text("UsernsMode"),
        cgroupns=host.text("CgroupnsMode"),
        cgroup_parent=host.text("CgroupParent"),
        sysctls=host.map("Sysctls"),
        limits=limits_of(host),
        oom_score_adj=host.number("OomScoreAdj"),
        group_add=host.texts("GroupAdd"),
        stop_signal=_signal(body.text("StopSignal")),
        stop_timeout=body.number("StopTimeout") if body.has("StopTimeout") else None,
        restart=restart_of(restart),
        health=body.raw("Healthcheck") and dict(_health(body.object("Healthcheck"))),
        platform=platform,
        log_driver=log.text("Type"),
        log_opts=log.map("Config"),
        runtime=host.text("Runtime"),
        masked_paths=host.texts("MaskedPaths") if host.has("MaskedPaths") else None,
        readonly_paths=host.texts("ReadonlyPaths") if host.has("ReadonlyPaths") else None,
        extra={key: host.raw(key) for key in _ECHOED if host.has(key)},
    )


def _signal(text: str) -> str:
    if text:
        texts.parse_signal(text)
    return text


def _security(host: Fields) -> tuple[str, ...]:
    """Profiles come as their text; a path would be one of the server's files."""
    given = host.texts("SecurityOpt")
    for text in given:
        key, _, value = text.replace("=", ":", 1).partition(":")
        if key == "seccomp" and value not in ("unconfined", "builtin") and not value.lstrip().startswith("{"):
            raise RequestRefused("invalid SecurityOpt: seccomp wants a profile's JSON, unconfined or builtin")
    return tuple(text.replace(":", "=", 1) if "=" not in text else text for text in given)


def restart_of(fields: Fields) -> RestartPolicy:
    """Raises OptionInvalid."""
    name, most = fields.text("Name") or "no", fields.number("MaximumRetryCount")
    return texts.parse_restart(f"{name}:{most}" if most else name)


def _health(fields: Fields) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if fields.has("Test"):
        out["Test"] = list(fields.texts("Test"))
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
        if number := fields.number(key):
            if number < 0:
                raise RequestRefused(f"invalid Healthcheck: {key} cannot be negative")
            out[key] = number
    return out


def _device_request(fields: Fields) -> DeviceRequest:
    found = fields.raw("Capabilities") or []
    lists = [
        Fields({"Capabilities": words}).texts("Capabilities") for words in found if isinstance(words, list)
    ]
    return DeviceRequest(
        driver=fields.text("Driver"),
        count=fields.number("Count"),
        ids=fields.texts("DeviceIDs"),
        capabilities=tuple(lists),
        options=fields.map("Options") if fields.has("Options") else None,
    )


def _rates(host: Fields, name: str, key: str = "Rate") -> tuple[DeviceRate, ...]:
    return tuple(DeviceRate(one.text("Path"), one.number(key)) for one in host.objects(name))


def limits_of(host: Fields) -> Limits:
    """Raises RequestRefused."""
    swappiness = host.number("MemorySwappiness", -1)
    return Limits(
        memory=host.number("Memory"),
        memory_swap=host.number("MemorySwap"),
        memory_reservation=host.number("MemoryReservation"),
        memory_swappiness=swappiness,
        nano_cpus=host.number("NanoCpus"),
        cpu_shares=host.number("CpuShares"),
        cpu_period=host.number("CpuPeriod"),
        cpu_quota=host.number("CpuQuota"),
        cpuset_cpus=host.text("CpusetCpus"),
        cpuset_mems=host.text("CpusetMems"),
        pids_limit=host.number("PidsLimit"),
        cpu_rt_period=host.number("CpuRealtimePeriod"),
        cpu_rt_runtime=host.number("CpuRealtimeRuntime"),
        blkio_weight=host.number("BlkioWeight"),
        blkio_weight_device=_rates(host, "BlkioWeightDevice", "Weight"),
        device_read_bps=_rates(host, "BlkioDeviceReadBps"),
        device_write_bps=_rates(host, "BlkioDeviceWriteBps"),
        device_read_iops=_rates(host, "BlkioDeviceReadIOps"),
        device_write_iops=_rates(host, "BlkioDeviceWriteIOps"),
        oom_kill_disable=host.switch("OomKillDisable"),
    )


# --- mounts and ports ------------------------------------------------------------------------------


def _mounts(body: Fields, host: Fields) -> tuple[MountSpec, ...]:
    out = [parse_volume(text, "/") for text in host.texts("Binds")]
    out += [_mount(one) for one in host.objects("Mounts")]
    for target, options in host.map("Tmpfs").items():
        path, given = texts.parse_tmpfs(f"{target}:{options}" if options else target)
        out.append(MountSpec(kind="tmpfs", target=path, options=given, flag=True))
    taken = {mount.target for mount in out}
    out += [parse_volume(text, "/") for text in body.names("Volumes") if text not in taken]
    return tuple(out)


def _mount(one: Fields) -> MountSpec:
    kind, source, target = one.text("Type") or "bind", one.text("Source"), one.text("Target")
    check_target(target, target)
    volume, bind, tmpfs = one.object("VolumeOptions"), one.object("BindOptions"), one.object("TmpfsOptions")
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise RequestRefused(f"invalid mount config for type {kind!r}: mount type unknown")
    if kind == "bind" and not source.startswith("/"):
        raise RequestRefused(
            f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute"
        )
    if kind == "volume" and ("/" in source or source.startswith(".")):
        raise RequestRefused(f"invalid mount config for type \"volume\": '{source}' is no volume name")
    driver = volume.object("DriverConfig")
    options = []
    if size := tmpfs.number("SizeBytes"):
        options.append(f"size={size}")
    if tmpfs.has("Mode"):
        options.append(f"mode={tmpfs.number('Mode'):o}")
    return MountSpec(
        kind=kind,  # type: ignore[arg-type]  # checked above
        target=target,
        source=source,
        readonly=one.switch("ReadOnly"),
        propagation=bind.text("Propagation"),
        recursive=not bind.switch("NonRecursive"),
        create=bind.switch("CreateMountpoint"),
        nocopy=volume.switch("NoCopy"),
        subpath=volume.text("Subpath") or one.object("ImageOptions").text("Subpath"),
        driver=driver.text("Name"),
        driver_opts=tuple(driver.map("Options").items()),
        labels=tuple(volume.map("Labels").items()),
        options=tuple(options),
    )


def _ports(host: Fields) -> tuple[PortBinding, ...]:
    from boxwright.container.ports import parse_publish

    out: list[PortBinding] = []
    bindings = host.object("PortBindings")
    for key in bindings.names():
        for binding in bindings.objects(key) or [Fields({})]:
            address, port = binding.text("HostIp"), binding.text("HostPort")
            if port not in ("", "0") and "-" not in port:
                whole(port, "HostPort")
            shown = f"[{address}]" if ":" in address else address
            front = f"{shown}:" if shown else ""
            out += parse_publish(f"{front}{port if port != '0' else ''}:{key}" if front or port else key)
    return tuple(out)


# --- networks --------------------------------------------------------------------------------------


def _networks(body: Fields, host: Fields) -> tuple[str, tuple[EndpointConfig, ...]]:
    mode = host.text("NetworkMode")
    mode = "bridge" if mode in ("", "default") else mode
    if body.switch("NetworkDisabled"):
        mode = "none"
    given = body.object("NetworkingConfig").object("EndpointsConfig")
    names = list(given.names())
    found = {
        ("bridge" if name == "default" else name): endpoint_of(
            given.object(name), "bridge" if name == "default" else name
        )
        for name in names
    }
    if mode == "bridge" and not host.text("NetworkMode") and names and "default" not in names:
        mode = names[0]
    mac = body.text("MacAddress")
    first = found.pop(mode, None)
    if mac and (first is None or not first.mac):
        first = EndpointConfig(**{**_fields(first or EndpointConfig(mode)), "mac": texts.parse_mac(mac)})
    if mode in ("none", "host") or mode.startswith("container:"):
        return mode, ()
    return mode, (first or EndpointConfig(mode), *found.values())


def _fields(endpoint: EndpointConfig) -> dict[str, Any]:
    from boxwright.spec.values import fields

    return {field.name: getattr(endpoint, field.name) for field in fields(endpoint)}


def endpoint_of(fields: Fields, network: str) -> EndpointConfig:
    """Docker's network.EndpointSettings. Raises RequestRefused, OptionInvalid."""
    ipam = fields.object("IPAMConfig")
    mac = fields.text("MacAddress")
    return EndpointConfig(
        network=network,
        aliases=tuple(texts.check_word(text, "alias") for text in fields.texts("Aliases")),
        ipv4=ipam.text("IPv4Address") and texts.parse_address(ipam.text("IPv4Address")),
        ipv6=ipam.text("IPv6Address") and texts.parse_address(ipam.text("IPv6Address")),
        mac=texts.parse_mac(mac) if mac else "",
        links=fields.texts("Links"),
        link_local=tuple(texts.parse_address(text) for text in ipam.texts("LinkLocalIPs")),
        priority=fields.number("GwPriority"),
        driver_opts=fields.map("DriverOpts"),
    )
