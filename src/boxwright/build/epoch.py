"""SOURCE_DATE_EPOCH of a build: a number, or the name of what the time is taken from: the build context, a named
context, or a stage that only fetches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.expand import expand
from boxwright.build.dockerfile.substitute import expand_instruction
from boxwright.build.fields import RequestInvalid
from boxwright.build.graph import Graph, Vertex
from boxwright.build.progress import showing
from boxwright.build.remote import is_remote, remote_op
from boxwright.build.request import BuildRequest
from boxwright.build.scope import EPOCH
from boxwright.spec.times import epoch_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.build.inputs import Inputs
    from boxwright.build.ops.context import StepContext
    from boxwright.build.plan import Planner
    from boxwright.build.progress import Emit
    from boxwright.settings import Settings

_HINT = "seconds since 1970, `context`, or the name of a build context or of a stage FROM scratch with one remote ADD"
_ONE_ADD = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"


def said(settings: Settings, request: BuildRequest) -> str | None:
    """What the request says of its time, else the build argument, else the environment; None when none does, and the
    Dockerfile may. Raises RequestInvalid."""
    if request.timestamp is not None and request.source_date_epoch is not None:
        raise RequestInvalid("timestamp and source-date-epoch cannot be used together")
    for given in (request.timestamp, request.source_date_epoch):
        if given is not None:
            if epoch_seconds(str(given)) is None:
                raise RequestInvalid(f"invalid time {given}", hint="seconds since 1970, until the year 9999")
            return str(given)
    if EPOCH in request.build_args:
        return request.build_args[EPOCH]
    return settings.source_date_epoch or None


def with_epoch(build_args: Mapping[str, str], text: str | None, seconds: int | None) -> Mapping[str, str]:
    """The build arguments, where what was said (`text`) stands as the number that it came to, or not at all."""
    if text is None:
        return build_args
    others = {name: value for name, value in build_args.items() if name != EPOCH}
    return others if seconds is None else {**others, EPOCH: str(seconds)}


def of_dockerfile(planners: Sequence[Planner]) -> str:
    """What the global ARG says, '' when there is none. Raises DockerfileError."""
    texts = {planner.global_args().get(EPOCH, "") for planner in planners}
    if len(texts) > 1:
        raise DockerfileError(f"{EPOCH} differs between platforms: {', '.join(sorted(texts))}")
    return texts.pop()


class EpochSource:
    """Asks what a word means for its time."""

    def __init__(
        self,
        *,
        planner: Planner,
        build_args: Mapping[str, str],
        inputs: Inputs,
        emit: Emit,
        step: Callable[[Vertex], StepContext],
    ) -> None:
        self._planner, self._build_args, self._inputs, self._emit, self._step = (
            planner,
            build_args,
            inputs,
            emit,
            step,
        )

    def time_of(self, word: str) -> int | None:
        """Unix seconds; None when what the word means has no time: a directory, an image, a file of which the server
        does not say. Raises RequestInvalid, DockerfileError, and what fetching raises."""
        if word == "context":
            return self._inputs.times.get("")
        named, platform = self._inputs.named, self._planner.options.platform
        if key := named.find(word, platform):
            return self._inputs.times.get(key)
        for stage in self._planner.stages:
            if stage.name and stage.name.lower() == word.lower():
                try:
                    return self._fetched(stage)
                except DockerfileError as error:
                    raise (error if error.ranges else error.at(stage.location)) from error
        raise RequestInvalid(f"invalid {EPOCH}: {word}", hint=_HINT)

    def _fetched(self, stage: ins.Stage) -> int | None:
        from boxwright.build.ops import git, http

        add = self._add_of(stage)
        op, _ = remote_op(source=add.sources[0], step=add, epoch=None, position=0)
        title = f"[internal] resolve {EPOCH} source stage {stage.name}"
        vertex = Graph().vertex(op, fresh=True, name=title, location=stage.location)
        with showing(self._emit, vertex.id, title):
            ctx = self._step(vertex)
            return http.time_of(op, ctx) if isinstance(op, http.HttpOp) else git.time_of(op, ctx)

    def _add_of(self, stage: ins.Stage) -> ins.Add:
        """The instruction that fetches the one thing of the stage, expanded."""
        values = {name: value for name, value in self._planner.global_args().items() if name != EPOCH}
        lookup, escape = self._planner.expansions.of(values.get), self._planner.dockerfile.escape
        if expand(stage.from_.image, lookup, escape) != "scratch":
            raise DockerfileError("SOURCE_DATE_EPOCH stage must use FROM scratch")
        found: ins.Add | None = None
        for step in stage.instructions:
            if isinstance(step, ins.Arg):
                for arg in step.args:
                    if arg.key in self._build_args:
                        values[arg.key] = self._build_args[arg.key]
                    elif arg.default is not None:
                        values[arg.key] = expand(arg.default, lookup, escape)
            elif not isinstance(step, ins.Add):
                raise DockerfileError(
                    "SOURCE_DATE_EPOCH stage does not meet source-only requirements: "
                    f"unsupported {step.name} instruction"
                )
            elif found is not None:
                raise DockerfileError(_ONE_ADD)
            else:
                expanded = expand_instruction(step, lookup, escape)
                assert isinstance(expanded, ins.Add)
                found = expanded
        if found is None:
            raise DockerfileError(_ONE_ADD)
        if found.contents or len(found.sources) != 1:
            raise DockerfileError(f"{_ONE_ADD} source")
        if not is_remote(found.sources[0]):
            raise DockerfileError("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD")
        return found
