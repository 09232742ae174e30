"""The tests run where they cannot write: in a checkout that root, or another user, has made and tested first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEST = """
from hypothesis import given, strategies as st

@given(st.integers())
def test_one(number: int) -> None:
    assert number + 0 == number
"""


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
@pytest.mark.parametrize("tested_before", [False, True])
def test_a_checkout_that_cannot_be_written(tmp_path: Path, tested_before: bool) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(
        TESTS / "support", checkout / "tests/support", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(TESTS / "conftest.py", checkout / "tests")
    shutil.copy(TESTS.parent / "pyproject.toml", checkout)
    (checkout / "tests/test_one.py").write_text(TEST)
    made = [checkout, checkout / "tests", checkout / "tests/support"]
    if tested_before:
        made += [checkout / ".hypothesis", checkout / ".hypothesis/examples", checkout / ".pytest_cache"]
    for directory in made:
        directory.mkdir(exist_ok=True)
    for directory in made:
        directory.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        for directory in made:
            directory.chmod(0o755)
    assert done.returncode == 0, done.stdout + done.stderr
