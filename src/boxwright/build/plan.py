"""From a parsed Dockerfile to a graph: stages, scopes, vertices, the final config and its history.

Planning reads base configs (through `Bases`) and nothing else; it runs nothing. Only the stages that the target
needs are planned: asking for a stage plans it, and a stage asks for those it names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from boxwright.build import lower
from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.construct import parse_instruction, stages_of
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, Warning
from boxwright.build.dockerfile.expand import Expansions, expand, shown
from boxwright.build.dockerfile.lint import check_base_platform, sources_of
from boxwright.build.dockerfile.parse import Dockerfile
from boxwright.build.dockerfile.substitute import expand_from, expand_instruction
from boxwright.build.dockerfile.text import did_you_mean, suggestion
from boxwright.build.graph import Graph, Tree, Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.source import ImageOp, ScratchOp
from boxwright.build.planning import Base, Bases, PlanOptions, pinned
from boxwright.build.scope import EPOCH, PROXY_NAMES, arg_value, platform_args
from boxwright.build.stage import Draft, StageState
from boxwright.errors import BoxwrightError, Denied, NotFound, Unauthorized, Unavailable
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.platform import Platform, PlatformInvalid, host
from boxwright.spec.text import go_quote, whole_number
from boxwright.spec.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that the target needs: its name or number, its tree, and the ARGs that it declares."""

    name: str
    tree: Vertex
    args: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to solve, and what to make of the result."""

    target: Vertex
    platform: Platform
    config: Mapping[str, object]
    author: str
    base_history: tuple[HistoryEntry, ...]
    drafts: tuple[Draft, ...]
    base: ImageConfig | None
    parent: str = ""  # image ID of the base
    unset: frozenset[str] = frozenset()  # variables that were used and never set
    stages: tuple[PlannedStage, ...] = ()  # the target among them


class Planner:
    """Plans one Dockerfile for one platform."""

    def __init__(
        self, dockerfile: Dockerfile, options: PlanOptions, bases: Bases, graph: Graph | None = None
    ) -> None:
        self.dockerfile = dockerfile
        self.options = options
        self.graph = graph or Graph()
        self.unset: set[str] = set()
        self.expansions = Expansions()
        self.warnings: list[tuple[Warning, tuple[str, ...]]] = []  # with the comments above
        self.environments: dict[int, dict[str, str]] = {}  # of base images, by the number of the stage
        self._bases = bases
        self._global_args, self.stages = stages_of(dockerfile)
        self._numbers: dict[str, list[int]] = {}  # of stages by name, ascending
        for one in self.stages:
            if one.name:
                self._numbers.setdefault(one.name.lower(), []).append(one.index)
        self._planned: dict[int, StageState] = {}
        self._planning: list[int] = []
        self._globals: dict[str, str] = {}
        self.where: SourceRange | None = None  # the instruction that planning stopped at

    def plan(self) -> Plan:
        """Raises DockerfileError with the lines concerned, and what `Bases.image` raises."""
        target = self._target()
        self._globals = self._with_epoch(self.global_args())
        state = self.stage(target)
        return Plan(
            target=state.tree,
            platform=state.platform,
            config=state.final_config(self.options.labels, self.options.unset_env, self.options.unset_labels),
            author=state.author,
            base_history=state.base_history(),
            drafts=tuple(state.drafts),
            base=state.base,
            parent=state.parent,
            unset=frozenset(self.unset),
            stages=tuple(
                PlannedStage(self.stages[number].name or str(number), planned.tree, planned.scope.declared())
                for number, planned in sorted(self._planned.items())
            ),
        )

    @contextmanager
    def _located(self, location: SourceRange) -> Iterator[None]:
        """Give errors of the block the lines of an instruction, unless they have some."""
        try:
            yield
        except BoxwrightError as error:
            self.where = self.where or location
            if not isinstance(error, DockerfileError) or error.ranges:
                raise
            raise error.at(location) from error

    # --- which stage ---------------------------------------------------------------------------

    def _target(self) -> ins.Stage:
        if not self.stages:
            raise DockerfileError("dockerfile contains no stages to build")
        if not self.options.target:
            return self.stages[-1]
        wanted = self.options.target.lower()
        for stage in reversed(self.stages):
            if stage.name.lower() == wanted:
                return stage
        message = f"target stage {go_quote(self.options.target)} could not be found"
        raise DockerfileError(
            did_you_mean(
                message, self.options.target, [s.name for s in self.stages if s.name], case_sensitive=False
            )
        )

    def _with_epoch(self, values: dict[str, str]) -> dict[str, str]:
        """The values, in which the time is what it came to: another one, where the request has its own, or none."""
        if values.pop(EPOCH, None) is not None and self.options.epoch is not None:
            values[EPOCH] = str(self.options.epoch)
        return values

    def global_args(self) -> dict[str, str]:
        """The values of the ARGs before the first stage, predefined ones included. Raises DockerfileError."""
        target = self._target().name  # which is found whatever its case; TARGETSTAGE is what was typed
        values = platform_args(host(), self.options.platform, self.options.target or target)
        values |= {name: value for name, value in self.options.build_args.items() if name in values}
        for instruction in self._global_args:
            with self._located(instruction.location):
                for arg in instruction.args:
                    if arg.key in self.options.build_args:
                        values[arg.key] = self.options.build_args[arg.key]
                    elif arg.default is not None:
                        values[arg.key] = expand(
                            arg.default, self.expansions.of(values.get), self.dockerfile.escape
                        )
        return values

    def _base_stage(self, name: str, below: int) -> ins.Stage | None:
        """The latest stage of this name above stage number `below`."""
        from bisect import bisect_left

        indexes = self._numbers.get(name.lower(), [])
        at = bisect_left(indexes, below)
        return self.stages[indexes[at - 1]] if at else None

    def source(self, name: str, user: StageState, location: SourceRange) -> Vertex:
        """What ``--from=name`` means in a stage: a stage by name or number, a named context, or an image."""
        by_name = self._base_stage(name, len(self.stages))
        if by_name is None and name.isascii() and name.isdecimal():
            number = whole_number(name, len(self.stages) - 1)
            if number is None:
                raise DockerfileError(f"invalid stage index {name}", ranges=[location])
            by_name = self.stages[number]
        if by_name is not None:
            if by_name.index > user.index:
                message = (
                    f"cannot copy from stage {go_quote(name)}, it needs to be defined before current "
                    f"stage {go_quote(user.name)}"
                )
                raise DockerfileError(message, ranges=[location])
            return self.stage(by_name, location).tree
        if name.lower() == "scratch":
            return self.scratch()
        key = self.options.contexts.find(name, user.platform)
        return self.image(
            name=self.options.contexts.images.get(key, name),
            platform=user.platform,
            shown=f"FROM {name}",
            state=user,
        )[0]

    def local_context(self, name: str, user: StageState) -> str | None:
        """The key of the directory that ``--from=name`` means, '' that of the build context; None when it is none."""
        if not name:
            return ""
        key = self.options.contexts.find(name, user.platform)
        return key if key in self.options.contexts.local else None

    # --- stages --------------------------------------------------------------------------------

    def stage(self, stage: ins.Stage, location: SourceRange | None = None) -> StageState:
        """The stage, planned; planning it is what makes it reachable."""
        if (known := self._planned.get(stage.index)) is not None:
            return known
        if stage.index in self._planning:
            shown = stage.name or str(stage.index)
            raise DockerfileError(
                f"circular dependency detected on stage: {shown}",
                ranges=[stage.location, *([location] if location else [])],
            )
        if not self._planning:
            # From the bottom: a chain of ten thousand stages is no deeper than one.
            for index in self._below(stage):
                self._plan_one(self.stages[index])
        return self._plan_one(stage)

    def _plan_one(self, stage: ins.Stage) -> StageState:
        if (known := self._planned.get(stage.index)) is not None:
            return known
        self._planning.append(stage.index)
        try:
            state = self._plan_stage(stage)
        finally:
            self._planning.pop()
        self._planned[stage.index] = state
        return state

    def _below(self, stage: ins.Stage) -> list[int]:
        """The stages that this one needs, directly or not, in their order; itself not among them."""
        names = {other.name: other.index for other in self.stages if other.name}  # the last of a name
        seen: set[int] = set()
        todo = [stage.index]
        while todo:
            index = todo.pop()
            if index in seen:
                continue
            seen.add(index)
            one = self.stages[index]
            if one.name and self.options.contexts.find(one.name, self.options.platform):
                continue
            for word in sources_of(one):
                below = names.get(word.lower(), whole_number(word, index - 1))
                todo += [below] if below is not None and below < index else []
            image = expand(one.from_.image, self.expansions.of(self._globals.get), self.dockerfile.escape)
            base = self._base_stage(image, index)
            if base is not None and not self.options.contexts.find(image, self.options.platform):
                todo.append(base.index)
        return sorted(seen - {stage.index} - set(self._planned))

    def _plan_stage(self, stage: ins.Stage) -> StageState:
        with self._located(stage.location):
            name, platform = self._from_words(stage.from_)
            shown = stage.name or (f"stage-{stage.index}" if len(self.stages) > 1 else "")
            state = StageState(index=stage.index, name=shown, platform=platform, tree=self.scratch())
            # A context of a stage's own name replaces the stage and all that it does.
            replaced = self.options.contexts.find(stage.name, platform) if stage.name else ""
            context = replaced or self.options.contexts.find(name, platform)
            steps = () if replaced else stage.instructions
            below = None if context else self._base_stage(name, stage.index)
            base = self.stage(below, stage.location) if below is not None else None
            triggers: list[str] = []
            counted = _makes_layer(steps)
            if base is not None:
                state.take_stage(base)
                triggers = [str(t) for t in base.config.get("OnBuild") or ()]
            elif context in self.options.contexts.local:
                self._take_context(state, stage, context)
            elif (found := self.options.contexts.images.get(context, name)).lower() == "scratch":
                state.take_scratch()
            else:
                triggers = self._take_image(state=state, stage=stage, name=found, counted=counted)
        if not self.options.inherit_labels:
            state.config.pop("Labels", None)
        inherited = self._triggers(triggers, stage)
        if base is not None or not state.total:
            state.total = _makes_layer([*inherited, *steps])
        state.prefix = "ONBUILD "
        self._steps(state, inherited)
        state.prefix = ""
        self._steps(state, steps)
        return state

    def _steps(self, state: StageState, steps: Iterable[ins.Instruction]) -> None:
        for step in steps:
            with self._located(step.location):
                self._step(state, step)

    def _take_image(self, state: StageState, stage: ins.Stage, name: str, counted: int) -> list[str]:
        """Start a stage from an image; its ONBUILD triggers."""
        base = self._base(name, state.platform, self.stages[: stage.index])
        self.environments[stage.index] = dict(entry.partition("=")[::2] for entry in base.config.env)
        if base.config.platform.os:
            found = check_base_platform(
                image=name, expected=state.platform, actual=base.config.platform, location=stage.location
            )
            self.warnings += [(found, stage.from_.comments)] if found is not None else []
        triggers = [str(t) for t in base.config.config.get("OnBuild") or ()]
        state.total = 1 + counted + _makes_layer(self._triggers(triggers, stage))
        state.take_image(base.config)
        state.base_name, state.parent = base.name, base.image_id
        state.tree = self._image_vertex(
            base, f"FROM {pinned(base)}", state=state, context=self.options.contexts.called(name)
        )
        if base.config.platform.os:
            state.platform = base.config.platform if not state.platform.variant else state.platform
        return triggers

    def _take_context(self, state: StageState, stage: ins.Stage, key: str) -> None:
        """Start a stage from the files of a named context."""
        state.take_scratch()
        part = CopyPart(origin="context", source="/", context=key, keep_times=key in self.options.keep_times)
        text = f"[context {key}] load from client"
        state.tree = self.graph.vertex(
            CopyOp(parts=(part,), dest="/", epoch=self.options.epoch),
            [state.tree],
            fresh=self.is_fresh(state),
            name=text,
            text=text,
            location=stage.location,
            lineage=self.lineage(state),
        )
        state.drafts.append(Draft(f"local source for {key}", state.tree))

    def _from_words(self, step: ins.From) -> tuple[str, Platform]:
        step = expand_from(
            step, self.expansions.of(self._globals.get), self.dockerfile.escape, unset=self.unset
        )
        return step.image, Platform.parse(step.platform) if step.platform else self.options.platform

    def _triggers(self, texts: list[str], stage: ins.Stage) -> list[ins.Instruction]:
        return [parse_instruction(text, location=stage.location) for text in texts]

    # --- vertices ------------------------------------------------------------------------------

    def scratch(self) -> Vertex:
        """The empty tree."""
        return self.graph.vertex(ScratchOp(), settled=Tree(), text="FROM scratch", hidden=True)

    def image(
        self, name: str, platform: Platform, shown: str, state: StageState | None = None
    ) -> tuple[Vertex, Base]:
        """The tree of an image that a step copies from or mounts."""
        base = self._base(name, platform, self.stages)
        text = shown if state is None else f"FROM {pinned(base)}"
        return self._image_vertex(base, text, state=None, context=self.options.contexts.called(name)), base

    def filters_for_nothing(self) -> list[str]:
        """What to say of names whose cache was to be passed over, and that no stage has."""
        names = [stage.name.lower() for stage in self.stages if stage.name]
        known = {*names, *map(str, range(len(self.stages)))}
        return [
            did_you_mean(f'no stage is called "{name}", whose cache was to be passed over', name, names)
            for name in sorted(self.options.no_cache_stages - known)
        ]

    def _base(self, name: str, platform: Platform, stages: Sequence[ins.Stage]) -> Base:
        """The image of this name; `stages` are those that could have been meant."""
        try:
            return self._bases.image(name, platform)
        except (NotFound, Unavailable, Unauthorized, Denied) as error:
            known = [s.name for s in stages if s.name]
            if len(name) > 2 and (meant := suggestion(name, known)):
                error.hint = f'did you mean the stage "{meant}"?'
            raise

    def _image_vertex(self, base: Base, text: str, state: StageState | None, context: str = "") -> Vertex:
        numbered = self._numbered(state, text) if state is not None else text
        return self.graph.vertex(
            ImageOp(base.digest, str(base.config.platform)),
            settled=Tree(base.config.diff_ids, base.config.created),
            name=f"[context {context}] {pinned(base)}" if context else numbered,
            text=text,
            base=f"{base.name}@{base.digest}",
        )

    def _numbered(self, state: StageState, text: str) -> str:
        """``[build 2/5] RUN make``; counts the step."""
        state.position += 1
        width = int(1 + math.log10(state.total)) if state.total else 1
        words = [f"{state.platform}{_made_for(state)}"] if self.options.show_platform else []
        words += [state.name] if state.name and len(self.stages) > 1 else []
        return f"[{' '.join([*words, f'{state.position:{width}d}/{state.total}'])}] {text}"

    def add_step(
        self, state: StageState, op: lower.AnyOp, inputs: list[Vertex], step: ins.Instruction, text: str
    ) -> Vertex:
        """Put a step on top of the stage's tree."""
        text = state.prefix + text
        vertex = self.graph.vertex(
            op,
            [state.tree, *inputs],
            fresh=self.is_fresh(state),
            name=self._numbered(state, self._with_values(state, step, text)),
            text=text,
            position=state.position,
            location=step.location,
            lineage=self.lineage(state),
        )
        state.tree = vertex
        return vertex

    def _with_values(self, state: StageState, step: ins.Instruction, text: str) -> str:
        """The text of a step with the variables in force, but for secrets and proxies."""
        if isinstance(step, ins.Workdir):
            return text  # has them already
        mounts = step.mounts if isinstance(step, ins.Run) else ()
        hidden, lookup = {*PROXY_NAMES, *(mount.env for mount in mounts)}, state.scope.lookup
        return shown(text, lambda name: None if name in hidden else lookup(name), self.dockerfile.escape)

    def is_fresh(self, state: StageState) -> bool:
        """Whether the stage's steps ignore their records."""
        return self.options.no_cache or bool(
            {state.name.lower(), str(state.index)} & self.options.no_cache_stages
        )

    def lineage(self, state: StageState) -> str:
        """What the stage's records are compared with."""
        return f"{self.options.project}:{state.name or state.index}:{state.platform}"

    # --- steps ---------------------------------------------------------------------------------

    def _step(self, state: StageState, step: ins.Instruction) -> None:
        if isinstance(step, ins.Arg):
            self._arg(state, step)
            return
        step = expand_instruction(
            step, self.expansions.of(state.scope.lookup), self.dockerfile.escape, unset=self.unset
        )
        if not state.apply(step):
            lower.lower(self, state, step)

    def _arg(self, state: StageState, step: ins.Arg) -> None:
        settled = []
        for arg in step.args:
            default = arg.default
            if default is not None and arg.key not in self.options.build_args:
                default = expand(
                    default, self.expansions.of(state.scope.lookup), self.dockerfile.escape, unset=self.unset
                )
            value = arg_value(ins.ArgValue(arg.key, default), self.options.build_args, self._globals)
            state.scope.set_arg(arg.key, value)
            settled.append(ins.ArgValue(arg.key, value))
        state.note(replace(step, args=tuple(settled)))


def _made_for(state: StageState) -> str:
    """``->arm64`` where a stage says (by its ARGs) that it makes things for another platform than its own."""
    own, lookup = state.platform, state.scope.lookup
    text = lookup("TARGETPLATFORM") or ""
    if not text and (lookup("TARGETOS") or lookup("TARGETARCH")):
        words = (
            lookup("TARGETOS") or own.os,
            lookup("TARGETARCH") or own.architecture,
            lookup("TARGETVARIANT"),
        )
        text = "/".join(filter(None, words))
    try:
        other = Platform.parse(text) if text else own
    except PlatformInvalid:  # what a build argument of this name says
        return ""
    if other.os != own.os:
        return f"->{other}"
    return f"->{str(other).partition('/')[2]}" if other.architecture != own.architecture else ""


def _makes_layer(steps: Iterable[ins.Instruction]) -> int:
    return sum(isinstance(step, (ins.Run, ins.Copy, ins.Add, ins.Workdir)) for step in steps)
