"""Names on user networks: entries for aardvark-dns, which listens at each network's gateway.

    DIRECTORY/<id of the network>  first line: addresses to listen at; then `id  IPv4  IPv6  names` a container
    DIRECTORY/aardvark.pid         the server, told by SIGHUP to read again; it ends by itself when no network is left
    DIRECTORY.internal/…           the same for internal networks, whose server knows no other server to ask

Aardvark-dns asks no others for a network whose file ends in %int, but from version 1.11 on only
(containers/aardvark-dns #447); the server of internal networks therefore sees an empty resolv.conf. Imported by the
supervisor: C modules only.
"""

from __future__ import annotations

import os
import time

from boxwright.files import locks, whole
from boxwright.files.locks import Lock
from boxwright.network.values import host_name, identity, ipv4, ipv6
from boxwright.runtime.spawn import SUPERVISORS, locate, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from boxwright.network.plan import Endpoint, NameServer

_SIGHUP = 1
_INTERNAL, _ASIDE = "%int", ".internal"
_PID = "aardvark.pid"
_SIGKILL, _PATIENCE = 9, 500  # looks, 2 ms apart
_LOCK_FD = 9


def register(server: NameServer, container: str, endpoints: Iterable[Endpoint]) -> None:
    """Make the names of a container's endpoints known; those without names are passed over.

    Raises OSError, Unfit."""
    container = identity(container)
    named = [endpoint for endpoint in endpoints if endpoint.names]
    for internal in (False, True):
        chosen = [endpoint for endpoint in named if endpoint.internal is internal]
        if not chosen:
            continue
        directory = server.directory + (_ASIDE if internal else "")
        os.makedirs(directory, 0o700, exist_ok=True)
        with Lock.at(locks.NAMES, f"{directory}.lock") as lock:
            for endpoint in chosen:
                name = identity(endpoint.id) + (_INTERNAL if internal else "")
                _add(directory=directory, name=name, container=container, endpoint=endpoint)
            running = _server(directory)
            if running:
                os.kill(running, _SIGHUP)
            else:
                _start(directory, server.program, lock.fd, internal=internal)


def _add(directory: str, name: str, container: str, endpoint: Endpoint) -> None:
    names = ",".join(host_name(text, "network alias") for text in endpoint.names)
    lines = [line for line in _read(directory, name)[1:] if line.split(" ", 1)[0] != container]
    four = ipv4(endpoint.address) if endpoint.address else ""
    six = ipv6(endpoint.address6) if endpoint.address6 else ""
    lines.append(f"{container} {four} {six} {names}")
    _write(directory, name, [",".join(gateway for gateway, _ in endpoint.plumbing().gateways), *lines])


def unregister(directory: str, container: str, networks: Iterable[str]) -> None:
    """Forget a container's names on networks, which are given by their ids; idempotent. `directory` is the name
    server's. Raises OSError, Unfit."""
    container = identity(container)
    networks = [identity(network) for network in networks]
    for place, ending in ((directory, ""), (directory + _ASIDE, _INTERNAL)):
        if not os.path.isdir(place):
            continue
        with Lock.at(locks.NAMES, f"{place}.lock"):
            for network in networks:
                _drop(place, network + ending, container)
            server = _server(place)
            if server and set(os.listdir(place)) == {_PID}:
                _end(server, f"{place}/{_PID}")
            elif server:
                os.kill(server, _SIGHUP)


def _drop(directory: str, name: str, container: str) -> None:
    lines = _read(directory, name)
    kept = [line for line in lines[1:] if line.split(" ", 1)[0] != container]
    if kept:
        _write(directory, name, [lines[0], *kept])
    elif lines:
        os.unlink(f"{directory}/{name}")


def _read(directory: str, network: str) -> list[str]:
    try:
        with open(f"{directory}/{network}") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _write(directory: str, network: str, lines: list[str]) -> None:
    # The part lies outside: the server reads every file of the directory.
    whole.replace(
        f"{directory}/{network}",
        ("\n".join(lines) + "\n").encode(),
        sync=False,
        temporary=f"{directory}.{network}.part",
    )


def _server(directory: str) -> int:
    """The server's process id, or 0."""
    try:
        with open(f"{directory}/{_PID}") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return pid if directory.encode() in line.read().split(b"\0") else 0
    except (OSError, ValueError):
        return 0


def _end(server: int, file: str) -> None:
    # It would end by itself, but after another container might have found it.
    os.kill(server, _SIGKILL)
    for _ in range(_PATIENCE):
        if not os.path.exists(f"/proc/{server}"):
            break
        time.sleep(0.002)
    os.unlink(file)


def _start(directory: str, program: str, lock: int, *, internal: bool) -> None:
    """The shell holds the lock until the server serves, which it shows by leaving the foreground. Another process that
    wants the lock waits for that; this one need not."""
    begin = f'"$@" {_LOCK_FD}>&-'
    argv = ["sh", "-c", begin, "sh", program, "--config", directory, "-p", "53", "run"]
    if internal:
        # Without the mount there is no server: names are then unknown, and nothing is asked of others.
        argv[2] = f"mount --bind /dev/null /etc/resolv.conf && {begin}"
        argv[:0] = ["unshare", "--mount"]
    start(locate(argv[0]) or argv[0], argv, fds={_LOCK_FD: lock}, new_session=True, signals=SUPERVISORS)
