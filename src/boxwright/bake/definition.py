"""A definition in HCL or JSON: its variables, functions, groups and targets, evaluated.

Everything is evaluated when something asks for it, so that the order in a file does not matter; what asks for itself is
a cycle, and fails.
"""

from __future__ import annotations

import itertools
from functools import partial

from boxwright.bake import variables
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.hcl import tree
from boxwright.bake.hcl.budget import Budget
from boxwright.bake.hcl.evaluate import Evaluator, Local
from boxwright.bake.hcl.functions import library
from boxwright.bake.hcl.functions.function import size
from boxwright.bake.hcl.types import STRING, HclValue, convert, list_of, objected, text, tupled
from boxwright.bake.names import check_name
from boxwright.bake.target import SETTINGS, BakeTarget, Group, read, show, unique
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from boxwright.bake.errors import SourcePlace
    from boxwright.bake.hcl.json_syntax import Schema
    from boxwright.bake.hcl.tree import Block, Expression, HclArgument, HclBody
    from boxwright.bake.variables import Variable

SCHEMA: Schema = {
    "group": (1, {}),
    "target": (1, {}),
    "variable": (1, {"validation": (0, {})}),
    "function": (1, {}),
}
COMBINATIONS = 10_000  # targets that one matrix makes


@dataclass(slots=True)
class Config:
    """All groups and targets of some definitions, and what is printed about them: variables and warnings. `paths` are
    further files that the definitions had read."""

    groups: list[Group] = field(default_factory=list)
    targets: list[BakeTarget] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a definition may look at beside itself: the variables of the environment, and those that bake sets."""

    environ: Mapping[str, str]
    builtin: Mapping[str, str]


@dataclass(slots=True)
class _Made:
    """One target or group that a block makes: with a matrix there are several."""

    block: Block
    name: str
    evaluator: Evaluator
    settings: dict[str, Any]
    busy: set[str]


class Definition:
    """The bodies of all files, as one scope."""

    def __init__(self, bodies: Sequence[HclBody], around: Outside) -> None:
        self._around = around
        self._budget = Budget()
        self._evaluator = Evaluator(self, self._budget)
        self._values: dict[str, HclValue] = {}
        self._busy: set[str] = set()
        self._library = library.functions()
        self._depth = 0
        self._warnings: dict[str, None] = {}  # each once: a matrix makes many targets of one block
        self._arguments: dict[str, HclArgument] = {}
        self._variables: dict[str, Block] = {}
        self._functions: dict[str, Block] = {}
        self._blocks: list[Block] = []
        self._made: dict[str, dict[str, list[_Made]]] = {"target": {}, "group": {}}
        for body in bodies:
            self._collect(body)

    def _collect(self, body: HclBody) -> None:
        reserved = {"group", "target", *self._around.builtin}
        for name, argument in body.arguments.items():
            if name not in reserved and name != "function":
                self._arguments[name] = argument
        for block in body.blocks:
            if block.type not in SCHEMA:
                self._warn(f"{block.header}: blocks of type {block.type!r} are not known and are ignored")
                continue
            if len(block.labels) != 1:
                raise DefinitionInvalid(
                    f"invalid block label: a {block.type} block has one label, its name",
                    summary="Invalid block",
                    place=block.header,
                )
            if block.type in ("group", "target"):
                self._blocks.append(block)
            elif block.labels[0] not in reserved:
                (self._variables if block.type == "variable" else self._functions)[block.labels[0]] = block

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    # --- what names mean (hcl.evaluate's Scope) --------------------------------------------------

    def variable(self, name: str) -> HclValue:
        """Raises DefinitionInvalid."""
        if name in self._values:
            return self._values[name]
        if name in self._around.builtin:
            return text(self._around.builtin[name])
        if name not in self._arguments and name not in self._variables:
            raise self._unknown(name)
        if name in self._busy:
            raise DefinitionInvalid(f"variable cycle not allowed for {name}", undefined=True)
        self._busy.add(name)
        try:
            found = variables.value(
                name,
                argument=self._arguments.get(name),
                block=self._variables.get(name),
                evaluator=self._evaluator,
                lookup=self._lookup,
            )
        finally:
            self._busy.discard(name)
        self._values[name] = found
        return found

    def _lookup(self, name: str) -> str | None:
        """A variable of the environment, unless it would be another variable's own."""
        if name.endswith("_JSON") and (name in self._variables or name in self._around.builtin):
            return self._around.environ.get(name) if name in self._variables else None
        return self._around.environ.get(name)

    def _unknown(self, name: str) -> DefinitionInvalid:
        from boxwright.bake.names import near

        guess = near(name, [*self._arguments, *self._variables, *self._around.builtin])
        more = f' Did you mean "{guess}"?' if guess else ""
        return DefinitionInvalid(
            f'There is no variable named "{name}".{more}', summary="Unknown variable", undefined=True
        )

    def member(self, name: str, steps: tuple[str, ...]) -> HclValue | None:
        """A target or a group that an expression speaks of, with the setting that it wants. Raises
        DefinitionInvalid."""
        if name not in self._made or name in self._arguments or name in self._variables:
            return None
        if not steps:
            raise DefinitionInvalid(f"cannot access {name} as a variable")
        made = self._made[name].get(steps[0], [])
        if not made:
            return objected({})
        last: dict[str, HclValue] = {}
        for one in made:
            wanted = steps[1:2] or tuple(self._keys(name))
            last = {key: self._shown(one, key) for key in wanted if key == "name" or key in self._keys(name)}
        return objected({steps[0]: objected(last)})

    def _keys(self, kind: str) -> list[str]:
        return list(SETTINGS) if kind == "target" else ["description", "targets"]

    def _shown(self, one: _Made, key: str) -> HclValue:
        if key == "name":
            return text(one.name)
        setting = self._setting(one, key)
        if one.block.type == "group":
            return (
                text(setting or "")
                if key == "description"
                else HclValue(list_of(STRING), tuple(map(text, setting or ())))
            )
        return show(key, setting)

    def call(self, call: tree.FunctionCall, evaluator: Evaluator) -> HclValue:
        """Raises DefinitionInvalid."""
        if call.name in library.SPECIAL:
            return library.special(call, evaluator)
        known = self._library.get(call.name)
        if known is not None:
            return library.called(call, known, evaluator)
        block = self._functions.get(call.name)
        if block is None:
            from boxwright.bake.names import near

            guess = near(call.name, [*self._library, *self._functions, *library.SPECIAL])
            more = f' Did you mean "{guess}"?' if guess else ""
            raise DefinitionInvalid(
                f'There is no function named "{call.name}".{more}',
                summary="Call to unknown function",
                undefined=True,
            )
        return self._user(block, library.arguments_of(call, evaluator))

    def _user(self, block: Block, values: list[HclValue]) -> HclValue:
        name = block.labels[0]
        parameters, variadic, result = self._signature(block)
        if len(values) < len(parameters):
            raise DefinitionInvalid(
                f'Function "{name}" expects {len(parameters)} argument(s). Missing value for '
                f'"{parameters[len(values)]}".',
                summary="Not enough function arguments",
            )
        if len(values) > len(parameters) and not variadic:
            raise DefinitionInvalid(
                f'Function "{name}" expects only {len(parameters)} argument(s).',
                summary="Too many function arguments",
            )
        given = dict(zip(parameters, values))
        if variadic:
            given[variadic] = tupled(values[len(parameters) :])
        if f"{name}()" in self._busy:
            raise DefinitionInvalid(f"function cycle not allowed for {name}")
        self._busy.add(f"{name}()")
        try:
            found = Evaluator(Local(self, given), self._budget).value(result)
        finally:
            self._busy.discard(f"{name}()")
        self._budget.make(size(found))
        return found

    def _signature(self, block: Block) -> tuple[list[str], str, Expression]:
        name, arguments = block.labels[0], block.body.arguments
        for unknown in arguments.keys() - {"params", "variadic_params", "result"}:
            raise DefinitionInvalid(
                f'An argument named "{unknown}" is not expected here.',
                summary="Unsupported argument",
                place=arguments[unknown].name_place,
            )
        for needed in ("result", "params"):
            if needed not in arguments:
                raise DefinitionInvalid(
                    f"empty {needed} not allowed for {name}",
                    summary="Invalid function",
                    place=arguments["params"].place if "params" in arguments else block.label_places[0],
                )
        parameters = arguments["params"].value
        if not isinstance(parameters, tree.Tuple):
            raise DefinitionInvalid("a list is required", summary="Invalid params", place=parameters.place)
        variadic = arguments.get("variadic_params")
        return (
            [_identifier(item) for item in parameters.items],
            _identifier(variadic.value) if variadic else "",
            arguments["result"].value,
        )

    # --- blocks --------------------------------------------------------------------------------

    def evaluate(self, config: Config) -> None:
        """All of it, added to what other files said. Raises DefinitionInvalid."""
        shown = [self._declared(name, block) for name, block in sorted(self._variables.items())]
        for block in self._variables.values():
            variables.validate(block, self._evaluator)
        for block in self._functions.values():
            self._signature(block)
        renamed: dict[tuple[str, str], list[str]] = {}
        for block in self._blocks:
            for one in self._instances(block):
                self._made[block.type].setdefault(one.name, []).append(one)
                renamed.setdefault((block.type, block.labels[0]), []).append(one.name)
        config.variables = shown
        groups = {group.name: group for group in config.groups}
        for one in itertools.chain.from_iterable(self._made["group"].values()):
            groups.pop(one.name, None)  # the last of a name counts, and stands where it is
            groups[one.name] = self._group(one)
        config.groups = list(groups.values())
        targets = {target.name: target for target in reversed(config.targets)}
        for one in itertools.chain.from_iterable(self._made["target"].values()):
            found = BakeTarget(one.name, self._decoded(one))
            if one.name in targets:
                targets[one.name].merge(found)
            else:
                found.settings = {key: value for key, value in found.settings.items() if value is not None}
                targets[one.name] = found
                config.targets.append(found)
        for (_, label), names in renamed.items():
            if unique(names) != [label]:
                config.groups.append(Group(label, unique(names)))
        for name in self._arguments:
            self._located(partial(self.variable, name), self._arguments[name].place, "Invalid attribute")
        config.warnings += self._warnings

    def _declared(self, name: str, block: Block) -> Variable:
        value = self._located(lambda: self.variable(name), block.body.end, "Invalid value")
        return variables.shown(name, block, value)

    def _located(self, act: Callable[[], Any], place: SourcePlace, summary: str) -> Any:
        try:
            return act()
        except DefinitionInvalid as error:
            raise error.at(place, summary) from None

    def _instances(self, block: Block) -> list[_Made]:
        """The targets that a block makes, with their names."""
        place = block.label_places[0]
        arguments = block.body.arguments
        label = block.labels[0]
        check_name(label, place)
        matrix, name = arguments.get("matrix"), arguments.get("name")
        if block.type == "group":
            for key in ("matrix", "name"):
                if key in arguments:
                    raise DefinitionInvalid(
                        f"{key} is not supported for groups", summary="Invalid name", place=place
                    )
        if matrix is None:
            if name is not None:
                raise DefinitionInvalid("name requires matrix", summary="Invalid name", place=place)
            return [_Made(block=block, name=label, evaluator=self._evaluator, settings={}, busy=set())]
        made: dict[str, _Made] = {}
        for chosen in self._combinations(matrix, place):
            evaluator = self._evaluator.within(chosen)
            found = label
            if name is not None:
                found = str(convert(evaluator.value(name.value), STRING).data)
                check_name(found, place)
            if found in made:
                raise DefinitionInvalid(f'duplicate name "{found}"', summary="Invalid name", place=place)
            made[found] = _Made(block=block, name=found, evaluator=evaluator, settings={}, busy=set())
        return list(made.values())

    def _combinations(self, matrix: HclArgument, place: SourcePlace) -> list[dict[str, HclValue]]:
        value = self._evaluator.value(matrix.value)
        if value.type.kind not in ("map", "object") or value.null:
            raise DefinitionInvalid("matrix must be a map", summary="Invalid name", place=place)
        axes = []
        total = 1
        for key, items in sorted(value.data.items()):
            if not items.iterable:
                raise DefinitionInvalid("matrix values must be a list", summary="Invalid name", place=place)
            axes.append([(key, item) for _, item in items.items])
            total *= len(axes[-1])
            if total > COMBINATIONS:
                raise DefinitionTooLarge(f"a matrix makes more than {COMBINATIONS:,} targets", place=place)
        # The first axis turns fastest.
        rows = itertools.product(*reversed(axes))
        return [dict(reversed(row)) for row in rows]

    def _decoded(self, one: _Made) -> dict[str, Any]:
        """What a block says, by setting; what of it means nothing is warned of."""
        arguments = one.block.body.arguments
        keys = self._keys(one.block.type)
        for key, argument in arguments.items():
            if key not in (*keys, "name", "matrix"):
                self._warn(f'{argument.name_place}: {one.block.type} settings have no "{key}": it is ignored')
        for inner in one.block.body.blocks:
            self._warn(
                f"{inner.header}: a {one.block.type} has no blocks of type {inner.type!r}: it is ignored"
            )
        return {key: self._setting(one, key) for key in keys if key in arguments}

    def _group(self, one: _Made) -> Group:
        settings = self._decoded(one)
        if "targets" not in settings:
            raise DefinitionInvalid(
                'The argument "targets" is required, but no definition was found.',
                summary="Missing required argument",
                place=one.block.header,
            )
        return Group(one.name, unique(settings["targets"] or []), settings.get("description") or "")

    def _setting(self, one: _Made, key: str) -> Any:
        """One setting of a block, evaluated when it is first wanted."""
        if key in one.settings:
            return one.settings[key]
        argument = one.block.body.arguments.get(key)
        if argument is None:
            return None
        if key in one.busy:
            raise DefinitionInvalid(f"reference cycle not allowed for {one.block.type}.{one.name}.{key}")
        one.busy.add(key)
        try:
            value = one.evaluator.value(argument.value)
            found = self._read(one.block.type, key, value)
        except DefinitionInvalid as error:
            if error.place is None:
                raise DefinitionInvalid(
                    f"Unsuitable value: {error.reason}",
                    summary="Unsuitable value type",
                    place=argument.value.place,
                ) from None
            raise
        finally:
            one.busy.discard(key)
        one.settings[key] = found
        return found

    def _read(self, kind: str, key: str, value: HclValue) -> Any:
        if kind == "target":
            return read(key, value)
        if key == "description":
            return convert(value, STRING).data
        found = convert(value, list_of(STRING))
        return None if found.null else [item.data or "" for item in found.data]


def _identifier(e: Expression) -> str:
    """A word where the language wants one; JSON has it as text."""
    if isinstance(e, tree.Name):
        return e.name
    if isinstance(e, tree.Literal) and e.value.type.kind == "string" and str(e.value.data).isidentifier():
        return str(e.value.data)
    raise DefinitionInvalid(
        "Each parameter name must be an identifier.", summary="Invalid param element", place=e.place
    )
