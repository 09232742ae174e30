"""The source of an automated image, fetched by the worker: the build never sees the accounts that fetching took, nor
the rest of the repository's checkout.

A checkout is hostile: whatever is looked for in it is looked for with its top as the root.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from boxwright.errors import Denied, Invalid, Unavailable
from boxwright.files.trees import erase
from boxwright.registry.client.guard import LocalAddress, check
from boxwright.rootfs.root import found_in
from boxwright.runtime import git
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass

# Words and their environment -> exit code, None when stopped.
Run = Callable[[Sequence[str], Mapping[str, str]], "int | None"]


class SourceInvalid(Invalid):
    """A repository does not have what its link names."""


class ServerRefused(Denied):
    """A repository is on this machine or at its link."""


class SourceServerUnknown(Unavailable):
    """The server of a repository has no address."""


@dataclass(frozen=True, slots=True)
class BuildSource:
    """``URL#REF:FOLDER`` taken apart. `ref` '' is the default branch."""

    url: str
    ref: str
    folder: str

    @classmethod
    def parse(cls, text: str) -> BuildSource:
        """Raises SourceInvalid."""
        url, _, fragment = text.partition("#")
        ref, _, folder = fragment.partition(":")
        if ".." in folder.split("/"):
            raise SourceInvalid(f"the folder {folder!r} leads out of the repository")
        if ref.startswith(("-", "+")):
            raise SourceInvalid(f"{ref!r} is no branch, tag or commit")
        return cls(url, ref, folder)


def fetch(source: BuildSource, target: Path, run: Run, env: Mapping[str, str], *, local: bool) -> int | None:
    """The files of one commit in the new directory `target`, without the repository. Git connects to the addresses that
    were checked, and follows no redirection; with `local` it may go everywhere, to this machine too. Returns git's exit
    code, None when stopped. Raises GitUrlInvalid, ServerRefused, SourceServerUnknown."""
    url, authorization = git.split(source.url)
    environment = git.environment(
        base=env, url=url, authorization=authorization, addresses=() if local else _checked(url)
    )
    here = ["git", "-C", str(target)]
    for words in (
        ["git", "init", "--quiet", "--", str(target)],
        [*here, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, source.ref or "HEAD"],
        [*here, "checkout", "--quiet", "FETCH_HEAD"],
    ):
        code = run(words, environment)
        if code != 0:
            return code
    erase(target / ".git")
    return 0


def _checked(url: str) -> list[str]:
    """The addresses to which git is held; none over ssh, which knows a server by its key, and over git, where git
    cannot be held to any."""
    host = git.host(url)
    try:
        found = check(host)
    except LocalAddress as error:
        raise ServerRefused(
            str(error), hint="allow-local-git = true under [build] lets builds fetch from there"
        ) from error
    if not url.startswith(("http://", "https://")):
        return []
    if not found:
        raise SourceServerUnknown(f"{host}, which has {public(url)}, cannot be found")
    return found


def context(source: BuildSource, checkout: Path) -> Path:
    """The folder that is built: a path without links, below the checkout. Raises SourceInvalid."""
    return _below(
        top=checkout,
        name=source.folder,
        kind=stat.S_ISDIR,
        missing=f"the repository has no folder {source.folder!r}",
    )


def dockerfile(context: Path, name: str) -> str:
    """Where the Dockerfile is in the context, as a path without links. Raises SourceInvalid."""
    found = _below(
        top=context, name=name, kind=stat.S_ISREG, missing=f"the folder that is built has no file {name!r}"
    )
    return str(found.relative_to(context))


def _below(top: Path, name: str, kind: Callable[[int], bool], missing: str) -> Path:
    try:
        real, mode = found_in(top, name)
    except OSError:
        mode = 0
    if not kind(mode):
        raise SourceInvalid(missing, hint="links are followed inside it only")
    return top / real.lstrip("/")
