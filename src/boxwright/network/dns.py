"""Names on user networks: entries for aardvark-dns, which listens at each network's gateway.

    DIRECTORY/<network>    first line: addresses to listen at; then `id  IPv4  IPv6  names` a container
    DIRECTORY/aardvark.pid the server, told by SIGHUP to read again; it ends by itself when no network is left

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SIGHUP = 1


def register(plan: dict[str, Any]) -> None:
    """Make a container's names known. `plan`: directory, program, id, entries of network, gateway, address, names.

    Raises OSError."""

    def change(directory: str) -> None:
        for entry in plan["entries"]:
            lines = [
                line for line in _read(directory, entry["network"])[1:] if line.split(" ", 1)[0] != plan["id"]
            ]
            lines.append(f"{plan['id']} {entry['address']}  {','.join(entry['names'])}")
            _write(directory, entry["network"], [entry["gateway"], *lines])

    _locked(plan, change)
    _reload(plan["directory"], plan["program"], start=True)


def unregister(plan: dict[str, Any]) -> None:
    """Forget them; idempotent. Raises OSError."""

    def change(directory: str) -> None:
        for entry in plan["entries"]:
            lines = _read(directory, entry["network"])
            kept = [line for line in lines[1:] if line.split(" ", 1)[0] != plan["id"]]
            if kept:
                _write(directory, entry["network"], [lines[0], *kept])
            elif lines:
                os.unlink(f"{directory}/{entry['network']}")

    _locked(plan, change)
    _reload(plan["directory"], plan["program"], start=False)


def _locked(plan: dict[str, Any], change: Callable[[str], None]) -> None:
    directory = plan["directory"]
    os.makedirs(directory, 0o700, exist_ok=True)
    fd = os.open(f"{directory}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        change(directory)
    finally:
        os.close(fd)


def _read(directory: str, network: str) -> list[str]:
    try:
        with open(f"{directory}/{network}") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _write(directory: str, network: str, lines: list[str]) -> None:
    # The part lies outside: the server reads every file of the directory.
    part = f"{directory}.{network}.part"
    with open(part, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.rename(part, f"{directory}/{network}")


def _reload(directory: str, program: str, *, start: bool) -> None:
    try:
        with open(f"{directory}/aardvark.pid") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            words = line.read().split(b"\0")
        if directory.encode() in words:
            os.kill(pid, _SIGHUP)
            return
    except (OSError, ValueError):
        pass
    if start:
        argv = [program, "--config", directory, "-p", "53", "run"]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        pid = os.posix_spawn(
            program,
            argv,
            {"PATH": "/usr/sbin:/usr/bin"},
            setsid=True,
            file_actions=actions,
            setsigdef=[1, 2, 3, 13, 15],
        )
        os.close(null)
