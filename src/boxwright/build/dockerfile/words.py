"""One joined line to its name, flags and words. Quotes stay: expansion takes them away."""

from __future__ import annotations

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.text import SPACES, is_space
from boxwright.spec.text import go_quote

_WHITE = "\t\v\f\r "
_BLANKS = str.maketrans(_WHITE, " " * len(_WHITE))
_ASCII_SPACES = "\t\n\v\f\r "
NOT_STRINGS = "when using JSON array syntax, arrays must be comprised of strings only"

_JSON_OR_TEXT = frozenset(("cmd", "entrypoint", "run", "shell"))
_JSON_OR_LIST = frozenset(("add", "copy", "volume"))
_LIST = frozenset(("expose", "from"))
_TEXT = frozenset(("maintainer", "stopsignal", "user", "workdir"))


def split_command(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """(name as written, flags, the rest without outer white space)."""
    name, rest = _parted(line.strip(SPACES))
    if not rest.startswith("--"):
        return name, (), rest.strip(SPACES)
    flags, after = _flags(rest, escape)
    return name, tuple(flags), after.strip(SPACES)


def _parted(text: str) -> tuple[str, str]:
    """The first word of a text that begins with one, and what follows the white space behind it."""
    end = next((at for at, char in enumerate(text) if char in _WHITE), len(text))
    return text[:end], text[end:].lstrip(_WHITE)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.translate(_BLANKS).split(" ")))


def _flags(line: str, escape: str) -> tuple[list[str], str]:
    """Words that start with `--`, up to the first other one or a lone `--`; and what follows."""
    flags: list[str] = []
    pos, size = 0, len(line)
    while True:
        while pos < size and line[pos] in _ASCII_SPACES:
            pos += 1
        if not line.startswith("--", pos):
            return flags, line[pos:]
        word: list[str] = []
        quote, blank_ok = "", False
        while pos < size and (quote or line[pos] not in _ASCII_SPACES):
            char = line[pos]
            pos += 1
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote, blank_ok = char, True
            elif char == escape:
                # At the very end the token itself goes, and nothing is left to protect.
                word.append(line[pos : pos + 1])
                pos += 1
            else:
                word.append(char)
        flag = "".join(word)
        if flag == "--":
            return flags, line[pos:]
        if flag or blank_ok:
            flags.append(flag)


def words_of(name: str, rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    """The arguments of an instruction (lower-case name), and whether they were a JSON array.

    An unknown name has none. Raises DockerfileError.
    """
    if name in _JSON_OR_TEXT:
        listed = json_words(rest)
        if listed is not None:
            return listed, True
        return ((rest,) if rest else ()), False
    if name in _JSON_OR_LIST:
        listed = json_words(rest)
        if listed is not None:
            return listed, True
        return _listed(rest), False
    if name in _LIST:
        return _listed(rest), False
    if name in _TEXT:
        return ((rest,) if rest else ()), False
    if name in ("env", "label"):
        return _pairs(rest, name.upper(), escape), False
    if name == "arg":
        return tuple(parse_words(rest, escape)), False
    if name == "healthcheck":
        return _health(rest)
    return (), False


def json_words(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when the text is no JSON array at all (then it is shell form).

    Raises DockerfileError for an array with other things in it.
    """
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        values = _array(text)
    except (ValueError, RecursionError):
        return None
    strings = [value for value in values if isinstance(value, str)]
    if len(strings) != len(values):
        raise DockerfileError(NOT_STRINGS)
    return tuple(text if text.isascii() else "".join(map(_character, text)) for text in strings)


def _array(text: str) -> list[object]:
    """What is no array of strings is read again in Go's way: it knows no NaN, and numbers of any length."""
    import json

    values: list[object] = json.loads(text)
    if not all(isinstance(value, str) for value in values):
        values = json.loads(text, parse_constant=_no_constant, parse_int=float)
    return values


def _character(char: str) -> str:
    """A lone half of a surrogate pair is no text; Go puts the replacement character there."""
    return "\ufffd" if "\ud800" <= char <= "\udfff" else char


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _health(rest: str) -> tuple[tuple[str, ...], bool]:
    """The kind of a HEALTHCHECK, then JSON words or one text."""
    if not rest:
        return (), False
    end = next((at for at, char in enumerate(rest) if char in _ASCII_SPACES), len(rest))
    command = rest[end:].lstrip(_ASCII_SPACES)
    listed = json_words(command)
    if listed is not None:
        return (rest[:end], *listed), True
    return (rest[:end], command) if command else (rest[:end],), False


def _pairs(rest: str, name: str, escape: str) -> tuple[str, ...]:
    words = parse_words(rest, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        key, value = _parted(rest)
        if not value:
            raise DockerfileError(f"{name} must have two arguments")
        return key, value, ""
    triples: list[str] = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise DockerfileError(
                f"Syntax error - can't find = in {go_quote(word)}. Must be of the form: name=value"
            )
        triples += (key, text, "=")
    return tuple(triples)


def parse_words(rest: str, escape: str) -> list[str]:
    """Words separated by white space outside quotes; quotes and escapes are kept in them."""
    if "'" not in rest and '"' not in rest and escape not in rest:
        return (
            rest.split()
            if rest.isascii() and not any(c in rest for c in "\x1c\x1d\x1e\x1f")
            else _slow_words(rest, escape)
        )
    return _slow_words(rest, escape)


def _slow_words(rest: str, escape: str) -> list[str]:
    words: list[str] = []
    word: list[str] = []
    quote = ""
    pos, size = 0, len(rest)
    while pos < size:
        char = rest[pos]
        pos += 1
        if char == escape and quote != "'":
            if pos == size:
                continue  # an escape token at the end protects nothing
            word += (char, rest[pos])
            pos += 1
        elif not quote and is_space(char):
            if word:
                words.append("".join(word))
                word = []
        else:
            if not quote and char in "'\"":
                quote = char
            elif char == quote:
                quote = ""
            word.append(char)
    if word:
        words.append("".join(word))
    return words
