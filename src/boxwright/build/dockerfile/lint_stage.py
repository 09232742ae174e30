"""The checks of what a stage does, with the variables it sees."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.expand import Expansions, expand
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from boxwright.build.dockerfile.lint_rules import Findings
from boxwright.build.dockerfile.paths import clean_path
from boxwright.build.dockerfile.ports import parse_port
from boxwright.build.dockerfile.substitute import expand_instruction
from boxwright.build.dockerfile.text import suggestion
from boxwright.spec.text import go_quote
from boxwright.spec.values import dataclass, field

_SECRET = frozenset("apikey auth credential credentials key password pword passwd secret token".split())
_HARMLESS = frozenset(("public", "file", "version"))
_NEVER_ENVIRONMENT = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")
_EVERYTHING = ("*", "**", "**/*")


@dataclass(frozen=True, slots=True)
class Argument:
    """An ARG of a stage as it came out. `inherited`: its value is that of the global ARG of its name."""

    key: str
    value: str
    description: str
    location: SourceRange
    inherited: bool


@dataclass(slots=True)
class LintedStage:
    """What holds at one place of a stage."""

    env: dict[str, str]
    arguments: list[Argument] = field(default_factory=list)  # of this stage alone
    declared: set[str] = field(default_factory=set)  # ARG names, with or without a value
    shell: bool = False
    workdir: bool = False
    once: dict[str, SourceRange] = field(default_factory=dict)

    def child(self) -> LintedStage:
        """What a stage built on this one starts with."""
        return LintedStage(
            env=dict(self.env), declared=set(self.declared), shell=self.shell, workdir=self.workdir
        )


class StageCheck:
    """Goes through the instructions of one stage."""

    def __init__(
        self,
        findings: Findings,
        ignore: IgnoreMatcher | None,
        build_args: Mapping[str, str],
        global_args: Mapping[str, str],
        escape: str,
        expansions: Expansions,
    ) -> None:
        self._findings, self._ignore = findings, ignore
        self._escape, self._expansions = escape, expansions
        self._build_args, self._global_args = build_args, global_args

    def run(self, stage: ins.Stage, state: LintedStage) -> None:
        """Judge a stage and leave in `state` what holds at its end. Raises DockerfileError."""
        for step in stage.instructions:
            unset: set[str] = set()
            try:
                expanded = expand_instruction(
                    step, self._expansions.of(state.env.get), self._escape, unset=unset
                )
            finally:
                self._undefined(step, unset, state)
            match expanded:
                case ins.Arg():
                    self._arg(expanded, state)
                case ins.Env() | ins.Label():
                    self._pairs(expanded, state)
                case ins.Cmd() | ins.Entrypoint():
                    self._command(expanded, state)
                case ins.HealthCheck():
                    self._once(expanded, state)
                case ins.Shell():
                    state.shell = True
                case ins.Workdir():
                    self._workdir(expanded, state)
                case ins.Copy() | ins.Add():
                    self._copied(expanded)
                case ins.Expose():
                    self._expose(expanded)
                case _:
                    pass

    def _add(self, rule: str, detail: str, step: ins.Instruction) -> None:
        self._findings.add(rule=rule, detail=detail, location=step.location, comments=step.comments)

    def _undefined(self, step: ins.Instruction, unset: set[str], state: LintedStage) -> None:
        for name in sorted(unset - state.declared):
            if name not in _NEVER_ENVIRONMENT:
                meant = suggestion(name, state.env, case_sensitive=True)
                hint = f" (did you mean ${meant}?)" if meant else ""
                self._add("UndefinedVar", f"Usage of undefined variable '${name}'{hint}", step)

    def _arg(self, step: ins.Arg, state: LintedStage) -> None:
        for item in step.args:
            self._secret("ARG", item.key, step)
            inherited = False
            value = self._build_args.get(item.key)
            if value is None and item.default is not None:
                unset: set[str] = set()
                try:
                    value = expand(
                        item.default, self._expansions.of(state.env.get), self._escape, unset=unset
                    )
                except DockerfileError as error:
                    raise error.at(step.location) from None
                self._undefined(step, unset, state)
            elif value is None:
                value = self._global_args.get(item.key)
                inherited = value is not None
            state.arguments.append(
                Argument(
                    key=item.key,
                    value=value or "",
                    description=item.comment,
                    location=step.location,
                    inherited=inherited,
                )
            )
            if value is not None and item.key not in _NEVER_ENVIRONMENT:
                state.env[item.key] = value
            state.declared.add(item.key)

    def _pairs(self, step: ins.Env | ins.Label, state: LintedStage) -> None:
        for pair in step.pairs:
            if pair.legacy:
                name = written_name(step)
                self._add(
                    "LegacyKeyValueFormat",
                    f'"{name} key=value" should be used instead of legacy "{name} key value" format',
                    step,
                )
            if isinstance(step, ins.Env):
                self._secret("ENV", pair.key, step)
        if isinstance(step, ins.Env):
            state.env.update((pair.key, pair.value) for pair in step.pairs)

    def _secret(self, kind: str, key: str, step: ins.Instruction) -> None:
        words = key.lower().split("_")
        if not _SECRET.isdisjoint(words) and _HARMLESS.isdisjoint(words):
            detail = f"Do not use ARG or ENV instructions for sensitive data ({kind} {go_quote(key)})"
            self._add("SecretsUsedInArgOrEnv", detail, step)

    def _command(self, step: ins.Command, state: LintedStage) -> None:
        self._once(step, state)
        if step.shell_form and not state.shell:
            detail = (
                f"JSON arguments recommended for {written_name(step)} to prevent unintended behavior "
                f"related to OS signals"
            )
            self._add("JSONArgsRecommended", detail, step)

    def _once(self, step: ins.Instruction, state: LintedStage) -> None:
        before = state.once.get(step.name)
        if before is not None:
            # Shown at the earlier one: that is the one without effect.
            detail = (
                f"Multiple {written_name(step)} instructions should not be used in the same stage "
                f"because only the last one will be used"
            )
            self._findings.add(
                rule="MultipleInstructionsDisallowed", detail=detail, location=before, comments=step.comments
            )
        state.once[step.name] = step.location

    def _workdir(self, step: ins.Workdir, state: LintedStage) -> None:
        if not state.workdir and not step.path.startswith("/"):
            detail = f"Relative workdir {go_quote(step.path)} can have unexpected results if the base image changes"
            self._add("WorkdirRelativePath", detail, step)
        state.workdir = True

    def _copied(self, step: ins.Copy | ins.Add) -> None:
        ignore = self._ignore
        # Whether an exception brings something back below a directory cannot be told without looking.
        if ignore is None or ignore.has_exceptions or (isinstance(step, ins.Copy) and step.from_):
            return
        verb = "Copy" if isinstance(step, ins.Copy) else "Add"
        for source in step.sources:
            path = clean_path(source)
            if source.startswith(_REMOTE):
                continue
            if path in (".", "/"):
                hidden = any(pattern in _EVERYTHING for pattern in ignore.patterns)
            else:
                hidden = ignore.excluded(path)
            if hidden:
                self._add(
                    "CopyIgnoredFile",
                    f"Attempting to {verb} file {go_quote(path)} that is excluded by .dockerignore",
                    step,
                )

    def _expose(self, step: ins.Expose) -> None:
        for word in step.words:
            try:
                port = parse_port(word)
            except DockerfileError as error:
                raise error.at(step.location) from None
            if port.protocol != port.protocol.lower():
                self._add(
                    "ExposeProtoCasing",
                    f"Defined protocol '{word}' in EXPOSE instruction should be lowercase",
                    step,
                )
            if port.published:
                detail = (
                    f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                )
                self._add("ExposeInvalidFormat", detail, step)


def written_name(step: ins.Instruction) -> str:
    """The instruction's name in the letters of the file."""
    return step.original.split(maxsplit=1)[0]
