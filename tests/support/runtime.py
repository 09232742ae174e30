"""A tree that containers can run in, and runtimes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from boxwright.runtime.host import host
from boxwright.runtime.oci import Runtime
from boxwright.runtime.probe import NoRuntime, find_runtime
from boxwright.spec.runtimespec import DEFAULT_PATH, ProcessSpec, RuntimeConfig, capabilities
from support import REAL_ROOT

_PROGRAMS = "sh true false sleep cat echo id ls kill env stty mknod hostname head tr".split()


def busybox_tree(where: Path) -> Path:
    """A root directory with a static busybox. Skips the test when there is none."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    (where / "bin").mkdir(parents=True)
    (where / "etc").mkdir()
    shutil.copy(program, where / "bin/busybox")
    for name in _PROGRAMS:
        (where / "bin" / name).symlink_to("busybox")
    return where


def any_runtime(state: Path) -> Runtime:
    """A runtime that works here, with its containers under `state`. Skips the test when there is none."""
    if not REAL_ROOT:
        pytest.skip("containers need root")
    try:
        return find_runtime(state)
    except NoRuntime as error:
        pytest.skip(str(error))


def container_spec(root: Path, *argv: str, **more: Any) -> dict[str, Any]:
    """A config with Docker's defaults, in the host's network."""
    caps = capabilities(bounding=host().bounding)
    words = ProcessSpec(
        argv=argv,
        env=[f"PATH={DEFAULT_PATH}"],
        capabilities=caps,
        terminal=more.pop("terminal", False),
        uid=more.pop("uid", 0),
    ).json()
    return RuntimeConfig(
        root=str(root), process=words, hostname="test", namespaces={"network": None}, **more
    ).json()
