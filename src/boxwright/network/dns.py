"""Names on user networks: entries for aardvark-dns, which listens at each network's gateway.

    DIRECTORY/<id of the network>  first line: addresses to listen at; then `id  IPv4  IPv6  names` a container
    DIRECTORY/aardvark.pid         the server, told by SIGHUP to read again; it ends by itself when no network is left

The file of an internal network ends in %int: from aardvark-dns 1.11 on, the server answers for its names only, and asks
no other server (containers/aardvark-dns#447). Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import fcntl
import os

from boxwright.network.values import host_name, identity, ipv4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SIGHUP = 1
_INTERNAL = "%int"
ENTRY = ("id", "internal", "gateway", "address", "names")  # of an endpoint: what `register` wants to know


def register(plan: dict[str, Any]) -> None:
    """Make a container's names known. `plan`: directory, program, id, entries (`ENTRY` of each endpoint).

    Raises OSError, Unfit."""
    container = identity(plan["id"])

    def change(directory: str) -> None:
        for entry in plan["entries"]:
            name = identity(entry["id"]) + (_INTERNAL if entry["internal"] else "")
            names = ",".join(host_name(text, "network alias") for text in entry["names"])
            lines = [line for line in _read(directory, name)[1:] if line.split(" ", 1)[0] != container]
            lines.append(f"{container} {ipv4(entry['address'])}  {names}")
            _write(directory, name, [ipv4(entry["gateway"]), *lines])

    _locked(plan, change)
    _reload(plan["directory"], plan["program"], start=True)


def unregister(plan: dict[str, Any]) -> None:
    """Forget them; idempotent. Of the entries only `id` is looked at. Raises OSError, Unfit."""
    container = identity(plan["id"])

    def change(directory: str) -> None:
        short = [identity(entry["id"]) for entry in plan["entries"]]
        for name in [text + ending for text in short for ending in ("", _INTERNAL)]:
            lines = _read(directory, name)
            kept = [line for line in lines[1:] if line.split(" ", 1)[0] != container]
            if kept:
                _write(directory, name, [lines[0], *kept])
            elif lines:
                os.unlink(f"{directory}/{name}")

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
