"""Hashes are the same, whichever library computes them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from boxwright.spec import hashes

_ALONE = "import sys; from boxwright.spec import hashes; print(hashes.sha256(b'abc').hexdigest(), hashes.new('sha512', 3).name, '_hashlib' in sys.modules)"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [-1, 0, hashes.SMALL, hashes.SMALL + 1])
def test_the_same_as_hashlib(algorithm: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hashlib")
    made = hashes.new(algorithm, size)
    made.update(b"abc")
    assert made.hexdigest() == hashlib.new(algorithm, b"abc").hexdigest()


def test_small_things_do_without_openssl() -> None:
    said = subprocess.run([sys.executable, "-c", _ALONE], capture_output=True, text=True, check=True).stdout
    assert said.split() == [hashlib.sha256(b"abc").hexdigest(), "sha512", "False"]


_IN_THE_MIDDLE = """
import sys, threading, time
from boxwright.spec import hashes

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "_hashlib":
            begun.set()
            time.sleep(0.3)

begun = threading.Event()
sys.meta_path.insert(0, Slow())
threading.Thread(target=lambda: __import__("hashlib")).start()
begun.wait()
assert "hashlib" in sys.modules
print(hashes.sha256(b"abc").hexdigest())
"""


def test_while_another_thread_is_importing_hashlib() -> None:
    done = subprocess.run([sys.executable, "-c", _IN_THE_MIDDLE], capture_output=True, text=True)
    assert done.stdout.strip() == hashlib.sha256(b"abc").hexdigest(), done.stderr
