"""A root with a small image, and the command line run on it as a user would."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from boxwright.engine import Engine
from boxwright.errors import BoxwrightError
from boxwright.settings import load
from support import REAL_ROOT
from support.images import busybox_tar, have_busybox
from support.snapshot import unmount_layers

IMAGE = "busybox"


class Root:
    """`run` is the command line; `engine` the same root in this process."""

    def __init__(self, path: Path, **environ: str) -> None:
        self.path = path
        clean = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("BOXWRIGHT_", "DOCKER_")) and k != "PYTHONDONTWRITEBYTECODE"
        }
        self.environ = {
            **clean,
            "BOXWRIGHT_ROOT": str(path),
            "BOXWRIGHT_TRUST_HOST_CA": "never",
            "DOCKER_CONFIG": str(path / "docker"),
            **environ,
        }
        self.engine = Engine(settings=load(self.environ))

    def start(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        """A command in the background."""
        return subprocess.Popen([sys.executable, "-m", "boxwright", *words], env=self.environ, **more)

    def run(
        self, *words: str, input: str | bytes = b"", check: int | None = 0, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end; fails the test when the exit code is not `check` (None = any)."""
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(
            [sys.executable, "-m", "boxwright", *words],
            env=self.environ,
            input=data,
            capture_output=True,
            timeout=timeout,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert check is None or done.returncode == check, (
            f"boxwright {' '.join(words)}: {done.returncode}\n{out}\n{err}"
        )
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def out(self, *words: str, **more: Any) -> str:
        """What a command prints, stripped."""
        return self.run(*words, **more).stdout.strip()

    def clean(self) -> None:
        """Remove every container, and what networks left on the host."""
        for container in self.engine.containers.list(all=True):
            try:
                self.engine.containers.remove(container, force=True, volumes=True)
            except BoxwrightError:
                self.engine.containers.discard(container)
        for network in self.engine.containers.networks.list():
            self.engine.containers.networks.take_down(network)


@contextmanager
def busybox_root(path: Path, **environ: str) -> Iterator[Root]:
    """A root with the image `busybox`. Skips where real containers cannot be."""
    if not REAL_ROOT:
        pytest.skip("containers need root")
    if not have_busybox():
        pytest.skip("the static busybox is not installed")
    root = Root(path, **environ)
    root.engine.images.import_(io.BytesIO(busybox_tar()), IMAGE, changes=['CMD ["sh"]'])
    try:
        yield root
    finally:
        root.clean()
        unmount_layers(path)
