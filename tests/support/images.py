"""Base images for tests with real containers, made from the host's static busybox."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from functools import cache

BUSYBOX = "/bin/busybox"


def have_busybox() -> bool:
    """Whether the static busybox is installed (Debian: busybox-static)."""
    return os.access(BUSYBOX, os.X_OK)


@cache
def busybox_tar() -> bytes:
    """A root file system: busybox with all its applets, users root, daemon and app, a world-writable /tmp."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(
            name: str,
            *,
            data: bytes | None = None,
            link: str = "",
            mode: int = 0o755,
            kind: bytes = tarfile.REGTYPE,
        ) -> None:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, 1_700_000_000
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            elif data is None:
                info.type = tarfile.DIRTYPE
            else:
                info.type, info.size = kind, len(data)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)

        for directory in (
            "bin",
            "etc",
            "home",
            "home/app",
            "root",
            "usr",
            "usr/bin",
            "var",
            "var/lib",
            "var/lib/data",
            "opt",
        ):
            add(directory, mode=0o700 if directory == "root" else 0o755)
        add("tmp", mode=0o1777)
        with open(BUSYBOX, "rb") as file:
            add("bin/busybox", data=file.read())
        for applet in applets:
            if applet != "busybox":
                add(f"bin/{applet}", link="busybox")
        add(
            "etc/passwd",
            data=b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\napp:x:1000:1000::/home/app:/bin/sh\n",
            mode=0o644,
        )
        add("etc/group", data=b"root:x:0:\ndaemon:x:1:\nwheel:x:10:app\napp:x:1000:\n", mode=0o644)
        add("var/lib/data/seed", data=b"from the image\n", mode=0o640)
        add("etc/motd", data=b"hello\n", mode=0o644)
    return out.getvalue()
