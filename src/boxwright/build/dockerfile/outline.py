"""What a Dockerfile offers to those who build it: its targets, and the arguments, secrets and agents that one takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.construct import stages_of
from boxwright.build.dockerfile.directives import CheckOptions
from boxwright.build.dockerfile.errors import SourceRange
from boxwright.build.dockerfile.expand import expand
from boxwright.build.dockerfile.lint import CheckRequest, Reading, sources_of
from boxwright.build.dockerfile.lint_rules import Findings
from boxwright.build.dockerfile.lint_stage import Argument
from boxwright.build.dockerfile.parse import Dockerfile
from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A stage that can be asked for. `name` is '' when it has none; `base` and `platform` are as written."""

    name: str
    description: str
    base: str
    platform: str
    location: SourceRange
    default: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A secret, or an agent, that a RUN of the target mounts."""

    name: str
    required: bool
    location: SourceRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a target takes, each in the order of the file."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Asked, ...]
    ssh: tuple[Asked, ...]


def targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """The stages in their order. Raises DockerfileError."""
    stages = stages_of(dockerfile)[1]
    return tuple(
        Target(
            name=stage.name,
            description=stage.from_.description,
            base=stage.from_.image,
            platform=stage.from_.platform,
            location=stage.location,
            default=stage is stages[-1],
        )
        for stage in stages
    )


def outline(dockerfile: Dockerfile, request: CheckRequest) -> Outline:
    """What the request's target takes. Raises DockerfileError."""
    reading = Reading(dockerfile, request, Findings(CheckOptions()))
    reading.run()
    wanted = request.target.lower()
    target = next(stage for stage in reversed(reading.stages) if stage.name == wanted or not wanted)
    globals_ = _global_arguments(reading)
    arguments: dict[str, Argument] = {}
    asked: dict[str, dict[str, Asked]] = {"secret": {}, "ssh": {}}
    for stage in _reached(reading, target):
        for argument in _arguments(reading, stage, globals_):
            arguments.setdefault(argument.key, argument)
        for step in stage.instructions:
            for mount in step.mounts if isinstance(step, ins.Run) else ():
                if mount.type in asked:
                    name = mount.secret_id
                    asked[mount.type].setdefault(name, Asked(name, mount.required, step.location))
    return Outline(
        name=target.name,
        description=target.from_.description,
        arguments=tuple(sorted(arguments.values(), key=_line)),
        secrets=tuple(sorted(asked["secret"].values(), key=_line)),
        ssh=tuple(sorted(asked["ssh"].values(), key=_line)),
    )


def _line(one: Argument | Asked) -> int:
    return one.location.start


def _reached(reading: Reading, target: ins.Stage) -> Iterator[ins.Stage]:
    """The target, what it builds on and what it copies from: of two that say something of a name the first counts."""
    seen: set[int] = set()
    todo = [target.index]
    while todo:
        index = todo.pop(0)
        if index in seen:
            continue
        seen.add(index)
        stage = reading.stages[index]
        yield stage
        above = reading.above(stage, reading.known)
        todo = [*([above] if above is not None else []), *todo, *_copied(reading, stage)]


def _copied(reading: Reading, stage: ins.Stage) -> list[int]:
    names = {other.name: other.index for other in reading.stages if other.name}
    numbers = {str(other.index): other.index for other in reading.stages}
    words = [word.lower() for word in sources_of(stage)]
    return [names.get(word, numbers.get(word, -1)) for word in words if word in names or word in numbers]


def _arguments(
    reading: Reading, stage: ins.Stage, globals_: Mapping[str, tuple[Argument, frozenset[str]]]
) -> Iterator[Argument]:
    used: set[str] = set()
    for text in filter(None, (stage.from_.image, stage.from_.platform)):
        expand(text, reading.expansions.of(reading.known.get), reading.escape, used=used)
    own = {a.key: a for a in reading.states[stage.index].arguments}
    yield from (a for a in own.values() if not a.inherited)
    todo = [*sorted(used), *(a.key for a in own.values() if a.inherited)]
    seen: set[str] = set()
    while todo:
        key = todo.pop()
        if key in globals_ and key not in seen:
            seen.add(key)
            argument, needs = globals_[key]
            todo += sorted(needs)
            if key not in own or own[key].inherited:
                yield argument


def _global_arguments(reading: Reading) -> dict[str, tuple[Argument, frozenset[str]]]:
    """The ARGs above the first FROM, each with those that its default uses."""
    found: dict[str, tuple[Argument, frozenset[str]]] = {}
    values: dict[str, str] = dict(reading.request.predefined)
    given = reading.request.build_args
    for step in reading.global_args:
        for item in step.args:
            used: set[str] = set()
            value = given.get(item.key)
            if value is None and item.default is not None:
                value = expand(item.default, reading.expansions.of(values.get), reading.escape, used=used)
            if item.key in used and item.key in found:
                used |= found[item.key][1]
            if value is not None:
                values[item.key] = value
            argument = Argument(
                key=item.key,
                value=value or "",
                description=item.comment,
                location=step.location,
                inherited=False,
            )
            found[item.key] = argument, frozenset(used - {item.key})
    return found
