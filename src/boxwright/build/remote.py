"""ADD sources that are somewhere else: which words are URLs or Git repositories, and the operations for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.ops.copy import CopyPart

if TYPE_CHECKING:
    from boxwright.build.ops.git import GitOp
    from boxwright.build.ops.http import HttpOp


def is_git(source: str) -> bool:
    """Whether the word names a Git repository: ``git@…``, ``git://``, ``ssh://``, or a URL whose path ends in .git."""
    if source.startswith(("git@", "git://", "ssh://")):
        return True
    path = source.partition("#")[0].partition("?")[0]
    return source.startswith(("http://", "https://")) and path.endswith(".git")


def is_remote(source: str) -> bool:
    """Whether the word is no path of the context."""
    return source.startswith(("http://", "https://")) or is_git(source)


def remote_op(source: str, step: ins.Add, epoch: int | None, position: int) -> tuple[HttpOp | GitOp, CopyPart]:
    """The operation that fetches the source, and how its result (input number `position`) is copied."""
    if is_git(source):
        from boxwright.build.ops.git import git_op

        if step.checksum and not step.checksum.replace("sha1:", "").replace("sha256:", "").isalnum():
            raise DockerfileError(f"invalid checksum {step.checksum!r} for a git source")
        return git_op(source, keep_git_dir=bool(step.keep_git_dir), checksum=step.checksum), CopyPart("input", "/.", input=position)
    from boxwright.build.ops.http import HttpOp, file_name

    name = file_name(source)
    # A download that becomes a file is named after the URL only when the destination is a directory; CopyOp
    # decides that, by the name of the file in the fetched tree.
    return HttpOp(source, step.checksum, epoch), CopyPart("input", f"/{name}", input=position, unpack=step.unpack is True, mode=0o600)
