"""The source of an automated image: nothing outside its checkout is ever named, no account is ever left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from boxwright.registry.server.builds.queue import sources
from boxwright.registry.server.builds.sources import (
    BuildSource,
    ServerRefused,
    SourceInvalid,
    SourceServerUnknown,
)
from boxwright.runtime.git import GitUrlInvalid
from support.peers import needs
from support.web import Asked, Reply, Site, answering

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
        sources.fetch(
            BuildSource.parse(f"https://bot:{TOKEN}@h/a.git#main"), tmp_path / "out", run, base, local=True
        )
        == 0
    )
    assert base == {"PATH": "/bin"} and not (tmp_path / "out/.git").exists()
    assert [words[-2:] for words, _ in seen][1] == ["https://h/a.git", "main"]
    assert not any(TOKEN in word for words, _ in seen for word in words)


# --- which servers -----------------------------------------------------------------------------------


def nothing(asked: Asked) -> Reply:
    """No repository, at which git knocks all the same."""
    return Reply(status=404)


@pytest.fixture
def site() -> Iterator[Site]:
    with answering(nothing) as site:
        yield site


def run_git(words: Sequence[str], env: Mapping[str, str]) -> int:
    try:
        return subprocess.run(words, env=dict(env), capture_output=True, timeout=3).returncode
    except subprocess.TimeoutExpired:  # an address that does not answer
        return 1


def fetch(url: str, target: Path, *, local: bool = False) -> int | None:
    env = {"PATH": os.environ["PATH"], "HOME": str(target)}
    return sources.fetch(BuildSource.parse(url), target, run_git, env, local=local)


@pytest.mark.parametrize("url", ["http://localhost:{}/a.git", "ssh://127.0.0.1:{}/a", "git://[::1]:{}/a.git"])
def test_a_link_does_not_lead_to_this_machine(site: Site, tmp_path: Path, url: str) -> None:
    with pytest.raises(ServerRefused, match="this machine or its link"):
        fetch(url.format(site.port), tmp_path / "out")
    assert site.asked == []


@needs("git")
def test_git_connects_where_the_check_looked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was elsewhere when it was looked at, and is this machine when git asks for it."""
    monkeypatch.setattr(sources, "check", lambda host: ["192.0.2.1"])
    for host in ("localhost", "LocalHost", "localhost."):
        assert fetch(f"http://{host}:{site.port}/a.git", tmp_path / "out")
        assert site.asked == [], host
    assert fetch(f"http://localhost:{site.port}/a.git", tmp_path / "out", local=True) and site.asked


@needs("git")
def test_git_follows_no_redirection_of_a_server(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "check", lambda host: ["127.0.0.1"])
    with answering(lambda asked: Reply(status=302, headers={"Location": site.url + asked.path})) as away:
        assert fetch(f"http://elsewhere.invalid:{away.port}/a.git", tmp_path / "out")
        assert away.asked and site.asked == []
        assert fetch(f"http://127.0.0.1:{away.port}/a.git", tmp_path / "out", local=True) and site.asked


def test_a_server_without_an_address_is_not_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(SourceServerUnknown, match=r"nowhere\.invalid, .* cannot be found"):
        fetch("https://nowhere.invalid/a.git", tmp_path / "out")


@pytest.mark.parametrize("url", ["https://h:99999/a.git", "http://me:x@h:port/a.git", "https://[h/a.git"])
def test_urls_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(GitUrlInvalid):
        fetch(url, tmp_path / "out")
