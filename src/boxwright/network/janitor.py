"""Takes a bridge down once nobody has used it for a while: roots come and go, and the host has few subnets.

Not at once: `run --rm` in a row would make and remove it each time, at 50 ms. The process is started by whoever
leaves a bridge, unless one waits already (a lock next to the network's says so), and ends when the bridge is gone, or
is in lasting use. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from boxwright.network import firewall
from boxwright.network.netlink import Netlink

_SECONDS, _ROUNDS = 10.0, 3
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from boxwright.network.janitor import main; main(*sys.argv[2:])"
_LOCK_FD = 9
SOURCES = os.path.abspath(__file__).rsplit("/", 3)[0]  # where the process finds this package


def leave(bridge: str, subnet: str, lock: str) -> None:
    """A container has left the bridge. `lock` is the network's lock; a janitor that cannot be started is no failure."""
    try:
        fd = os.open(f"{lock}.{bridge}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        argv = [sys.executable, "-I", "-S", "-c", _CODE, SOURCES, bridge, subnet, lock]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)] + [
            (os.POSIX_SPAWN_DUP2, fd, _LOCK_FD)
        ]
        try:
            os.posix_spawn(
                argv[0],
                argv,
                {"PATH": "/usr/sbin:/usr/bin"},
                setsid=True,
                file_actions=actions,
                setsigdef=[1, 2, 3, 13, 15],
            )
        finally:
            os.close(null)
    except OSError:
        pass
    finally:
        os.close(fd)


def main(bridge: str, subnet: str, lock: str) -> None:
    """The lock is held through descriptor 9."""
    os.set_inheritable(_LOCK_FD, False)
    for _ in range(_ROUNDS):
        time.sleep(_SECONDS)
        if remove_idle(bridge, subnet, lock):
            break


def remove_idle(bridge: str, subnet: str, lock: str) -> bool:
    """Remove the bridge and its rules unless it has ports; whether it is gone. Raises OSError."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # the root was removed: nobody will come back
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    netlink = Netlink()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        links = netlink.links()
        if bridge not in links:
            return True
        index = links[bridge][0]
        if any(master == index for _, master in links.values()):
            return False
        netlink.delete(index)
        firewall.close_network(bridge, subnet)
        return True
    finally:
        netlink.close()
        os.close(fd)
