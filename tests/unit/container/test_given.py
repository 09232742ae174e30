"""A container's config as a program gives it: values, or the command line's texts."""

from __future__ import annotations

import os
from typing import Any

import pytest

from boxwright.container.config import (
    DeviceSpec,
    EndpointConfig,
    Limits,
    MountSpec,
    PortBinding,
    RestartPolicy,
    Ulimit,
)
from boxwright.container.given import config
from boxwright.errors import Invalid
from boxwright.spec.arguments import ArgumentInvalid


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("env", {"A": "1"}, ("A=1",)),
        ("env", "A=1", ("A=1",)),
        ("env", ["A=1", "B=2"], ("A=1", "B=2")),
        ("extra_hosts", {"db": "10.0.0.1"}, ("db:10.0.0.1",)),
        ("ports", "8080:80", (PortBinding(80, host_port=8080),)),
        ("ports", ["80-81"], (PortBinding(80), PortBinding(81))),
        ("ports", PortBinding(80), (PortBinding(80),)),
        ("mounts", MountSpec(kind="tmpfs", target="/t"), (MountSpec(kind="tmpfs", target="/t"),)),
        ("endpoints", ["one", EndpointConfig("two")], (EndpointConfig("one"), EndpointConfig("two"))),
        ("ulimits", "nofile=10:20", (Ulimit("nofile", 10, 20),)),
        ("devices", "/dev/null:/dev/x:r", (DeviceSpec("/dev/null", "/dev/x", "r"),)),
        ("restart", "on-failure:3", RestartPolicy("on-failure", 3)),
        ("restart", RestartPolicy("always"), RestartPolicy("always")),
        ("limits", {"memory": 512}, Limits(memory=512)),
        ("limits", Limits(memory=512), Limits(memory=512)),
        ("entrypoint", ["sh", "-c"], ("sh", "-c")),
    ],
)
def test_values_and_texts(name: str, given: Any, wanted: Any) -> None:
    assert getattr(config("image", ["true"], {name: given}), name) == wanted


def test_a_host_path_is_found_from_here() -> None:
    (mount,) = config("image", [], {"mounts": "./data:/data:ro"}).mounts
    assert (mount.source, mount.target, mount.readonly) == (f"{os.getcwd()}/data", "/data", True)


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("limits", 512, "which is no Limits"),
        ("limits", {"memory": "512m"}, "memory"),
        ("limits", {"memmory": 1}, "there is no option 'memmory'"),
        ("restart", 3, "restart is 3"),
        ("restart", "sometimes", "sometimes"),
        ("ports", [80], "ports holds 80"),
        ("ports", 80, "ports is 80, which is no list"),
        ("env", {"A": None}, "env has 'A': None"),
        ("environment", {}, "there is no option 'environment'"),
        ("tty", "yes", "tty is 'yes'"),
    ],
)
def test_what_is_not_meant_so_is_refused(name: str, given: Any, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        config("image", [], {name: given})


def test_an_option_that_is_nearly_right_is_guessed() -> None:
    with pytest.raises(ArgumentInvalid) as info:
        config("image", [], {"volums_from": "x"})
    assert info.value.hint == "did you mean volumes_from?"
