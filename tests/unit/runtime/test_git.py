"""What git is told of a repository: no password where it can be read, no protocol that reads this host or runs commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boxwright.runtime import git
from boxwright.spec.urls import public
from support.peers import needs


@pytest.mark.parametrize(
    ("url", "shown", "told", "header"),
    [
        ("https://h/a.git#m:d", "https://h/a.git#m:d", "https://h/a.git#m:d", ""),
        ("https://u:p%40@h:8443/a", "https://h:8443/a", "https://h:8443/a", git.basic("u", "p@")),
        ("https://token@h/a@b", "https://h/a@b", "https://h/a@b", git.basic("token", "")),
        ("http://u:p@x@h/a", "http://h/a", "http://h/a", git.basic("u", "p@x")),
        ("ssh://git@h/a", "ssh://git@h/a", "ssh://git@h/a", ""),
        ("ssh://git:p@h/a", "ssh://git@h/a", "ssh://git:p@h/a", ""),
        ("git@h:a/b.git", "git@h:a/b.git", "git@h:a/b.git", ""),
    ],
)
def test_what_is_shown_and_what_is_told(url: str, shown: str, told: str, header: str) -> None:
    assert public(url) == shown and git.split(url) == (told, header)


def test_whose_server_it_is() -> None:
    for url in ("https://u:p@h:1/a", "ssh://git@h/a", "git@h:a/b.git", "git://h"):
        assert git.host(url) == "h"
    assert git.host("ssh://git@[::1]:22/a") == "::1"


def test_a_broken_url_is_an_error_without_its_password() -> None:
    with pytest.raises(git.GitUrlInvalid) as caught:
        git.split("https://user:hush@[h/a")
    assert "hush" not in str(caught.value)


@needs("git")
def test_git_reads_it_from_its_environment(tmp_path: Path) -> None:
    env = git.environment({"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, "https://h:1/a", "basic eDp5")

    def said(*words: str) -> str:
        return subprocess.run(["git", *words], env=env, capture_output=True, text=True, check=False).stdout

    assert (
        said("config", "--get-urlmatch", "http.extraheader", "https://h:1/a/b").strip().endswith("basic eDp5")
    )
    assert said("config", "--get-urlmatch", "http.extraheader", "https://other/a") == ""
    assert said("config", "core.hooksPath").strip() == "/dev/null"


@needs("git")
@pytest.mark.parametrize(
    "url",
    [
        "file://{repo}",
        "ext::sh -c touch% {mark}",
        "{repo}",
        "fd::17",
        "-upload-pack=x",
        "ssh://-oProxyCommand=touch${{IFS}}{mark}/x",
        "-oProxyCommand=touch {mark}@h:x",
    ],
)
@pytest.mark.parametrize("how", ["itself", "submodule"])
def test_only_protocols_of_the_network(tmp_path: Path, url: str, how: str) -> None:
    """A submodule must not read a repository of this host, or run a command, any more than the repository itself."""
    repo, mark = tmp_path / "repo", tmp_path / "mark"
    env = git.environment({"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    author = ("-c", "user.name=a", "-c", "user.email=a@b")

    def run(*words: str, check: bool = True) -> int:
        done = subprocess.run(["git", *words], env=env, capture_output=True, check=check)
        return done.returncode

    run("init", "-q", str(repo))
    run("-C", str(repo), *author, "commit", "-q", "--allow-empty", "-m", "one")
    place = url.format(repo=repo, mark=mark)
    if how == "itself":
        assert run("ls-remote", "--", place, check=False) != 0
    else:
        head = subprocess.check_output(
            ["git", "-C", str(repo), "rev-parse", "HEAD"], env=env, text=True
        ).strip()
        (repo / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = "{place}"\n')
        run("-C", str(repo), "update-index", "--add", "--cacheinfo", f"160000,{head},s")
        assert run("-C", str(repo), "submodule", "update", "--init", check=False) != 0
    assert not mark.exists() and not (repo / "s/.git").exists()
