"""A container's config from what a program gives: values of the config's own kinds, or the command line's texts."""

from __future__ import annotations

import os

from boxwright.container.config import (
    ContainerConfig,
    DeviceSpec,
    EndpointConfig,
    Limits,
    MountSpec,
    PortBinding,
    RestartPolicy,
    Ulimit,
)
from boxwright.spec.arguments import ArgumentInvalid, fields_of, fitted, pairs, several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def config(image: str, command: Sequence[str], options: Mapping[str, Any]) -> ContainerConfig:
    """Raises ArgumentInvalid, and what the texts' parsers raise."""
    given = {"image": image, "command": command, **options}
    return ContainerConfig(**fields_of(ContainerConfig, given, _SPECIAL))


def _environment(value: Any) -> tuple[str, ...]:
    from boxwright.container.options import parse_env

    return tuple(parse_env(text) for text in pairs("env", value, "="))


def _hosts(value: Any) -> tuple[str, ...]:
    from boxwright.container.options import parse_host

    return tuple(parse_host(text) for text in pairs("extra_hosts", value, ":"))


def _mounts(value: Any) -> tuple[Any, ...]:
    from boxwright.container.mounts import parse_volume

    return several(
        name="mounts", value=value, kind=MountSpec, parse=lambda text: parse_volume(text, os.getcwd())
    )


def _ports(value: Any) -> tuple[Any, ...]:
    from boxwright.container.ports import parse_publish

    return several(name="ports", value=value, kind=PortBinding, parse=parse_publish)


def _endpoints(value: Any) -> tuple[Any, ...]:
    return several(name="endpoints", value=value, kind=EndpointConfig, parse=EndpointConfig)


def _ulimits(value: Any) -> tuple[Any, ...]:
    from boxwright.container.options import parse_ulimit

    return several(name="ulimits", value=value, kind=Ulimit, parse=parse_ulimit)


def _devices(value: Any) -> tuple[Any, ...]:
    from boxwright.container.options import parse_device

    return several(name="devices", value=value, kind=DeviceSpec, parse=parse_device)


def _restart(value: Any) -> RestartPolicy:
    from boxwright.container.options import parse_restart

    if isinstance(value, RestartPolicy):
        return value
    return parse_restart(fitted("restart", value, "str"))


def _limits(value: Any) -> Limits:
    if isinstance(value, Limits):
        return value
    if not isinstance(value, dict):
        raise ArgumentInvalid(f"limits is {value!r}, which is no Limits", hint='limits={"memory": 512 << 20}')
    return Limits(**fields_of(Limits, value))


_SPECIAL: Mapping[str, Callable[[Any], Any]] = {
    "env": _environment,
    "extra_hosts": _hosts,
    "mounts": _mounts,
    "ports": _ports,
    "endpoints": _endpoints,
    "ulimits": _ulimits,
    "devices": _devices,
    "restart": _restart,
    "limits": _limits,
}
