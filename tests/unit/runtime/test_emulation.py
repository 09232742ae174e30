"""Which platforms run here, and what is missing when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.runtime.emulation import EmulationMissing, check_emulation
from boxwright.spec.platform import Platform

AMD64 = Platform.parse("linux/amd64")
ENTRY = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {}\noffset 0\nmagic 7f45\n"


@pytest.mark.parametrize(
    ("platform", "here"),
    [("linux/amd64/v3", "linux/amd64"), ("linux/386", "linux/amd64"), ("linux/arm64", "linux/arm64")],
)
def test_native(tmp_path: Path, platform: str, here: str) -> None:
    check_emulation(Platform.parse(platform), of=Platform.parse(here), folder=tmp_path)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "binfmt_misc is not mounted"),
        ({"status": "enabled"}, "no emulator for aarch64 is registered"),
        ({"status": "enabled", "qemu-aarch64": "disabled\n"}, "is switched off"),
        ({"status": "enabled", "qemu-aarch64": ENTRY.format("OC")}, "without the flag F"),
        ({"status": "enabled", "qemu-aarch64": ENTRY.format("OCF")}, ""),
        ({"status": "enabled", "qemu-aarch64_be": ENTRY.format("F")}, "no emulator for aarch64"),
    ],
)
def test_arm64_on_amd64(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if not says:
        check_emulation(Platform.parse("linux/arm64"), of=AMD64, folder=tmp_path)
        return
    with pytest.raises(EmulationMissing, match=says) as caught:
        check_emulation(Platform.parse("linux/arm64"), of=AMD64, folder=tmp_path)
    assert caught.value.hint


def test_other_systems(tmp_path: Path) -> None:
    with pytest.raises(EmulationMissing, match="linux programs only"):
        check_emulation(Platform.parse("windows/amd64"), of=AMD64, folder=tmp_path)
