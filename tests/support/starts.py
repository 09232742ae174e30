"""A container that starts without a kernel's help."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from boxwright.container import frames
from boxwright.container.config import ContainerConfig
from boxwright.container.launch import Launcher
from boxwright.container.session import Session
from boxwright.network.networks import Networks
from boxwright.runtime.oci import Runtime
from support.few import Few, added
from support.mounts import Mounts
from support.scripted import scripted_runtime

ONE = "a1" * 32


def runnable(root: Path) -> Few:
    """Services whose runtime is a script."""
    few: Any = Few(root)
    few.settings = SimpleNamespace(
        runtime_dir=root / "run",
        trust_host_ca="never",
        host_ca_bundle="",
        host_ca_named=False,
        environ={"PATH": "/bin", "SECRET": "x"},
    )
    script = str(scripted_runtime(root))
    few.runtime = Runtime(name="runc", program=script, version="1.1", root=root / "run/runtime")
    few.runtime_for = lambda name: few.runtime
    found: Few = few
    return found


class Start:
    """One container on the host's network, and what starts it: a real supervisor and a runtime that is a script. The
    tree is a directory; `wrong` is why it cannot be mounted. `more` are fields of the config and of the record."""

    def __init__(self, few: Few, *, wrong: str = "", **more: Any) -> None:
        record = {key: more.pop(key) for key in ("merged", "mounts", "fill") if key in more}
        config = ContainerConfig(image="image", network="host", **more).to_json()
        merged = {"Cmd": ["serve"], "Env": ["A=b"], "StdinOnce": False, **record.pop("merged", {})}
        self.few, self.mounts = few, Mounts(wrong)
        self.box = added(few, ONE, "box", config=config, merged=merged, **record)

    def launcher(self, **more: Any) -> Launcher:
        """A new one: it remembers how the last start went."""
        services: Any = self.few
        host: Any = self.mounts
        return Launcher(
            services=services,
            networks=Networks(self.few.root, self.few.db),
            container=self.box,
            find=lambda name: [self.box] if name is None else self.box,
            mounts=host,
            **more,
        )

    def begin(self, program: str = "exec sleep 1000") -> Session:
        """What is told of it while it runs."""
        (self.few.root / "program").write_text(program)
        session = Session.launch()
        try:
            self.launcher().start(session, wants=frames.WANT_LAST_EXIT)
        except BaseException:
            session.close()
            raise
        self.box.refresh()
        return session

    def run(self, program: str = "exit 0") -> int:
        """To its end; the exit code."""
        with self.begin(program) as session:
            code = int(session.expect(frames.EXITED, silence=20)[1]["code"])
            session.drain()
        self.box.refresh()
        return code

    @property
    def bundle(self) -> dict[str, Any]:
        """The config that the runtime was given."""
        found: dict[str, Any] = json.loads((self.box.directory / "config.json").read_text())
        return found

    def target(self, path: str) -> dict[str, Any]:
        """The one mount of the bundle there."""
        (found,) = [mount for mount in self.bundle["mounts"] if mount["destination"] == path]
        return dict(found)
