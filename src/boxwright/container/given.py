"""A container's config from what a program gives: values of the config's own kinds, or the command line's texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

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
from boxwright.spec.arguments import ArgumentInvalid, fields_of, fitted, pairs, several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def config(image: str, command: Sequence[str], options: Mapping[str, Any]) -> ContainerConfig:
    """Raises ArgumentInvalid, and what the texts' parsers raise."""
    given = {"image": image, "command": command, **_requested(options)}
    return ContainerConfig(**fields_of(ContainerConfig, given, _SPECIAL))


def _requested(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the names of CDI devices where the config has them."""
    from boxwright.container.options import cdi_names

    devices = options.get("devices", ())
    texts = [devices] if isinstance(devices, str) else devices
    names = cdi_names(t for t in texts if isinstance(t, str)) if isinstance(texts, (list, tuple)) else ()
    if not names:
        return options
    from boxwright.container.requests import by_name

    asked = (*_requests(options.get("device_requests", ())), *by_name(names))
    return {**options, "devices": [t for t in texts if t not in names], "device_requests": asked}


def _requests(value: Any) -> tuple[Any, ...]:
    from boxwright.container.requests import parse_gpus

    return several(name="device_requests", value=value, kind=DeviceRequest, parse=parse_gpus)


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
    return Limits(**fields_of(Limits, value, {name: _rates_of(name) for name in _RATES}))


def _object(name: str, *, none: bool = False) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, Mapping) and not (none and value is None):
            raise ArgumentInvalid(f"{name} is {value!r}, which is no dict of Docker's fields")
        return value

    return read


_RATES = {
    "blkio_weight_device": "parse_weight",
    "device_read_bps": "parse_bps",
    "device_write_bps": "parse_bps",
    "device_read_iops": "parse_iops",
    "device_write_iops": "parse_iops",
}


def _rates_of(name: str) -> Callable[[Any], tuple[Any, ...]]:
    from boxwright.container import blockio

    return lambda value: several(
        name=name, value=value, kind=DeviceRate, parse=getattr(blockio, _RATES[name])
    )


_SPECIAL: Mapping[str, Callable[[Any], Any]] = {
    "env": _environment,
    "extra_hosts": _hosts,
    "mounts": _mounts,
    "ports": _ports,
    "endpoints": _endpoints,
    "ulimits": _ulimits,
    "devices": _devices,
    "device_requests": _requests,
    "restart": _restart,
    "limits": _limits,
    "health": _object("health", none=True),
    "extra": _object("extra"),
}
