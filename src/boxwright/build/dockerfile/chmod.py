"""`--chmod` values: octal, or chmod(1)'s symbolic form with umask 0."""

from __future__ import annotations

import re

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.spec.values import dataclass

_READ, _WRITE, _EXECUTE = 0o444, 0o222, 0o111
_SET_ID, _STICKY = 0o6000, 0o1000
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_ALL = 0o6777
_SHIFT = {"u": 6, "g": 3, "o": 0}
_CLAUSE = r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)"  # these are compiled at their first use
_LONGEST_MODE = 20
_ACTION = r"([-+=])([rwxXstugo]*)"


@dataclass(frozen=True, slots=True)
class Chmod:
    """A change of permissions. `absolute` is set for the octal form and then is the whole new mode."""

    text: str
    absolute: int | None
    actions: tuple[tuple[str, str, str], ...] = ()  # (who, operator, permissions)

    def apply(self, mode: int, *, directory: bool) -> int:
        """The new permission bits (07777) of something that has `mode`."""
        if self.absolute is not None:
            return self.absolute
        old = new = mode & 0o7777
        for who, operator, permissions in self.actions:
            new = _changed(
                mode=new, old=old, directory=directory, who=who, operator=operator, permissions=permissions
            )
        return new


def parse_chmod(text: str) -> Chmod:
    """Read a `--chmod` value. Raises DockerfileError."""
    if text and not text.strip("01234567") and len(text) <= _LONGEST_MODE and int(text, 8) <= 0o7777:
        return Chmod(text, int(text, 8))
    if text[:1].isdecimal():
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    actions: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        match = re.fullmatch(_CLAUSE, clause)
        if match is None:
            hint = "use an octal mode such as 755, or a symbolic one such as u=rwX,go=rX"
            raise DockerfileError(f"invalid chmod parameter: '{text}'. invalid syntax", hint=hint)
        actions += [
            (match[1], operator, permissions) for operator, permissions in re.findall(_ACTION, match[2])
        ]
    return Chmod(text, None, tuple(actions))


def _changed(mode: int, old: int, directory: bool, who: str, operator: str, permissions: str) -> int:
    reach = 0
    for name in who:
        reach |= _WHO[name]
    reach = reach or _ALL
    special = not who or bool(reach & ~0o007)  # `o` alone has neither set-id nor sticky bit
    if "t" in permissions and special:
        reach |= _STICKY
    bits = 0
    for name in permissions:
        if name in _SHIFT:
            # Copies see what the clause has done so far, except that `=` has not cleared yet.
            bits |= (mode >> _SHIFT[name] & 7) * 0o111
        elif name == "X":
            if operator == "-" or directory or old & _EXECUTE:
                bits |= _EXECUTE
        else:
            bits |= (
                {"r": _READ, "w": _WRITE, "x": _EXECUTE, "s": _SET_ID, "t": _STICKY}[name]
                if name not in "st" or special
                else 0
            )
    bits &= reach
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    # Copying (`g=u`) leaves the set-id bits alone, as setmode(3) does.
    cleared = reach & ~_SET_ID if permissions and all(name in _SHIFT for name in permissions) else reach
    return mode & ~cleared | bits
