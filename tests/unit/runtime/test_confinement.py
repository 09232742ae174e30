"""What AppArmor and SELinux confine, on hosts that have them and on those that have not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxwright.container.options import OptionInvalid, parse_security
from boxwright.runtime import confinement
from boxwright.runtime.adapt import adapt
from boxwright.runtime.confinement import Confinement, ProfileMissing, confine, profile_text, without_effect
from boxwright.runtime.oci import Runtime
from boxwright.spec import runtimespec as rs


def host(tmp_path: Path, *, apparmor: str = "", selinux: bool = False) -> str:
    """The root directory of a host whose kernel has these."""
    if apparmor:
        for name in ("sys/module/apparmor/parameters", "sys/kernel/security/apparmor"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "sys/module/apparmor/parameters/enabled").write_text("Y\n")
        (tmp_path / "sys/kernel/security/apparmor/profiles").write_text(apparmor)
    if selinux:
        for name in ("sys/fs/selinux", "etc/selinux/targeted/contexts"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "sys/fs/selinux/enforce").write_text("1")
        (tmp_path / "etc/selinux/targeted/contexts/lxc_contexts").write_text(
            'process = "system_u:system_r:container_t:s0"\nfile = "system_u:object_r:container_file_t:s0"\n'
        )
    return f"{tmp_path}/"


LOADED = "boxwright-default (enforce)\nmy profile (enforce)\n"


@pytest.mark.parametrize(
    ("options", "privileged", "profile"),
    [
        ((), False, "boxwright-default"),
        ((), True, "unconfined"),
        (("apparmor=unconfined",), False, "unconfined"),
        (("apparmor=my profile",), False, "my profile"),
        (("apparmor=my profile",), True, "my profile"),
    ],
)
def test_apparmor(tmp_path: Path, options: tuple[str, ...], privileged: bool, profile: str) -> None:
    top = host(tmp_path, apparmor=LOADED)
    assert confine(options, "id", privileged=privileged, top=top) == Confinement(profile)
    assert without_effect(options, top) == []


def test_a_profile_that_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = host(tmp_path, apparmor="other (enforce)\n")
    with pytest.raises(ProfileMissing, match="'nosuch' is not loaded"):
        confine(("apparmor=nosuch",), "id", top=top)
    given: list[bytes] = []
    monkeypatch.setattr(confinement, "run", lambda argv, *, input, timeout: given.append(input))
    assert confine((), "id", top=top).apparmor == "boxwright-default"
    assert given == [profile_text().encode()]


def test_the_default_profile() -> None:
    text = profile_text("p")
    assert "profile p flags=(attach_disconnected,mediate_deleted) {\n  #include <abstractions/base>\n" in text
    for rule in (
        "deny mount,",
        "deny @{PROC}/sysrq-trigger rwklx,",
        "signal (send,receive) peer=p,",
        "deny /sys/firmware/** rwklx,",
    ):
        assert f"  {rule}\n" in text


def test_selinux(tmp_path: Path) -> None:
    top = host(tmp_path, selinux=True)
    assert confine((), "a", top=top) == Confinement()
    assert confine(("label=disable",), "a", top=top) == Confinement()
    assert confine(
        ("label=type:x_t", "label=level:s0:c1,c2", "label=filetype:y_t"), "a", top=top
    ) == Confinement("", "system_u:system_r:x_t:s0:c1,c2", "system_u:object_r:y_t:s0:c1,c2")
    one, other = (confine(("label=type:x_t",), identity, top=top).process_label for identity in ("a", "b"))
    assert one != other


def test_what_has_no_effect_is_said(tmp_path: Path) -> None:
    top = f"{tmp_path}/"
    options = (
        "apparmor=mine",
        "label=type:x_t",
        "apparmor=unconfined",
        "label=disable",
        "seccomp=unconfined",
    )
    assert without_effect(options, top) == [
        "AppArmor is not enabled on this host: --security-opt apparmor=mine has no effect",
        "SELinux is not enabled on this host: --security-opt label=type:x_t has no effect",
    ]
    assert confine(options, "id", top=top) == Confinement()


@pytest.mark.parametrize("text", ["label=x", "label=type:", "no-new-privileges=perhaps", "nosuch=1"])
def test_options_that_mean_nothing(text: str) -> None:
    with pytest.raises(OptionInvalid, match="Invalid --security-opt"):
        parse_security([text])


@pytest.mark.parametrize(
    ("name", "version", "mounted"),
    [("crun", "1.8.1", True), ("crun", "1.28", False), ("runc", "1.1.5", False)],
)
def test_readonly_paths_keep_the_flags_of_proc(
    name: str, version: str, mounted: bool, tmp_path: Path
) -> None:
    config = rs.RuntimeConfig(root="/r", process=rs.ProcessSpec(argv=["sh"]).json()).json()
    found, _ = adapt(Runtime(name, "/bin/sh", version, tmp_path), config)
    binds = [m for m in found["mounts"] if m["destination"] == "/proc/sys"]
    assert ("/proc/sys" in found["linux"]["readonlyPaths"]) is not mounted
    assert [set(m["options"]) >= {"ro", "nosuid", "nodev", "noexec"} for m in binds] == [True] * mounted


def labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is labelled, by the path that leads there."""
    found: dict[str, bytes] = {}

    def record(path: str, name: str, value: bytes, *, follow_symlinks: bool = True) -> None:
        assert name == "security.selinux" and not follow_symlinks
        directory, _, last = path.rpartition("/")
        found[f"{os.path.realpath(directory)}/{last}"] = value

    monkeypatch.setattr(os, "setxattr", record)
    return found


LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("shared", "value"),
    [(True, b"system_u:object_r:container_file_t:s0\0"), (False, LABEL.encode() + b"\0")],
)
def test_a_tree_is_labelled_and_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool, value: bytes
) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d/f").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (top / "l").symlink_to(tmp_path / "outside")
    found = labels(monkeypatch)
    (tmp_path / "way").symlink_to(top)  # a mount of it is one of where it leads
    confinement.relabel(str(tmp_path / "way"), LABEL, shared=shared)
    assert found == dict.fromkeys((f"{top}", f"{top}/d", f"{top}/d/f", f"{top}/l"), value)


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/", "/var/../etc", "/home", "//", "//etc", "/usr/../bin"])
def test_the_hosts_own_directories_keep_their_labels(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = labels(monkeypatch)
    with pytest.raises(confinement.RelabelRefused, match=r"^SELinux relabeling of /[\w/]* is not allowed$"):
        confinement.relabel(path, LABEL, shared=True)
    assert found == {}


def test_a_link_to_one_of_them_is_no_way_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("/etc")
    found = labels(monkeypatch)
    with pytest.raises(confinement.RelabelRefused, match=r"^SELinux relabeling of /etc is not allowed$"):
        confinement.relabel(str(tmp_path / "link"), LABEL, shared=False)
    assert found == {}
