"""Current releases of the peers (`make peers`), for the tests and for `bench`, before the distribution's."""

from __future__ import annotations

import os
from pathlib import Path


def fetched() -> Path | None:
    """Where the peers are; None when they were not fetched."""
    peers = Path(os.environ.get("PEERS") or Path.home() / ".cache/boxwright-peers").absolute()
    return peers if (peers / "versions").exists() else None


def use() -> None:
    """Put them first on the PATH, when there are any.

    Most are started in a mount namespace of their own, which needs root: an ordinary user gets those that run anywhere.
    """
    peers = fetched()
    if not peers:
        return
    os.environ["PEERS"] = str(peers)  # whatever becomes of HOME
    programs = [str(peers / "sbin")] if os.geteuid() == 0 else []
    programs.append(str(peers / "bin"))
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*programs, *(p for p in path if p not in programs)])
