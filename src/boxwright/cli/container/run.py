"""`run` and `create`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.container.config import ContainerConfig
    from boxwright.container.records import Container
    from boxwright.container.session import Session


def create_args(p: Parser) -> None:
    from boxwright.cli.container.options import declare

    declare(p)
    p.usage = "IMAGE [COMMAND] [ARG...]"


def run_args(p: Parser) -> None:
    from boxwright.cli.container.attach import declare_detach_keys
    from boxwright.cli.container.options import declare

    p.add_argument(
        "-d", "--detach", action="store_true", help="Run container in background and print container ID"
    )
    declare_detach_keys(p)
    p.add_argument(
        "--sig-proxy",
        action="store_true",
        default=True,
        help="Proxy received signals to the process (default true)",
    )
    declare(p)
    p.usage = "IMAGE [COMMAND] [ARG...]"
    p.examples = [
        (
            "Run a command and remove the container afterwards",
            "boxwright run --rm debian cat /etc/os-release",
        ),
        ("A shell with a terminal", "boxwright run -it --rm debian bash"),
        (
            "A service in the background, reachable at http://127.0.0.1:8080",
            "boxwright run -d --name web -p 8080:80 nginx",
        ),
    ]


def create(ctx: Context, args: Namespace) -> int:
    """Print the new container's id."""
    from boxwright.cli.container.options import read

    container = make(ctx, args, read(ctx, args))
    ctx.out(container.id)
    return 0


def run(ctx: Context, args: Namespace) -> int:
    """The program's exit code; 125, 126 and 127 as Docker."""
    from boxwright.container.session import Session

    # The supervisor's process starts while we read options, look the image up and mount.
    session = Session.launch()
    try:
        return _run(ctx, args, session)
    finally:
        session.close()


def _run(ctx: Context, args: Namespace, session: Session) -> int:
    from boxwright.cli.container.options import read
    from boxwright.runtime.process import require_root

    config = read(ctx, args)
    require_root("running containers")  # before a container is made that cannot run
    if args.detach and args.attach:
        return _refused(ctx, "conflicting options: cannot specify both --attach and --detach")
    if args.tty and args.interactive and not args.detach and not ctx.stdin_is_tty:
        return _refused(ctx, "the input device is not a TTY", "leave -t out, or -i")
    container = make(ctx, args, config)
    if args.detach:
        return _detached(ctx, container, session)
    from boxwright.cli.container.attach import Attachment

    return Attachment(ctx, container, session, keys=args.detach_keys, proxy=args.sig_proxy).run()


def _refused(ctx: Context, message: str, hint: str = "") -> int:
    """What the client itself refuses has exit code 1, not 125: no engine was asked."""
    from boxwright.cli.report import report
    from boxwright.container.options import OptionInvalid

    return report(ctx, OptionInvalid(message, hint=hint))


def _detached(ctx: Context, container: Container, session: Session) -> int:
    from boxwright.cli.container.attach import started

    started(ctx, container, session)
    ctx.out(container.id)
    return 0


def make(ctx: Context, args: Namespace, config: ContainerConfig) -> Container:
    """Create, pulling the image when that is wanted and needed. Raises NoSuchImage and what `create` raises."""
    from boxwright.cli.container.options import within_reach
    from boxwright.image.catalog import NoSuchImage
    from boxwright.image.store import PlatformAbsent
    from boxwright.runtime.confinement import without_effect

    for sentence in without_effect(config.security_opt):
        ctx.warn(sentence)
    config = within_reach(ctx, config)
    cidfile = _cidfile(args.cidfile)
    try:
        if config.pull == "always" and not config.rootfs:
            pull(ctx, config.image, config.platform, quiet=args.quiet)
        try:
            container = ctx.engine.containers.create(config)
        except (NoSuchImage, PlatformAbsent):  # here for another platform only is not here
            if config.pull == "never":
                raise
            ctx.err(f"Unable to find image '{_familiar(config.image)}' locally")
            pull(ctx, config.image, config.platform, quiet=args.quiet)
            container = ctx.engine.containers.create(config)
    except BaseException:
        if cidfile >= 0:
            os.unlink(args.cidfile)
        raise
    if cidfile >= 0:
        os.write(cidfile, container.id.encode())
        os.close(cidfile)
    return container


def pull(ctx: Context, image: str, platform: str, *, quiet: bool) -> None:
    """Fetch the image, showing progress as `pull` does."""
    from boxwright.cli.registry_client import fetch

    fetch(ctx, _familiar(image), platform=platform, quiet=quiet, out=ctx.err)


def _familiar(image: str) -> str:
    from boxwright.spec.reference import Reference

    return (
        Reference.parse(image).familiar
        if ":" in image.rpartition("/")[2] or "@" in image
        else f"{image}:latest"
    )


def _cidfile(path: str) -> int:
    from boxwright.container.options import OptionInvalid

    if not path:
        return -1
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise OptionInvalid(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        ) from error
    except OSError as error:
        raise OptionInvalid(
            f"failed to create the container ID file: open {path}: {(error.strerror or '').lower()}"
        ) from error
