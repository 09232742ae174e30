"""From words to a command: the global options, and the parser of the one command that is named.

Only that command's module is imported; ``--help`` imports none (`boxwright.cli.commands` has the table).
"""

from __future__ import annotations

import sys

from boxwright.cli.commands import COMMANDS, GROUPS
from boxwright.cli.flags import FlagError, HelpRequested, Namespace, Parser, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.cli.context import Context

PROG = "boxwright"


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
    p.add_argument(
        "-H",
        "--host",
        action="append",
        help="Act only if this engine is the one of this machine (overrides DOCKER_HOST)",
    )
    p.add_argument(
        "-c",
        "--context",
        help="Act only if the engine of this context of Docker's is the one of this machine (overrides DOCKER_CONTEXT)",
    )
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
        options = Namespace(
            root=None, config=None, debug=False, version=False, context=None, words=["--help"]
        )
    words: list[str] = options.words
    for length in (4, 3, 2, 1):
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
    module_name, function, summary = COMMANDS[name]
    try:
        __import__(module_name)  # `importlib` would be one more module
        module: Any = sys.modules[module_name]
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise unknown(name.split()) from error
        raise
    parser = Parser(f"{PROG} {name}", summary)
    declare = getattr(module, f"{function}_args", None) or getattr(module, f"{function.rstrip('_')}_args")
    declare(parser)
    return parser, getattr(module, function)


def unknown(words: list[str]) -> UsageError:
    """Docker's words for a command that does not exist, and what was perhaps meant."""
    from boxwright.cli.commands import HIDDEN, available
    from boxwright.spec.suggest import closest

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
    hint = "did you mean " + " or ".join(f"'{prog} {n}'" for n in near) + "?" if near else ""
    if not near or not group:
        from boxwright.cli.absent import COMMANDS as ABSENT

        hint = ABSENT.get(prefix + word, hint)
    return UsageError(message, prog=prog, hint=hint)
