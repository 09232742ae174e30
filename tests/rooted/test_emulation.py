"""`run` and `build` with `--platform` of another architecture: a program for arm64, by the kernel's binfmt_misc and
qemu."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import support.images
from support import REAL_ROOT
from support.waiting import eventually

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


def arm64_program(text: bytes, code: int = 7) -> bytes:
    """A static ELF file for arm64 that writes a text and ends with a code: write(1, text, n); exit(code)."""

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
        move(0, code),
        call,
    ]
    body = struct.pack("<8I", *words) + text
    base, at = 0x400000, 64 + 56
    size = at + len(body)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 0xB7, 1, base + at, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + body


def boxwright(env: dict[str, str], *words: str, tar: bytes = b"") -> None:
    subprocess.run(
        [sys.executable, "-m", "boxwright", *words], env=env, check=True, capture_output=True, input=tar
    )


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """An image for arm64 on a root of its own; the environment that leads there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, code in (("hello", 7), ("built", 0)):
            program = arm64_program(b"hello from arm64\n", code)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(program), 0o755
            archive.addfile(entry, io.BytesIO(program))
    env = {**os.environ, "BOXWRIGHT_ROOT": str(tmp_path / "root")}
    words = ("import", "--platform", "linux/arm64", "-c", 'CMD ["/hello"]', "-", "foreign")
    boxwright(env, *words, tar=out.getvalue())
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


def emulated(env: dict[str, str], rule: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of ours where the emulator of `rule` is registered, if any, and no other."""
    ours = [sys.executable, "-m", "boxwright", *words]
    done = in_user_namespace(["sh", "-c", IN_ITS_NAMESPACE, "sh", *ours], {**env, "RULE": rule})
    if done.returncode == 77:
        pytest.skip(f"binfmt_misc cannot be used here: {done.stderr.strip()}")
    return done


def run(env: dict[str, str], rule: str) -> subprocess.CompletedProcess[str]:
    """`boxwright run` of the image."""
    words = ("run", "--rm", "--network", "none", "--platform", "linux/arm64", "foreign")
    return emulated(env, rule, *words)


@pytest.mark.skipif(not QEMU, reason="qemu-user-static is not installed")
def test_a_foreign_program_runs(image: dict[str, str]) -> None:
    done = run(image, f":qemu-aarch64:M::{MAGIC}:{MASK}:{QEMU}:OCF")
    assert (done.returncode, done.stdout) == (7, "hello from arm64\n"), done.stderr


def test_without_an_emulator_the_missing_piece_is_named(image: dict[str, str]) -> None:
    done = run(image, "")
    assert done.returncode == 125 and not done.stdout
    assert "no emulator for aarch64 is registered" in done.stderr and "qemu-user-static" in done.stderr


BOTH = """FROM busybox AS base-amd64
RUN printf '#!/bin/sh\\necho hello from amd64\\n' > /built && chmod +x /built
FROM foreign AS base-arm64
FROM base-$TARGETARCH
RUN ["/built"]
"""


@pytest.mark.skipif(not QEMU, reason="qemu-user-static is not installed")
@pytest.mark.skipif(not support.images.have_busybox(), reason="busybox-static is not installed")
def test_one_index_of_steps_that_ran_on_both(image: dict[str, str], tmp_path: Path) -> None:
    boxwright(image, "import", "-", "busybox", tar=support.images.busybox_tar())
    (tmp_path / "Dockerfile").write_text(BOTH)
    words = ["build", "--network=none", "--progress=plain", "--platform=linux/amd64,linux/arm64"]
    words += ["-t", "both", "--metadata-file", str(tmp_path / "meta"), str(tmp_path)]
    rule = f":qemu-aarch64:M::{MAGIC}:{MASK}:{QEMU}:OCF"
    done = emulated(image, rule, *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\[linux/arm64 stage-2 \d/\d\] RUN", done.stderr), done.stderr
    assert all(f" hello from {arch}\n" in done.stderr for arch in ("amd64", "arm64"))
    meta = json.loads((tmp_path / "meta").read_text())
    assert meta["containerimage.descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    again = emulated(image, "", *words)
    assert again.returncode == 0 and again.stderr.count("CACHED") >= 3, again.stderr
    (tmp_path / "Dockerfile").write_text(BOTH.replace("/built", "/hello"))
    missing = emulated(image, "", *words)
    assert missing.returncode == 1 and "no emulator for aarch64 is registered" in missing.stderr
