"""One command line from its words to its exit code, and how failures are told."""

from __future__ import annotations

import os
import sys

from boxwright.cli import endpoint
from boxwright.cli.commands import COMMANDS, EXIT_125
from boxwright.cli.context import Context
from boxwright.cli.flags import FlagError, HelpRequested, Namespace, UsageError
from boxwright.cli.parsers import PROG, load, split, unknown
from boxwright.errors import BoxwrightError

INTERNAL_ERROR = 70  # sysexits.h EX_SOFTWARE: a bug of ours, not a mistake of the user's
# What acts on no engine's images or containers: accounts, files of a registry that is served here, the shell.
ENGINELESS = ("login", "logout", "registry ", "completion ", "context ")
BROKEN_PIPE = (
    141  # as if SIGPIPE had ended us, which is what the shell expects of `boxwright images | head -1`
)


def main(argv: list[str]) -> int:
    """Run one command line; return its exit code. Never raises for what a user can cause."""
    ctx = Context()
    try:
        _tolerant_streams()
        if argv[:1] == ["__complete"]:
            from boxwright.cli.complete import complete

            return complete(argv[1:])
        name, options, rest = split(argv)
        ctx = Context(
            root=options.root,
            docker_config=options.config,
            debug=options.debug,
            prog=f"{PROG} {name}",
            docker_context=options.context or "",
        )
        code = _dispatch(ctx=ctx, name=name, options=options, rest=rest)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the outermost border: a traceback is no answer
        return _failed(ctx, error)
    finally:
        ctx.close()


def _dispatch(ctx: Context, name: str, options: Namespace, rest: list[str]) -> int:
    if options.version:
        from boxwright.version import __version__

        ctx.out(f"Boxwright version {__version__}")
        return 0
    if name not in COMMANDS:
        return _group(ctx, name, rest)
    parser, function = load(name)
    try:
        args = parser.parse_args(rest)
    except FlagError as error:
        typed = str(error).removeprefix("unknown flag: ")
        if typed in ("--root", "--config", "--debug", "--log-level"):
            error.hint = f"{typed} stands before the command: {PROG} {typed} … {name}"
        error.usage = parser.usage_line()
        raise
    except HelpRequested:
        from boxwright.cli.help import command_help

        ctx.out(command_help(parser, name, ctx.width))
        return 0
    try:
        if not name.startswith(ENGINELESS):
            endpoint.check(options=options, environ=os.environ, settings=lambda: ctx.settings, warn=ctx.warn)
        builder = getattr(args, "builder", None)
        if builder or (builder is not None and ctx.settings.environ.get("BUILDX_BUILDER")):
            from boxwright.cli.builders import check_builder

            check_builder(ctx, builder)
        return function(ctx, args) or 0
    except UsageError:
        raise
    except BoxwrightError as error:
        if name in EXIT_125 and error.exit_code == 1:
            error.exit_code = 125
        raise


def _group(ctx: Context, name: str, rest: list[str]) -> int:
    from boxwright.cli.help import group_help, overview

    wants_help = not rest or rest[0] in ("--help", "-h", "help")
    if name:
        if wants_help:
            (ctx.out if rest else ctx.err)(group_help(name))
            return 0
        raise unknown([*name.split(), rest[0]])
    if not rest or rest[0] in ("--help", "-h"):
        (ctx.out if rest else ctx.err)(overview(ctx.width))
        return 0
    if rest[0] == "help":
        return main([*rest[1:], "--help"])
    raise unknown(rest[:1])


# --- failures --------------------------------------------------------------------------------------


def _failed(ctx: Context, error: Exception) -> int:
    if ctx.debug or os.environ.get("BOXWRIGHT_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exc()
    try:
        from boxwright.cli.report import report

        return report(ctx, error)
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE


def _silence() -> None:
    """Point standard output nowhere, so that the interpreter's own flush at exit cannot complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        pass


def _tolerant_streams() -> None:
    """File names and labels can hold bytes that are no UTF-8; printing them must not fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(
                errors="surrogateescape"
                if (stream.encoding or "").lower().replace("-", "") == "utf8"
                else "backslashreplace"
            )
