"""What the quick finder finds is what Python's own would."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.util import MAGIC_NUMBER, module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

from boxwright.files.modules import ModuleFinder


def loaded(name: str, folder: Path) -> ModuleType:
    spec = ModuleFinder.find_spec(name, [str(folder)])
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_modules_and_packages_are_as_pythons_finder_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "one.py").write_text("A = 1\n")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/__init__.py").write_text("A = 2\n")
    for name, value in (("one", 1), ("two", 2)):
        module = loaded(f"json.{name}", tmp_path)
        known = PathFinder.find_spec(f"json.{name}", [str(tmp_path)])
        assert known is not None and module.__spec__ is not None
        assert value == module.A
        assert module.__file__ == known.origin and module.__cached__ == known.cached
        assert module.__spec__.submodule_search_locations == known.submodule_search_locations
        assert module.__package__ == known.parent
        assert known.cached is not None and Path(known.cached).exists()  # written for the next time


def test_what_is_compiled_is_used_while_its_source_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("A = 1\n")
    os.utime(source, (1, 1))
    compiled = py_compile.compile(str(source))
    assert compiled is not None
    source.write_text("A = 2\n")
    os.utime(source, (1, 1))  # time and size are as they were: the compiled file is taken, as Python takes it
    assert loaded("json.one", tmp_path).A == 1
    os.utime(source, (2, 2))
    assert loaded("json.one", tmp_path).A == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-3],
        lambda data: b"\0" * 4 + data[4:],
        lambda data: MAGIC_NUMBER + data[4:16] + b"i\1\0\0\0",  # a number, no code
    ],
)
def test_a_damaged_compiled_file_is_never_run(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    source = tmp_path / "one.py"
    source.write_text("A = 1\n")
    compiled = Path(py_compile.compile(str(source)) or "")
    compiled.write_bytes(damage(compiled.read_bytes()))
    try:
        assert loaded("json.one", tmp_path).A == 1
    except (EOFError, ImportError):  # what Python's loader says of a compiled file that is none
        pass


def test_a_compiled_file_that_is_checked_by_its_hash_is_pythons_to_load(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("A = 1\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    source.write_text("A = 22\n")
    assert loaded("json.one", tmp_path).A == 22


def test_what_is_no_file_of_source_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    assert ModuleFinder.find_spec("json.space", [str(tmp_path)]) is None
    assert ModuleFinder.find_spec("json.one", [str(tmp_path), str(tmp_path)]) is None
    assert ModuleFinder.find_spec("boxwright") is None
    assert ModuleFinder.find_spec("yaml.reader", [os.path.dirname(json.__file__)]) is None
    assert ModuleFinder.find_spec("json.decoder", [os.path.dirname(json.__file__)]) is not None
    assert ModuleFinder.find_spec("sys") is None


def test_a_command_uses_it() -> None:
    script = (
        "import sys; from boxwright.files.modules import hasten; hasten(); import json, boxwright.errors as e; "
        + ("print(type(json.__loader__).__module__, type(e.__loader__).__module__)")
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["boxwright.files.modules"] * 2
