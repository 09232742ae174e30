"""Devices that are asked for by what they are called or can do: ``--gpus``, and CDI names of ``--device``.

They are looked up when the container starts, since the host's devices may be others than when it was created. GPUs are
CDI devices of the kind ``nvidia.com/gpu``, where the host describes those; else the hook of NVIDIA's container toolkit
is told which are wanted (by variables, as its documentation has them) and gives them to the container.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from boxwright.container.config import DeviceRequest
from boxwright.container.options import OptionInvalid
from boxwright.errors import NotFound, Unsupported
from boxwright.runtime import cdi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GPU = "nvidia.com/gpu"
HOOK = "nvidia-container-runtime-hook"
HOOK_PLACES = ("/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/nvidia/toolkit")
_DRIVER_CAPABILITIES = frozenset(("compute", "compat32", "graphics", "utility", "video", "display", "ngx"))
_CAPABILITIES = _DRIVER_CAPABILITIES | {"gpu", "nvidia"}
_MOST = 1 << 16  # GPUs


class DriverMissing(Unsupported):
    """Nothing here can give a container such devices."""


class DevicesUnresolved(NotFound):
    """No CDI specification of the host has a device of this name."""


def parse_gpus(text: str) -> DeviceRequest:
    """``all``, ``2``, ``"device=0,1"``, ``count=…,driver=…,"capabilities=…",options=…``: one line of CSV. Raises
    OptionInvalid. Error texts are docker/cli's (opts/gpus.go)."""
    fields = _csv(text)
    if not fields:
        raise OptionInvalid("EOF")
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for field in fields:
        key, equals, value = field.partition("=")
        if key in seen:
            raise OptionInvalid(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not equals or key == "count":
            seen.add("count")
            found["count"] = _count(value if equals else key)
        elif key == "driver":
            found["driver"] = value
        elif key == "device":
            found["ids"] = tuple(value.split(","))
        elif key == "capabilities":
            found["capabilities"] = ((*value.split(","), "gpu"),)
        elif key == "options":
            found["options"] = {k: v for k, _, v in (option.partition("=") for option in _csv(value))}
        else:
            raise OptionInvalid(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and "ids" not in found:
        found["count"] = 1
    return DeviceRequest(**{"capabilities": (("gpu",),), "options": {}, **found})


def _csv(text: str) -> list[str]:
    import csv

    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise OptionInvalid(str(error)) from error


def _count(text: str) -> int:
    if text == "all":
        return -1
    import re

    if not re.match(r"[+-]?[0-9]{1,9}\Z", text):
        raise OptionInvalid(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        )
    return int(text)


def by_name(names: Iterable[str]) -> tuple[DeviceRequest, ...]:
    """The request for CDI devices of these names; none without names."""
    ids = tuple(names)
    return (DeviceRequest(driver="cdi", ids=ids),) if ids else ()


def give(spec: dict[str, Any], requests: Iterable[DeviceRequest]) -> None:
    """Give the container of this OCI config what is asked for. Raises DriverMissing, DevicesUnresolved, OptionInvalid,
    SpecInvalid, SpecUnsafe."""
    here = cdi.load()
    names: list[str] = []
    for request in requests:
        if request.driver == "cdi":
            names += request.ids
            if not request.ids:
                raise OptionInvalid(
                    "CDI devices are asked for by name", hint="--device vendor.com/class=name"
                )
            continue
        wanted = next((c for c in request.capabilities if _CAPABILITIES.issuperset(c)), None)
        if request.driver not in ("", "nvidia") or wanted is None:
            raise _missing(request)
        if request.count and request.ids:
            raise OptionInvalid("cannot set both Count and DeviceIDs on device request")
        if any(device.kind == GPU for device in here.devices.values()):
            names += _gpus(request, here)
        elif hook := _hook():
            _by_hook(spec, request, wanted=wanted, hook=hook)
        else:
            raise _missing(request)
    absent = [name for name in names if name not in here.devices]
    if absent:
        known = ", ".join(here.devices) or "none"
        raise DevicesUnresolved(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(absent)}",
            hint=f"known are {known}; specifications are read from {' and '.join(cdi.DIRECTORIES)}",
        )
    cdi.apply(spec, [here.devices[name] for name in dict.fromkeys(names)])


def _missing(request: DeviceRequest) -> DriverMissing:
    shown = " ".join(f"[{' '.join(words)}]" for words in request.capabilities)
    return DriverMissing(
        f'could not select device driver "{request.driver}" with capabilities: [{shown}]',
        hint="GPUs need the NVIDIA Container Toolkit: install nvidia-container-toolkit, then describe them with "
        "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`",
    )


def _gpus(request: DeviceRequest, here: cdi.CdiDevices) -> Sequence[str]:
    if request.ids:
        return [name if cdi.is_name(name) else f"{GPU}={name}" for name in request.ids]
    if request.count >= 0:
        return [f"{GPU}={number}" for number in range(min(request.count, _MOST))]
    everything = f"{GPU}=all"
    return [everything] if everything in here.devices else [d.name for d in here.find(f"{GPU}=*")]


def _hook() -> str:
    places = (f"{place}/{HOOK}" for place in HOOK_PLACES)
    return next((path for path in places if os.access(path, os.X_OK)), "")


def _by_hook(spec: dict[str, Any], request: DeviceRequest, wanted: Sequence[str], hook: str) -> None:
    visible = ",".join(request.ids) or ",".join(map(str, range(min(request.count, _MOST)))) or "void"
    entries = [f"NVIDIA_VISIBLE_DEVICES={'all' if request.count < 0 else visible}"]
    if driver := [word for word in wanted if word in _DRIVER_CAPABILITIES]:
        entries.append(f"NVIDIA_DRIVER_CAPABILITIES={','.join(driver)}")
    names = tuple(entry.partition("=")[0] + "=" for entry in entries)
    process = spec["process"]
    process["env"] = [*(e for e in process.get("env", ()) if not e.startswith(names)), *entries]
    spec.setdefault("hooks", {}).setdefault("prestart", []).append(
        {
            "path": hook,
            "args": [HOOK, "prestart"],
            "env": [f"PATH={os.defpath}:/usr/sbin:/sbin:/usr/local/bin"],
        }
    )
