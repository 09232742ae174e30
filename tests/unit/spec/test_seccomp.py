"""Compiling Docker's seccomp profiles."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from boxwright.spec.runtimespec import CAPABILITIES, DEFAULT_CAPABILITIES
from boxwright.spec.seccomp import (
    ProfileInvalid,
    compile_profile,
    default_profile,
    parse_profile,
)


def compiled(
    capabilities: Any = DEFAULT_CAPABILITIES, architecture: str = "amd64", kernel: tuple[int, int] = (6, 1)
) -> dict[str, Any]:
    return compile_profile(
        default_profile(), capabilities=capabilities, architecture=architecture, kernel=kernel
    )


def actions(profile: dict[str, Any], name: str) -> list[str]:
    return [rule["action"] for rule in profile["syscalls"] if name in rule["names"]]


def test_the_default_profile() -> None:
    profile = compiled()
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    for allowed in ("read", "openat2", "chroot", "arch_prctl", "ptrace"):
        assert actions(profile, allowed) == ["SCMP_ACT_ALLOW"], allowed
    for refused in ("mount", "bpf", "reboot", "keyctl", "io_uring_setup", "unshare", "s390_runtime_instr"):
        assert actions(profile, refused) == [], refused
    (clone3,) = [rule for rule in profile["syscalls"] if rule["names"] == ["clone3"]]
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert all(set(rule) <= {"names", "action", "errnoRet", "args"} for rule in profile["syscalls"])


def test_capabilities_open_doors() -> None:
    profile = compiled(CAPABILITIES)
    assert actions(profile, "mount") == ["SCMP_ACT_ALLOW"]
    assert actions(profile, "clone3") == ["SCMP_ACT_ALLOW"]
    assert "SCMP_ACT_ALLOW" in actions(compiled(["CAP_BPF"]), "bpf")
    assert actions(compiled([]), "chroot") == []


def test_architectures_and_kernels() -> None:
    assert compiled(architecture="arm64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert actions(compiled(architecture="arm64"), "arch_prctl") == []
    assert actions(compiled(architecture="s390x"), "s390_runtime_instr") == ["SCMP_ACT_ALLOW"]
    assert actions(compiled(kernel=(4, 7)), "ptrace") == []
    assert (
        "architectures" not in compiled(architecture="ppc64le")
        or compiled(architecture="ppc64le")["architectures"]
    )


def test_the_data_is_sound() -> None:
    profile = default_profile()
    assert "Apache-2.0" in profile["comment"]
    names = [name for rule in profile["syscalls"] for name in rule["names"]]
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    assert len(set(profile["syscalls"][0]["names"])) == len(profile["syscalls"][0]["names"]) > 350


def test_a_profile_of_the_user() -> None:
    profile = parse_profile(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"name": "chmod", "action": "SCMP_ACT_ERRNO", "args": []}],
            }
        )
    )
    out = compile_profile(profile, capabilities=(), architecture="amd64", kernel=(6, 1))
    assert out == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"action": "SCMP_ACT_ERRNO", "names": ["chmod"]}],
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"syscalls": 1}', '{"archMap": [1], "architectures": ["x"]}']
)
def test_broken_profiles(text: str) -> None:
    with pytest.raises(ProfileInvalid):
        parse_profile(text)


def test_broken_rules() -> None:
    for rule in (
        {"action": "SCMP_ACT_ALLOW"},
        {"names": ["x"]},
        {"names": ["x"], "action": "y", "includes": {"minKernel": "new"}},
    ):
        with pytest.raises(ProfileInvalid):
            compile_profile({"syscalls": [rule]}, capabilities=(), architecture="amd64", kernel=(6, 1))
