"""Build checks: what works in a Dockerfile but is probably not meant (docs.docker.com/reference/build-checks).

Looks at the same things as a build and in the same order, without needing any image: stages that the target does not
need are only read, not judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.construct import instruction_of
from boxwright.build.dockerfile.directives import parse_check
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, Warning
from boxwright.build.dockerfile.expand import Expansions, expand
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from boxwright.build.dockerfile.lint_rules import Findings, warning
from boxwright.build.dockerfile.lint_stage import LintedStage, StageCheck, written_name
from boxwright.build.dockerfile.parse import Dockerfile, Node
from boxwright.build.dockerfile.text import suggestion
from boxwright.errors import Invalid
from boxwright.spec.config import DEFAULT_PATH
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, field

_RESERVED = ("context", "scratch")


def _none(name: str) -> bool:
    """What `is_context` says where there are no named contexts."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What a check needs to know beside the file.

    `predefined` are the global ARGs that exist without being declared (TARGETPLATFORM …); `options` replaces
    the file's `# check=`; `ignore` are the context's rules; `is_context` says which names ``--build-context`` gives a
    meaning; `environments` are the variables of base images by the number of the stage: a stage whose base was not
    found is not judged. None: no base was looked at, PATH alone is assumed. `everything`: without a target all stages
    are judged.
    """

    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    predefined: Mapping[str, str] = field(default_factory=dict)
    options: str | None = None
    ignore: IgnoreMatcher | None = None
    is_context: Callable[[str], bool] = _none
    environments: Mapping[int, Mapping[str, str]] | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Warnings by line. `failure` is what made the file unusable, if anything did; warnings found before
    it are here all the same. `fatal`: the file wants warnings to fail the build."""

    warnings: tuple[Warning, ...]
    failure: DockerfileError | None = None
    fatal: bool = False

    @property
    def error(self) -> DockerfileError | None:
        """The error that ends a build with `# check=error=true` and warnings."""
        if not self.fatal or not self.warnings:
            return None
        rules = ", ".join(dict.fromkeys(found.rule for found in self.warnings))
        ranges = [found.location for found in self.warnings if found.location][:1]
        told = [
            f"{w.rule}: {w.message}" + (f" (line {w.location.start})" if w.location else "")
            for w in self.warnings
        ]
        return DockerfileError(
            f"lint violation found for rules: {rules}", ranges=ranges, hint="; ".join(told)
        )


def check(
    dockerfile: Dockerfile,
    request: CheckRequest | None = None,
    planned: Iterable[tuple[Warning, tuple[str, ...]]] = (),
) -> CheckResult:
    """Run all checks; `planned` are findings of planning, each with the comments above its instruction. Raises
    DockerfileError only for check options that cannot be read."""
    request = request or CheckRequest()
    written = request.options if request.options is not None else dockerfile.directive("check")
    findings = Findings(parse_check(written or ""))
    run = Reading(dockerfile, request, findings)
    failure: DockerfileError | None = None
    try:
        run.run()
    except DockerfileError as error:
        failure = error
    for one, comments in dict.fromkeys(planned):
        findings.add(rule=one.rule, detail=one.message, location=one.location, comments=comments)
    ordered = sorted(findings.warnings, key=lambda found: found.location or SourceRange(0, 0))
    return CheckResult(tuple(ordered), failure, findings.options.error)


def check_base_platform(
    image: str, expected: Platform, actual: Platform, location: SourceRange
) -> Warning | None:
    """The finding for a base image that was only there for another platform; None when it fits."""
    if (expected.os, expected.architecture) == (actual.os, actual.architecture):
        return None
    detail = (
        f'Base image {image} was pulled with platform "{actual}", expected "{expected}" for current build'
    )
    return warning("InvalidBaseImagePlatform", detail, location)


class Reading:
    """One pass over a file. After `run`, which raises DockerfileError, `stages` and `states` are what it found: each
    stage that the target needs, with what holds at its end."""

    def __init__(self, dockerfile: Dockerfile, request: CheckRequest, findings: Findings) -> None:
        self.dockerfile, self.request, self.findings = dockerfile, request, findings
        self.escape = dockerfile.escape
        self.expansions = Expansions()
        self.stages: list[ins.Stage] = []
        self.global_args: list[ins.Arg] = []
        self.states: dict[int, LintedStage] = {}
        self.known: dict[str, str] = {}

    def run(self) -> None:
        """Judge the file."""
        for found in self.dockerfile.warnings:
            self.findings.add(found.rule, found.message, found.location)
        self.read()
        self.casing()
        self.names()
        known = self.known = self.arguments(self.request.build_args)
        declared = {value.key for arg in self.global_args for value in arg.args} | set(known)
        defaults = self.arguments({})
        for stage in self.stages:
            self.base(stage.from_, known, declared)
            self.default_base(stage.from_, defaults)
        self.judge(known)

    def read(self) -> None:
        """Instructions one by one, with what each shows on its own."""
        bodies: list[list[ins.Instruction]] = []
        froms: list[ins.From] = []
        try:
            for node in self.dockerfile.nodes:
                self.words(node)
                step = instruction_of(node)
                self.description(step)
                if isinstance(step, ins.From):
                    froms.append(step)
                    bodies.append([])
                elif bodies:
                    bodies[-1].append(step)
                elif isinstance(step, ins.Arg):
                    self.global_args.append(step)
                else:
                    raise DockerfileError("no build stage in current context", ranges=(node.location,))
        except DockerfileError as error:
            raise DockerfileError(error.reason, ranges=error.ranges, parse=True) from None
        self.stages = [ins.Stage(i, f, tuple(b)) for i, (f, b) in enumerate(zip(froms, bodies, strict=True))]

    def words(self, node: Node) -> None:
        kind, args = node.name.lower(), node.args
        if kind == "maintainer":
            text = "Maintainer instruction is deprecated in favor of using label"
            self.findings.add(
                rule="MaintainerDeprecated", detail=text, location=node.location, comments=node.comments
            )
        if kind != "from" or len(args) != 3:
            return
        if args[2] != args[2].lower():
            self.findings.add(
                rule="StageNameCasing",
                detail=f"Stage name '{args[2]}' should be lowercase",
                location=node.location,
                comments=node.comments,
            )
        fitting = {node.name.lower(): args[1].lower(), node.name.upper(): args[1].upper()}.get(node.name)
        if fitting is not None and args[1] != fitting:
            text = f"'{args[1]}' and '{node.name}' keywords' casing do not match"
            self.findings.add(
                rule="FromAsCasing", detail=text, location=node.location, comments=node.comments
            )

    def description(self, step: ins.Instruction) -> None:
        if isinstance(step, ins.From):
            names = [step.stage] if step.stage else []
        else:
            names = [value.key for value in step.args] if isinstance(step, ins.Arg) else []
        if not names or not step.comments or step.comments[-1].split(" ")[0] in names:
            return
        shown = names[0] if len(names) == 1 else "<arg_key>"
        text = f"Comment for {step.name} should follow the format: `# {shown} <description>`"
        self.findings.add(
            rule="InvalidDefinitionDescription", detail=text, location=step.location, comments=step.comments
        )

    def casing(self) -> None:
        """All instructions in the case of the majority."""
        steps = [step for stage in self.stages for step in (stage.from_, *stage.instructions)]
        written = [written_name(step) for step in steps]
        lower = sum(name == name.lower() for name in written)
        upper = sum(name == name.upper() for name in written)
        change, majority = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
        for step, name in zip(steps, written, strict=True):
            if name != change(name):
                text = f"Command '{name}' should match the case of the command majority ({majority})"
                self.findings.add("ConsistentInstructionCasing", text, step.location)

    def names(self) -> None:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in _RESERVED:
                text = f'Stage name should not use the same name as reserved stage "{stage.name}"'
                self.findings.add("ReservedStageName", text, stage.location)
            if stage.name and stage.name in seen:
                text = f'Duplicate stage name "{stage.name}", stage names should be unique'
                self.findings.add("DuplicateStageName", text, stage.location)
            seen.add(stage.name)

    def arguments(self, given: Mapping[str, str]) -> dict[str, str]:
        """The global ARGs with their values."""
        values = dict(self.request.predefined)
        values |= {name: value for name, value in given.items() if name in values}
        for arg in self.global_args:
            for item in arg.args:
                if item.key in given:
                    values[item.key] = given[item.key]
                elif item.default is not None:
                    try:
                        values[item.key] = expand(item.default, self.expansions.of(values.get), self.escape)
                    except DockerfileError as error:
                        raise error.at(arg.location) from None
        return values

    def base(self, step: ins.From, known: Mapping[str, str], declared: set[str]) -> None:
        """What a FROM says with the arguments of this build."""
        for text in filter(None, (step.image, step.platform)):
            unset: set[str] = set()
            used: set[str] = set()
            try:
                value = expand(text, self.expansions.of(known.get), self.escape, unset=unset, used=used)
            except DockerfileError as error:
                raise error.at(step.location) from None
            for name in sorted(unset - declared):
                meant = suggestion(name, declared, case_sensitive=True)
                detail = f"FROM argument '{name}' is not declared" + (
                    f" (did you mean {meant}?)" if meant else ""
                )
                self.findings.add(
                    rule="UndefinedArgInFrom", detail=detail, location=step.location, comments=step.comments
                )
            if text is step.platform:
                self.platform(step=step, value=value, used=used, unset=unset, known=known)

    def platform(
        self, step: ins.From, value: str, used: set[str], unset: set[str], known: Mapping[str, str]
    ) -> None:
        if used == {"TARGETPLATFORM"} and not unset and value == known["TARGETPLATFORM"]:
            text = (
                f"Setting platform to predefined {step.platform} in FROM is redundant as this is the "
                f"default behavior"
            )
            self.findings.add(
                rule="RedundantTargetPlatform", detail=text, location=step.location, comments=step.comments
            )
        if used or unset:
            return
        try:
            wanted = Platform.parse(value)
        except Invalid:
            return  # the build itself will say so
        if wanted.os not in step.stage and wanted.architecture not in step.stage:
            text = f'FROM --platform flag should not use constant value "{value}"'
            self.findings.add(
                rule="FromPlatformFlagConstDisallowed",
                detail=text,
                location=step.location,
                comments=step.comments,
            )

    def default_base(self, step: ins.From, defaults: Mapping[str, str]) -> None:
        """Whether the name holds without any build argument."""
        if "$" not in step.image:
            return
        try:
            Reference.parse(expand(step.image, self.expansions.of(defaults.get), self.escape))
        except Invalid:
            text = f"Default value for ARG {step.image} results in empty or invalid base image name"
            self.findings.add("InvalidDefaultArgInFrom", text, step.location)

    def judge(self, known: Mapping[str, str]) -> None:
        """The stages that the target needs, in their order."""
        states = self.states
        needed = self.needed(known)
        for stage in self.stages:
            if stage.index not in needed:
                continue
            if stage.name and self.request.is_context(stage.name):
                states[stage.index] = LintedStage(
                    env={"PATH": DEFAULT_PATH}
                )  # and nothing of the stage counts
                continue
            state = self.beginning(stage, known)
            if state is None:
                continue
            StageCheck(
                findings=self.findings,
                ignore=self.request.ignore,
                build_args=self.request.build_args,
                global_args=known,
                escape=self.escape,
                expansions=self.expansions,
            ).run(stage, state)
            states[stage.index] = state

    def beginning(self, stage: ins.Stage, known: Mapping[str, str]) -> LintedStage | None:
        """What holds where a stage begins; None when that is not known."""
        above = self.above(stage, known)
        if above is not None:
            found = self.states.get(above)
            return found.child() if found is not None else None
        environment = (self.request.environments or {}).get(stage.index)
        image = expand(stage.from_.image, self.expansions.of(known.get), self.escape).lower()
        nothing = image == "scratch" or self.request.is_context(image)
        if environment is None and self.request.environments is not None and not nothing:
            return None
        return LintedStage(env={"PATH": DEFAULT_PATH, **(environment or {})})

    def above(self, stage: ins.Stage, known: Mapping[str, str]) -> int | None:
        """The stage that this one builds on."""
        name = expand(stage.from_.image, self.expansions.of(known.get), self.escape).lower()
        if self.request.is_context(name):
            return None
        return next(
            (other.index for other in reversed(self.stages[: stage.index]) if other.name == name), None
        )

    def needed(self, known: Mapping[str, str]) -> set[int]:
        names = {stage.name: stage.index for stage in self.stages if stage.name}
        wanted = self.request.target.lower()
        if wanted and wanted not in names:
            return set()
        if self.request.everything and not wanted:
            return set(range(len(self.stages)))
        todo = [names[wanted] if wanted else len(self.stages) - 1] if self.stages else []
        found: set[int] = set()
        while todo:
            index = todo.pop()
            if index in found:
                continue
            found.add(index)
            stage = self.stages[index]
            above = self.above(stage, known)
            todo += [] if above is None else [above]
            for text in sources_of(stage):
                if re.fullmatch("[0-9]{1,6}", text) and int(text) < len(self.stages):
                    todo.append(int(text))
                elif text.lower() in names:
                    todo.append(names[text.lower()])
        return found


def sources_of(stage: ins.Stage) -> list[str]:
    """What the instructions of a stage copy or mount from."""
    found: list[str] = []
    for step in stage.instructions:
        if isinstance(step, ins.Copy) and step.from_:
            found.append(step.from_)
        elif isinstance(step, ins.Run):
            found += (mount.from_ for mount in step.mounts if mount.from_)
    return found
