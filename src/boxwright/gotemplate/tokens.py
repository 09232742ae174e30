"""The words of a Go template: text outside ``{{ }}``, tokens inside (Go's text/template/parse/lex.go)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

KEYWORDS = frozenset(
    ("if", "else", "end", "range", "with", "break", "continue", "define", "template", "block")
)
_SPACE = " \t\r\n"
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_SINGLE = {"(": "open", ")": "shut", "|": "pipe", ",": "comma", "=": "assign"}


class Token:
    """kind: text, begin, close, keyword, name, field, dot, variable, literal, open, shut, pipe, comma, assign, eof."""

    __slots__ = ("kind", "position", "spaced", "text", "value")

    def __init__(
        self, kind: str, text: str, position: int, *, spaced: bool = False, value: Any = None
    ) -> None:
        self.kind = kind
        self.text = text
        self.position = position
        self.spaced = spaced  # a blank stands before it: `.A .B` is two operands, `.A.B` is one
        self.value = value


def tokens(text: str) -> Iterator[Token]:
    """All tokens of a template, ``eof`` last. Raises SyntaxError with the position as its offset."""
    at = 0
    trim = False
    while True:
        begin = text.find("{{", at)
        piece = text[at:] if begin < 0 else text[at:begin]
        if trim:
            piece = piece.lstrip(_SPACE)
        if begin < 0:
            if piece:
                yield _text(piece, at)
            yield Token("eof", "EOF", len(text))
            return
        inside = begin + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in tuple(_SPACE):
            piece = piece.rstrip(_SPACE)
            inside += 2
        if piece:
            yield _text(piece, at)
        start = inside + len(text[inside:]) - len(text[inside:].lstrip(_SPACE))
        if text.startswith("/*", start):
            at, trim = _comment(text, start)
            continue
        yield Token("begin", "{{", begin)
        at, trim, found = _action(text, inside)
        yield from found


def _text(piece: str, at: int) -> Token:
    # Docker lets shells pass \t and \n as two characters (formatter.go parseFormat). It replaces them in string
    # literals too, which makes {{join .X "\n"}} an error there; here a literal reads its own escapes.
    return Token("text", piece.replace("\\t", "\t").replace("\\n", "\n"), at)


def _fail(message: str, position: int) -> SyntaxError:
    error = SyntaxError(message)
    error.offset = position
    return error


def _comment(text: str, start: int) -> tuple[int, bool]:
    end = text.find("*/", start)
    if end < 0:
        raise _fail("unclosed comment", start)
    if text.startswith("}}", end + 2):
        return end + 4, False
    tail = text[end + 2 :].lstrip(_SPACE)
    if tail.startswith("-}}") and text[end + 2 : end + 3] in tuple(_SPACE):
        return len(text) - len(tail) + 3, True
    raise _fail("comment ends before closing delimiter", end)


def _action(text: str, at: int) -> tuple[int, bool, list[Token]]:
    """Tokens up to and including ``}}``; where text goes on; whether its blanks are trimmed."""
    found: list[Token] = []
    spaced = True
    while at < len(text):
        if text.startswith("}}", at):
            found.append(Token("close", "}}", at))
            return at + 2, False, found
        if text.startswith("-}}", at) and spaced:
            found.append(Token("close", "-}}", at))
            return at + 3, True, found
        if text[at] in _SPACE:
            at += 1
            spaced = True
            continue
        token, at = _token(text, at, spaced)
        found.append(token)
        spaced = False
    raise _fail("unclosed action", at)


def _token(text: str, at: int, spaced: bool) -> tuple[Token, int]:
    character = text[at]
    if character in _SINGLE:
        return Token(_SINGLE[character], character, at, spaced=spaced), at + 1
    if text.startswith(":=", at):
        return Token("assign", ":=", at, spaced=spaced), at + 2
    if character in "\"'`":
        return _quoted(text, at, spaced)
    following = text[at + 1 : at + 2]
    if (
        character.isdigit()
        or (character in "+-." and following.isdigit())
        or (character in "+-" and following == ".")
    ):
        return _number(text, at, spaced)
    if character in ".$" or character == "_" or character.isalpha():
        end = at + 1
        while end < len(text) and (text[end] == "_" or text[end].isalnum()):
            end += 1
        word = text[at:end]
        if character == ".":
            return Token("field" if len(word) > 1 else "dot", word, at, spaced=spaced), end
        if character == "$":
            return Token("variable", word, at, spaced=spaced), end
        if word in ("true", "false", "nil"):
            return Token(
                "literal", word, at, spaced=spaced, value={"true": True, "false": False}.get(word)
            ), end
        return Token("keyword" if word in KEYWORDS else "name", word, at, spaced=spaced), end
    raise _fail(f"unexpected {character!r} in command", at)


def _number(text: str, at: int, spaced: bool) -> tuple[Token, int]:
    end = at + 1
    while end < len(text) and (
        text[end].isalnum() or text[end] in "._" or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    word = text[at:end]
    value: int | float
    if len(word) > 100:
        raise _fail("number is too long", at)
    try:
        value = int(word, 0)
    except ValueError:
        try:
            value = float(word)
        except ValueError as error:
            raise _fail(f"bad number syntax: {word!r}", at) from error
    return Token("literal", word, at, spaced=spaced, value=value), end


def _quoted(text: str, at: int, spaced: bool) -> tuple[Token, int]:
    quote = text[at]
    if quote == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise _fail("unterminated raw quoted string", at)
        return Token("literal", text[at : end + 1], at, spaced=spaced, value=text[at + 1 : end]), end + 1
    value: list[str] = []
    end = at + 1
    while True:
        if end >= len(text) or text[end] == "\n":
            raise _fail(
                "unterminated quoted string" if quote == '"' else "unterminated character constant", at
            )
        if text[end] == quote:
            break
        if text[end] == "\\":
            piece, end = _escape(text, end)
            value.append(piece)
        else:
            value.append(text[end])
            end += 1
    content = "".join(value)
    if quote == "'":
        if len(content) != 1:
            raise _fail(f"malformed character constant: {text[at : end + 1]}", at)
        return Token("literal", text[at : end + 1], at, spaced=spaced, value=ord(content)), end + 1
    return Token("literal", text[at : end + 1], at, spaced=spaced, value=content), end + 1


def _escape(text: str, at: int) -> tuple[str, int]:
    letter = text[at + 1 : at + 2]
    if letter in _ESCAPES and letter:
        return _ESCAPES[letter], at + 2
    length = {"x": 2, "u": 4, "U": 8}.get(letter)
    try:
        if length:
            digits = text[at + 2 : at + 2 + length]
            if len(digits) == length and digits.isalnum():
                return chr(int(digits, 16)), at + 2 + length
        elif len(digits := text[at + 1 : at + 4]) == 3 and digits.isdigit():
            return chr(int(digits, 8)), at + 4
    except (ValueError, OverflowError):
        pass
    raise _fail("invalid syntax in string", at)
