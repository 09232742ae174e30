"""Platform spelling and choice (containerd's platforms package is the model)."""

from __future__ import annotations

import pytest

from boxwright.spec.platform import Platform, PlatformInvalid, choose, host


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64"),
        ("riscv64", "linux/riscv64"),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "nonsense", "linux/../x"])
def test_refuses(text: str) -> None:
    with pytest.raises(PlatformInvalid):
        Platform.parse(text)


def test_a_system_alone_takes_the_hosts_architecture() -> None:
    assert Platform.parse("linux").architecture == host().architecture


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm/v6"], 0),
        ("linux/arm64/v9", ["linux/arm64", "linux/arm64/v9"], 1),
        ("linux/arm64", ["linux/arm64/v9"], None),
        ("linux/s390x", ["linux/amd64"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", [], None),
    ],
)
def test_choice(wanted: str, offered: list[str], best: int | None) -> None:
    assert choose(Platform.parse(wanted), [(n, Platform.parse(p)) for n, p in enumerate(offered)]) == best


def test_json_round_trip() -> None:
    platform = Platform("windows", "amd64", "", "10.0.17763.1", ("win32k",))
    assert Platform.from_json(platform.to_json()) == platform
