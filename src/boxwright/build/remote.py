"""ADD sources that are somewhere else: which words are URLs or Git repositories, and the operations for them."""

from __future__ import annotations

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.ops.copy import CopyPart
from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.ops.git import GitOp
    from boxwright.build.ops.http import HttpOp


def is_remote(source: str) -> bool:
    """Whether the word is no path of the context. What could be a path (``github.com/a/b``) is one."""
    if source.startswith(("http://", "https://")):
        return True
    if not source.startswith(("git@", "git://", "ssh://")) and "@" not in source:
        return False
    from boxwright.build.gitref import parse_git

    return parse_git(source) is not None


def remote_op(
    source: str, step: ins.Add, epoch: int | None, position: int
) -> tuple[HttpOp | GitOp, CopyPart]:
    """The operation that fetches the source, and how its result (input number `position`) is copied. Raises
    DockerfileError."""
    from boxwright.build.gitref import parse_git

    try:
        repository = parse_git(source)
    except Invalid as error:
        raise DockerfileError(str(error)) from error
    if repository is not None:
        from boxwright.build.ops.git import GitOp

        keep = repository.keep_git_dir if step.keep_git_dir is None else step.keep_git_dir
        op = GitOp.of(repository, keep_git_dir=bool(keep), checksum=step.checksum, epoch=epoch)
        return op, CopyPart(
            origin="input",
            source=f"/{repository.subdir.strip('/')}/.",
            input=position,
            keep_times=bool(repository.mtime),
        )
    from boxwright.build.ops.http import HttpOp, file_name

    if step.checksum and not step.checksum.startswith(("sha256:", "sha512:")):
        raise DockerfileError(
            f"unsupported checksum digest algorithm in {step.checksum!r}", hint="write --checksum=sha256:HEX"
        )
    name = file_name(source)
    return HttpOp(source, step.checksum, epoch), CopyPart(
        origin="input",
        source=f"/{name}",
        input=position,
        unpack=step.unpack is True,
        mode=0o600,
        keep_times=True,
    )
