"""Users and groups of an image: what ``USER``, ``--user`` and ``--chown`` mean in its /etc/passwd and /etc/group.

The rules are Docker's (moby/sys user.GetExecUser): a name must exist, a number need not; explicit groups leave the
supplementary ones out.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # `typing` takes 3 ms

_PASSWD, _GROUP = "/etc/passwd", "/etc/group"
_MOST = (1 << 31) - 1


class UserUnknown(Invalid):
    """The image has no such user or group, or the number is out of range."""


class Readable(Protocol):
    """A tree whose files can be read: `rootfs.root.Root`, `layer.view.LayersView`."""

    def read(self, path: str, limit: int = ...) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """`extra_gids` is what Docker passes as additional groups: the user's own group first."""

    uid: int = 0
    gid: int = 0
    extra_gids: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Passwd:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(tree: Readable, spec: str, groups: tuple[str, ...] = ()) -> ProcessUser:
    """The user that ``name|uid[:group|gid]`` means, '' being root; `groups` are those of ``--group-add``.

    Raises UserUnknown with Docker's words.
    """
    wanted, _, wanted_group = spec.partition(":")
    number = _number(wanted)
    entry = next(
        (
            u
            for u in _passwd(tree)
            if (u.uid == 0 if not wanted else u.uid == number if number is not None else u.name == wanted)
        ),
        None,
    )
    if entry is None and wanted and number is None:
        raise UserUnknown(f"unable to find user {wanted}: no matching entries in passwd file")
    uid = entry.uid if entry else _in_range(number or 0)
    gid = entry.gid if entry else 0
    extra: list[int] = []
    known = list(_groups(tree)) if wanted_group or entry or groups else []
    if wanted_group:
        gid = _group(known, wanted_group)
    elif entry:
        extra = [g.gid for g in known if entry.name in g.members]
    for added in (_group(known, name) for name in groups):
        if added not in (gid, *extra):
            extra.append(added)
    return ProcessUser(
        uid=uid,
        gid=gid,
        extra_gids=(gid, *extra),
        home=entry.home if entry and entry.home else "/",
        name=entry.name if entry else "",
    )


def _group(groups: list[_Group], wanted: str) -> int:
    number = _number(wanted)
    for group in groups:
        if group.gid == number if number is not None else group.name == wanted:
            return group.gid
    if number is None:
        raise UserUnknown(f"unable to find group {wanted}: no matching entries in group file")
    return _in_range(number)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-").removeprefix("+")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _in_range(value: int) -> int:
    if not 0 <= value <= _MOST:
        raise UserUnknown(f"uids and gids must be in range 0-{_MOST}")
    return value


def _lines(tree: Readable, path: str) -> Iterator[list[str]]:
    for line in (tree.read(path) or b"").decode(errors="surrogateescape").splitlines():
        line = line.strip()
        if line:
            yield line.split(":")


def _passwd(tree: Readable) -> Iterator[_Passwd]:
    for fields in _lines(tree, _PASSWD):
        fields += [""] * (7 - len(fields))
        yield _Passwd(
            name=fields[0], uid=_number(fields[2]) or 0, gid=_number(fields[3]) or 0, home=fields[5]
        )


def _groups(tree: Readable) -> Iterator[_Group]:
    for fields in _lines(tree, _GROUP):
        fields += [""] * (4 - len(fields))
        yield _Group(fields[0], _number(fields[2]) or 0, tuple(m for m in fields[3].split(",") if m))
