"""User namespaces whose root has no rights on the host: which users of the host they take, and how one is made.

The users come from ``/etc/subuid`` (those of ``boxwright``, then of ``root``), else from a range that distributions
leave free. Numbers inside begin at 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Unsupported
from boxwright.runtime.process import PIPE, Stdio, spawn
from boxwright.spec.values import dataclass

SIZE = 65536  # users of one namespace: all that an ordinary image has
DEFAULT_BASE = (
    28992 * SIZE
)  # 1 900 019 712: above the ranges of systemd-nspawn and of useradd's subordinate users
_NAMES = ("boxwright", "root")
_LAST = (1 << 32) - 2


class NoUserNamespace(Unsupported):
    """This host gives no user namespace in which a step could run."""


@dataclass(frozen=True, slots=True)
class Subordinate:
    """Users (and groups, of the same numbers) of the host that stand for those of a namespace: `base` is its root."""

    base: int = DEFAULT_BASE
    size: int = SIZE

    def mappings(self) -> list[dict[str, int]]:
        """As `linux.uidMappings` of an OCI config has it."""
        return [{"containerID": 0, "hostID": self.base, "size": self.size}]

    def host(self, number: int) -> int:
        """Who on the host is this user of the namespace. Raises NoUserNamespace when it has none."""
        if not 0 <= number < self.size:
            raise NoUserNamespace(
                f"user or group {number} does not exist in a user namespace of {self.size}",
                hint="run the step as a user below that, or with the host's root",
            )
        return self.base + number


def subordinate(uids: Path = Path("/etc/subuid"), gids: Path = Path("/etc/subgid")) -> Subordinate:
    """The range of this host: the first of `_NAMES` that has enough users, and groups of the same numbers."""
    groups = _ranges(gids)
    for owner, base, count in _ranges(uids):
        if count >= SIZE and (owner, base) in {(o, b) for o, b, c in groups if c >= SIZE}:
            return Subordinate(base)
    return Subordinate()


def _ranges(path: Path) -> list[tuple[str, int, int]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        base, _, count = rest.partition(":")
        numbers = base.isascii() and base.isdigit() and count.isascii() and count.isdigit()
        # A range that begins with the host's own users would not be one without rights on it.
        if owner in _NAMES and numbers and int(base) >= SIZE and int(base) + int(count) <= _LAST:
            found.append((owner, int(base), int(count)))
    return sorted(found, key=lambda entry: _NAMES.index(entry[0]))


@contextmanager
def namespace(users: Subordinate) -> Iterator[int]:
    """A descriptor of a user namespace with this mapping, for mounts that are to be seen through it. Raises
    NoUserNamespace."""
    process = spawn(
        ["unshare", "--user", "--", "sh", "-c", "echo; read -r _"], stdio=Stdio(stdin=PIPE, stdout=PIPE)
    )
    try:
        if not os.read(process.stdout, 1):
            raise NoUserNamespace(
                "this host does not make user namespaces", hint="see sysctl user.max_user_namespaces"
            )
        for kind in ("uid", "gid"):
            Path(f"/proc/{process.pid}/{kind}_map").write_text(f"0 {users.base} {users.size}\n")
        fd = os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoUserNamespace(
            f"cannot map users {users.base} to {users.base + users.size - 1}: {error.strerror}"
        ) from error
    finally:
        process.close()
        process.wait()
    try:
        yield fd
    finally:
        os.close(fd)
