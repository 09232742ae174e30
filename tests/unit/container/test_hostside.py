"""What a start reads from the host and writes into a tree: files and devices that every user may look at."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import hostside
from boxwright.container.config import ContainerConfig, ContainerConfigInvalid, DeviceSpec, Limits
from boxwright.container.hostside import ProgramAbsent
from boxwright.rootfs.root import Root
from boxwright.spec.runtimespec import LimitInvalid


def asked(*devices: DeviceSpec) -> list[dict[str, Any]]:
    return hostside.devices(ContainerConfig(image="i", devices=devices))


def test_a_device_keeps_its_number_and_has_the_wanted_name() -> None:
    (found,) = asked(DeviceSpec("/dev/null", "/dev/nothing"))
    assert (found["path"], found["type"], found["major"], found["minor"]) == ("/dev/nothing", "c", 1, 3)
    assert found["fileMode"] == stat.S_IMODE(os.stat("/dev/null").st_mode)


def test_a_directory_stands_for_the_devices_in_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/zero").symlink_to("/dev/zero")
    (tmp_path / "file").write_text("no device")
    assert [d["path"] for d in asked(DeviceSpec(str(tmp_path), "/dev/mine"))] == ["/dev/mine/deep/zero"]


def test_a_name_in_the_container_is_given_once() -> None:
    found = asked(DeviceSpec("/dev/zero", "/dev/x"), DeviceSpec("/dev/null", "/dev/x"))
    assert [d["minor"] for d in found] == [3]


@pytest.mark.parametrize(
    ("name", "reason"), [("nosuch", "no such file or directory"), ("file", "not a device node")]
)
def test_what_is_no_device(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContainerConfigInvalid, match=f"adding custom device .*{name}.*: {reason}"):
        asked(DeviceSpec(str(tmp_path / name), "/dev/x"))


def test_processors_that_the_host_has() -> None:
    many = len(os.sched_getaffinity(0))
    hostside.check_limits(Limits(nano_cpus=many * 10**9, cpuset_cpus="0", cpuset_mems="0"))
    for limits, reason in (
        (Limits(nano_cpus=10**9 * (many + 1)), rf"range of CPUs is from 0.01 to {many}.00"),
        (Limits(nano_cpus=1), "range of CPUs"),
        (Limits(cpuset_cpus="0-60000"), "Requested CPUs are not available - requested 0-60000"),
        (Limits(cpuset_mems="0,9999"), "Requested memory nodes are not available"),
        (Limits(cpuset_cpus="0-x"), "Invalid value 0-x for cpuset cpus"),
        (Limits(cpuset_cpus="0-99999999999"), "Invalid value"),
    ):
        with pytest.raises((ContainerConfigInvalid, LimitInvalid), match=reason):
            hostside.check_limits(limits)


def test_programs_are_found_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "aardvark-dns"
    monkeypatch.setattr(hostside, "_DNS_PLACES", (str(program),))
    monkeypatch.setattr(hostside, "_INIT_NAMES", ("no-such-init",))
    with pytest.raises(ProgramAbsent, match="need aardvark-dns"):
        hostside.dns_program()
    with pytest.raises(ProgramAbsent, match="--init needs"):
        hostside.init_program()
    program.write_text("")
    program.chmod(0o755)
    assert hostside.dns_program() == str(program)
    monkeypatch.setattr(hostside, "_INIT_NAMES", ("env",))  # which every host has
    assert hostside.init_program() == "/usr/bin/env"


def tree(path: Path) -> Root:
    (path / "etc").mkdir(parents=True)
    return Root.at(path)


def test_a_tree_is_marked_and_what_it_has_stays(tmp_path: Path) -> None:
    with tree(tmp_path / "one") as root:
        assert hostside.unmarked(root) == ["/.dockerenv", "/etc/mtab"]
        hostside.mark(root)
        assert hostside.unmarked(root) == []
    assert os.readlink(tmp_path / "one/etc/mtab") == "/proc/mounts"
    assert stat.S_IMODE((tmp_path / "one/.dockerenv").stat().st_mode) == 0o755
    with tree(tmp_path / "two") as root:
        (tmp_path / "two/etc/mtab").write_text("own")
        (tmp_path / "two/.dockerenv").write_text("own")
        hostside.mark(root)
    assert (tmp_path / "two/etc/mtab").read_text() == (tmp_path / "two/.dockerenv").read_text() == "own"
    (tmp_path / "three").mkdir()
    with Root.at(tmp_path / "three") as root:
        hostside.mark(root)  # without /etc: a file that is not made is no failure
    assert os.listdir(tmp_path / "three") == [".dockerenv"]


def test_links_give_way_to_files_and_lead_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    with tree(tmp_path / "tree") as root:
        (tmp_path / "tree/etc/hosts").symlink_to(outside)
        (tmp_path / "tree/etc/hostname").write_text("h")
        targets = ["/etc/hosts", "/etc/hostname", "/etc/nosuch"]
        assert hostside.links(root, targets) == ["/etc/hosts"]
        hostside.replace_links(root, ["/etc/hosts"])
    assert not (tmp_path / "tree/etc/hosts").is_symlink()
    assert (tmp_path / "tree/etc/hosts").read_text() == "" and outside.read_text() == "the host's"


def test_an_empty_volume_is_filled_and_a_full_one_is_not(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    with tree(tmp_path / "tree") as root:
        source = tmp_path / "tree/data"
        (source / "deep").mkdir(parents=True)
        (source / "deep/f").write_text("content")
        source.chmod(0o711)
        hostside.fill_volume(root, "/nosuch", volume)
        assert os.listdir(volume) == []
        hostside.fill_volume(root, "/data", volume)
        assert (volume / "deep/f").read_text() == "content"
        assert stat.S_IMODE(volume.stat().st_mode) == 0o711
        (volume / "deep/f").write_text("changed")
        hostside.fill_volume(root, "/data", volume)
    assert (volume / "deep/f").read_text() == "changed"


def test_proxies_of_dockers_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert hostside.client_proxies(path, []) == []
    path.write_text("{}")
    assert hostside.client_proxies(path, []) == []
    chosen = {"httpProxy": "http://p:1", "noProxy": "local"}
    path.write_text(json.dumps({"proxies": {"default": chosen}}))
    assert hostside.client_proxies(path, ["http_proxy=mine"]) == [
        "HTTP_PROXY=http://p:1",
        "NO_PROXY=local",
        "no_proxy=local",
    ]
    for text in (
        '{"proxies": 1}',
        '{"proxies": {"default": [1]}}',
        '{"proxies": {"default": {"noProxy": 1}}}',
        '{"proxies"',
        '["proxies"]',
        '{"proxies":' + "[" * 100_000,
    ):
        path.write_text(text)
        with pytest.raises(ContainerConfigInvalid, match="is not a valid configuration file"):
            hostside.client_proxies(path, [])


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xff")
    assert hostside.read_text(str(tmp_path / "f")) == "a�" and hostside.read_text(str(tmp_path / "g")) == ""


def test_limits_of_real_time_need_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from boxwright.container.spec import resources_of

    limits = Limits(cpu_rt_period=1000, cpu_rt_runtime=500)
    monkeypatch.setattr("boxwright.runtime.host.limits_realtime", lambda: True)
    hostside.check_limits(limits)
    assert resources_of(limits) == {"cpu": {"realtimePeriod": 1000, "realtimeRuntime": 500}}
    monkeypatch.setattr("boxwright.runtime.host.limits_realtime", lambda: False)
    with pytest.raises(ContainerConfigInvalid, match="Your kernel does not support CPU real-time scheduler"):
        hostside.check_limits(Limits(cpu_rt_runtime=1))
    with pytest.raises(LimitInvalid, match="runtime cannot be higher than cpu real-time period"):
        resources_of(Limits(cpu_rt_period=1, cpu_rt_runtime=2))
