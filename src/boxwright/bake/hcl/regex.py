"""Regular expressions of RE2's kind, matched in time that grows with the text and the pattern and with nothing else.

Python's own `re` tries ways one after the other, and a definition from outside could keep it busy for years with
twenty characters. Here all ways go on at once (Thompson's construction, with captures as Pike has them).
"""

from __future__ import annotations

import unicodedata

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    Test = Callable[[str], bool]

LARGEST = 20_000  # instructions of a pattern
WORK = 40_000_000  # instructions times characters
_REPEATS = 1000
_DEEPEST = 60

_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": lambda c: "0" <= c <= "9",
    "s": lambda c: c in " \t\n\f\r",
    "w": lambda c: c.isascii() and (c.isalnum() or c == "_"),
}
_POSIX: dict[str, Callable[[str], bool]] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "ascii": str.isascii,
    "blank": lambda c: c in " \t",
    "cntrl": lambda c: c < " " or c == "\x7f",
    "digit": _CLASSES["d"],
    "graph": lambda c: "!" <= c <= "~",
    "lower": lambda c: "a" <= c <= "z",
    "print": lambda c: " " <= c <= "~",
    "punct": lambda c: "!" <= c <= "~" and not c.isalnum(),
    "space": lambda c: c in " \t\n\v\f\r",
    "upper": lambda c: "A" <= c <= "Z",
    "word": _CLASSES["w"],
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}
_ESCAPES = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}


@dataclass(frozen=True, slots=True)
class RegexFlags:
    fold: bool = False  # i
    lines: bool = False  # m
    dotall: bool = False  # s
    swap: bool = False  # U


class Regex:
    """A pattern, compiled. `groups` are the names of its captures, '' for one without."""

    def __init__(self, pattern: str) -> None:
        parser = _RegexParser(pattern)
        code: list[Any] = []
        _emit(code, ("group", 0, parser.parse()))
        code.append(("match",))
        self._code, self.groups = code, parser.groups

    def search(self, text: str, start: int = 0) -> list[int] | None:
        """Where the first match and its captures begin and end, -1 for what took no part; None without a match."""
        if len(self._code) * (len(text) - start + 1) > WORK:
            raise DefinitionTooLarge("a regular expression would take too long on this text")
        best: list[int] | None = None
        threads: list[tuple[int, list[int]]] = []
        slots = [-1] * (2 * len(self.groups) + 2)
        for at in range(start, len(text) + 1):
            if best is None:
                seen = {pc for pc, _ in threads}
                self._add(threads=threads, seen=seen, text=text, at=at, pc=0, saved=slots)
            if not threads and best is not None:
                break
            char = text[at : at + 1]
            following: list[tuple[int, list[int]]] = []
            entered: set[int] = set()
            for pc, saved in threads:
                step = self._code[pc]
                if step[0] == "match":
                    best = saved
                    break
                if char and step[1](char):
                    self._add(threads=following, seen=entered, text=text, at=at + 1, pc=pc + 1, saved=saved)
            threads = following
        return best

    def _add(
        self,
        threads: list[tuple[int, list[int]]],
        seen: set[int],
        text: str,
        at: int,
        pc: int,
        saved: list[int],
    ) -> None:
        """All instructions that are reached from one without a character, in their order of preference."""
        stack = [(pc, saved)]
        while stack:
            pc, saved = stack.pop()
            if pc in seen:
                continue
            seen.add(pc)
            step = self._code[pc]
            kind = step[0]
            if kind == "jump":
                stack.append((step[1], saved))
            elif kind == "split":
                stack.append((step[2], saved))
                stack.append((step[1], saved))
            elif kind == "save":
                stack.append((pc + 1, [*saved[: step[1]], at, *saved[step[1] + 1 :]]))
            elif kind == "assert":
                if step[1](text, at):
                    stack.append((pc + 1, saved))
            else:
                threads.append((pc, saved))

    def finditer(self, text: str) -> Iterator[list[int]]:
        """All matches that do not overlap."""
        at = 0
        last_end = -1
        work = 0
        while at <= len(text):
            work += len(self._code) * (len(text) - at + 1)
            if work > 10 * WORK:
                raise DefinitionTooLarge("a regular expression would take too long on this text")
            found = self.search(text, at)
            if found is None:
                return
            begin, end = found[0], found[1]
            if begin == end == last_end:
                at = end + 1
                continue
            yield found
            last_end = end
            at = end if end > begin else end + 1


def _emit(code: list[Any], node: Any) -> None:
    """Instructions of one node of a pattern."""
    if len(code) > LARGEST:
        raise DefinitionTooLarge("a regular expression is too large")
    kind = node[0]
    if kind == "char":
        code.append(("char", node[1]))
    elif kind == "assert":
        code.append(("assert", node[1]))
    elif kind == "cat":
        for part in node[1]:
            _emit(code, part)
    elif kind == "alt":
        _alternatives(code, node[1])
    elif kind == "group":
        code.append(("save", 2 * node[1]))
        _emit(code, node[2])
        code.append(("save", 2 * node[1] + 1))
    elif kind == "repeat":
        _, inner, least, most, greedy = node
        for _ in range(least):
            _emit(code, inner)
        if most is None:
            top = len(code)
            code.append(None)
            _emit(code, inner)
            code.append(("jump", top))
            code[top] = _split(top + 1, len(code), greedy)
        else:
            holes = []
            for _ in range(most - least):
                holes.append(len(code))
                code.append(None)
                _emit(code, inner)
            for hole in holes:
                code[hole] = _split(hole + 1, len(code), greedy)


def _split(inside: int, after: int, greedy: bool) -> tuple[str, int, int]:
    return ("split", inside, after) if greedy else ("split", after, inside)


def _alternatives(code: list[Any], parts: list[Any]) -> None:
    ends = []
    for part in parts[:-1]:
        hole = len(code)
        code.append(None)
        _emit(code, part)
        ends.append(len(code))
        code.append(None)
        code[hole] = ("split", hole + 1, len(code))
    _emit(code, parts[-1])
    for end in ends:
        code[end] = ("jump", len(code))


class _RegexParser:
    def __init__(self, pattern: str) -> None:
        self.text, self.at = pattern, 0
        self.groups: list[str] = []
        self.flags = RegexFlags()
        self._depth = 0

    def parse(self) -> Any:
        found = self._alternation()
        if self.at < len(self.text):
            self._fail("unexpected )")
        return found

    def _alternation(self) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail("expression nests too deeply")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else ("alt", parts)

    def _sequence(self) -> Any:
        parts: list[Any] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            atom = self._atom()
            if atom is not None:
                parts.append(self._repeated(atom))
        return ("cat", parts)

    def _repeated(self, atom: Any) -> Any:
        repeated = False
        while self.at < len(self.text):
            bounds = self._bounds()
            if bounds is None:
                return atom
            if repeated:
                self._fail("invalid nested repetition operator")
            repeated = True
            greedy = not self._take("?")
            atom = ("repeat", atom, *bounds, greedy != self.flags.swap)
        return atom

    def _bounds(self) -> tuple[int, int | None] | None:
        char = self.text[self.at]
        if char in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if char != "{":
            return None
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : end].partition(",") if end > 0 else ("", "", "")
        if not low.isdigit() or (high and not high.isdigit()):
            return None
        self.at = end + 1
        least = int(low)
        most = int(high) if high else None if comma else least
        if least > _REPEATS or (most is not None and (most > _REPEATS or most < least)):
            self._fail("invalid repeat count")
        return least, most

    def _atom(self) -> Any:
        char = self.text[self.at]
        self.at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return ("char", self._folded(self._set()))
        if char == ".":
            return ("char", (lambda c: True) if self.flags.dotall else (lambda c: c != "\n"))
        if char == "^":
            return ("assert", _line_start if self.flags.lines else _text_start)
        if char == "$":
            return ("assert", _line_end if self.flags.lines else _text_end)
        if char == "\\":
            return self._escape()
        if char in "*+?":
            self._fail("missing argument to repetition operator")
        return ("char", self._folded(_same(char)))

    def _folded(self, test: Test) -> Test:
        if not self.flags.fold:
            return test
        return lambda c: test(c) or test(c.lower()) or test(c.upper())

    def _group(self) -> Any:
        outer = self.flags
        number = 0
        if self._take("?"):
            if self._take("P<") or (self.text[self.at : self.at + 1] == "<" and self._take("<")):
                end = self.text.find(">", self.at)
                name = self.text[self.at : end] if end > 0 else ""
                if not name.isidentifier() or name in self.groups:
                    self._fail("invalid named capture")
                self.at = end + 1
                self.groups.append(name)
                number = len(self.groups)
            else:
                self.flags, ended = self._flags()
                if ended:
                    return None
        else:
            self.groups.append("")
            number = len(self.groups)
        inner = self._alternation()
        if not self._take(")"):
            self._fail("missing closing )")
        self.flags = outer
        return ("group", number, inner) if number else inner

    def _flags(self) -> tuple[RegexFlags, bool]:
        """Flags of a group; true when they hold for the rest of the group around them."""
        found = {"i": self.flags.fold, "m": self.flags.lines, "s": self.flags.dotall, "U": self.flags.swap}
        value = True
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == "-":
                value = False
            elif char in found:
                found[char] = value
            elif char in ":)":
                return RegexFlags(found["i"], found["m"], dotall=found["s"], swap=found["U"]), char == ")"
            else:
                break
        self._fail("invalid or unsupported Perl syntax")

    def _escape(self) -> Any:
        if self.at >= len(self.text):
            self._fail("trailing backslash at end of expression")
        char = self.text[self.at]
        anchors: dict[str, Callable[[str, int], bool]] = {
            "A": _text_start,
            "z": _text_end,
            "b": _boundary,
            "B": lambda text, at: not _boundary(text, at),
        }
        if char in anchors:
            self.at += 1
            return ("assert", anchors[char])
        if char == "Q":
            end = self.text.find("\\E", self.at)
            literal = self.text[self.at + 1 : end if end > 0 else None]
            self.at = end + 2 if end > 0 else len(self.text)
            return ("cat", [("char", self._folded(_same(c))) for c in literal])
        return ("char", self._folded(self._escaped()))

    def _escaped(self) -> Test:
        """The characters that a backslash and what follows stand for, in a set or outside of one."""
        char = self.text[self.at]
        self.at += 1
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return test if char.islower() else _other(test)
        if char in "pP":
            return self._category(char == "P")
        return _same(self._literal(char))

    def _literal(self, char: str) -> str:
        """The character that an escape stands for."""
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            if self._take("{"):
                end = self.text.find("}", self.at)
                digits, self.at = self.text[self.at : end], end + 1
            else:
                digits, self.at = self.text[self.at : self.at + 2], self.at + 2
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                self._fail("invalid escape sequence")
        if char.isalnum():
            self._fail(f"invalid escape sequence: \\{char}")
        return char

    def _category(self, negated: bool) -> Test:
        if self._take("{"):
            end = self.text.find("}", self.at)
            name, self.at = self.text[self.at : end], end + 1
        else:
            name, self.at = self.text[self.at : self.at + 1], self.at + 1
        negated ^= name.startswith("^")
        name = name.removeprefix("^")
        if len(name) > 2 or not name or name[0] not in "LMNPSZC":
            self._fail(f"invalid character class range: {name}")

        def test(c: str) -> bool:
            return unicodedata.category(c).startswith(name) != negated

        return test

    def _set(self) -> Test:
        negated = self._take("^")
        tests: list[Test] = []
        first = True
        while first or self.text[self.at : self.at + 1] != "]":
            first = False
            if self.at >= len(self.text):
                self._fail("missing closing ]")
            tests.append(self._member())
        self.at += 1
        found = tuple(tests)
        if negated:
            return lambda c: not any(test(c) for test in found)
        return lambda c: any(test(c) for test in found)

    def _member(self) -> Test:
        """One class, character or range of a set."""
        if self.text.startswith("[:", self.at) and (end := self.text.find(":]", self.at)) > 0:
            name = self.text[self.at + 2 : end]
            test = _POSIX.get(name.removeprefix("^"))
            if test is None:
                self._fail(f"invalid character class range: [:{name}:]")
            self.at = end + 2
            return _other(test) if name.startswith("^") else test
        char = self.text[self.at]
        if char == "\\" and (self.text[self.at + 1 : self.at + 2] or "?") in "dDsSwWpP":
            self.at += 1
            return self._escaped()
        low = self._member_char()
        following = self.text[self.at + 1 : self.at + 2]
        if self.text[self.at : self.at + 1] == "-" and following not in ("]", ""):
            self.at += 1
            high = self._member_char()
            if high < low:
                self._fail("invalid character class range")
            return lambda c: low <= c <= high
        return _same(low)

    def _member_char(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char != "\\":
            return char
        if self.at >= len(self.text):
            self._fail("missing closing ]")
        self.at += 1
        return self._literal(self.text[self.at - 1])

    def _take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def _fail(self, why: str) -> NoReturn:
        raise DefinitionInvalid(f"invalid regexp pattern: {why} in {self.text[:60]}")


def _same(char: str) -> Test:
    return lambda c: c == char


def _other(test: Test) -> Test:
    return lambda c: not test(c)


def _text_start(text: str, at: int) -> bool:
    return at == 0


def _text_end(text: str, at: int) -> bool:
    return at == len(text)


def _line_start(text: str, at: int) -> bool:
    return at == 0 or text[at - 1] == "\n"


def _line_end(text: str, at: int) -> bool:
    return at == len(text) or text[at] == "\n"


def _boundary(text: str, at: int) -> bool:
    word = _CLASSES["w"]
    before = at > 0 and word(text[at - 1])
    return before != (at < len(text) and word(text[at]))
