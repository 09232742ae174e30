"""What ``inspect`` shows, with the types that Docker's client gives it.

Templates run over Go structs there: a field that is not in the JSON is there all the same and empty (``{{if
.State.Health}}`` without a health check), an empty list prints ``[]`` and not ``<no value>``, a struct prints its
values in order. The JSON itself stays as it is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# Name -> fields in the order of docker/cli 28's structs. s text, i number, b truth, [x] list, {x} map, *x pointer,
# ? whatever it is, j decoded JSON, a name a struct. Where Go calls a field otherwise than JSON does, ``Go=JSON``.
_FIELDS = {
    "container": (
        "ID=Id:s Created:s Path:s Args:[s] State:*State Image:s ResolvConfPath:s HostnamePath:s "
        "HostsPath:s LogPath:s Name:s RestartCount:i Driver:s Platform:s "
        "MountLabel:s ProcessLabel:s AppArmorProfile:s ExecIDs:[s] HostConfig:*HostConfig "
        "GraphDriver:GraphDriver SizeRw:*i SizeRootFs:*i Mounts:[Mount] "
        "Config:*Config NetworkSettings:*NetworkSettings"
    ),
    "State": "Status:s Running:b Paused:b Restarting:b OOMKilled:b Dead:b Pid:i ExitCode:i Error:s "
    "StartedAt:s FinishedAt:s Health:*Health",
    "Health": "Status:s FailingStreak:i Log:[*HealthResult]",
    "HealthResult": "Start:s End:s ExitCode:i Output:s",
    "HostConfig": (
        "Binds:[s] ContainerIDFile:s LogConfig:LogConfig NetworkMode:s PortBindings:{[PortBinding]} "
        "RestartPolicy:RestartPolicy AutoRemove:b VolumeDriver:s "
        "VolumesFrom:[s] ConsoleSize:[i] Annotations:{s} CapAdd:[s] CapDrop:[s] CgroupnsMode:s "
        "DNS=Dns:[s] DNSOptions=DnsOptions:[s] DNSSearch=DnsSearch:[s] "
        "ExtraHosts:[s] GroupAdd:[s] IpcMode:s Cgroup:s Links:[s] OomScoreAdj:i PidMode:s Privileged:b "
        "PublishAllPorts:b ReadonlyRootfs:b SecurityOpt:[s] "
        "StorageOpt:{s} Tmpfs:{s} UTSMode:s UsernsMode:s ShmSize:i Sysctls:{s} Runtime:s Isolation:s "
        "CPUShares=CpuShares:i Memory:i NanoCPUs=NanoCpus:i "
        "CgroupParent:s BlkioWeight:i BlkioWeightDevice:[?] BlkioDeviceReadBps:[?] "
        "BlkioDeviceWriteBps:[?] BlkioDeviceReadIOps:[?] BlkioDeviceWriteIOps:[?] "
        "CPUPeriod=CpuPeriod:i CPUQuota=CpuQuota:i CPURealtimePeriod=CpuRealtimePeriod:i "
        "CPURealtimeRuntime=CpuRealtimeRuntime:i CpusetCpus:s CpusetMems:s "
        "Devices:[Device] DeviceCgroupRules:[s] DeviceRequests:[?] KernelMemory:i KernelMemoryTCP:i "
        "MemoryReservation:i MemorySwap:i MemorySwappiness:*i "
        "OomKillDisable:*b PidsLimit:*i Ulimits:[*Ulimit] CPUCount=CpuCount:i CPUPercent=CpuPercent:i "
        "IOMaximumIOps:i IOMaximumBandwidth:i Mounts:[?] "
        "MaskedPaths:[s] ReadonlyPaths:[s] Init:*b"
    ),
    "LogConfig": "Type:s Config:{s}",
    "RestartPolicy": "Name:s MaximumRetryCount:i",
    "PortBinding": "HostIP=HostIp:s HostPort:s",
    "Device": "PathOnHost:s PathInContainer:s CgroupPermissions:s",
    "Ulimit": "Name:s Hard:i Soft:i",
    "GraphDriver": "Data:{s} Name:s",
    "Mount": "Type:s Name:s Source:s Destination:s Driver:s Mode:s RW:b Propagation:s",
    "Config": (
        "Hostname:s Domainname:s User:s AttachStdin:b AttachStdout:b AttachStderr:b "
        "ExposedPorts:{Nothing} Tty:b OpenStdin:b StdinOnce:b Env:[s] Cmd:[s] "
        "Healthcheck:*Healthcheck ArgsEscaped:b Image:s Volumes:{Nothing} WorkingDir:s Entrypoint:[s] "
        "NetworkDisabled:b MacAddress:s OnBuild:[s] Labels:{s} "
        "StopSignal:s StopTimeout:*i Shell:[s]"
    ),
    "Nothing": "",
    "Healthcheck": "Test:[s] Interval:i Timeout:i StartPeriod:i StartInterval:i Retries:i",
    "NetworkSettings": (
        "Bridge:s SandboxID:s SandboxKey:s Ports:{[PortBinding]} HairpinMode:b LinkLocalIPv6Address:s "
        "LinkLocalIPv6PrefixLen:i SecondaryIPAddresses:[?] "
        "SecondaryIPv6Addresses:[?] EndpointID:s Gateway:s GlobalIPv6Address:s GlobalIPv6PrefixLen:i "
        "IPAddress:s IPPrefixLen:i IPv6Gateway:s MacAddress:s "
        "Networks:{*Endpoint}"
    ),
    "Endpoint": (
        "IPAMConfig:*EndpointIPAM Links:[s] Aliases:[s] MacAddress:s DriverOpts:{s} GwPriority:i "
        "NetworkID:s EndpointID:s Gateway:s IPAddress:s IPPrefixLen:i "
        "IPv6Gateway:s GlobalIPv6Address:s GlobalIPv6PrefixLen:i DNSNames:[s]"
    ),
    "EndpointIPAM": "IPv4Address:s IPv6Address:s LinkLocalIPs:[s]",
    "image": (
        "ID=Id:s RepoTags:[s] RepoDigests:[s] Parent:s Comment:s Created:s Container:s DockerVersion:s "
        "Author:s Config:*Config Architecture:s Variant:s Os:s "
        "OsVersion:s Size:i VirtualSize:i GraphDriver:GraphDriver RootFS:RootFS Metadata:Metadata "
        "Descriptor:*? Manifests:[?]"
    ),
    "RootFS": "Type:s Layers:[s]",
    "Metadata": "LastTagTime:s",
    "network": (
        "Name:s ID=Id:s Created:s Scope:s Driver:s EnableIPv4:b EnableIPv6:b IPAM:IPAM Internal:b "
        "Attachable:b Ingress:b ConfigFrom:ConfigFrom ConfigOnly:b "
        "Containers:{Connected} Options:{s} Labels:{s} Peers:[?] Services:{?}"
    ),
    "IPAM": "Driver:s Options:{s} Config:[IPAMConfig]",
    "IPAMConfig": "Subnet:s IPRange:s Gateway:s AuxAddress=AuxiliaryAddresses:{s}",
    "ConfigFrom": "Network:s",
    "Connected": "Name:s EndpointID:s MacAddress:s IPv4Address:s IPv6Address:s",
    "volume": "ClusterVolume:*? CreatedAt:s Driver:s Labels:{s} Mountpoint:s Name:s Options:{s} Scope:s "
    "Status:{?} UsageData:*?",
    "context": "Name:s Metadata:? Endpoints:{?} TLSMaterial:{?} Storage:ContextStorage",
    "ContextStorage": "MetadataPath:s TLSPath:s",
    # The image specification's, as buildx shows them.
    "OCIIndex": "SchemaVersion=schemaVersion:i MediaType=mediaType:s Digest=digest:s Size=size:i "
    "Manifests=manifests:[OCIDescriptor] Annotations=annotations:{s}",
    "OCIDescriptor": "MediaType=mediaType:s Digest=digest:s Size=size:i URLs=urls:[s] Annotations=annotations:{s} "
    "Data=data:? Platform=platform:*OCIPlatform ArtifactType=artifactType:s",
    "OCIPlatform": "Architecture=architecture:s OS=os:s OSVersion=os.version:s OSFeatures=os.features:[s] "
    "Variant=variant:s",
    "OCIImage": "Created=created:*? Author=author:s Architecture=architecture:s OS=os:s OSVersion=os.version:s "
    "OSFeatures=os.features:[s] Variant=variant:s Config=config:OCIConfig RootFS=rootfs:OCIRootFS "
    "History=history:[OCIHistory]",
    "OCIConfig": "User:s ExposedPorts:{Nothing} Env:[s] Entrypoint:[s] Cmd:[s] Volumes:{Nothing} WorkingDir:s "
    "Labels:{s} StopSignal:s ArgsEscaped:b",
    "OCIRootFS": "Type=type:s DiffIDs=diff_ids:[s]",
    "OCIHistory": "Created=created:*? CreatedBy=created_by:s Author=author:s Comment=comment:s "
    "EmptyLayer=empty_layer:b",
    "Event": "Status=status:s ID=id:s From=from:s Type:s Action:s Actor:EventActor Scope=scope:s Time=time:i "
    "TimeNano=timeNano:i",
    "EventActor": "ID:s Attributes:{s}",
    "SLSA": "SLSA:j",
    "SBOM": "SPDX:j AdditionalSPDXs:[j]",
}
_ZERO: dict[str, Any] = {"s": "", "i": 0, "b": False, "?": None, "j": None}


class Nil:
    """A pointer to nothing."""

    def __bool__(self) -> bool:
        return False


class NilList(list[object]):
    """A list that is not there: empty, and ``null`` as JSON."""


class Map(dict):  # type: ignore[type-arg]
    """A map of values of a kind: what is not in it is no value as a field, and an empty one for ``index``."""

    __slots__ = ("_kind",)

    def __init__(self, values: Mapping[str, Any], kind: str) -> None:
        super().__init__({key: _typed(value, kind) for key, value in values.items()})
        self._kind = kind

    def __missing__(self, key: str) -> None:
        return None

    def get(self, key: str, default: Any = None) -> Any:
        """The entry, or the kind's empty value."""
        return self[key] if key in self else _typed(None, self._kind)


class NilMap(Map):
    """A map that is not there: empty, and ``null`` as JSON."""


NIL = Nil()


class Struct:
    """One object with the fields of a type. `raw` is its JSON."""

    __slots__ = ("_kinds", "raw")

    def __init__(self, raw: Mapping[str, Any], name: str) -> None:
        self.raw = raw
        # Go name -> (JSON name, kind)
        self._kinds: dict[str, tuple[str, str]] = {}
        for field in _FIELDS[name].split():
            names, _, kind = field.partition(":")
            own, _, key = names.partition("=")
            self._kinds[own] = (key or own, kind)

    def __getitem__(self, name: str) -> Any:
        """The field by either of its names. Raises KeyError."""
        found = self._kinds.get(name) or next(
            (pair for pair in self._kinds.values() if pair[0] == name), None
        )
        return self.raw[name] if found is None else _typed(self.raw.get(found[0]), found[1])

    def keys(self) -> Iterable[str]:
        """The names of the fields."""
        return {**dict.fromkeys(self._kinds), **dict.fromkeys(self.raw)}

    def values(self) -> list[Any]:
        """The fields' values in the type's order."""
        return [_typed(self.raw.get(key), kind) for key, kind in self._kinds.values()]


def declared(raw: Any, name: str) -> Any:
    """JSON as Go writes it again from a struct of this name: its fields in their order, others dropped."""
    if not isinstance(raw, dict):
        return raw
    out = {}
    for field in _FIELDS[name].split():
        names, _, kind = field.partition(":")
        key = names.rpartition("=")[2]
        if key in raw:
            inner, value = kind.strip("*[]"), raw[key]
            many = isinstance(value, list) and inner in _FIELDS
            out[key] = (
                [declared(v, inner) for v in value]
                if many
                else declared(value, inner)
                if inner in _FIELDS
                else value
            )
    return out


def _typed(value: Any, kind: str) -> Any:
    if kind == "j" and isinstance(value, (dict, list)):
        return Map(value, "j") if isinstance(value, dict) else [_typed(item, "j") for item in value]
    first, inner = kind[0], kind[1:-1]
    if first == "*":
        return NIL if value is None else _typed(value, kind[1:])
    if first == "[":
        return (
            NilList()
            if value is None
            else [_typed(v, inner) for v in value]
            if isinstance(value, (list, tuple))
            else value
        )
    if first == "{":
        return NilMap({}, inner) if value is None else Map(value, inner) if isinstance(value, dict) else value
    if kind in _ZERO:
        return _ZERO[kind] if value is None else value
    return Struct(value or {}, kind) if value is None or isinstance(value, dict) else value
