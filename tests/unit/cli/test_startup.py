"""Modules that are imported later are the real ones when they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
URLS = """
import sys
from boxwright.cli.startup import hurry
hurry()
import pathlib
assert "urllib.parse" in sys.modules and "unicodedata" not in sys.modules
assert not hasattr(sys.modules["urllib.parse"], "__file__"), "it was not needed yet"
%s
import urllib.parse
from urllib.parse import urlsplit
import urllib.request
assert pathlib.Path("/a b").as_uri() == "file:///a%%20b" and pathlib.Path("/ä").as_uri() == "file:///%%C3%%A4"
assert urlsplit("http://[::1]:80/x").port == 80 and urllib.parse.quote_from_bytes(b"a b") == "a%%20b"
assert urllib.request.urlparse is sys.modules["urllib.parse"].urlparse is urllib.parse.urlparse
print("fine")
"""


def test_postponed_modules() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")


@pytest.mark.parametrize(
    "first",
    [
        "",
        "assert pathlib.Path('/a b').as_uri() == 'file:///a%20b'",
        "import urllib.parse; assert urllib.parse.unquote('%20') == ' '",
        "import urllib; assert urllib.parse.urlsplit('http://a/b').path == '/b'",
        "from urllib import parse; assert parse.quote(' ') == '%20'",
        "from importlib import import_module; assert import_module('urllib.parse').quote(' ') == '%20'",
    ],
)
def test_urls_are_there_whichever_module_asks_first(first: str) -> None:
    done = subprocess.run([sys.executable, "-c", URLS % first], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
