"""From words to a command: global options, the command's parser, and how failures are told.

Only the one command's module is imported; ``--help`` imports none (`boxwright.cli.commands` has the table).
"""

from __future__ import annotations

import os
import sys

from boxwright.cli.commands import COMMANDS, EXIT_125, GROUPS
from boxwright.cli.context import Context
from boxwright.cli.flags import FlagError, HelpRequested, Namespace, Parser, UsageError
from boxwright.errors import BoxwrightError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PROG = "boxwright"
INTERNAL_ERROR = 70  # sysexits.h EX_SOFTWARE: a bug of ours, not a mistake of the user's
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
            root=options.root, docker_config=options.config, debug=options.debug, prog=f"{PROG} {name}"
        )
        code = _dispatch(ctx, name, options, rest)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except Exception as error:  # the outermost border: a traceback is no answer
        return _failed(ctx, error)


def global_parser() -> Parser:
    """The options that stand before the command."""
    p = Parser(PROG)
    p.usage = "COMMAND"
    p.add_argument(
        "--config",
        metavar="string",
        help="Directory of the client's configuration file config.json (default ~/.docker)",
    )
    p.add_argument("-D", "--debug", action="store_true", help="Show where an error comes from")
    p.add_argument("-H", "--host", action="append", help="Accepted for Docker's sake; there is no daemon")
    p.add_argument("-c", "--context", help="Accepted for Docker's sake; there is no daemon")
    p.add_argument(
        "-l",
        "--log-level",
        default="info",
        choices=("debug", "info", "warn", "error", "fatal"),
        help='Set the logging level ("debug", "info", "warn", "error", "fatal")',
    )
    p.add_argument(
        "--root",
        metavar="dir",
        complete="dir",
        help="Where images and containers are kept (default $BOXWRIGHT_ROOT, or /var/lib/boxwright for root)",
    )
    p.add_argument("-v", "--version", action="store_true", help="Print version information and quit")
    p.add_argument("words", nargs="...")
    return p


def split(argv: list[str]) -> tuple[str, Namespace, list[str]]:
    """The command's name, the global options, and the words for the command.

    The name is the longest known prefix; that of a group, or empty, when the words end there or ask for help.
    Raises UsageError.
    """
    parser = global_parser()
    try:
        options = parser.parse_args(argv)
    except FlagError as error:
        error.usage = parser.usage_line()
        raise
    except HelpRequested:
        options = Namespace(root=None, config=None, debug=False, version=False, words=["--help"])
    words: list[str] = options.words
    for length in (3, 2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in COMMANDS:
            return name, options, words[length:]
    for length in (2, 1):
        group = " ".join(words[:length])
        if len(words) >= length and group in GROUPS:
            return group, options, words[length:]
    return "", options, words


def load(name: str) -> tuple[Parser, Callable[[Context, Namespace], int]]:
    """The parser and the function of a command. Imports its module."""
    from importlib import import_module

    module_name, function, summary = COMMANDS[name]
    try:
        module: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise unknown(name.split()) from error
        raise
    parser = Parser(f"{PROG} {name}", summary)
    declare = getattr(module, f"{function}_args", None) or getattr(module, f"{function.rstrip('_')}_args")
    declare(parser)
    return parser, getattr(module, function)


def _dispatch(ctx: Context, name: str, options: Namespace, rest: list[str]) -> int:
    if options.version:
        from boxwright import __version__

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


def unknown(words: list[str]) -> UsageError:
    """Docker's words for a command that does not exist, and what was perhaps meant."""
    from boxwright.cli.commands import HIDDEN, available
    from boxwright.cli.suggest import closest

    group, word = " ".join(words[:-1]), words[-1]
    prog = f"{PROG} {group}".rstrip()
    prefix = group + " " if group else ""
    names = {n[len(prefix) :].split(" ")[0] for n in available() if n.startswith(prefix) and n not in HIDDEN}
    near = closest(word, sorted(names))
    if word.startswith("-"):
        text = (
            f"unknown flag: {word}"
            if word.startswith("--")
            else f"unknown shorthand flag: {word[1]!r} in {word}"
        )
        return FlagError(text, prog=prog, usage=f"{prog} COMMAND")
    message = f"{PROG}: unknown command: {PROG} {' '.join(words)}"
    return UsageError(
        message,
        prog=prog,
        hint="did you mean " + " or ".join(f"'{prog} {n}'" for n in near) + "?" if near else "",
    )


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
