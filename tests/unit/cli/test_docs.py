"""The committed reference is what the parsers say now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxwright.cli import docs
from boxwright.cli.commands import COMMANDS, HIDDEN

REPOSITORY = Path(__file__).parents[3]
REFERENCE = REPOSITORY / "docs" / "reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return docs.pages()


def test_no_drift(pages: dict[str, str]) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    assert set(committed) == set(pages), "run `make docs`"
    for name, text in pages.items():
        assert committed[name] == text, f"docs/reference/{name}: run `make docs`"


def test_every_command_is_on_a_page(pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    for name in COMMANDS:
        assert name in HIDDEN or f"## boxwright {name}\n" in text or f"`boxwright {name}`" in text, name


def test_links_lead_somewhere(pages: dict[str, str]) -> None:
    for target, anchor in re.findall(r"\]\((\S+?\.md)(?:#(\S+))?\)", pages["README.md"]):
        headings = [
            re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-")
            for h in re.findall(r"^## (.*)$", pages[target], re.M)
        ]
        assert not anchor or anchor in headings, f"{target}#{anchor}"


def test_every_variable_that_is_read_is_documented() -> None:
    sources = [REPOSITORY / "src/boxwright/settings.py", *(REPOSITORY / "src/boxwright/cli").rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r'env(?:iron)?(?:\.get\(|\[)"([A-Z_]+)"', path.read_text())
    }
    documented = {name for names, _ in docs.ENVIRONMENT for name in names.split(", ")}
    known_elsewhere = {
        "HOME",
        "COLUMNS",
        "TERM",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "PATH",
        "DOCKER_AUTH_CONFIG",
        "COLORTERM",
        "CI",
    }
    assert read - documented - known_elsewhere == set()
    assert any(name.startswith("BOXWRIGHT_") for name in read)


def test_writing(tmp_path: Path, pages: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main([str(tmp_path / "reference")]) == 0
    assert {path.name for path in (tmp_path / "reference").iterdir()} == set(pages)
    assert capsys.readouterr().out == f"{len(pages)} pages in {tmp_path / 'reference'}\n"
