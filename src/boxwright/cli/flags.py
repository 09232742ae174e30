"""Options and arguments as Docker's command line reads them (Go's pflag), declared as with argparse.

Why not argparse: importing it costs as much as everything else in ``boxwright images`` together, it cannot
stop at the image name of ``run``, knows no ``--flag=false``, and abbreviates options.

A command declares itself with calls that argparse users know::

    def images_args(p: Parser) -> None:
        p.add_argument("repository", nargs="?", metavar="REPOSITORY[:TAG]")
        p.add_argument("-a", "--all", action="store_true", help="Show all images")
        p.add_argument("-f", "--filter", action="append", metavar="filter", help="Filter output")
        p.add_argument("-n", "--last", type=int, default=-1, help="Show n last created containers")

* ``nargs`` of positionals: none (one), ``"?"``, ``"*"``, ``"+"``, a number, or `REMAINDER` (everything from
  here on, options too: ``run IMAGE [COMMAND] [ARG...]``). Options and positionals may be mixed otherwise.
* ``action`` of options: ``store``, ``store_true``, ``store_false``, ``append``, ``count``. ``append`` without
  a default yields an empty list. ``nargs="?"`` with ``const`` makes the value optional (``--opt`` or ``--opt=x``).
* ``metavar`` of an option is the kind of its value as ``--help`` prints it: string, list, bytes, duration…
* ``type`` is called with the text; what it raises (ValueError or a BoxwrightError) becomes the usage error.
* ``help=SUPPRESS`` accepts an option without showing it. ``complete="image"`` on a positional or option names
  what the shell completes: image, container, running, volume, network, file, dir, builder target…
* ``p.usage`` replaces the part of the usage line after ``[OPTIONS]``; ``p.examples`` is a list of
  (what it does, command line); ``p.description`` is more text than the one-line summary.

The result is a `Namespace`: one attribute a destination, and ``given``, the set of options that were typed.
"""

from __future__ import annotations

from types import SimpleNamespace

from boxwright.errors import BoxwrightError, Invalid

TYPE_CHECKING = False  # `typing` and `collections` would cost more than this module
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

REMAINDER = "..."
SUPPRESS = "==SUPPRESS=="
_FORMAT = "Format output using a custom template:"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageError(Invalid):
    """The command line cannot be understood. `prog` is the command whose help explains it."""

    def __init__(self, message: str, *, prog: str = "boxwright", usage: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.prog = prog
        self.usage = usage


class FlagError(UsageError):
    """An option is unknown or has an impossible value. Docker exits with 125."""

    exit_code = 125


class HelpRequested(BaseException):
    """``--help`` was typed; not an error."""


class Namespace(SimpleNamespace):
    """What was typed, an attribute a destination."""

    given: set[str]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Operand:
    """One declared option or positional."""

    __slots__ = (
        "action",
        "choices",
        "complete",
        "const",
        "default",
        "dest",
        "help",
        "metavar",
        "names",
        "nargs",
        "required",
        "type",
    )

    def __init__(self, names: tuple[str, ...], **options: Any) -> None:
        self.names = names
        self.action: str = options.pop("action", "store")
        self.nargs: str | int | None = options.pop("nargs", None)
        self.type: Callable[[str], Any] | None = options.pop("type", None)
        self.choices: Sequence[str] | None = options.pop("choices", None)
        self.const: Any = options.pop("const", None)
        self.required: bool = options.pop("required", False)
        self.help: str = options.pop("help", None) or ""
        self.complete: str = options.pop("complete", "")
        self.metavar: str | None = options.pop("metavar", None)
        dest = options.pop("dest", None)
        self.dest: str = dest or max(names, key=len).lstrip("-").replace("-", "_")
        empty: Any = None
        if self.action == "append" or self.nargs in ("*", "+", REMAINDER):
            empty = []
        elif self.action == "count":
            empty = 0
        elif self.action in ("store_true", "store_false"):
            empty = self.action == "store_false"
        self.default: Any = options.pop("default", empty)
        if self.default is None and empty is not None:
            self.default = empty
        if options:
            raise TypeError(f"{names}: unknown option of add_argument: {', '.join(options)}")

    @property
    def positional(self) -> bool:
        """Whether it has no dash."""
        return not self.names[0].startswith("-")

    @property
    def boolean(self) -> bool:
        """Whether it takes no value unless one is given with ``=``."""
        return self.action in ("store_true", "store_false", "count")

    @property
    def long(self) -> str:
        """The long name with its dashes, or the only name."""
        return max(self.names, key=len)

    @property
    def short(self) -> str:
        """The one-letter name with its dash, or ''."""
        return next((n for n in self.names if len(n) == 2), "")

    @property
    def kind(self) -> str:
        """The kind of the value, as the help prints it."""
        if self.boolean:
            return ""
        if self.metavar is not None:
            return self.metavar
        if self.action == "append":
            return "list"
        return self.type.__name__ if self.type in (int, float) and self.type else "string"

    @property
    def display(self) -> str:
        """As error messages name it: ``-n, --last``; older names of the same option are left out."""
        return ", ".join(filter(None, (self.short, self.long if len(self.long) > 2 else "")))

    def _value(self, text: str) -> Any:
        if self.type is int:
            from boxwright.spec.text import go_int

            return go_int(text)
        return self.type(text) if self.type is not None else text

    def convert(self, text: str, prog: str) -> Any:
        """The value that the text means. Raises FlagError."""
        reason = hint = ""
        try:
            value = self._value(text)
        except BoxwrightError as error:
            reason, hint = str(error), error.hint
        except (ValueError, OverflowError) as error:
            reason = str(error)
        else:
            if self.choices is None or value in self.choices:
                return value
            reason = f"must be one of {', '.join(map(str, self.choices))}"
        if self.positional:
            raise UsageError(f'invalid argument "{text}": {reason}', prog=prog, hint=hint)
        raise FlagError(
            f'invalid argument "{text}" for "{self.display}" flag: {reason}', prog=prog, hint=hint
        )


class Parser:
    """The options and arguments of one command."""

    def __init__(self, prog: str, summary: str = "") -> None:
        self.prog = prog
        self.summary = summary
        self.description = ""
        self.usage = ""
        self.examples: list[tuple[str, str]] = []
        self.options: list[Operand] = []
        self.positionals: list[Operand] = []
        self._by_name: dict[str, Operand] = {}

    # --- declaring -----------------------------------------------------------------------------

    def add_argument(self, *names: str, **options: Any) -> Operand:
        """Declare an option (names with dashes) or a positional (one name without)."""
        argument = Operand(names, **options)
        if argument.positional:
            self.positionals.append(argument)
        else:
            self.options.append(argument)
            for name in names:
                if name in self._by_name:
                    raise TypeError(f"{self.prog}: {name} is declared twice")
                self._by_name[name] = argument
        return argument

    def add_object_format(self) -> None:
        """``--format`` of a command that shows objects one by one."""
        self.add_argument(
            "-f", "--format", default="", metavar="string", help=f"{_FORMAT} 'json' or TEMPLATE"
        )

    def add_table_format(self) -> None:
        """``--format`` of a command that shows a table."""
        words = "'table', 'table TEMPLATE', 'json' or TEMPLATE"
        self.add_argument("--format", default="", metavar="string", help=f"{_FORMAT} {words}")

    def error(self, message: str, *, hint: str = "") -> UsageError:
        """An error about this command's arguments, to be raised by the caller."""
        return UsageError(message, prog=self.prog, hint=hint)

    # --- parsing -------------------------------------------------------------------------------

    def parse_args(self, argv: Iterable[str]) -> Namespace:
        """Read the words after the command's name. Raises UsageError, FlagError, HelpRequested."""
        values = Namespace(given=set())
        for argument in (*self.options, *self.positionals):
            default = argument.default
            setattr(values, argument.dest, list(default) if isinstance(default, list) else default)
        words = self._options(list(argv), values)
        for option in self.options:
            if option.required and option.dest not in values.given:
                raise UsageError(f'required flag(s) "{option.long.lstrip("-")}" not set', prog=self.prog)
        self._place(words, values)
        return values

    def _options(self, argv: list[str], values: Namespace) -> list[str]:
        """Take the options out; return the other words."""
        words: list[str] = []
        # pflag's SetInterspersed(false): the first word that is no option ends the options
        strict = any(p.nargs == REMAINDER for p in self.positionals)
        at = 0
        while at < len(argv):
            word = argv[at]
            at += 1
            if word == "--":
                return words + argv[at:]
            if len(word) < 2 or word[0] != "-":
                words.append(word)
                if strict:
                    return words + argv[at:]
                continue
            at = (
                self._long(word=word, argv=argv, at=at, values=values)
                if word[1] == "-"
                else self._shorts(word=word, argv=argv, at=at, values=values)
            )
        return words

    def _long(self, word: str, argv: list[str], at: int, values: Namespace) -> int:
        name, equals, text = word.partition("=")
        option = self._by_name.get(name)
        if option is None:
            if name == "--help":
                raise HelpRequested
            raise FlagError(f"unknown flag: {name}", prog=self.prog, hint=self._similar(name))
        if equals:
            self._store(option, text, values)
        elif option.boolean or option.nargs == "?":
            self._store(option, None, values)
        elif at < len(argv):
            self._store(option, argv[at], values)
            at += 1
        else:
            raise FlagError(f"flag needs an argument: {name}", prog=self.prog)
        return at

    def _shorts(self, word: str, argv: list[str], at: int, values: Namespace) -> int:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self._by_name.get("-" + letter)
            if option is None:
                if letter == "h":
                    raise HelpRequested
                raise FlagError(
                    f"unknown shorthand flag: {letter!r} in {word}",
                    prog=self.prog,
                    hint=self._instead(f"-{letter}"),
                )
            if letters.startswith("="):
                self._store(option, letters[1:], values)
                return at
            if option.boolean or option.nargs == "?":
                self._store(option, None, values)
            elif letters:
                self._store(option, letters, values)
                return at
            elif at < len(argv):
                self._store(option, argv[at], values)
                return at + 1
            else:
                raise FlagError(f"flag needs an argument: {letter!r} in {word}", prog=self.prog)
        return at

    def _store(self, option: Operand, text: str | None, values: Namespace) -> None:
        first = option.dest not in values.given
        values.given.add(option.dest)
        if option.action == "count":
            setattr(values, option.dest, getattr(values, option.dest) + 1)
        elif option.boolean:
            on = True if text is None else _boolean(text, option, self.prog)
            setattr(values, option.dest, on == (option.action == "store_true"))
        elif option.action == "append":
            value = option.const if text is None else option.convert(text, self.prog)
            setattr(values, option.dest, [value] if first else [*getattr(values, option.dest), value])
        else:
            setattr(values, option.dest, option.const if text is None else option.convert(text, self.prog))

    def _place(self, words: list[str], values: Namespace) -> None:
        least = sum(_least(p) for p in self.positionals)
        most = sum(_most(p) for p in self.positionals)
        if not least <= len(words) <= most:
            raise self.miscounted(least, most)
        spare = len(words) - least
        for positional in self.positionals:
            many = int(min(_most(positional), _least(positional) + spare))
            spare -= many - _least(positional)
            taken, words = words[:many], words[many:]
            converted = [positional.convert(w, self.prog) for w in taken]
            if positional.nargs is None:
                setattr(values, positional.dest, converted[0])
            elif positional.nargs == "?":
                setattr(values, positional.dest, converted[0] if converted else positional.default)
            elif converted or not positional.default:
                setattr(values, positional.dest, converted)

    def miscounted(self, least: int, most: float) -> UsageError:
        """The error for too few or too many arguments, to be raised by the caller."""
        return UsageError(
            f"{self.prog.partition(' ')[0]}: '{self.prog}' {_wanted(least, most)}",
            prog=self.prog,
            usage=self.usage_line(),
        )

    def _instead(self, name: str) -> str:
        from boxwright.cli.absent import BUILD, OPTIONS

        if name in BUILD and self.prog.endswith(" build"):
            return BUILD[name]
        return OPTIONS.get(name, "")

    def _similar(self, name: str) -> str:
        from boxwright.spec.suggest import closest

        if instead := self._instead(name):
            return instead
        near = closest(name, [n for n in self._by_name if n.startswith("--")])
        return f"did you mean {near[0]}?" if near else ""

    # --- describing ----------------------------------------------------------------------------

    def usage_line(self) -> str:
        """``boxwright images [OPTIONS] [REPOSITORY[:TAG]]``."""
        parts = [self.prog]
        if any(o.help != SUPPRESS for o in self.options):
            parts.append("[OPTIONS]")
        if self.usage:
            parts.append(self.usage)
        else:
            parts.extend(_shape(p) for p in self.positionals if p.help != SUPPRESS)
        return " ".join(parts)


def _boolean(text: str, option: Operand, prog: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    reason = f'strconv.ParseBool: parsing "{text}": invalid syntax'
    raise FlagError(f'invalid argument "{text}" for "{option.display}" flag: {reason}', prog=prog)


def _least(positional: Operand) -> int:
    if isinstance(positional.nargs, int):
        return positional.nargs
    return 1 if positional.nargs in (None, "+") else 0


def _most(positional: Operand) -> float:
    if isinstance(positional.nargs, int):
        return positional.nargs
    return 1 if positional.nargs in (None, "?") else float("inf")


def _wanted(least: int, most: float) -> str:
    """Docker's words (cli/required.go)."""

    def count(n: float) -> str:
        return f"{int(n)} argument" + ("" if n == 1 else "s")

    if most == 0:
        return "accepts no arguments"
    if least == most:
        return f"requires {count(least)}"
    if most == float("inf"):
        return f"requires at least {count(least)}"
    return (
        f"requires at most {count(most)}"
        if least == 0
        else f"requires at least {least} and at most {count(most)}"
    )


def _shape(positional: Operand) -> str:
    name = positional.metavar or positional.dest.upper()
    match positional.nargs:
        case None:
            return name
        case "?":
            return f"[{name}]"
        case "*":
            return f"[{name}...]"
        case "+":
            return f"{name} [{name}...]"
        case "...":
            return f"[{name}] [ARG...]"
        case count:
            return " ".join([name] * int(count))
