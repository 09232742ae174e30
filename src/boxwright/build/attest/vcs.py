"""Which commit of which repository a build context is in, read from the files of ``.git``.

Git itself is not asked: the repository's configuration, which may be another user's, is data here and runs nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from boxwright.spec.text import go_bool
from boxwright.spec.urls import public

_LARGEST = 1 << 20  # bytes of a file of .git that are looked at
# Texts, which `re` compiles at their first use and keeps: many contexts are in no repository
_COMMIT = r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z"
_SECTION = r'\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]'


def vcs_of(context: Path, dockerfile: Path | None) -> dict[str, str]:
    """``revision``, ``source`` (without its password), ``localdir:context`` and ``localdir:dockerfile``: what buildx
    tells of a context in a Git repository; {} for one that is in none."""
    try:
        context = context.resolve()
        top = next((d for d in (context, *context.parents) if os.path.lexists(d / ".git")), None)
        return _told(top, context, dockerfile) if top is not None else {}
    except OSError:
        return {}


def _told(top: Path, context: Path, dockerfile: Path | None) -> dict[str, str]:
    git = top / ".git"
    if git.is_file():  # a worktree, a submodule
        words = _text(git).partition("gitdir:")[2].strip()
        git = top / words if words else git
    common = git / (_text(git / "commondir").strip() or ".")
    head = _text(git / "HEAD").strip()
    branch = head.removeprefix("ref:").strip() if head.startswith("ref:") else ""
    revision = _revision(git, common, branch) if branch else head
    if not re.match(_COMMIT, revision):
        return {}
    out = {"localdir:context": os.path.relpath(context, top)}
    folder = dockerfile.resolve().parent if dockerfile is not None else context
    if folder.is_relative_to(top):
        out["localdir:dockerfile"] = os.path.relpath(folder, top)
    out["revision"] = revision
    if source := _remote(common, branch.removeprefix("refs/heads/")):
        out["source"] = public(source)
    return out


def _revision(git: Path, common: Path, name: str) -> str:
    if not name.startswith("refs/") or ".." in name.split("/"):
        return ""
    for folder in (git, common):
        if found := _text(folder / name).strip():
            return found
    for line in _text(common / "packed-refs").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    return ""


def _remote(common: Path, branch: str) -> str:
    """The URL of the remote that the branch follows, or else of ``upstream`` or ``origin``."""
    values: dict[tuple[str, str, str], str] = {}
    section, name = "", ""
    for line in _text(common / "config").splitlines():
        if (found := re.match(_SECTION, line)) is not None:
            section, name = found[1].lower(), found[2] or ""
        else:
            key, equals, value = line.partition("=")
            if equals:
                values[section, name, key.strip().lower()] = value.strip().strip('"')
    for remote in (values.get(("branch", branch, "remote"), ""), "upstream", "origin"):
        if url := values.get(("remote", remote, "url"), ""):
            return url
    return ""


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(errors="replace")
    except OSError:
        return ""


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the attestation names commits: not where ``BUILDX_GIT_INFO`` is false."""
    return go_bool(environ.get("BUILDX_GIT_INFO", "").lower()) is not False
