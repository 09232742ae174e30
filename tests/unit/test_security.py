"""SECURITY.md names a test for each place where text from outside enters: those tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "SECURITY.md"
_TEST = re.compile(r"`([^`]*)`")


def rows() -> list[tuple[str, str]]:
    """What enters, and the cell that names its tests."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("|") and not line.startswith(("| ---", "| text |")):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 4, line
            found.append((cells[0], cells[3]))
    return found


def functions_of(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def missing(cell: str) -> list[str]:
    """The names of a cell that are no tests; one that begins with `::` is in the file before it."""
    wrong, file = [], ""
    names = _TEST.findall(cell)
    for name in names:
        folder, _, function = name.partition("::")
        file = folder or file
        path = TESTS / file
        if (
            not file
            or not path.is_file()
            or not (tests := functions_of(path))
            or ("::" in name and function not in tests)
        ):
            wrong.append(name)
    return wrong if names else ["no test"]


def test_a_name_that_is_no_test_is_found() -> None:
    assert (
        missing("`unit/test_security.py::test_a_name_that_is_no_test_is_found`, `unit/test_security.py`")
        == []
    )
    assert missing("`unit/test_security.py::test_a_name_that_is_no_test_is_found`, `::test_gone`") == [
        "::test_gone"
    ]
    assert missing("`unit/test_security.py::rows`") == ["unit/test_security.py::rows"]
    assert missing("`unit/test_gone.py`") == ["unit/test_gone.py"]
    assert missing("`support/host.py`") == ["support/host.py"]
    assert missing("`::test_a_name_that_is_no_test_is_found`") != [] and missing("by hand") == ["no test"]


def test_every_test_of_the_page_exists() -> None:
    assert len(rows()) > 50
    wrong = {text: names for text, cell in rows() if (names := missing(cell))}
    assert not wrong, wrong


def test_every_file_of_the_page_exists() -> None:
    """What stands there is named by its module, `registry/server/policy.py` or `cli.context.Context`, under src."""
    source = TESTS.parent / "src/boxwright"
    wrong = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| text |")):
            stands = re.split(r"(?<!\\)\|", line)[3]
            for name in re.findall(r"`([a-z_]+/[a-z_/0-9]+\.py)(?:::\w+)?`", stands):
                if not (source / name).is_file():
                    wrong.append(name)
            for name in re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)(?:\.\w+)*`", stands):
                parts = name.split(".")
                if (source / parts[0]).is_dir() and parts[1] != "py" and not _module(source, parts):
                    wrong.append(name)
    assert not wrong, wrong


def _module(source: Path, parts: list[str]) -> bool:
    place = source.joinpath(*parts)
    return place.is_dir() or place.with_suffix(".py").is_file()
