"""Variable expansion and word splitting (Dockerfile reference, "Environment replacement").

The rules look like a shell's and are not: one pass replaces `$name` and `${name…}`, takes quotes away and resolves
escapes; nothing is ever executed."""

from __future__ import annotations

from collections.abc import Callable

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.pattern import PatternInvalid, replace, trim_prefix, trim_suffix
from boxwright.build.dockerfile.text import is_space
from boxwright.spec.text import go_quote

Lookup = Callable[[str], str | None]

_SPECIAL = frozenset("@*#?-$!0")
_PLAIN_STOPS = "$'\"\\`"
_MOST = 16 << 20  # characters
_MAX_NESTING = 100  # deeper than any file has; keeps hostile input off the interpreter's stack


class _Failure(Exception):
    """Why a word cannot be expanded; turned into a DockerfileError at the edge."""


class Expansions:
    """What variables come to in one reading of a Dockerfile, altogether. A value that is twice another one doubles with
    each line; a file of one screen would be larger than any memory."""

    def __init__(self) -> None:
        self._left = _MOST

    def of(self, lookup: Lookup) -> Lookup:
        """The lookup, until its values came to too much: then expanding raises DockerfileError."""

        def counted(name: str) -> str | None:
            value = lookup(name)
            self._left -= len(value or "")
            if self._left < 0:
                raise _Failure(f"the variables of this Dockerfile come to more than {_MOST >> 20} MiB")
            return value

        return counted


def nothing_set(name: str) -> str | None:
    """A lookup in which no variable exists."""
    return None


def expand(
    word: str,
    lookup: Lookup,
    escape: str = "\\",
    *,
    raw: bool = False,
    unset: set[str] | None = None,
    used: set[str] | None = None,
) -> str:
    """The word with variables replaced, quotes removed and escapes resolved.

    `raw` leaves quotes alone (heredoc bodies). Names that `lookup` did not know are added to `unset`,
    the others to `used`. Raises DockerfileError (`failed to process "…": …`).
    """
    if not any(char in word for char in _PLAIN_STOPS):
        return word
    return _guarded(
        _Scan(word, lookup, escape, quotes="ignore" if raw else "remove", unset=unset, used=used), None
    )


_SHOWN = 256  # characters of a value that a name is worth


def shown(text: str, lookup: Lookup, escape: str = "\\") -> str:
    """The text of an instruction with its variables, for people: quotes and escapes stay, and so does a variable that
    is not set, whose value is long, or is more than letters on one line."""

    def brief(name: str) -> str | None:
        value = lookup(name)
        return value if value is not None and len(value) <= _SHOWN and value.isprintable() else None

    scan = _Scan(text, Expansions().of(brief), escape, quotes="keep", keep_unset=True)
    try:
        return scan.until("", True, None)
    except _Failure:  # it is the shell's, which has other forms
        return text


def process_words(
    text: str,
    lookup: Lookup,
    escape: str = "\\",
    *,
    keep_quotes: bool = False,
    keep_escapes: bool = False,
    keep_unset: bool = False,
    unset: set[str] | None = None,
) -> list[str]:
    """Expand, then split at white space that came from no quote; spaces out of variables do split.

    `keep_*` leave the respective syntax in the words: that is how heredoc delimiters are found.
    Raises DockerfileError.
    """
    scan = _Scan(
        text, lookup, escape, quotes="keep" if keep_quotes else "remove", keep_unset=keep_unset, unset=unset
    )
    scan.raw_escapes = keep_escapes
    words = _Words()
    _guarded(scan, words)
    return words.finish()


def _guarded(scan: _Scan, words: _Words | None) -> str:
    try:
        return scan.until("", scan.raw_escapes, words)
    except _Failure as error:
        raise DockerfileError(f"failed to process {go_quote(scan.text)}: {error}") from None


class _Words:
    """Splits what is scanned into words as it comes."""

    __slots__ = ("current", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.current = ""

    def split(self, text: str) -> None:
        for char in text:
            if not is_space(char):
                self.current += char
            elif self.current:
                self.words.append(self.current)
                self.current = ""

    def literal(self, text: str) -> None:
        self.current += text

    def finish(self) -> list[str]:
        if self.current:
            self.words.append(self.current)
            self.current = ""
        return self.words


class _Scan:
    """One pass over one text. `quotes`: whether they are syntax ("remove"), syntax that stays ("keep"), or text
    ("ignore")."""

    __slots__ = (
        "depth",
        "escape",
        "keep_unset",
        "lookup",
        "pos",
        "quotes",
        "raw_escapes",
        "text",
        "unset",
        "used",
    )

    def __init__(
        self,
        text: str,
        lookup: Lookup,
        escape: str,
        *,
        quotes: str = "remove",
        keep_unset: bool = False,
        unset: set[str] | None = None,
        used: set[str] | None = None,
    ) -> None:
        self.text, self.escape = text, escape
        self.lookup = Expansions().of(lookup)  # of one text, too
        self.quotes, self.keep_unset = quotes, keep_unset
        self.unset, self.used = unset, used
        self.raw_escapes = False
        self.pos = self.depth = 0

    def peek(self) -> str:
        return self.text[self.pos] if self.pos < len(self.text) else ""

    def next(self) -> str:
        char = self.peek()
        self.pos += 1
        return char

    def until(self, stop: str, raw_escapes: bool, words: _Words | None) -> str:
        """Scan to the unquoted `stop` ('' = the end), which is consumed."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        if self.depth > _MAX_NESTING:
            raise _Failure("substitutions are nested too deeply")
        try:
            return self._until(stop, words)
        finally:
            self.raw_escapes = before
            self.depth -= 1

    def _until(self, stop: str, words: _Words | None) -> str:
        out: list[str] = []
        while char := self.peek():
            if char == stop:
                self.pos += 1
                return "".join(out)
            if char == "$":
                value = self.dollar()
                if words:
                    words.split(value)
            elif char in "'\"<" and (char == "<" or self.quotes != "ignore"):
                value = self.single() if char == "'" else self.double() if char == '"' else self.angle()
                if words:
                    words.literal(value)
            elif char == self.escape:
                value = self.escaped()
                if words:
                    words.literal(value)
            else:
                self.pos += 1
                value = char
                if words:
                    words.split(value)
            out.append(value)
        if stop:
            raise _Failure(f"unexpected end of statement while looking for matching {stop}")
        return "".join(out)

    def escaped(self) -> str:
        kept = self.next() if self.raw_escapes else ""
        if not kept:
            self.pos += 1
        return kept + self.next()

    def angle(self) -> str:
        """`<<` and `<<-` keep the spaces behind them in their word, so that `<< EOF` is one."""
        self.pos += 1
        if self.peek() != "<":
            return "<"
        start = self.pos - 1
        self.pos += 1
        if self.peek() == "-" and self.text[self.pos + 1 : self.pos + 2] in (" ", "\t", "\r"):
            self.pos += 1
        while self.peek() and self.peek() in " \t\r":
            self.pos += 1
        return self.text[start : self.pos]

    def single(self) -> str:
        end = self.text.find("'", self.pos + 1)
        if end < 0:
            raise _Failure("unexpected end of statement while looking for matching single-quote")
        start, self.pos = self.pos, end + 1
        return self.text[start : end + 1] if self.quotes == "keep" else self.text[start + 1 : end]

    def double(self) -> str:
        quote = '"' if self.quotes == "keep" else ""
        out = [quote]
        self.pos += 1
        while char := self.peek():
            if char == '"':
                self.pos += 1
                return "".join(out) + quote
            if char == "$":
                out.append(self.dollar())
                continue
            self.pos += 1
            if char == self.escape:
                if self.raw_escapes:
                    out.append(char)
                if not self.peek():
                    continue
                if self.peek() in ('"', "$", self.escape):
                    char = self.next()
            out.append(char)
        raise _Failure("unexpected end of statement while looking for matching double-quote")

    def value(self, name: str) -> str | None:
        value = self.lookup(name)
        seen = self.unset if value is None else self.used
        if seen is not None:
            seen.add(name)
        return value

    def name(self) -> str:
        """A variable name: letters, digits and `_`; only digits after a digit; or one special character."""
        start = self.pos
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.pos += 1
        elif first and first in _SPECIAL:
            self.pos += 1
        else:
            while (char := self.peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
                self.pos += 1
        return self.text[start : self.pos]

    def dollar(self) -> str:
        start = self.pos
        self.pos += 1
        if self.peek() == "{":
            self.pos += 1
            return self.braces(start)
        name = self.name()
        if not name:
            return "$"
        value = self.value(name)
        if value is None:
            return self.text[start : self.pos] if self.keep_unset else ""
        return value

    def braces(self, start: int) -> str:
        if not self.peek():
            raise _Failure("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise _Failure("syntax error: bad substitution")
        name = self.name()
        operator = self.next()
        if operator == "}":
            value = self.value(name)
            if value is None:
                return self.text[start : self.pos] if self.keep_unset else ""
            return value
        if operator == "/":
            return self.substitution(name, start)
        colon = operator == ":"
        if colon:
            operator = self.next()
        if not operator:
            raise _Failure("syntax error: missing '}'")
        if operator not in "+-?#%" or (colon and operator in "#%"):
            if colon and operator not in "#%":
                self.part("}", False)
                self.value(name)  # that it is not set is told beside the error
            raise _Failure(f"unsupported modifier ({':' if colon else ''}{operator}) in substitution")
        word = self.part("}", operator in "#%")
        value = self.value(name)
        if value is None and self.keep_unset:
            return self.text[start : self.pos]
        return self.modified(name=name, value=value, operator=operator, colon=colon, word=word)

    def part(self, stop: str, raw_escapes: bool) -> str:
        """The text up to `stop`, itself expanded."""
        try:
            return self.until(stop, raw_escapes, None)
        except _Failure:
            if self.pos >= len(self.text):
                where = " in ${}" if stop == "/" else ""
                raise _Failure(f"syntax error: missing '{stop}'{where}") from None
            raise

    def modified(self, name: str, value: str | None, operator: str, colon: bool, word: str) -> str:
        missing = value is None or (colon and not value)
        if operator == "-":
            return word if missing else value or ""
        if operator == "+":
            return "" if missing else word
        if operator == "?":
            if missing:
                default = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                raise _Failure(f"{name}: {word or default}")
            return value or ""
        longest = word.startswith(operator)
        trim = trim_prefix if operator == "#" else trim_suffix
        try:
            return trim(value or "", word[1:] if longest else word, longest=longest)
        except PatternInvalid as error:
            raise _Failure(str(error)) from None

    def substitution(self, name: str, start: int) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.pos += 1
        pattern = self.part("/", True)
        replacement = self.part("}", True)
        value = self.value(name)
        if value is None and self.keep_unset:
            return self.text[start : self.pos]
        try:
            return replace(value or "", pattern, replacement, everywhere=everywhere)
        except PatternInvalid as error:
            raise _Failure(str(error)) from None
