"""What is uploaded: the archives that are built from this tree hold what they should, and describe themselves."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "boxwright.egg-info")


def left_out(folder: str, names: list[str]) -> set[str]:
    """What is no part of the tree: what make and the tools made, at the top also what Git and pip did."""
    top = {".git", ".venv", "build", "dist"} if Path(folder) == ROOT else set()
    return {name for name in names if name in MADE or name in top}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built from it."""
    pytest.importorskip("build", reason="the package `build` is not installed")
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "tree", ignore=left_out, symlinks=True)
    argv = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(folder / "tree"),
    ]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (source,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_the_source_has_its_pages_and_tests(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {
        "docs/concepts.md",
        "docs/reference/README.md",
        "tests/conftest.py",
        "tests/peers/fetch",
        "Makefile",
    }
    wanted |= {
        "examples/demo.sh",
        "examples/hello-python/Dockerfile",
        "bench/__main__.py",
        "NOTICE",
        "LICENSE",
    }
    wanted |= {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/data/bud-corpus/index.json"}
    assert not wanted - names
    here = {p.relative_to(ROOT) for top in ("docs", "tests", "examples") for p in (ROOT / top).rglob("*")}
    assert not {str(path) for path in here if not set(path.parts) & set(MADE)} - names


@pytest.mark.slow
def test_the_wheel_has_its_data_and_notices(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(wheel.read(metadata))
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/boxwright").rglob("*.py")}
    assert (
        not sources - names
        and "boxwright/spec/seccomp-default.json" in names
        and "boxwright/py.typed" in names
    )
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert not [name for name in names if name.startswith(("tests", "bench"))]
    labels = [url.partition(",")[0] for url in about.get_all("Project-URL", [])]
    assert labels == ["Source", "Documentation", "Changelog", "Issues"]
    classifiers = about.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)} <= set(classifiers)
    assert about["Keywords"] and about["License-Expression"] == "Apache-2.0"


@pytest.mark.slow
def test_an_index_takes_them(archives: tuple[Path, Path]) -> None:
    pytest.importorskip("twine", reason="the package `twine` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *archives], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr
