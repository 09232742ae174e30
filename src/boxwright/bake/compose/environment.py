"""Variables of compose files: ``${NAME:-default}`` in values, and `.env` files (compose-spec, 12-interpolation.md)."""

from __future__ import annotations

import re

from boxwright.bake.environ import LayeredVariables
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl.budget import Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from boxwright.bake.trees import DefinitionTree

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_DEEPEST = 20
_LARGEST = 4 << 20


def substituted(template: str, environ: Mapping[str, str], depth: int = 0) -> str:
    """Text with the values of its variables. Raises DefinitionInvalid."""
    if "$" not in template:
        return template
    if depth > _DEEPEST:
        raise DefinitionTooLarge(f"defaults of variables are nested in more than {_DEEPEST} levels")
    out, at, size = [], 0, 0
    while (dollar := template.find("$", at)) >= 0:
        out.append(template[at:dollar])
        following = template[dollar + 1 : dollar + 2]
        found = _NAME.match(template, dollar + 1)
        if following == "$":
            out.append("$")
            at = dollar + 2
        elif following == "{":
            end = _closing(template, dollar + 1)
            if end < 0:
                raise DefinitionInvalid(f'Invalid template: "{template}"')
            out.append(_braced(template[dollar + 2 : end], template, environ=environ, depth=depth))
            at = end + 1
        elif found:
            out.append(environ.get(found[0], ""))
            at = found.end()
        else:
            out.append("$")
            at = dollar + 1
        size += len(out[-2]) + len(out[-1])
        if size > _LARGEST:
            raise DefinitionTooLarge("a value expands to more than 4 MiB")
    return "".join(out) + template[at:]


def _closing(template: str, opened: int) -> int:
    """Where the brace that is opened at a place is closed."""
    depth = 0
    for at in range(opened, len(template)):
        if template[at] == "{":
            depth += 1
        elif template[at] == "}":
            depth -= 1
            if not depth:
                return at
    return -1


def _braced(inner: str, whole: str, environ: Mapping[str, str], depth: int) -> str:
    found = _NAME.match(inner)
    if not found:
        raise DefinitionInvalid(f'Invalid template: "{whole}"')
    name, rest = found[0], inner[found.end() :]
    value = environ.get(name)
    if not rest:
        return value or ""
    operator = next((one for one in _OPERATORS if rest.startswith(one)), "")
    if not operator:
        raise DefinitionInvalid(f'Invalid template: "{whole}"')
    other = rest[len(operator) :]
    there = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("-"):
        return value or "" if there else substituted(other, environ, depth + 1)
    if operator.endswith("+"):
        return substituted(other, environ, depth + 1) if there else ""
    if not there:
        reason = substituted(other, environ, depth + 1)
        raise DefinitionInvalid(
            f"required variable {name} is missing a value" + (f": {reason}" if reason else "")
        )
    return value or ""


_STATEMENT = re.compile(r"(?:export[ \t]+)?([\w.\-\[\]]+)[ \t]*(?:([=:])[ \t]*|(?=\n|\Z))")
_ESCAPED = re.compile(r'\\([abcfnrtv$"\\]|0\d{0,3})')
_LETTERS = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    '"': '"',
    "\\": "\\",
    "$": "$$",
}


def parse_dotenv(text: str, environ: Mapping[str, str], budget: Budget | None = None) -> dict[str, str]:
    """The variables of a ``.env`` file; `budget` is that of all files that are read together. Raises
    DefinitionInvalid."""
    found: dict[str, str] = {}
    known = LayeredVariables(environ, found)
    budget = budget or Budget()
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    at = 0
    while True:
        blank = re.compile(r"(?:\s+|#[^\n]*)*").match(text, at)
        at = blank.end() if blank else at
        if at >= len(text):
            return found
        statement = _STATEMENT.match(text, at)
        if not statement:
            rest = text[at:].split("\n", 1)[0]
            raise DefinitionInvalid(
                f'line {_line(text, at)}: unexpected character in variable name "{rest[:60]}"'
            )
        name, at = statement[1], statement.end()
        if not statement[2]:
            if name in environ:
                found[name] = environ[name]
            continue
        value, at = _value(text, at, known)
        budget.make(len(name) + len(value))
        found[name] = value


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _value(text: str, at: int, environ: Mapping[str, str]) -> tuple[str, int]:
    quote = text[at : at + 1]
    if quote and quote in "'\"":
        closed = re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL).match(text, at)
        if not closed:
            raise DefinitionInvalid(
                f"line {_line(text, at)}: unterminated quoted value {text[at:].split(chr(10), 1)[0][:60]}"
            )
        body = closed[1].replace(f"\\{quote}", quote)
        if quote == '"':
            body = substituted(_ESCAPED.sub(_letter, body), environ)
        return body, closed.end()
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return substituted(text[at:end].partition(" #")[0].rstrip(), environ), end


def _letter(found: re.Match[str]) -> str:
    word = found[1]
    if word.startswith("0"):
        return chr(int(word, 8) & 0xFF)
    return _LETTERS.get(word, found[0])


def variables_of(
    tree: DefinitionTree, path: str, environ: Mapping[str, str], budget: Budget
) -> dict[str, str] | None:
    """The variables of a file; None when it is not there. Raises DefinitionInvalid."""
    try:
        data = tree.read(path, _LARGEST + 1)
    except OSError as error:
        raise DefinitionInvalid(f"open {path}: {(error.strerror or 'cannot be read').lower()}") from None
    if data is None:
        return None
    if len(data) > _LARGEST:
        raise DefinitionTooLarge(f"{path} is larger than 4 MiB")
    try:
        return parse_dotenv(data.decode("utf-8-sig"), environ, budget)
    except UnicodeDecodeError:
        raise DefinitionInvalid(f"failed to read {path}: it is not text in UTF-8") from None
    except DefinitionTooLarge:
        raise
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"failed to read {path}: {error.reason}") from None
