"""What the shell may offer next: ``boxwright __complete word…``, the last word being the unfinished one.

Prints a candidate a line, a description after a tab. ``:file`` and ``:dir`` ask the shell for its own file
names, ``:nospace`` for no blank after the candidate. Names are read from the database alone, without an engine:
a shell waits for this on every Tab. Nothing here may fail loudly; a completion that cannot be had is none.
"""

from __future__ import annotations

from boxwright.cli.commands import COMMANDS, GROUPS, HIDDEN, available
from boxwright.cli.flags import SUPPRESS, Operand, Parser
from boxwright.cli.parsers import global_parser, load
from boxwright.files.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GUESSES = (
    ("SOURCE_IMAGE", "image"),
    ("TARGET_IMAGE", "image"),
    ("CONTAINER", "container"),
    ("REPOSITORY", "image"),
    ("IMAGE", "image"),
    ("VOLUME", "volume"),
    ("NETWORK", "network"),
    ("DIR", "dir"),
    ("PATH", "file"),
    ("FILE", "file"),
    ("ARG", "file"),
)
_OPTION_KINDS = {
    "network": "network",
    "volumes-from": "container",
    "env-file": "file",
    "file": "file",
    "target": "target",
    "platform": "platform",
}
_RUNNING = frozenset(("attach", "exec", "kill", "pause", "port", "stats", "stop", "top"))


def complete(words: list[str]) -> int:
    """Print what may stand in place of the last word."""
    from boxwright.errors import BoxwrightError

    words = words or [""]
    try:
        for line in candidates(words[:-1], words[-1]):
            print(line)
    except (BoxwrightError, OSError, LookupError):
        return 1
    return 0


def candidates(before: list[str], current: str) -> Iterator[str]:
    """The lines to print."""
    parser, at = global_parser(), 0
    root = None
    while at < len(before) and before[at].startswith("-"):
        option, value = _option(parser, before[at])
        takes = option is not None and not option.boolean and value is None
        if option is not None and option.dest == "root":
            root = value if value is not None else before[at + 1] if at + 1 < len(before) else None
        at += 2 if takes else 1
        if takes and at > len(before) and option is not None:
            yield from _values(kind=_kind(option), current=current, prefix="", root=root, before=before)
            return
    name, rest = _command(before[at:])
    if name in COMMANDS:
        yield from _in_command(parser=load(name)[0], name=name, before=rest, current=current, root=root)
    elif not rest:
        if current.startswith("--") and "=" in current and not name:
            yield from _value_of(parser=parser, current=current, root=root, before=before)
        elif current.startswith("-"):
            yield from _options(parser, current) if not name else ()
        else:
            yield from _subcommands(name, current)


def _command(words: list[str]) -> tuple[str, list[str]]:
    for length in (3, 2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and (name in COMMANDS or name in GROUPS):
            return name, words[length:]
    return "", words


def _subcommands(group: str, current: str) -> Iterator[str]:
    prefix = group + " " if group else ""
    found: dict[str, str] = {}
    for name, row in available().items():
        word, _, more = name[len(prefix) :].partition(" ")
        if name.startswith(prefix) and word.startswith(current) and name not in HIDDEN:
            found[word] = GROUPS.get(prefix + word, word) if more else row[2]
    for word in sorted(found):
        yield f"{word}\t{found[word]}"


def _in_command(
    parser: Parser, name: str, before: list[str], current: str, root: str | None
) -> Iterator[str]:
    placed: list[str] = []
    pending: Operand | None = None
    strict = any(p.nargs == "..." for p in parser.positionals)
    ended = False
    for word in before:
        if pending is not None:
            pending = None
        elif word == "--" and not ended:
            ended = True
        elif not ended and len(word) > 1 and word.startswith("-"):
            option, value = _option(parser, word)
            pending = (
                option
                if option is not None and not option.boolean and option.nargs != "?" and value is None
                else None
            )
        else:
            placed.append(word)
            ended = ended or strict
    if pending is not None:
        yield from _values(kind=_kind(pending), current=current, prefix="", root=root, before=before)
    elif not ended and current.startswith("--") and "=" in current:
        yield from _value_of(parser=parser, current=current, root=root, before=before)
    elif not ended and current.startswith("-"):
        yield from _options(parser, current)
    else:
        kind = _positional(parser, len(placed))
        kind = (
            "running"
            if kind == "container" and name.split()[-1] in _RUNNING
            else "stopped"
            if kind == "container" and name.split()[-1] == "start"
            else kind
        )
        yield from (
            line
            for line in _values(kind=kind, current=current, prefix="", root=root, before=before)
            if line not in placed
        )


def _option(parser: Parser, word: str) -> tuple[Operand | None, str | None]:
    """The option that a typed word names, and the value in it if any."""
    long, equals, value = word.partition("=")
    for option in parser.options:
        if word.startswith("--"):
            if long in option.names:
                return option, value if equals else None
        elif option.short and option.short[1] in word[1:]:
            at = word.index(option.short[1])
            if not option.boolean:
                return option, word[at + 1 :] or None
    return next(((o, None) for o in parser.options if word in o.names), (None, None))


def _options(parser: Parser, current: str) -> Iterator[str]:
    for option in sorted(parser.options, key=lambda o: o.long):
        if option.help == SUPPRESS:
            continue
        for name in option.names:
            if name.startswith(current) and (len(name) > 2 or current != "-" or option.long == name):
                yield f"{name}\t{option.help.splitlines()[0] if option.help else ''}"
    if "--help".startswith(current):
        yield "--help\tPrint usage"


def _positional(parser: Parser, count: int) -> str:
    for argument in parser.positionals:
        if argument.nargs in ("*", "+", "...") or count < (
            argument.nargs if isinstance(argument.nargs, int) else 1
        ):
            return _kind(argument)
        count -= argument.nargs if isinstance(argument.nargs, int) else 1
    return ""


def _kind(argument: Operand) -> str:
    if argument.complete:
        return argument.complete
    if argument.choices:
        return "choices:" + ",".join(map(str, argument.choices))
    if not argument.positional:
        return _OPTION_KINDS.get(
            argument.long.lstrip("-"),
            {"file": "file", "dir": "dir", "path": "file"}.get(argument.metavar or "", ""),
        )
    if argument.nargs == "...":
        return "file"
    shown = (argument.metavar or argument.dest).upper()
    return next((kind for word, kind in _GUESSES if word in shown), "")


def _value_of(parser: Parser, current: str, root: str | None, before: list[str]) -> Iterator[str]:
    """What may stand behind the = of ``--option=``."""
    option, value = _option(parser, current)
    if option is not None:
        prefix = current.partition("=")[0] + "="
        yield from _values(kind=_kind(option), current=value or "", prefix=prefix, root=root, before=before)


def _values(kind: str, current: str, prefix: str, root: str | None, before: list[str]) -> Iterator[str]:
    if kind in ("file", "dir"):
        yield ":" + kind
        return
    if kind.startswith("choices:"):
        names = kind[8:].split(",")
    elif kind == "platform":
        names = [
            "linux/amd64",
            "linux/arm64",
            "linux/arm/v7",
            "linux/arm/v6",
            "linux/386",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
        ]
    elif kind == "target":
        names = _targets(before)
    elif kind in ("image", "container", "running", "stopped", "volume", "network", "object"):
        names = _stored(kind, root)
    else:
        return
    for name in names:
        if name.startswith(current):
            yield prefix + name


def _targets(before: list[str]) -> list[str]:
    """Names of the stages of the Dockerfile that a build would read."""
    path = next(
        (before[i + 1] for i, word in enumerate(before[:-1]) if word in ("-f", "--file")), "Dockerfile"
    )
    with open(path, errors="replace") as file:
        lines = [line.split() for line in file if line[:5].upper() == "FROM "]
    return [words[-1] for words in lines if len(words) > 3 and words[-2].upper() == "AS"]


def _stored(kind: str, root: str | None) -> list[str]:
    """Names out of the database, read only: a store is never made by pressing Tab."""
    import sqlite3

    from boxwright.cli.context import Context

    path = Places(Context(root=root).settings.root).database
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)
    try:
        return sorted(_names(connection, kind, path.parent))
    except sqlite3.Error:
        return []
    finally:
        connection.close()


def _names(connection: object, kind: str, root: Path) -> set[str]:
    execute = connection.execute  # type: ignore[attr-defined]
    names: set[str] = set()
    if kind in ("image", "object"):
        from boxwright.image.catalog import familiar

        for (name,) in execute("SELECT name FROM names"):
            if "@" not in name:
                names.add(familiar(name))
    if kind in ("container", "object"):
        names.update(name for (name,) in execute("SELECT name FROM containers"))
    if kind in ("running", "stopped"):
        from boxwright.container.records import directory_of, load_state

        rows = execute("SELECT id, name FROM containers")
        names.update(
            name
            for identity, name in rows
            if load_state(directory_of(root, identity)).active == (kind == "running")
        )
    if kind in ("volume", "object"):
        names.update(name for (name,) in execute("SELECT name FROM volumes WHERE NOT anonymous"))
    if kind in ("network", "object"):
        names.update(name for (name,) in execute("SELECT name FROM networks"))
        names.update(("bridge", "host", "none") if kind == "network" else ())
    return names
