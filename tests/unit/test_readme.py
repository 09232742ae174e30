"""What the README shows of the SDK runs as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_links_lead_somewhere_wherever_the_page_is_shown() -> None:
    """An index of packages shows it without the files beside it."""
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
    ours = f"{project['urls']['Source']}/blob/main/"
    links = re.findall(r"\]\(([^)\s]+)\)", README.read_text())
    assert len(links) > 5
    for link in links:
        assert link.startswith("https://"), link
        if link.startswith(ours):
            assert (README.parent / link.removeprefix(ours).partition("#")[0]).is_file(), link


def test_the_sdk_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "examples/hello-python").mkdir(parents=True)
    (tmp_path / "examples/hello-python/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOXWRIGHT_ROOT", str(tmp_path / "root"))
    for expected in (
        r"sha256:[0-9a-f]{64}\n\[1/1\] COPY \. / 0\.\d s\n\(.hello:latest.,\) \d+\n",
        r"sha256:[0-9a-f]{64}\n\[1/1\] COPY \. / reused\n\(.hello:latest.,\) \d+\n",
    ):
        exec(code, {})
        assert re.fullmatch(expected, capsys.readouterr().out)
