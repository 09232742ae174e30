"""``--help`` as Docker prints it, from the declarations alone."""

from __future__ import annotations

from boxwright.cli.commands import COMMANDS, COMMON, GROUPS, HIDDEN, aliases, available
from boxwright.cli.flags import SUPPRESS, Operand, Parser
from boxwright.cli.parsers import PROG, global_parser


def overview(width: int = 80) -> str:
    """``boxwright --help``."""
    rows = available()
    common = [name for name in COMMON if name in rows]
    groups = sorted(g for g in GROUPS if " " not in g and any(name.startswith(g + " ") for name in rows))
    others = sorted(name for name in rows if " " not in name and name not in common and name not in HIDDEN)
    return "\n".join(
        [
            f"Usage:  {PROG} [OPTIONS] COMMAND",
            "",
            "Build, run and share container images, with no daemon",
            "",
            "Common Commands:",
            *_list((name, rows[name][2]) for name in common),
            "",
            "Management Commands:",
            *_list((group, GROUPS[group]) for group in groups),
            "",
            "Commands:",
            *_list((name, rows[name][2]) for name in others),
            "",
            "Global Options:",
            *_options(global_parser(), width),
            "",
            f"Run '{PROG} COMMAND --help' for more information on a command.",
        ]
    )


def group_help(group: str) -> str:
    """``boxwright image --help``."""
    prefix = group + " "
    found = {
        name[len(prefix) :]: row[2]
        for name, row in available().items()
        if name.startswith(prefix) and name not in HIDDEN
    }
    rows = sorted((name, summary) for name, summary in found.items() if " " not in name)
    rows += sorted((g[len(prefix) :], summary) for g, summary in GROUPS.items() if g.startswith(prefix))
    return "\n".join(
        [
            f"Usage:  {PROG} {group} COMMAND",
            "",
            GROUPS[group],
            "",
            "Commands:",
            *_list(rows),
            "",
            f"Run '{PROG} {group} COMMAND --help' for more information on a command.",
        ]
    )


def command_help(parser: Parser, name: str, width: int = 80) -> str:
    """``boxwright image ls --help``."""
    lines = [f"Usage:  {parser.usage_line()}", "", parser.summary]
    if parser.description:
        lines += ["", parser.description.strip()]
    others = aliases(name) if name in COMMANDS else []
    if len(others) > 1:
        lines += ["", "Aliases:", "  " + ", ".join(f"{PROG} {n}" for n in others)]
    if options := _options(parser, width):
        lines += ["", "Options:", *options]
    if parser.examples:
        lines += ["", "Examples:"]
        for text, command in parser.examples:
            lines += [f"  # {text}", f"  {command}"]
    return "\n".join(lines)


def _list(rows: object) -> list[str]:
    pairs = list(rows)  # type: ignore[call-overload]
    wide = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name:<{max(wide, 9)}}   {summary}" for name, summary in pairs]


def shown(parser: Parser) -> list[Operand]:
    """The options that the help shows, by their long names."""
    return sorted((o for o in parser.options if o.help != SUPPRESS), key=lambda o: o.long.lstrip("-").lower())


def option_help(option: Operand) -> str:
    """The help text with its default, as pflag writes it."""
    text, default = option.help, option.default
    if default in (None, "", False, 0, [], ()) or option.boolean or "(default" in text:
        return text
    if isinstance(default, list):
        default = "[" + ",".join(map(str, default)) + "]"
    return (
        f'{text} (default "{default}")'
        if isinstance(default, str) and option.kind == "string"
        else f"{text} (default {default})"
    )


def _options(parser: Parser, width: int) -> list[str]:
    left = []
    for option in shown(parser):
        short = f"{option.short}, " if option.short and option.long != option.short else "    "
        left.append((f"  {short}{option.long} {option.kind}".rstrip(), option_help(option)))
    if not left:
        return []
    column = max(len(name) for name, _ in left) + 3
    lines: list[str] = []
    for name, text in left:
        first, *more = _wrap(text, max(width - column, 24)) or [""]
        lines.append(f"{name:<{column}}{first}".rstrip())
        lines.extend(" " * column + line for line in more)
    return lines


def _wrap(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines
