"""YAML as compose reads it: the core schema of YAML 1.2, `!reset` and `!override`, and no more of it than is sane.

The parser shares the value that an alias repeats. The walk that then makes plain dictionaries copies it each time, and
a file of ten lines could make it run without end: so that walk counts what it makes."""

from __future__ import annotations

import re

import yaml

from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge, SourcePlace
from boxwright.bake.hcl.source import SourceText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NODES = 200_000
_DEEPEST = 60
# What PyYAML's constructors raise beside its own errors, when a value is not of the tag that is written before it.
_MISREAD = (ValueError, OverflowError, LookupError, AttributeError, TypeError)


class Reset:
    """``!reset``: what other files said is taken back."""


class Replace:
    """``!override``: what other files said is replaced, not merged."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """Scalars as YAML 1.2 has them: `yes` is text, and so is a date."""

    def flatten_mapping(self, node: Any) -> None:
        seen = set()
        for key in [key.value for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"]:
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'mapping key "{key}" already defined', problem_mark=node.start_mark
                )
            seen.add(key)
        super().flatten_mapping(node)


def _resolvers() -> None:
    _Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?(?:0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)", list("-+0123456789")),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+0123456789.")),
        ("merge", r"<<", ["<"]),
    ):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)


def _integer(loader: Any, node: Any) -> int | str:
    word = str(loader.construct_scalar(node))
    if len(word) > 40:
        return word
    return int(word.replace("0o", ""), 8) if "0o" in word else int(word, 16) if "x" in word else int(word)


def _float(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node))


def _kept(loader: Any, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return Replace(loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Replace(loader.construct_sequence(node, deep=True))
    return Replace(str(loader.construct_scalar(node)))


_resolvers()
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("!reset", lambda loader, node: Reset())
_Loader.add_constructor("!override", _kept)


def documents(data: bytes, name: str) -> list[Any]:
    """The documents of a file, as plain values. Raises DefinitionInvalid."""
    text = SourceText.of(data, name).text
    try:
        found = list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (
            SourcePlace(
                file=name,
                line=mark.line + 1,
                column=mark.column + 1,
                end_line=mark.line + 1,
                end_column=mark.column + 1,
            )
            if mark
            else None
        )
        raise DefinitionInvalid(f"yaml: {error.problem or error.context}", place=place) from None
    except (yaml.YAMLError, *_MISREAD) as error:
        reason = (
            str(error) if isinstance(error, (yaml.YAMLError, ValueError)) else "a value is not of its tag"
        )
        raise DefinitionInvalid(f"failed to parse {name}: yaml: {reason}") from None
    count = [_NODES]
    return [_plain(one, count, 0) for one in found]


def _plain(value: Any, count: list[int], depth: int) -> Any:
    """Copied, with text as keys."""
    count[0] -= 1
    if count[0] < 0:
        raise DefinitionTooLarge(f"the YAML expands to more than {_NODES:,} values")
    if depth > _DEEPEST:
        raise DefinitionTooLarge(f"the YAML is nested in more than {_DEEPEST} levels")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float, bool)):
                raise DefinitionInvalid(f"non-string key: {key!r}")
        return {scalar(key): _plain(item, count, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, count, depth + 1) for item in value]
    if isinstance(value, Replace):
        return Replace(_plain(value.value, count, depth + 1))
    if isinstance(value, (str, int, float, bool, Reset)) or value is None:
        return value
    raise DefinitionInvalid(f"a value of YAML's type {type(value).__name__} has no meaning in a compose file")


def scalar(value: Any) -> str:
    """A scalar as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return str(value)
