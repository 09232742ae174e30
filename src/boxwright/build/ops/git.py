"""ADD of a Git repository: one commit, fetched by the git program, as a tree."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from boxwright.build.graph import BaseOp, Outcome, Reads, Selection
from boxwright.build.ops.context import StepContext, layer_time
from boxwright.errors import Corrupt, Denied, Invalid, NotFound, Unavailable
from boxwright.files.places import Places
from boxwright.files.trees import discard
from boxwright.runtime import git as program
from boxwright.runtime.process import ProgramFailed, run
from boxwright.spec.times import LAST
from boxwright.spec.urls import public
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from boxwright.build.gitref import GitRef
    from boxwright.build.ops.context import AgentSocket, Secret
    from boxwright.settings import Settings

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_TIMEOUT = 1800  # seconds


class GitRefMissing(NotFound):
    """The repository has no such branch, tag or commit."""


class SubmodulesRefused(Denied):
    """An untrusted build would fetch from servers that the user did not name."""


class ProtocolRefused(Denied):
    """An untrusted build would fetch over a protocol whose connections cannot be checked."""


class ServerUnknown(Unavailable):
    """The server of a repository has no address."""


class CommitUnknown(Invalid):
    """A commit is to be fetched by its name, and its name is not given whole."""


class CommitMismatch(Corrupt):
    """A reference points at another commit than the Dockerfile says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOp(BaseOp):
    """Checks out `ref` ('' = the default branch). A full commit needs no network for its key; so it is with
    `fetch_by_commit`, where `checksum` is the commit and `ref` the name that it gets in the checkout. `mtime` is ''
    (files have no times), ``commit`` or ``checkout``."""

    kind: ClassVar[str] = "git/1"

    url: str
    ref: str = ""
    checksum: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    mtime: str = ""
    fetch_by_commit: bool = False
    epoch: int | None = None

    @classmethod
    def of(
        cls, repository: GitRef, *, keep_git_dir: bool, checksum: str = "", epoch: int | None = None
    ) -> GitOp:
        """What a word of a Dockerfile, or a context, asks for."""
        return cls(
            url=repository.url,
            ref=repository.ref,
            checksum=checksum or repository.checksum,
            keep_git_dir=keep_git_dir,
            submodules=repository.submodules,
            mtime=repository.mtime,
            fetch_by_commit=repository.fetch_by_commit,
            epoch=epoch,
        )

    @property
    def commit(self) -> str:
        """The commit, where it is known without asking; '' otherwise."""
        if _COMMIT.match(self.ref):
            return self.ref
        return self.checksum if self.fetch_by_commit and _COMMIT.match(self.checksum) else ""

    @property
    def reads(self) -> Reads:
        return "none" if self.commit else "remote"

    def definition(self) -> Mapping[str, object]:
        return {
            "url": public(self.url),
            "ref": self.ref,
            "checksum": self.checksum,
            "keep_git_dir": self.keep_git_dir,
            "submodules": self.submodules,
            # Left out where they say nothing: keys of before stay what they were.
            **({"mtime": self.mtime} if self.mtime else {}),
            **({"fetch_by_commit": True} if self.fetch_by_commit else {}),
            "epoch": self.epoch,
        }


def select_commit(op: GitOp, ctx: StepContext) -> Selection:
    """The commit that the reference means now. Raises GitRefMissing, CommitMismatch, ProgramFailed."""
    commit = _git(op, ctx).commit()
    return Selection(commit, {public(op.url): f"0000 {commit}"}, commit)


def checkout(op: GitOp, selection: Selection | None, ctx: StepContext) -> Outcome:
    """The layer of the commit's files. Raises ProgramFailed, CommitMismatch, SubmodulesRefused."""
    from boxwright.build.context.local import LocalContext
    from boxwright.build.context.tree import select
    from boxwright.build.ops.attributes import NodeContent
    from boxwright.build.ops.target import LayerBuilder, Planned

    commit = selection.payload if selection is not None else op.commit
    with _workspace(ctx) as directory:
        _git(op, ctx).checkout(directory, commit)
        if not op.keep_git_dir:
            discard(directory / ".git")
        builder = LayerBuilder(None, layer_time(op.epoch, 0))
        with LocalContext(directory, umask=0o077) as tree:
            for source in select(tree, "/"):
                for rel, node in source.entries:
                    entry = Planned(
                        type=node.type,
                        mode=_mode(node.type, node.mode),
                        uid=0,
                        gid=0,
                        mtime_ns=_time(op, node.mtime_ns, builder.mtime),
                        size=node.size,
                        link=node.link,
                        content=NodeContent(tree, node),
                    )
                    (builder.directory if node.type == "dir" else builder.other)(rel, entry)
            return builder.write(ctx)


def time_of(op: GitOp, ctx: StepContext) -> int:
    """When the commit that the reference means now was made, in unix seconds. Raises as `checkout`."""
    with _workspace(ctx) as directory:
        git = _git(op, ctx)
        commit = git.commit()
        git.fetch(directory, commit)
        return git.time(directory, commit)


@contextmanager
def _workspace(ctx: StepContext) -> Iterator[Path]:
    """A directory that is gone when the block ends, and is the collector's when this process was killed."""
    key = f"git-{os.urandom(8).hex()}"
    ctx.hold_workspace(key)
    directory = Places(ctx.services.root).workspace(key)
    directory.mkdir(mode=0o700)
    try:
        yield directory
    finally:
        discard(directory)


def _git(op: GitOp, ctx: StepContext) -> Git:
    git = Git(op=op, settings=ctx.services.settings, secrets=ctx.sandbox.secrets, ssh=ctx.sandbox.ssh)
    if ctx.sandbox.untrusted:
        from boxwright.registry.client.guard import check

        git.addresses = check(program.host(op.url))
        if not op.url.startswith(("http://", "https://")):
            raise ProtocolRefused(
                f"an untrusted build does not fetch {public(op.url)}",
                hint="git can be held to a checked address over http and https only",
            )
        if not git.addresses and not ctx.services.settings.proxies:  # a proxy looks names up itself
            raise ServerUnknown(f"{program.host(op.url)}, which has {public(op.url)}, cannot be found")
        git.submodules = False
    return git


def _time(op: GitOp, own: int, stamp: int) -> int:
    """The time of a file: that of the checkout or the commit only where it was asked for, and no later than
    SOURCE_DATE_EPOCH."""
    if not op.mtime:
        return stamp
    return own if op.epoch is None else min(own, op.epoch * 1_000_000_000)


def _mode(kind: str, mode: int) -> int:
    """Git knows only whether a file is executable."""
    return 0o777 if kind == "symlink" else 0o755 if kind == "dir" or mode & 0o100 else 0o644


def _date(top: Path, seconds: int) -> None:
    """Give everything below a directory, and itself, one time."""
    for directory, folders, names in os.walk(top, topdown=False):
        for name in (*names, *folders):
            os.utime(os.path.join(directory, name), (seconds, seconds), follow_symlinks=False)
    os.utime(top, (seconds, seconds))


class Git:
    """The git program on one repository; `secrets` and `ssh` (agents by id) are the build's."""

    def __init__(
        self, op: GitOp, settings: Settings, secrets: Mapping[str, Secret], ssh: Mapping[str, AgentSocket]
    ) -> None:
        self._op, self._settings, self._secrets, self._ssh = op, settings, secrets, ssh
        self._url, self._authorization = program.split(op.url)
        self.addresses: list[str] = []  # of the server, when it may be no other
        self.submodules = True  # whether they may be fetched

    def commit(self) -> str:
        """The commit that the reference means now. Raises GitRefMissing, CommitMismatch, ProgramFailed."""
        if self._op.commit:
            return self._checked(self._op.commit)
        if self._op.fetch_by_commit:
            raise CommitUnknown(
                f"fetch-by-commit requires a full commit SHA checksum, got {self._op.checksum!r}",
                hint="write &commit= and all of its digits",
            )
        name = self._named()
        # An annotated tag's commit is listed with ^{}.
        return self._checked(self._names.get(f"{name}^{{}}", self._names[name]))

    def _named(self) -> str:
        """The full name of the reference, in `_names`. Raises GitRefMissing."""
        ref = self._op.ref or "HEAD"
        for name in (ref, f"refs/tags/{ref}", f"refs/heads/{ref}"):
            if name in self._names:
                return name
        for name, commit in self._names.items():
            if len(ref) >= 7 and commit.startswith(ref):
                return name.removesuffix("^{}")
        raise GitRefMissing(f"repository {public(self._op.url)} has no reference {ref}")

    @cached_property
    def _names(self) -> dict[str, str]:
        """What the server says of its references: commits, or tag objects, by name."""
        pairs = (line.partition("\t") for line in self._run(["ls-remote", "--", self._url]).splitlines())
        return {name: commit for commit, _, name in pairs if name}

    def _checked(self, commit: str) -> str:
        wanted = self._op.checksum.rpartition(":")[2].lower()
        if wanted and not commit.startswith(wanted):
            raise CommitMismatch(f"expected checksum to match {wanted}, got {commit}")
        return commit

    def fetch(self, directory: Path, commit: str) -> None:
        """Make the directory a repository that has the commit. Raises ProgramFailed, CommitMismatch."""
        self._checked(commit)
        at = ("-C", str(directory))
        algorithm = ["--object-format=sha256"] if len(commit) == 64 else []
        self._run([*at, "init", "-q", *algorithm])
        self._run([*at, "remote", "add", "--", "origin", self._url])
        try:
            self._run([*at, "fetch", "-q", "--depth=1", "--no-tags", "origin", commit])
        except ProgramFailed:
            # Not every server gives single commits, or shallow ones.
            ref = self._op.ref
            wanted = [f"+{ref}:{ref}"] if ref.startswith("refs/") and not self._op.fetch_by_commit else []
            heads = "+refs/heads/*:refs/remotes/origin/*"
            self._run([*at, "fetch", "-q", "--tags", "origin", heads, *wanted])

    def time(self, directory: Path, commit: str) -> int:
        """When a commit that is there was made, in unix seconds; times that no file can have are the nearest that one
        can. Raises ProgramFailed."""
        seconds = int(self._run(["-C", str(directory), "show", "-s", "--format=%ct", commit]))
        return min(max(0, seconds), LAST)

    def checkout(self, directory: Path, commit: str) -> None:
        """Put the commit's files there. Raises ProgramFailed, CommitMismatch, SubmodulesRefused."""
        self.fetch(directory, commit)
        at = ("-C", str(directory))
        self._run([*at, "checkout", "-q", commit])
        if self._op.keep_git_dir:
            self._name(directory, commit)
        if self._op.submodules and (directory / ".gitmodules").is_file():
            if not self.submodules:
                raise SubmodulesRefused(
                    f"repository {public(self._op.url)} has submodules, whose servers an untrusted build cannot check",
                    hint="write ?submodules=false behind its URL, or clone it in a RUN step",
                )
            submodules = [*at, "submodule", "update", "-q", "--init", "--recursive"]
            try:
                self._run([*submodules, "--depth=1"])
            except ProgramFailed:
                self._run(submodules)
        if self._op.mtime == "commit":
            _date(directory, self.time(directory, commit))

    def _name(self, directory: Path, commit: str) -> None:
        """Give the commit the name in the checkout by which it was asked for: `git describe` reads tags."""
        at, ref = ("-C", str(directory)), self._op.ref
        there = commit
        if self._op.fetch_by_commit:
            name = ref if ref.startswith("refs/") else f"refs/heads/{ref}" if ref else ""
        else:
            name = self._named() if ref and not _COMMIT.match(ref) else ""
            there = self._names.get(name, commit)
        if not name.startswith("refs/"):
            return
        if there != commit and not self._has(directory, there):
            try:  # an annotated tag
                self._run([*at, "fetch", "-q", "--depth=1", "--no-tags", "origin", there])
            except ProgramFailed:
                there = commit
        self._run([*at, "update-ref", "--", name, there])

    def _has(self, directory: Path, identity: str) -> bool:
        try:
            self._run(["-C", str(directory), "cat-file", "-e", identity])
        except ProgramFailed:
            return False
        return True

    def _run(self, words: Sequence[str]) -> str:
        completed = run(["git", *words], env=self._environment(), timeout=_TIMEOUT)
        return completed.stdout.decode("utf-8", "replace")

    def _account(self) -> str:
        """The Authorization header: of a secret, else what was in the URL."""
        if not self._url.startswith(("http://", "https://")):
            return ""
        host, secrets = urlsplit(self._url).hostname or "", self._secrets
        for name in (
            f"GIT_AUTH_HEADER.{host}",
            "GIT_AUTH_HEADER",
            f"GIT_AUTH_TOKEN.{host}",
            "GIT_AUTH_TOKEN",
        ):
            if (secret := secrets.get(name)) is not None:
                value = secret.read().decode("utf-8", "replace").strip()
                return program.basic("x-access-token", value) if "TOKEN" in name else value
        return self._authorization

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        kept = {
            name: value
            for name, value in settings.environ.items()
            if name in ("PATH", "HOME", "GIT_SSL_CAINFO", "SSL_CERT_FILE")
        }
        env = program.environment(
            base={**kept, **settings.proxies},
            url=self._url,
            authorization=self._account(),
            addresses=self.addresses,
        )
        if (agent := self._ssh.get("default")) is not None:
            env["SSH_AUTH_SOCK"] = str(agent.path)
        return env
