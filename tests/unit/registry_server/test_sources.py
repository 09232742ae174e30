"""The source of an automated image: nothing outside its checkout is ever named, no account is ever left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from boxwright.registry.server.builds.queue import sources
from boxwright.registry.server.builds.sources import BuildSource, SourceInvalid

TOKEN = "hush-hush"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A hostile one, beside the job's own files."""
    top = tmp_path / "job/source"
    (top / "app/deep").mkdir(parents=True)
    (tmp_path / "job/config.json").write_text("secret")
    (tmp_path / "job/Dockerfile").write_text("secret")
    (top / "app/Dockerfile").write_text("FROM scratch\n")
    for name, target in {
        "up": "..",
        "host": "/etc",
        "inside": "app",
        "absolute": "/app",
        "app/Up": "../../config.json",
        "app/Abs": "/etc/passwd",
        "app/Way": "deep/../Dockerfile",
        "app/far": "../..",
        "loop": "loop",
    }.items():
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize(
    ("folder", "real"),
    [
        ("", ""),
        ("app", "app"),
        ("inside", "app"),
        ("absolute/", "app"),
        ("app/deep/", "app/deep"),
        ("up", ""),
    ],
)
def test_folders_lie_in_the_checkout(checkout: Path, folder: str, real: str) -> None:
    assert sources.context(BuildSource.parse(f"https://h/a.git#main:{folder}"), checkout) == checkout / real


@pytest.mark.parametrize("folder", ["host", "/etc", "app/Dockerfile", "nothing", "up/job"])
def test_folders_that_are_not_in_it(checkout: Path, folder: str) -> None:
    with pytest.raises(SourceInvalid, match="has no folder"):
        sources.context(BuildSource.parse(f"https://h/a.git#:{folder}"), checkout)


def test_dockerfiles_lie_in_the_folder(checkout: Path) -> None:
    app = checkout / "app"
    for name in ("Dockerfile", "Way", "far/Dockerfile"):
        assert sources.dockerfile(app, name) == "Dockerfile"
    for name in ("Up", "Abs", "deep", "far/config.json", "far/job/Dockerfile", "none"):
        with pytest.raises(SourceInvalid, match="has no file"):
            sources.dockerfile(app, name)


@pytest.mark.parametrize("fragment", ["main:../..", ":..", "main:a/../../b", "--upload-pack=x", "+a"])
def test_links_that_are_refused(fragment: str) -> None:
    with pytest.raises(SourceInvalid):
        BuildSource.parse(f"https://h/a.git#{fragment}")


def test_the_token_reaches_git_alone(tmp_path: Path) -> None:
    seen: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(words: Sequence[str], env: Mapping[str, str]) -> int:
        seen.append((words, env))
        (tmp_path / "out/.git").mkdir(parents=True, exist_ok=True)
        return 0

    base = {"PATH": "/bin"}
    assert (
        sources.fetch(BuildSource.parse(f"https://bot:{TOKEN}@h/a.git#main"), tmp_path / "out", run, base)
        == 0
    )
    assert base == {"PATH": "/bin"} and not (tmp_path / "out/.git").exists()
    assert [words[-2:] for words, _ in seen][1] == ["https://h/a.git", "main"]
    assert not any(TOKEN in word for words, _ in seen for word in words)
