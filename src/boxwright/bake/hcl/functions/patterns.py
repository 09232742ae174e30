"""Functions of regular expressions."""

from __future__ import annotations

import re

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.functions.function import function
from boxwright.bake.hcl.regex import Regex
from boxwright.bake.hcl.types import STRING, HclValue, listed, object_of, text, tuple_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.hcl.budget import Budget
    from boxwright.bake.hcl.types import Type

_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


def _kind(pattern: Regex) -> Type:
    """Of what type a match is: text, or its captures."""
    named = [name for name in pattern.groups if name]
    if not pattern.groups:
        return STRING
    if not named:
        return tuple_of(STRING for _ in pattern.groups)
    if len(named) < len(pattern.groups):
        raise DefinitionInvalid("invalid regexp pattern: cannot mix both named and unnamed capture groups")
    return object_of(dict.fromkeys(named, STRING))


def _match(pattern: Regex, given: str, found: list[int]) -> HclValue:
    if not pattern.groups:
        return text(given[found[0] : found[1]])
    parts = [
        text(given[found[at] : found[at + 1]]) if found[at] >= 0 else HclValue(STRING, None)
        for at in range(2, len(found), 2)
    ]
    if pattern.groups[0]:
        return HclValue(_kind(pattern), dict(zip(pattern.groups, parts)))
    return HclValue(_kind(pattern), tuple(parts))


def _regex(pattern: HclValue, given: HclValue) -> HclValue:
    compiled = Regex(pattern.data)
    _kind(compiled)
    found = compiled.search(given.data)
    if found is None:
        raise DefinitionInvalid("pattern did not match any part of the given string")
    return _match(compiled, given.data, found)


def _regexall(pattern: HclValue, given: HclValue) -> HclValue:
    compiled = Regex(pattern.data)
    kind = _kind(compiled)
    return listed([_match(compiled, given.data, found) for found in compiled.finditer(given.data)], kind)


def _replace(budget: Budget, given: HclValue, pattern: HclValue, replacement: HclValue) -> HclValue:
    compiled, data = Regex(pattern.data), given.data
    out, at = [], 0
    for found in compiled.finditer(data):
        piece = _expanded(compiled, replacement.data, data=data, found=found)
        budget.make(len(piece))
        out += [data[at : found[0]], piece]
        at = found[1]
    return text("".join(out) + data[at:])


def _expanded(pattern: Regex, template: str, data: str, found: list[int]) -> str:
    def one(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        group = (
            int(name) if name.isdigit() else pattern.groups.index(name) + 1 if name in pattern.groups else -1
        )
        if not 0 <= group <= len(pattern.groups) or found[2 * group] < 0:
            return ""
        return data[found[2 * group] : found[2 * group + 1]]

    return _REFERENCE.sub(one, template)


FUNCTIONS = (
    function("regex", "pattern:string string:string", _regex),
    function("regexall", "pattern:string string:string", _regexall),
    function("regex_replace", "str:string pattern:string replace:string", _replace, needs=True),
)
