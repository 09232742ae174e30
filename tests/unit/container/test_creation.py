"""`create`: what is checked, what is recorded, what is made. A store with a small image, and nothing that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.config import (
    ContainerConfig,
    ContainerConfigInvalid,
    EndpointConfig,
    MountSpec,
    PortBinding,
    RestartPolicy,
)
from boxwright.container.manager import Containers
from boxwright.container.mounts import MountInvalid
from boxwright.container.records import Container, NameTaken, NoSuchContainer
from boxwright.content.lease import in_use
from boxwright.engine import Engine
from boxwright.errors import BoxwrightError
from boxwright.image.catalog import NoSuchImage
from boxwright.network.network import NetworkConfig
from boxwright.network.networks import NoSuchNetwork
from support.image import engine as engine_at
from support.image import imported


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = engine_at(tmp_path / "root", BOXWRIGHT_DRIVER="copied", DOCKER_CONFIG=str(tmp_path / "docker"))
    imported(made, "base:1", "etc/motd", changes=["CMD sh", "VOLUME /data", "ENV A=image"])
    return made


@pytest.fixture
def containers(engine: Engine) -> Containers:
    return engine.containers


def create(containers: Containers, **options: Any) -> Container:
    return containers.create(ContainerConfig(image="base:1", **options))


def test_a_container_is_its_image_and_what_was_asked(engine: Engine, containers: Containers) -> None:
    made = create(containers, name="box", env=("B=own",), command=("echo", "x"), labels={"a": "b"})
    found = containers.get("box")
    assert (found.id, found.target, found.layers) == (made.id, made.target, made.layers)
    assert found.command == ["echo", "x"] and found.labels == {"a": "b"}
    assert set(found.merged["Env"]) >= {"A=image", "B=own"}
    assert found.record["hostname"] == found.id[:12] and found.record["networks"] == {"bridge": {}}
    assert found.state.status == "created" and found.directory.is_dir()
    # Until it was started, or this process has ended, no prune takes it.
    assert found.id in in_use(engine.services.db, "container")


def test_a_name_is_given_or_found_and_taken_once(containers: Containers) -> None:
    create(containers, name="box")
    with pytest.raises(NameTaken, match='The container name "/box" is already in use by container'):
        create(containers, name="box")
    assert "_" in create(containers).name and len(containers.list(all=True)) == 2


def test_an_image_that_goes_meanwhile_leaves_nothing(
    engine: Engine, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(engine.services.catalog), "has", lambda self, digest: False)
    with pytest.raises(NoSuchImage, match="No such image: base:1"):
        create(containers, name="box", command=("x",))
    assert containers.list(all=True) == [] and containers.volumes.list() == []
    assert in_use(engine.services.db, "container") == set()


def test_volumes_of_the_image_and_of_the_command(containers: Containers, tmp_path: Path) -> None:
    mounts = (
        MountSpec(kind="volume", target="/named", source="mine", flag=True),
        MountSpec(kind="bind", target="/bound", source=str(tmp_path / "new"), create=True, readonly=True),
        MountSpec(kind="tmpfs", target="/t", options=("size=1",)),
        MountSpec(kind="volume", target="/own", nocopy=True),
    )
    one = create(containers, mounts=mounts)
    points = {point["target"]: point for point in one.record["mounts"]}
    assert list(points) == ["/bound", "/data", "/named", "/own", "/t"]
    assert (points["/named"]["name"], points["/named"]["mode"]) == ("mine", "z")
    assert (points["/bound"]["writable"], points["/bound"]["propagation"]) == (False, "rprivate")
    assert (tmp_path / "new").is_dir()
    anonymous = {points["/data"]["name"], points["/own"]["name"]}
    assert set(one.record["anonymous"]) == anonymous
    assert one.record["fill"] == ["/named", "/data"]  # not the one with nocopy
    assert {v.name for v in containers.volumes.list()} == {"mine", *anonymous}
    two = create(containers, volumes_from=(f"{one.id}:ro",))
    theirs = {point["target"]: point for point in two.record["mounts"]}
    assert theirs["/data"]["name"] == points["/data"]["name"] and not theirs["/data"]["writable"]
    assert two.record["anonymous"] == []


def test_a_working_directory_is_made_in_the_tree(engine: Engine, containers: Containers) -> None:
    made = create(containers, workdir="/srv/deep")
    root = engine.services.snapshots.open(made.id)
    try:
        assert os.stat("srv/deep", dir_fd=root).st_mode
    finally:
        os.close(root)


@pytest.mark.parametrize("workdir", ["/etc/motd", "/etc/motd/below"])
def test_a_working_directory_that_is_a_file_is_refused_and_nothing_made(
    engine: Engine, containers: Containers, workdir: str
) -> None:
    with pytest.raises(ContainerConfigInvalid, match=f"Cannot mkdir: {workdir} is not a directory"):
        create(containers, workdir=workdir)
    assert containers.list(all=True) == []


def test_networks_in_their_order(containers: Containers) -> None:
    containers.networks.create("mine", NetworkConfig(subnet="10.9.8.0/24"))
    containers.networks.create("other", NetworkConfig(subnet="10.9.9.0/24"))
    endpoints = (
        EndpointConfig("other", mac="02:42:0a:09:09:05"),
        EndpointConfig("mine", aliases=("web",), ipv4="10.9.8.7"),
    )
    made = create(containers, network="mine", endpoints=endpoints)
    assert made.record["networks"] == {
        "mine": {"aliases": ["web"], "ipv4": "10.9.8.7"},
        "other": {"mac": "02:42:0a:09:09:05"},
    }
    assert list(made.record["networks"]) == ["mine", "other"]
    assert create(containers, network="default").record["networks"] == {"bridge": {}}
    with pytest.raises(NoSuchNetwork):
        create(containers, network="nosuch")


def test_a_namespace_of_another(containers: Containers) -> None:
    one = create(containers, name="one", hostname="web")
    two = create(containers, network="container:one")
    assert (two.record["hostname"], two.record["networks"]) == ("web", {})
    assert create(containers, network="host").record["hostname"] == os.uname().nodename
    with pytest.raises(NoSuchContainer):
        create(containers, network="container:nosuch")
    assert one.record["networks"]


def test_proxies_of_dockers_configuration_are_in_the_environment(
    containers: Containers, tmp_path: Path
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"proxies": {"default": {"httpProxy": "http://p"}}}')
    assert "http_proxy=http://p" in create(containers).merged["Env"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"auto_remove": True, "restart": RestartPolicy("always")}, "cannot specify both --restart and --rm"),
    ({"log_driver": "splunk"}, 'plugin "splunk" not found'),
    ({"log_opts": {"max-sise": "1"}}, "unknown log opt 'max-sise' for json-file"),
    ({"log_opts": {"max-file": "0"}}, "max-file cannot be less than 1"),
    ({"log_opts": {"max-size": "much"}}, "much"),
    ({"stop_signal": "SIGNOPE"}, "SIGNOPE"),
    ({"workdir": "relative"}, "the working directory 'relative' is invalid"),
    ({"ports": (PortBinding(80, protocol="icmp"),)}, "icmp"),
    ({"ports": (PortBinding(80, host_ip="host"),)}, "host"),
    ({"network": "container:"}, "invalid container format"),
    ({"hostname": "h", "uts": "host"}, "hostname and the UTS mode"),
    ({"domainname": "d", "uts": "host"}, "domainname and the UTS mode"),
    ({"hostname": "h" * 65}, "at most 64 bytes"),
    ({"hostname": "a b"}, "hostname"),
    ({"domainname": "a\nb"}, "domain name"),
    ({"endpoints": (EndpointConfig("bridge", aliases=("a b",)),)}, "network alias"),
    ({"endpoints": (EndpointConfig("bridge", mac="nonsense"),)}, "nonsense"),
    (
        {"endpoints": (EndpointConfig("bridge", aliases=("web",)),)},
        "aliases are only supported for user-defined",
    ),
    (
        {"endpoints": (EndpointConfig("bridge", ipv4="172.17.0.9"),)},
        "supported on user defined networks only",
    ),
    (
        {"network": "none", "endpoints": (EndpointConfig("none", ipv4="10.0.0.1"),)},
        "invalid config for network none",
    ),
    ({"dns_options": ("a\nb",)}, "DNS option"),
    ({"dns": ("here",)}, "here"),
    ({"extra_hosts": ("a b:10.0.0.1",)}, "host"),
    ({"network": "container:x", "ports": (PortBinding(80),)}, "port publishing and the container type"),
    ({"network": "container:x", "dns": ("9.9.9.9",)}, "dns and the network mode"),
    ({"network": "container:x", "hostname": "h"}, "hostname and the network mode"),
    ({"runtime": "no-such-runtime"}, "unknown or invalid runtime name: no-such-runtime"),
    ({"entrypoint": ()}, "No command specified"),
    *(
        (options, "'a.udcff' is not valid UTF-8")
        for options in (
            {"hostname": "a\udcff"},
            {"command": ("echo", "a\udcff")},
            {"labels": {"k": "a\udcff"}},
            {"volumes_from": ("a\udcff",)},
            {"mounts": (MountSpec(kind="bind", target="/t", source="a\udcff"),)},
            {"cgroup_parent": "a\udcff"},
        )
    ),
]


@pytest.mark.parametrize(
    ("options", "reason"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be(containers: Containers, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(BoxwrightError, match=reason):
        create(containers, **options)
    assert containers.list(all=True) == []


def test_mounts_that_cannot_be(containers: Containers, tmp_path: Path) -> None:
    twice = (MountSpec(kind="volume", target="/a"), *(MountSpec(kind="tmpfs", target="/t") for _ in range(2)))
    with pytest.raises(ContainerConfigInvalid, match="Duplicate mount point: /t"):
        create(containers, mounts=twice)
    missing = MountSpec(kind="bind", target="/t", source=str(tmp_path / "no"))
    with pytest.raises(ContainerConfigInvalid, match="bind source path does not exist"):
        create(containers, mounts=(MountSpec(kind="volume", target="/a"), missing))
    with pytest.raises(NoSuchNetwork):
        create(containers, mounts=(MountSpec(kind="volume", target="/a"),), network="nosuch")
    assert containers.volumes.list() == []  # nothing that was made for a container that is not there
    (tmp_path / "file").write_text("")
    inside = MountSpec(kind="bind", target="/t", source=str(tmp_path / "file/in"), create=True)
    with pytest.raises(ContainerConfigInvalid, match="error while creating mount source path"):
        create(containers, mounts=(inside,))
    with pytest.raises(MountInvalid, match="invalid volume name: a/b"):
        create(containers, mounts=(MountSpec(kind="volume", target="/t", source="a/b"),))
