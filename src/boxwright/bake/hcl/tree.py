"""What a definition is parsed into: bodies of arguments and blocks, and expressions. Each knows its place."""

from __future__ import annotations

from boxwright.bake.errors import SourcePlace
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.hcl.types import HclValue


@dataclass(frozen=True, slots=True)
class Expression:
    """Base of all. `height` is the longest way down to a leaf: how deep evaluating it goes."""

    place: SourcePlace
    height: int


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    value: HclValue


@dataclass(frozen=True, slots=True)
class TemplateText(Expression):
    """Text of several parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Wrapped(Expression):
    """``"${…}"`` alone: the value itself, of whatever type."""

    inner: Expression


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A variable, or the first word of a reference."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Expression):
    inner: Expression
    name: str


@dataclass(frozen=True, slots=True)
class IndexStep(Expression):
    inner: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class Splat(Expression):
    """``x[*].a`` or ``x.*.a``: `each` is applied to a `Hole`, for every element."""

    inner: Expression
    each: Expression


@dataclass(frozen=True, slots=True)
class Hole(Expression):
    """The element in a splat."""


@dataclass(frozen=True, slots=True)
class Conditional(Expression):
    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    operator: str
    inner: Expression


@dataclass(frozen=True, slots=True)
class FunctionCall(Expression):
    """`expand`: the last argument is a sequence of arguments."""

    name: str
    name_place: SourcePlace
    arguments: tuple[Expression, ...]
    expand: bool


@dataclass(frozen=True, slots=True)
class Tuple(Expression):
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Object(Expression):
    """Keys and values; keys that are bare words name themselves."""

    items: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True)
class Parens(Expression):
    inner: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class For(Expression):
    """`key` is None where a tuple is made; `joined` inside a template, where all results are one text."""

    key_name: str
    value_name: str
    collection: Expression
    key: Expression | None
    value: Expression
    condition: Expression | None
    group: bool
    joined: bool = False


@dataclass(frozen=True, slots=True)
class HclArgument:
    """``name = expression``."""

    name: str
    name_place: SourcePlace
    value: Expression
    place: SourcePlace


@dataclass(frozen=True, slots=True)
class Block:
    """``type "label" { … }``; `header` is the place of the line, `label_places` of each label."""

    type: str
    labels: tuple[str, ...]
    label_places: tuple[SourcePlace, ...]
    header: SourcePlace
    body: HclBody


@dataclass(frozen=True, slots=True)
class HclBody:
    """Arguments by name, and blocks in their order. `end` is where something that is missing would stand."""

    arguments: dict[str, HclArgument]
    blocks: tuple[Block, ...]
    end: SourcePlace
