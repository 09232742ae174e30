"""Git repositories as sources: what counts as one, and how its word splits (BuildKit, util/gitutil and dfgitutil)."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass

_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:")
TRUE = ("1", "true", "t", "True", "TRUE", "T")
_FALSE = ("0", "false", "f", "False", "FALSE", "F")
_KEYS = (
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
)


class GitRefInvalid(Invalid):
    """A word names a Git repository in a way that cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """A repository, and what is wanted of it. `ref` '' is the default branch."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    mtime: str = ""
    fetch_by_commit: bool = False

    @property
    def url(self) -> str:
        """What git is told."""
        return f"https://{self.remote}" if self.remote.startswith("github.com/") else self.remote


def parse_git(word: str) -> GitRef | None:
    """The repository that a word names; None when it names none. Raises GitRefInvalid."""
    base, _, fragment = word.partition("#")
    base, question, query = base.partition("?")
    if not _is_git(base):
        return None
    ref, _, subdir = fragment.partition(":")
    values = _query(query) if question else {}
    out: dict[str, str] = {}
    for key in ("ref", "tag", "branch"):
        if key in values:
            if out:
                raise GitRefInvalid(
                    f"{key} conflicts with {next(iter(out))}"
                    if "ref" not in out and key != "ref"
                    else "ref conflicts"
                )
            out[key] = values[key]
    chosen = {"tag": "refs/tags/", "branch": "refs/heads/"}
    wanted = next((chosen.get(key, "") + value for key, value in out.items()), "")
    if wanted and ref and wanted != ref:
        raise GitRefInvalid("ref conflicts")
    subdir = values.get("subdir", "") or subdir
    if ".." in subdir.split("/"):
        raise GitRefInvalid(f"subdirectory {subdir!r} leads out of the repository")
    mtime = values.get("mtime", "")
    if mtime not in ("", "checkout", "commit"):
        raise GitRefInvalid(f"invalid mtime value: {mtime}")
    keep = _flag(values, "keep-git-dir")
    return GitRef(
        remote=base,
        ref=wanted or ref,
        subdir=subdir,
        checksum=values.get("checksum", "") or values.get("commit", ""),
        keep_git_dir=keep,
        submodules=_flag(values, "submodules") is not False,
        mtime=mtime,
        fetch_by_commit=bool(_flag(values, "fetch-by-commit")),
    )


def _is_git(base: str) -> bool:
    if base.startswith(("git://", "ssh://")) or _SCP.match(base):
        return True
    if base.startswith(("http://", "https://")):
        return base.endswith(".git")
    return base.startswith("github.com/") and base.count("/") >= 2


def _query(query: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key not in _KEYS:
            raise GitRefInvalid(f'unexpected query "{key}"')
        out[key] = unquote(value)
    return out


def _flag(values: dict[str, str], key: str) -> bool | None:
    if key not in values:
        return None
    if values[key] in ("", *TRUE):
        return True
    if values[key] in _FALSE:
        return False
    raise GitRefInvalid(f"invalid {key} value: {values[key]}")


def is_url(place: str) -> bool:
    """Whether a build context is somewhere else; a directory of that name comes first."""
    if os.path.isdir(place):
        return False
    return place.startswith(("http://", "https://")) or parse_git(place) is not None
