"""Modules that are imported later are the real ones when they are needed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading
from boxwright.cli.startup import hurry
hurry()
import inspect, dataclasses, copy
assert type(inspect).__name__ == "_Later" and "ast" not in sys.modules

@dataclasses.dataclass(frozen=True)
class Documented:
    "It has a docstring."
    a: int

assert "ast" not in sys.modules or sys.version_info >= (3, 13), "a documented class needs no inspect"

@dataclasses.dataclass
class Plain:
    a: int = 1

assert Plain.__doc__ == "Plain(a: int = 1)"
assert "ast" in sys.modules
from inspect import signature
import inspect as again
assert again is not inspect and again.signature is signature is inspect.signature
assert dataclasses.asdict(Plain(2)) == {"a": 2}
assert copy.deepcopy([1]) == [1]
import ipaddress
assert str(ipaddress.ip_address("::1")) == "::1"
threads = [threading.Thread(target=lambda: __import__("ipaddress").ip_address("1.1.1.1")) for _ in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
hurry()
assert sys.modules["inspect"] is again
print("fine")
"""


def test_postponed_modules() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
