"""Whether this kernel can run programs of another architecture: binfmt_misc with an interpreter such as qemu.

Sources: Documentation/admin-guide/binfmt-misc.rst; the names under which qemu-user-static and binfmt-support
register (``qemu-aarch64``), and those of tonistiigi/binfmt (the same).
"""

from __future__ import annotations

from pathlib import Path

from boxwright.errors import Unsupported
from boxwright.spec.platform import Platform, host

_QEMU = {
    "amd64": "x86_64",
    "386": "i386",
    "arm64": "aarch64",
    "arm": "arm",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "ppc64": "ppc64",
    "s390x": "s390x",
    "mips64le": "mips64el",
    "mips64": "mips64",
    "mipsle": "mipsel",
    "mips": "mips",
    "loong64": "loongarch64",
    "sparc64": "sparc64",
}
_NATIVE = {("amd64", "386"), ("ppc64le", "ppc64le"), ("s390x", "s390x")}
_FOLDER = Path("/proc/sys/fs/binfmt_misc")


class EmulationMissing(Unsupported):
    """Programs of the image's architecture do not run here."""


def check_emulation(platform: Platform, *, of: Platform | None = None, folder: Path = _FOLDER) -> None:
    """Do nothing when programs of `platform` run on `of` (this machine), else raise EmulationMissing, which says
    what is missing: the kernel's support, an interpreter, or the flag by which containers see it."""
    here = of or host()
    if platform.os != here.os:
        raise EmulationMissing(f"the image is for {platform}; this host runs {here.os} programs only")
    if platform.architecture == here.architecture or (here.architecture, platform.architecture) in _NATIVE:
        return
    if here.architecture == "arm64" and platform.architecture == "arm" and _runs_32_bit(folder):
        return
    wanted = f"the image is for {platform} and this host is {here}"
    name = _QEMU.get(platform.architecture)
    if name is None:
        raise EmulationMissing(
            f"{wanted}; there is no known emulator for it", hint="pull the image for another platform"
        )
    if not (folder / "status").exists():
        raise EmulationMissing(
            f"{wanted}; its programs need emulation, and binfmt_misc is not mounted",
            hint="as root: mount -t binfmt_misc none /proc/sys/fs/binfmt_misc, then install qemu-user-static",
        )
    entry = _entry(folder, name)
    if entry is None:
        raise EmulationMissing(
            f"{wanted}; its programs need emulation, and no emulator for {name} is registered with binfmt_misc",
            hint="install one (Debian: apt-get install qemu-user-static), or pull the image for this host's platform",
        )
    if "enabled" not in entry.split("\n", 1)[0]:
        raise EmulationMissing(
            f"{wanted}; the emulator for {name} is switched off",
            hint=f"as root: echo 1 > {folder}/qemu-{name}",
        )
    flags = next((line.partition(":")[2] for line in entry.splitlines() if line.startswith("flags:")), "")
    if "F" not in flags:
        raise EmulationMissing(
            f"{wanted}; the emulator for {name} is registered without the flag F, so containers cannot see it",
            hint="register it again with --fix-binary yes (Debian's qemu-user-static 1:5 and newer does)",
        )


def _entry(folder: Path, name: str) -> str | None:
    """What binfmt_misc says about an emulator, under any name that ends in the architecture's."""
    try:
        found = [p for p in sorted(folder.iterdir()) if p.name == name or p.name.endswith("-" + name)]
    except OSError:
        return None
    for path in found:
        try:
            return path.read_text()
        except OSError:
            continue
    return None


def _runs_32_bit(folder: Path) -> bool:
    """Most arm64 CPUs run 32-bit programs; those that cannot need the emulator that is registered then."""
    if _entry(folder, "arm") is not None:
        return True
    try:
        return "CPU architecture: 8" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
