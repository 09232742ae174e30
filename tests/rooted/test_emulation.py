"""`run --platform` of another architecture: a program for arm64, by the kernel's binfmt_misc and qemu."""

from __future__ import annotations

import io
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support import REAL_ROOT
from support.containers import eventually

QEMU = shutil.which("qemu-aarch64-static") or ""
pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="registering an emulator needs root"),
    pytest.mark.skipif(platform.machine() == "aarch64", reason="nothing to emulate here"),
]
MAGIC = "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
MASK = "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
IN_ITS_NAMESPACE = r"""
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
[ -z "$RULE" ] || printf %s "$RULE" > /proc/sys/fs/binfmt_misc/register || exit 77
exec "$@"
"""
# Everybody is who he is, in two ranges: with one, runtimes take it for no user namespace and want the devices' cgroup.
EVERYBODY = "0 0 65536\n65536 65536 4294901759\n"


def arm64_program(text: bytes) -> bytes:
    """A static ELF file for arm64 that writes a text and ends with 7: write(1, text, n); exit(7)."""

    def move(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    call, after = 0xD4000001, 8 * 4
    words = [
        move(8, 64),
        move(0, 1),
        0x10000001 | (after - 8) // 4 << 5,
        move(2, len(text)),
        call,
        move(8, 93),
        move(0, 7),
        call,
    ]
    code = struct.pack("<8I", *words) + text
    base, at = 0x400000, 64 + 56
    size = at + len(code)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 0xB7, 1, base + at, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """An image for arm64 on a root of its own; the environment that leads there."""
    tar = tmp_path / "arm.tar"
    with tarfile.open(tar, "w") as archive:
        program = arm64_program(b"hello from arm64\n")
        entry = tarfile.TarInfo("hello")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    env = {**os.environ, "BOXWRIGHT_ROOT": str(tmp_path / "root")}
    subprocess.run(
        [
            sys.executable,
            "-m",
            "boxwright",
            "import",
            "--platform",
            "linux/arm64",
            "-c",
            'CMD ["/hello"]',
            str(tar),
            "foreign",
        ],
        env=env,
        check=True,
        capture_output=True,
    )
    return env


def in_user_namespace(argv: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A program in a user namespace, which has emulators of its own (Linux 6.7): the host's stay as they are."""
    with subprocess.Popen(["unshare", "-U", "-m", "-n", "cat"], stdin=subprocess.PIPE) as holder:
        own = os.readlink("/proc/self/ns/user")
        eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != own)
        for kind in ("uid", "gid"):
            Path(f"/proc/{holder.pid}/{kind}_map").write_text(EVERYBODY)
        return subprocess.run(
            ["nsenter", "-t", str(holder.pid), "-U", "-m", "-n", *argv],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )


def run(env: dict[str, str], rule: str) -> subprocess.CompletedProcess[str]:
    """`boxwright run` where the emulator of `rule` is registered, if any, and no other."""
    ours = [
        sys.executable,
        "-m",
        "boxwright",
        "run",
        "--rm",
        "--network",
        "none",
        "--platform",
        "linux/arm64",
        "foreign",
    ]
    done = in_user_namespace(["sh", "-c", IN_ITS_NAMESPACE, "sh", *ours], {**env, "RULE": rule})
    if done.returncode == 77:
        pytest.skip(f"binfmt_misc cannot be used here: {done.stderr.strip()}")
    return done


@pytest.mark.skipif(not QEMU, reason="qemu-user-static is not installed")
def test_a_foreign_program_runs(image: dict[str, str]) -> None:
    done = run(image, f":qemu-aarch64:M::{MAGIC}:{MASK}:{QEMU}:OCF")
    assert (done.returncode, done.stdout) == (7, "hello from arm64\n"), done.stderr


def test_without_an_emulator_the_missing_piece_is_named(image: dict[str, str]) -> None:
    done = run(image, "")
    assert done.returncode == 125 and not done.stdout
    assert "no emulator for aarch64 is registered" in done.stderr and "qemu-user-static" in done.stderr
