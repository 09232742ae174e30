"""Takes a bridge down once no container has used it for a while: roots come and go, and the host has few subnets.

Not at once: `run --rm` in a row would make and remove it each time, at 50 ms. The process is started by the command
that leaves a bridge, unless one waits already (a lock next to the network's says so), and ends, its lock's file with
it, when the bridge is gone, or is in lasting use. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import os
import sys
import time

from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.network.bridge import remove_idle
from boxwright.network.values import Plumbing
from boxwright.runtime.spawn import SUPERVISORS, start

_SECONDS, _ROUNDS = 10.0, 3
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from boxwright.network.janitor import main; main(*sys.argv[2:])"
_LOCK_FD = 9
SOURCES = os.path.abspath(__file__).rsplit("/", 3)[0]  # where the process finds this package


def leave(network: Plumbing, lock: str) -> None:
    """A container has left the network. `lock` is the lock of the root's networks; a janitor that cannot be started is
    no failure."""
    try:
        waiting = _wait_alone(f"{lock}.{network.bridge}")
    except OSError:  # one waits already, or the root is gone
        return
    try:
        argv = [sys.executable, "-I", "-S", "-c", _CODE, SOURCES, lock]
        argv += [
            network.id,
            network.bridge,
            network.subnet,
            network.gateway,
            network.subnet6,
            network.gateway6,
        ]
        start(argv[0], argv, fds={_LOCK_FD: waiting.fd}, new_session=True, signals=SUPERVISORS)
    except OSError:
        pass
    finally:
        waiting.close()


def _wait_alone(path: str) -> Lock:
    while True:
        waiting = Lock.at(locks.JANITOR, path, wait=False)
        if waiting.is_at(path):
            return waiting
        waiting.close()  # of a janitor that has just ended


def main(lock: str, identity: str, bridge: str, *blocks: str) -> None:
    """`blocks` are subnet and gateway of IPv4, then of IPv6. The janitor's own lock is held through descriptor 9."""
    network = Plumbing(identity, bridge, *blocks)
    os.set_inheritable(_LOCK_FD, False)
    for _ in range(_ROUNDS):
        time.sleep(_SECONDS)
        if remove_idle(network, lock):
            break
    try:
        if os.path.samestat(os.fstat(_LOCK_FD), os.stat(own := f"{lock}.{bridge}")):
            os.unlink(own)
    except OSError:  # the network was removed, or the root
        pass
