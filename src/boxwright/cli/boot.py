"""system up, system install-units."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser


def system_up_args(p: Parser) -> None:
    p.add_argument("-q", "--quiet", action="store_true", help="Do not print the names of what was started")


def system_up(ctx: Context, args: Namespace) -> int:
    """1 when a container could not be started."""
    from boxwright.cli.report import report

    started, failed = ctx.engine.system.up()
    if not args.quiet:
        for name in started:
            ctx.out(name)
    for name, error in failed.items():
        ctx.err(f"{name}:")
        report(ctx, error)
    return 1 if failed else 0


def install_units_args(p: Parser) -> None:
    p.add_argument(
        "--root",
        default="",
        metavar="dir",
        complete="dir",
        help="Install below this directory, the root of another system's files",
    )
    p.add_argument("--remove", action="store_true", help="Remove the files that this command installed")
    p.examples = [
        ("Have containers with a restart policy started at boot", "boxwright system install-units"),
        ("In an image of a system", "boxwright system install-units --root /mnt/image"),
    ]


def install_units(ctx: Context, args: Namespace) -> int:
    """What was written or removed, a path a line; without systemd, lines for other ways to boot."""
    from pathlib import Path

    from boxwright.engine import units

    root, top = ctx.settings.root, Path(args.root or "/")
    if args.remove:
        for path in units.remove(root, top):
            ctx.out(str(path))
        return 0
    program = _program()
    if not args.root and not units.runs_systemd():
        line = units.init_line(program, root)
        ctx.out(
            f"systemd does not run here. For /etc/rc.local:\n  {line}\nor for root's crontab:\n  @reboot {line}"
        )
        return 0
    for path in units.install(program, root, top):
        ctx.out(str(path))
    if not args.root:
        ctx.err(
            "They are for the next boot; for this one: systemctl daemon-reload && systemctl start boxwright"
        )
    return 0


def _program() -> list[str]:
    """How this program is called by another."""
    import os
    import sys

    own = os.path.abspath(sys.argv[0])
    if os.path.basename(own) == "boxwright" and os.access(own, os.X_OK):
        return [own]
    return [sys.executable, "-m", "boxwright"]
