"""import, save, load."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from boxwright.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.content.progress import Progress


class TerminalRefused(Invalid):
    """Bytes are not read from or written to a terminal."""


class ArchiveMissing(NotFound):
    """The file to read is not there."""


class OutputInvalid(Invalid):
    """The file to write cannot be."""


def import__args(p: Parser) -> None:
    p.add_argument("file", metavar="file|URL|-", complete="file")
    p.add_argument("name", nargs="?", default="", metavar="REPOSITORY[:TAG]")
    p.add_argument(
        "-c",
        "--change",
        action="append",
        metavar="list",
        help="Apply Dockerfile instruction to the created image",
    )
    p.add_argument(
        "-m", "--message", default="", metavar="string", help="Set commit message for imported image"
    )
    p.add_argument("--platform", metavar="string", help="Set platform if server is multi-platform capable")
    p.examples = [("make an image of a directory", "tar -C rootfs -c . | boxwright import - mine:1")]


def import_(ctx: Context, args: Namespace) -> int:
    """A root file system tar becomes an image."""
    source: str | BinaryIO = args.file
    if args.file == "-":
        source = standard_input(ctx, "requested import from stdin, but stdin is a terminal")
    row = ctx.engine.images.import_(
        source, args.name, changes=args.change, message=args.message, platform=args.platform
    )
    ctx.out(row.image_id)
    return 0


def load_args(p: Parser) -> None:
    p.add_argument(
        "-i",
        "--input",
        default="",
        metavar="string",
        complete="file",
        help="Read from tar archive file or OCI layout directory, instead of STDIN",
    )
    p.add_argument("-q", "--quiet", action="store_true", help="Suppress the load output")
    p.add_argument(
        "--platform",
        metavar="string",
        help='Load only the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    )


def load(ctx: Context, args: Namespace) -> int:
    """Bring in the images of an archive."""
    from pathlib import Path

    source: Path | BinaryIO = (
        Path(args.input)
        if args.input and args.input != "-"
        else standard_input(ctx, "requested load from stdin, but stdin is empty")
    )

    lines: list[str] = []
    try:
        with _progress(ctx, "Loading", "Loaded", quiet=args.quiet) as progress:
            ctx.engine.images.load(
                source,
                platform=args.platform,
                progress=progress,
                done=lambda loaded: lines.extend(loaded.lines),
            )
    finally:  # what came in before a failure is here, too
        for line in lines:
            ctx.out(line)
    return 0


def save_args(p: Parser) -> None:
    p.add_argument("image", nargs="+", metavar="IMAGE", complete="image")
    p.add_argument(
        "-o",
        "--output",
        default="",
        metavar="string",
        complete="file",
        help="Write to a file, instead of STDOUT",
    )
    p.add_argument(
        "--platform",
        metavar="string",
        help='Save only the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    )


def save(ctx: Context, args: Namespace) -> int:
    """Write images to an archive."""
    if args.output and args.output != "-":
        _save_to_file(ctx, args)
        return 0
    if ctx.stdout_is_tty:
        raise TerminalRefused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    sys.stdout.flush()
    ctx.engine.images.save(args.image, sys.stdout.buffer, platform=args.platform)
    sys.stdout.buffer.flush()
    return 0


def _save_to_file(ctx: Context, args: Namespace) -> None:
    """A failed save leaves an older file of that name as it was."""
    with output_file(args.output) as out, _progress(ctx, "Saving", "Saved") as progress:
        ctx.engine.images.save(args.image, out, platform=args.platform, progress=progress)


@contextmanager
def output_file(name: str) -> Iterator[BinaryIO]:
    """What is written takes the place of the file `name` once all of it is there. Raises OutputInvalid."""
    from pathlib import Path

    from boxwright.files.disk import whole_file

    path = Path(name)
    if not path.parent.is_dir():
        raise OutputInvalid(f'invalid output path: directory "{path.parent}" does not exist')
    if path.is_dir():
        raise OutputInvalid(f'invalid output path: "{path}" is a directory')
    with whole_file(path, OutputInvalid) as out:
        yield out


@contextmanager
def _progress(ctx: Context, doing: str, done: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """Bars on a terminal, nothing elsewhere: Docker's load and save are silent in scripts."""
    if quiet or not ctx.stderr_is_tty:
        yield None
        return
    from boxwright.cli.progress import transfer as progress_transfer

    words = {"started": doing, "copied": done, "exists": "Already exists", "mounted": done}
    shown = progress_transfer.make(ctx, "tty", words)
    assert shown is not None
    with shown:
        yield shown


def standard_input(ctx: Context, refusal: str) -> BinaryIO:
    """Raises TerminalRefused."""
    if ctx.stdin_is_tty or sys.stdin is None:
        raise TerminalRefused(refusal, hint="give a file, or pipe an archive in")
    return sys.stdin.buffer
