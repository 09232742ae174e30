"""Containers as people and other programs see them: `ps`'s words, `inspect`'s JSON (Docker's API,
container.InspectResponse)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from boxwright.container.ports import show
from boxwright.container.records import ZERO_TIME, Container, MountPoint, State
from boxwright.spec.times import human_duration, unix_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.config import DeviceRate


def status_text(state: State, *, now: float | None = None) -> str:
    """``Up 2 minutes (healthy)``, ``Exited (0) 3 seconds ago`` (moby container.State.String)."""
    current = time.time() if now is None else now

    def ago(text: str) -> str:
        moment = unix_seconds(text)
        return human_duration(max(0.0, current - moment)) if moment else ""

    if state.status in ("running", "paused"):
        text = f"Up {ago(state.started_at)}"
        if state.status == "paused":
            return f"{text} (Paused)"
        if state.health is not None:
            health = state.health["Status"]
            text += f" (health: {health})" if health == "starting" else f" ({health})"
        return text
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {ago(state.finished_at)} ago"
    if state.status == "removing":
        return "Removal In Progress"
    if state.status == "dead":
        return "Dead"
    if state.status == "created" or not state.finished_at:
        return "Created"
    return f"Exited ({state.exit_code}) {ago(state.finished_at)} ago"


def ports_text(container: Container) -> str:
    """The PORTS column: '' for what does not run."""
    state = container.state
    if not state.active:
        return ""
    bound = []
    for port in state.ports:
        bound.append((port.port, port.protocol, port.host_ip or "0.0.0.0", port.host_port))
    return show(bound, container.merged.get("ExposedPorts") or ())


def command_text(container: Container) -> str:
    """Entrypoint and command as one line; `ps` shows it in Go's quotes."""
    words = container.command
    return (
        words[0] + "".join(" " + (f"'{w}'" if " " in w or not w else w) for w in words[1:]) if words else ""
    )


_IPAM = (("IPv4Address", "ipv4"), ("IPv6Address", "ipv6"), ("LinkLocalIPs", "link_local"))


def networks(container: Container) -> dict[str, Any]:
    """NetworkSettings.Networks."""
    state = container.state
    wishes: Mapping[str, Any] = container.record["networks"]
    mode = container.config.network
    names = list(wishes) or ([mode] if mode in ("host", "none") else [])
    out: dict[str, Any] = {}
    for name in names:
        joined = state.networks.get(name) if state.active else None
        wish = wishes.get(name) or {}
        aliases = list(wish.get("aliases") or ()) or None
        out[name] = {
            "IPAMConfig": {key: wish[own] for key, own in _IPAM if wish.get(own)} or None,
            "Links": list(wish.get("links") or ()) or None,
            "Aliases": aliases,
            "MacAddress": joined["mac"] if joined else "",
            "DriverOpts": dict(wish.get("driver_opts") or {}) or None,
            "GwPriority": wish.get("priority", 0),
            "NetworkID": (joined or {}).get("id", ""),
            "EndpointID": "",
            "Gateway": joined["gateway"] if joined else "",
            "IPAddress": joined["address"] if joined else "",
            "IPPrefixLen": joined["prefix"] if joined else 0,
            "IPv6Gateway": (joined or {}).get("gateway6", ""),
            "GlobalIPv6Address": (joined or {}).get("address6", ""),
            "GlobalIPv6PrefixLen": (joined or {}).get("prefix6", 0),
            "DNSNames": (joined["names"] or None) if joined else None,
        }
    return out


def port_map(container: Container) -> dict[str, Any]:
    """NetworkSettings.Ports."""
    out: dict[str, Any] = dict.fromkeys(container.merged.get("ExposedPorts") or (), None)
    if not container.state.active:
        return {}
    for port in container.state.ports:
        key = f"{port.port}/{port.protocol}"
        bound = {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port)}
        out[key] = [*(out.get(key) or ()), bound]
    return out


def state_json(state: State) -> dict[str, Any]:
    """State."""
    out: dict[str, Any] = {
        "Status": state.status,
        "Running": state.active,
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at or ZERO_TIME,
        "FinishedAt": state.finished_at or ZERO_TIME,
    }
    if state.health is not None:
        out["Health"] = dict(state.health)
    return out


def _confinement(container: Container) -> dict[str, str]:
    """What the runtime was told at the last start."""
    try:
        bundle = json.loads((container.directory / "config.json").read_bytes())
        process, linux = bundle["process"], bundle["linux"]
    except (OSError, ValueError, KeyError):  # it was not started yet
        process, linux = {}, {}
    return {
        "MountLabel": linux.get("mountLabel", ""),
        "ProcessLabel": process.get("selinuxLabel", ""),
        "AppArmorProfile": process.get("apparmorProfile", ""),
    }


def mounts_json(container: Container) -> list[dict[str, Any]]:
    """Mounts."""
    from boxwright.container.rows import view_key
    from boxwright.files.places import Places

    out = []
    for number, value in enumerate(container.record["mounts"]):
        point = MountPoint.from_json(value)
        entry: dict[str, Any] = {"Type": point.kind, "Source": point.source, "Destination": point.target}
        if point.kind == "volume":
            entry = {
                "Type": "volume",
                "Name": point.name,
                "Source": point.source,
                "Destination": point.target,
                "Driver": point.driver,
            }
        elif point.kind == "image":
            place = Places(container.directory.parent.parent).workspace(view_key(container.id, number))
            entry = {
                "Type": "image",
                "Name": point.name,
                "Source": str(place / "rootfs"),
                "Destination": point.target,
            }
        out.append({**entry, "Mode": point.mode, "RW": point.writable, "Propagation": point.propagation})
    return out


def _binds(container: Container) -> list[str] | None:
    out = []
    for mount in container.config.mounts:
        if mount.flag and mount.kind != "tmpfs" and mount.source:
            options = [
                *(["ro"] if mount.readonly else []),
                *([mount.propagation] if mount.propagation else []),
                *mount.options,
                *(["nocopy"] if mount.nocopy else []),
            ]
            out.append(":".join([mount.source, mount.target, *([",".join(options)] if options else [])]))
    return out or None


def _typed_mounts(container: Container) -> list[dict[str, Any]]:
    out = []
    for mount in container.config.mounts:
        if mount.flag:
            continue
        entry: dict[str, Any] = {"Type": mount.kind, "Source": mount.source, "Target": mount.target}
        if mount.readonly and mount.kind != "image":
            entry["ReadOnly"] = True
        if mount.kind == "image" and mount.subpath:
            entry["ImageOptions"] = {"Subpath": mount.subpath}
        if mount.propagation or not mount.recursive or (mount.kind == "bind" and mount.create):
            entry["BindOptions"] = (
                {"Propagation": mount.propagation}
                if mount.propagation
                else {"NonRecursive": True}
                if not mount.recursive
                else {"CreateMountpoint": True}
            )
        said = {"NoCopy": mount.nocopy, "Labels": dict(mount.labels), "Subpath": mount.subpath}
        driver = {"Name": mount.driver, "Options": dict(mount.driver_opts)}
        if mount.kind == "volume" and (any(said.values()) or any(driver.values())):
            entry["VolumeOptions"] = {
                **{key: value for key, value in said.items() if value},
                "DriverConfig": {key: value for key, value in driver.items() if value},
            }
        out.append(entry)
    return out


def _links(container: Container) -> list[str] | None:
    pairs = (
        (name.lstrip("/"), alias) for name, _, alias in (k.partition(":") for k in container.config.links)
    )
    return [f"/{name}:/{container.name}/{alias or name}" for name, alias in pairs] or None


def _rates(rates: tuple[DeviceRate, ...]) -> list[dict[str, Any]]:
    return [{"Path": entry.path, "Rate": entry.rate} for entry in rates]


def host_config(container: Container) -> dict[str, Any]:
    """HostConfig, as it was given."""
    c = container.config
    bindings: dict[str, Any] = {}
    for port in c.ports:
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        )
    mounts = _typed_mounts(container)
    tmpfs = {m.target: ",".join(m.options) for m in c.mounts if m.flag and m.kind == "tmpfs"}
    seldom = {
        "Tmpfs": tmpfs,
        "Sysctls": dict(c.sysctls),
        "Annotations": dict(c.annotations),
        "Init": c.init,
        "Mounts": mounts,
    }
    return {
        "Binds": _binds(container),
        "ContainerIDFile": "",
        "LogConfig": {"Type": c.log_driver or "json-file", "Config": dict(c.log_opts)},
        "NetworkMode": c.network,
        "PortBindings": bindings,
        "RestartPolicy": {"Name": c.restart.name, "MaximumRetryCount": c.restart.maximum},
        "AutoRemove": c.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": list(c.volumes_from) or None,
        "ConsoleSize": [0, 0],
        "CapAdd": list(c.cap_add) or None,
        "CapDrop": list(c.cap_drop) or None,
        "CgroupnsMode": c.cgroupns or "host",
        "Dns": list(c.dns),
        "DnsOptions": list(c.dns_options),
        "DnsSearch": list(c.dns_search),
        "ExtraHosts": list(c.extra_hosts) or None,
        "GroupAdd": list(c.group_add) or None,
        "IpcMode": c.ipc or "private",
        "Cgroup": "",
        "Links": _links(container),
        "OomScoreAdj": c.oom_score_adj,
        "PidMode": c.pid,
        "Privileged": c.privileged,
        "PublishAllPorts": c.publish_all,
        "ReadonlyRootfs": c.read_only,
        "SecurityOpt": list(c.security_opt) or None,
        "UTSMode": c.uts,
        "UsernsMode": c.userns,
        "ShmSize": c.shm_size or 64 << 20,
        "Runtime": c.runtime or "runc",
        "Isolation": "",
        **_resources(container),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        **{key: value for key, value in seldom.items() if value},
        "MaskedPaths": _masked(container, "masked"),
        "ReadonlyPaths": _masked(container, "readonly"),
        **c.extra,
    }


def _resources(container: Container) -> dict[str, Any]:
    """What of the machine it may have."""
    c, limits = container.config, container.config.limits
    return {
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "NanoCpus": limits.nano_cpus,
        "CgroupParent": c.cgroup_parent,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [{"Path": d.path, "Weight": d.rate} for d in limits.blkio_weight_device],
        "BlkioDeviceReadBps": _rates(limits.device_read_bps),
        "BlkioDeviceWriteBps": _rates(limits.device_write_bps),
        "BlkioDeviceReadIOps": _rates(limits.device_read_iops),
        "BlkioDeviceWriteIOps": _rates(limits.device_write_iops),
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": limits.cpu_rt_period,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [
            {"PathOnHost": d.host, "PathInContainer": d.container, "CgroupPermissions": d.access}
            for d in c.devices
        ],
        "DeviceCgroupRules": list(c.device_rules) or None,
        "DeviceRequests": [
            {
                "Driver": r.driver,
                "Count": r.count,
                "DeviceIDs": list(r.ids) or None,
                "Capabilities": [list(words) for words in r.capabilities] or None,
                "Options": None if r.options is None else dict(r.options),
            }
            for r in c.device_requests
        ]
        or None,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap or 2 * limits.memory,
        "MemorySwappiness": None if limits.memory_swappiness < 0 else limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_limit or None,
        "Ulimits": [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in c.ulimits],
    }


def _masked(container: Container, what: str) -> list[str] | None:
    from boxwright.spec.runtimespec import MASKED_PATHS, READONLY_PATHS

    c = container.config
    chosen = c.masked_paths if what == "masked" else c.readonly_paths
    if chosen is not None:
        return list(chosen)
    if c.privileged or "systempaths=unconfined" in c.security_opt:
        return None
    return list(MASKED_PATHS if what == "masked" else READONLY_PATHS)


def inspect(container: Container, *, driver: str, sizes: tuple[int, int] | None = None) -> dict[str, Any]:
    """Docker's JSON. `sizes` are SizeRw and SizeRootFs."""
    from boxwright.spec.times import stamp

    command = container.command
    nets = networks(container)
    first: dict[str, Any] = next(iter(nets.values()), {})
    directory = container.directory
    out: dict[str, Any] = {
        "Id": container.id,
        "Created": stamp(container.created),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": state_json(container.state),
        "Image": container.record["image_id"],
        "ResolvConfPath": str(directory / "resolv.conf"),
        "HostnamePath": str(directory / "hostname"),
        "HostsPath": str(directory / "hosts"),
        "LogPath": str(container.log_path)
        if container.config.log_driver in ("", "json-file", "local")
        else "",
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": driver,
        "Platform": "linux",
        **_confinement(container),
        "ExecIDs": None,
        "HostConfig": host_config(container),
        "GraphDriver": {"Data": None, "Name": driver},
        "Mounts": mounts_json(container),
        "Config": dict(container.merged),
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": "",
            "Ports": port_map(container),
            "HairpinMode": False,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None,
            "EndpointID": "",
            "Gateway": first.get("Gateway", ""),
            "GlobalIPv6Address": first.get("GlobalIPv6Address", ""),
            "GlobalIPv6PrefixLen": first.get("GlobalIPv6PrefixLen", 0),
            "IPAddress": first.get("IPAddress", ""),
            "IPPrefixLen": first.get("IPPrefixLen", 0),
            "IPv6Gateway": first.get("IPv6Gateway", ""),
            "MacAddress": first.get("MacAddress", ""),
            "Networks": nets,
        },
    }
    if container.config.rootfs:
        out["Rootfs"] = container.config.rootfs
    if sizes is not None:
        out["SizeRw"], out["SizeRootFs"] = sizes
    return out
