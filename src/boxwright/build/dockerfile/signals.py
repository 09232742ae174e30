"""Signal names as STOPSIGNAL, `stop` and `kill` take them."""

from __future__ import annotations

import re

from boxwright.build.dockerfile.errors import DockerfileError

_RTMIN, _RTMAX = 34, 64
_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP "
    "TTIN TTOU URG XCPU XFSZ "
    "VTALRM PROF WINCH IO PWR SYS"
).split()
SIGNALS = {name: number for number, name in enumerate(_NAMES, 1)} | {"IOT": 6, "CLD": 17, "POLL": 29}


def check_signal(text: str) -> int:
    """The number of `SIGTERM`, `term`, `15`, `RTMIN+3`. Raises DockerfileError (`invalid signal: …`)."""
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        if number := int(text):
            return number
        raise DockerfileError(f"invalid signal: {text}")
    name = text.upper().removeprefix("SIG")
    if name in SIGNALS:
        return SIGNALS[name]
    real_time = re.fullmatch(r"RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?", name)
    if real_time is not None:
        number = _RTMIN if real_time[1] == "MIN" else _RTMAX
        if real_time[2]:
            number += int(real_time[2] + real_time[3])
        if _RTMIN <= number <= _RTMAX and real_time[2] != ("-" if real_time[1] == "MIN" else "+"):
            return number
    raise DockerfileError(f"invalid signal: {text}")
