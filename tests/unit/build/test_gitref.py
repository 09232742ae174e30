"""Git words, by BuildKit's own table."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.build.gitref import GitRefInvalid, parse_git
from boxwright.build.remote import is_remote
from support import vectors


@pytest.mark.parametrize("case", vectors("git-refs.json")["cases"], ids=lambda c: c["input"])
def test_table(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(GitRefInvalid) as caught:
            parse_git(case["input"])
        assert str(caught.value).startswith(case["error"].split(":")[0]) or case["error"] in str(caught.value)
        return
    found = parse_git(case["input"])
    assert (found is not None) == case["is_git"]
    if found is None:
        return
    assert found.remote == case["remote"]
    assert (found.ref, found.subdir, found.checksum) == (
        case.get("ref", ""),
        case.get("subdir", ""),
        case.get("checksum", ""),
    )
    assert found.mtime == case.get("mtime", "") and found.fetch_by_commit == case.get(
        "fetch_by_commit", False
    )


def test_what_add_takes_for_remote() -> None:
    assert (
        is_remote("https://example.com/x")
        and is_remote("git@github.com:a/b.git")
        and is_remote("ssh://host/x")
    )
    assert (
        not is_remote("github.com/moby/buildkit")
        and not is_remote("file@2x.png")
        and not is_remote("./a.git")
    )


@pytest.mark.parametrize(
    "word", ["https://h/a.git#main:../..", "https://h/a.git#:..", "https://h/a.git?subdir=a/../../b"]
)
def test_a_folder_does_not_lead_out(word: str) -> None:
    with pytest.raises(GitRefInvalid, match="leads out of the repository"):
        parse_git(word)
