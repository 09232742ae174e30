"""firewalld's zones: a bridge of ours is put into `trusted`, as long as firewalld runs and has it in no zone.

In its default zone, to which unknown interfaces belong, firewalld refuses what containers ask of the host (the names of
their neighbours) and of the world. It keeps what is done here until it is loaded anew, and writes it nowhere. What
networks refuse stays refused: that is in tables of ours, which are asked first (`network.firewall`).

Imported by the supervisor: C modules only."""

from __future__ import annotations

import os

from boxwright.network.netlink import INET, Rules
from boxwright.runtime.spawn import SUPERVISORS, locate, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PROGRAM = "firewall-cmd"
_ZONE = "trusted"  # one that every firewalld has, which lets in and passes on
_TABLE, _CHAIN = (
    "firewalld",
    "filter_INPUT_ZONES",
)  # a rule for each interface of a zone, and a last one for all others
TELLS = _TABLE.encode() + b"\0"  # what the kernel says of firewalld's rules has this in it
_NAME = 16  # bytes of an interface's name in a rule: IFNAMSIZ


def trust(bridge: str) -> None:
    """Let in what a bridge's containers ask. Where firewalld does not answer, its default zone decides."""
    if without_zone([bridge]):
        _tell("--add-interface", bridge)


def forget(bridge: str) -> None:
    """The opposite, for a bridge that goes. Idempotent."""
    if _zoned([bridge]):
        _tell("--remove-interface", bridge)


def without_zone(bridges: Iterable[str]) -> list[str]:
    """Those that firewalld has in no zone and could be told of; none where it does not run, or keeps its rules where
    netlink does not list them."""
    bridges = list(bridges)
    known = _zoned(bridges)
    if known is None or not locate(_PROGRAM):
        return []
    return [bridge for bridge in bridges if bridge not in known]


def _zoned(bridges: list[str]) -> list[str] | None:
    """None where firewalld has no rules."""
    try:
        rules = Rules(INET)
    except OSError:
        return None
    try:
        found = rules.chain(_TABLE, _CHAIN)
    except OSError:
        return None
    finally:
        rules.close()
    return (
        [bridge for bridge in bridges if any(bridge.encode().ljust(_NAME, b"\0") in rule for rule in found)]
        if found
        else None
    )


def _tell(what: str, bridge: str) -> None:
    if program := locate(_PROGRAM):
        argv = [program, "--quiet", f"--zone={_ZONE}", f"{what}={bridge}"]
        try:
            os.waitpid(start(program, argv, fds={}, signals=SUPERVISORS), 0)
        except OSError:
            pass
