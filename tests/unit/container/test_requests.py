"""Devices asked for by name or kind: what `--gpus` means, what a container is given, and what is told where nothing
can give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import given, requests
from boxwright.container.config import ContainerConfig, DeviceRequest
from boxwright.container.options import OptionInvalid, cdi_names
from boxwright.container.requests import DevicesUnresolved, DriverMissing, parse_gpus
from boxwright.runtime import cdi

GPU = (("gpu",),)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of specifications, and a place for hooks."""
    (tmp_path / "cdi").mkdir()
    monkeypatch.setattr(cdi.load, "__defaults__", ((str(tmp_path / "cdi"),),))
    monkeypatch.setattr(requests, "HOOK_PLACES", (str(tmp_path),))
    return tmp_path


def describe(host: Path, kind: str, *names: str) -> None:
    devices = [{"name": name, "containerEdits": {"env": [f"D{name.upper()}=1"]}} for name in names]
    body = {"cdiVersion": "0.6.0", "kind": kind, "devices": devices}
    (host / "cdi" / f"{kind.replace('/', '-')}.json").write_text(json.dumps(body))


def given_to(*asked: DeviceRequest) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "process": {"env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=of-the-image"], "user": {}},
        "mounts": [],
        "linux": {"resources": {}},
    }
    requests.give(spec, asked)
    return spec


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", DeviceRequest(count=-1, capabilities=GPU, options={})),
        ("2", DeviceRequest(count=2, capabilities=GPU, options={})),
        ("count=2,driver=nvidia", DeviceRequest(driver="nvidia", count=2, capabilities=GPU, options={})),
        ('"device=0,GPU-1"', DeviceRequest(ids=("0", "GPU-1"), capabilities=GPU, options={})),
        ("device=0,1", DeviceRequest(ids=("0",), count=1, capabilities=GPU, options={})),
        ("driver=nvidia", DeviceRequest(driver="nvidia", count=1, capabilities=GPU, options={})),
        (
            '"capabilities=compute,utility","options=a=b,c"',
            DeviceRequest(
                count=1, capabilities=(("compute", "utility", "gpu"),), options={"a": "b", "c": ""}
            ),
        ),
    ],
)
def test_forms_of_gpus(text: str, request_: DeviceRequest) -> None:
    found = parse_gpus(text)
    assert found == request_ and found.options == request_.options
    config = ContainerConfig(image="i", device_requests=(found,))
    kept = ContainerConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert kept.device_requests == (request_,) and kept.device_requests[0].options == request_.options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF"),
        ("foo", r'invalid count \(foo\): value must be either "all" or an integer: invalid syntax'),
        ("count=x", r'invalid count \(x\): value must be either "all" or an integer: invalid syntax'),
        ("foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("count=1,count=2", "gpu request key 'count' can be specified only once"),
        ("1,count=2", "gpu request key 'count' can be specified only once"),
        ('"device=0', "unexpected end of data"),
        ("9" * 5000, "invalid count"),
    ],
)
def test_what_is_no_form_of_gpus(text: str, message: str) -> None:
    with pytest.raises(OptionInvalid, match=message):
        parse_gpus(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all", r'driver "" with capabilities: \[\[gpu\]\]'),
        ("capabilities=compute", r'driver "" with capabilities: \[\[compute gpu\]\]'),
        ("driver=amd", r'driver "amd" with capabilities: \[\[gpu\]\]'),
    ],
)
def test_without_a_driver_there_is_dockers_line_and_what_to_install(
    host: Path, text: str, shown: str
) -> None:
    with pytest.raises(DriverMissing, match=f"^could not select device {shown}$") as caught:
        given_to(parse_gpus(text))
    assert "nvidia-container-toolkit" in caught.value.hint and "/etc/cdi" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", {"DALL"}),
        ("2", {"D0", "D1"}),
        ("0", set()),
        ('"device=1,nvidia.com/gpu=0"', {"D0", "D1"}),
        ('driver=nvidia,"capabilities=utility"', {"D0"}),
        ("driver=cdi,device=nvidia.com/gpu=1", {"D1"}),
    ],
)
def test_gpus_that_the_host_describes(host: Path, text: str, names: set[str]) -> None:
    describe(host, "nvidia.com/gpu", "0", "1", "all")
    added = {e.partition("=")[0] for e in given_to(parse_gpus(text))["process"]["env"][2:]}
    assert added == names


def test_all_gpus_where_no_device_stands_for_them(host: Path) -> None:
    describe(host, "nvidia.com/gpu", "0", "1")
    assert given_to(parse_gpus("all"))["process"]["env"][2:] == ["D0=1", "D1=1"]
    with pytest.raises(DriverMissing, match=r"capabilities: \[\[fly gpu\]\]"):
        given_to(parse_gpus("capabilities=fly"))


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("all", ["NVIDIA_VISIBLE_DEVICES=all"]),
        ("2", ["NVIDIA_VISIBLE_DEVICES=0,1"]),
        ("0", ["NVIDIA_VISIBLE_DEVICES=void"]),
        (
            '"device=0,GPU-1","capabilities=compute,utility"',
            ["NVIDIA_VISIBLE_DEVICES=0,GPU-1", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"],
        ),
    ],
)
def test_gpus_by_the_hook_of_the_toolkit(host: Path, text: str, variables: list[str]) -> None:
    hook = host / requests.HOOK
    hook.touch(0o755)
    spec = given_to(parse_gpus(text))
    assert spec["process"]["env"] == ["PATH=/bin", *variables]  # instead of what the image says
    (entry,) = spec["hooks"]["prestart"]
    assert (entry["path"], entry["args"]) == (str(hook), [requests.HOOK, "prestart"])
    with pytest.raises(OptionInvalid, match=r"^cannot set both Count and DeviceIDs on device request$"):
        given_to(parse_gpus("device=0,1"))


def test_names_of_devices(host: Path) -> None:
    describe(host, "vendor.com/class", "a", "b")
    assert given_to(*requests.by_name(["vendor.com/class=b"]))["process"]["env"][2:] == ["DB=1"]
    with pytest.raises(
        DevicesUnresolved, match=r"^CDI device injection failed: unresolvable CDI devices"
    ) as e:
        given_to(*requests.by_name(["vendor.com/class=c", "vendor.com/class=a", "x.com/y=z"]))
    assert (
        str(e.value).endswith("devices vendor.com/class=c, x.com/y=z")
        and "vendor.com/class=a" in e.value.hint
    )
    with pytest.raises(OptionInvalid, match="by name"):
        given_to(parse_gpus("driver=cdi,count=all"))


def test_a_program_gives_both_kinds_of_devices_as_texts() -> None:
    config = given.config("i", (), {"devices": ["/dev/null", "vendor.com/class=a"], "device_requests": "all"})
    assert [d.host for d in config.devices] == ["/dev/null"]
    assert config.device_requests == (parse_gpus("all"), *requests.by_name(["vendor.com/class=a"]))
    assert cdi_names(["/dev/a=b", "vendor.com/class=a:/x", "vendor.com/class=*", "v/c", "a=b"]) == ()
