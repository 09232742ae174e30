"""RUN, COPY, ADD and WORKDIR to operations: the part of planning that makes steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.heredoc import is_heredoc, run_command
from boxwright.build.dockerfile.paths import clean_path, normalize_workdir
from boxwright.build.graph import Vertex
from boxwright.build.ops.copy import CopyOp, CopyPart
from boxwright.build.ops.exec import ExecMount, ExecOp
from boxwright.build.ops.workdir import WorkdirOp
from boxwright.build.stage import StageState
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    from boxwright.build.dockerfile.errors import SourceRange
    from boxwright.build.graph import Graph
    from boxwright.build.ops.git import GitOp
    from boxwright.build.ops.http import HttpOp
    from boxwright.build.planning import PlanOptions

    AnyOp: TypeAlias = CopyOp | ExecOp | WorkdirOp | HttpOp | GitOp
else:
    Protocol = object  # what it is for is checked before it runs


class StepPlanner(Protocol):
    """Of planning, what a step needs."""

    options: PlanOptions
    graph: Graph

    def add_step(
        self, state: StageState, op: AnyOp, inputs: list[Vertex], step: ins.Instruction, text: str
    ) -> Vertex:
        """Put a step on top of the stage's tree."""

    def scratch(self) -> Vertex:
        """The empty tree."""

    def source(self, name: str, user: StageState, location: SourceRange) -> Vertex:
        """The tree that ``--from=name`` means. Raises DockerfileError."""

    def local_context(self, name: str, user: StageState) -> str | None:
        """The key of the directory that ``--from=name`` means, '' that of the build context; None when it is none."""

    def is_fresh(self, state: StageState) -> bool:
        """Whether the stage's steps ignore their records."""

    def lineage(self, state: StageState) -> str:
        """What the stage's records are compared with."""


def lower(planner: StepPlanner, state: StageState, step: ins.Instruction) -> None:
    """Add the expanded step to the stage. Raises DockerfileError."""
    match step:
        case ins.Run():
            _run(planner, state, step)
        case ins.Copy():
            _copy(planner, state, step)
        case ins.Add():
            _add(planner, state, step)
        case ins.Workdir():
            _workdir(planner, state, step)
        case _:
            raise DockerfileError(f"{step.name} cannot be used here")


def shown_text(step: ins.Instruction) -> str:
    """The instruction as steps show it: its name in capitals, a heredoc as its first line."""
    text = step.original.strip()
    word, _, rest = text.partition(" ")
    text = f"{word.upper()} {rest.strip()}".strip() if word else step.name
    heredocs = getattr(step, "heredocs", ())
    if isinstance(step, ins.Run) and heredocs and is_heredoc(step.args[0]):
        lines = heredocs[0].text.strip().split("\n")
        text += f" ({lines[0]}{'...' if len(lines) > 1 else ''})"
    return " ".join(text.split("\n")[:1]) if "\n" in text else text


def destination(state: StageState, dest: str) -> str:
    """A COPY destination under the WORKDIR; a trailing slash stays, since it says "directory"."""
    joined = normalize_workdir(state.workdir, dest)
    is_directory = dest in ("", ".") or dest.endswith(("/", "/."))
    return joined + "/" if is_directory and joined != "/" else joined


def _workdir(planner: StepPlanner, state: StageState, step: ins.Workdir) -> None:
    path = normalize_workdir(state.workdir, step.path)
    vertex = None
    if path == "/":
        # Counted among the steps, though there is nothing to make.
        state.position += 1
    else:
        vertex = planner.add_step(
            state=state,
            op=WorkdirOp(path, state.user, planner.options.epoch),
            inputs=[],
            step=step,
            text=f"WORKDIR {path}",
        )
    state.note(step, vertex)
    state.config["WorkingDir"] = path


# --- COPY and ADD -----------------------------------------------------------------------------


def _inline(step: ins.Copy | ins.Add) -> list[CopyPart]:
    return [CopyPart(origin="inline", source=content.path, data=content.data) for content in step.contents]


def _copy(planner: StepPlanner, state: StageState, step: ins.Copy) -> None:
    _check_mode(step)
    inputs: list[Vertex] = []
    context = planner.local_context(step.from_, state)
    if context is not None:
        if not step.from_:
            _check_local(step.sources)
        keep = context in planner.options.keep_times
        parts = [
            CopyPart(origin="context", source=source, context=context, keep_times=keep)
            for source in step.sources
        ]
    else:
        inputs = [planner.source(step.from_, state, step.location)]
        parts = [CopyPart(origin="input", source=source, input=1, keep_times=True) for source in step.sources]
    op = CopyOp(
        parts=(*parts, *_inline(step)),
        dest=destination(state, step.dest),
        chown=step.chown,
        chmod=step.chmod,
        link=step.link,
        parents=step.parents,
        excludes=step.excludes,
        epoch=planner.options.epoch,
    )
    vertex = planner.add_step(state=state, op=op, inputs=inputs, step=step, text=shown_text(step))
    state.note(step, vertex)


def _check_mode(step: ins.Copy | ins.Add) -> None:
    """Refuse a mode that cannot be read before anything is built."""
    if step.chmod:
        from boxwright.build.dockerfile.chmod import parse_chmod

        parse_chmod(step.chmod)


def _check_local(sources: Sequence[str]) -> None:
    from boxwright.build.remote import is_remote

    for source in sources:
        if is_remote(source):
            what = (
                "URL"
                if source.startswith(("http://", "https://"))
                and not source.partition("#")[0].endswith(".git")
                else "git ref"
            )
            raise DockerfileError(f"source can't be a {what} for COPY", hint="ADD fetches it")


def _add(planner: StepPlanner, state: StageState, step: ins.Add) -> None:
    from boxwright.build.remote import is_remote, remote_op

    _check_mode(step)
    parts: list[CopyPart] = []
    inputs: list[Vertex] = []
    remote = [source for source in step.sources if is_remote(source)]
    if step.checksum and len(remote) != 1:
        raise DockerfileError(
            "checksum can only be used with a single remote source"
            if not remote
            else "checksum can't be specified for multiple sources"
        )
    for source in step.sources:
        if source not in remote:
            parts.append(
                CopyPart(
                    origin="context",
                    source=source,
                    unpack=step.unpack is not False,
                    keep_times="" in planner.options.keep_times,
                )
            )
            continue
        op, part = remote_op(source=source, step=step, epoch=planner.options.epoch, position=len(inputs) + 1)
        shown = f"ADD {source}"
        fetched = planner.graph.vertex(
            op,
            name=shown,
            text=shown,
            location=step.location,
            fresh=planner.is_fresh(state),
            lineage=planner.lineage(state),
        )
        inputs.append(fetched)
        parts.append(part)
    copy = CopyOp(
        parts=(*parts, *_inline(step)),
        dest=destination(state, step.dest),
        chown=step.chown,
        chmod=step.chmod,
        link=step.link,
        parents=False,
        excludes=step.excludes,
        epoch=planner.options.epoch,
    )
    vertex = planner.add_step(state=state, op=copy, inputs=inputs, step=step, text=shown_text(step))
    state.note(step, vertex)


# --- RUN --------------------------------------------------------------------------------------


def _run(planner: StepPlanner, state: StageState, step: ins.Run) -> None:
    options = planner.options
    for wanted, entitlement in (
        (step.security == "insecure", "security.insecure"),
        (step.network == "host", "network.host"),
    ):
        if wanted and entitlement not in options.entitlements:
            raise DockerfileError(f"{entitlement} is not allowed", hint=f"add --allow {entitlement}")
    argv, script = run_command(step, state.shell)
    if not argv:
        raise DockerfileError("arguments are required: RUN [] names no program")
    env, args = state.scope.exec_env()
    inputs: list[Vertex] = []
    mounts = tuple(
        _mount(planner=planner, state=state, step=step, mount=mount, inputs=inputs) for mount in step.mounts
    )
    op = ExecOp(
        argv=argv,
        env=tuple(env.items()),
        build_args=tuple(args.items()),
        cwd=state.workdir,
        user=state.user,
        hostname=options.hostname,
        network=options.network if step.network == "default" else step.network,  # type: ignore[arg-type]
        security=step.security,
        mounts=mounts,
        platform=str(state.platform),
        script=(script.path, script.data) if script else None,
        hosts=options.hosts,
        ulimits=options.ulimits,
        shm_size=options.shm_size,
        limits=options.limits,
        devices=tuple((device.name, device.required) for device in step.devices),
        cache_namespace=options.build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        epoch=options.epoch,
    )
    vertex = planner.add_step(state=state, op=op, inputs=inputs, step=step, text=shown_text(step))
    state.note(step, vertex)


def _mount(
    planner: StepPlanner, state: StageState, step: ins.Run, mount: ins.RunMount, inputs: list[Vertex]
) -> ExecMount:
    forwarded = mount.type in ("secret", "ssh")
    target = "" if forwarded and not mount.target else normalize_workdir(state.workdir, mount.target)
    if mount.type == "secret" and not target and mount.env is None:
        target = f"/run/secrets/{mount.secret_id}"
    if mount.type == "ssh" and not target:
        before = takewhile(lambda other: other is not mount, step.mounts)
        target = f"/run/buildkit/ssh_agent.{sum(other.type == 'ssh' for other in before)}"
    if target == "/":
        raise DockerfileError('invalid mount target "/"')
    source = normalize_workdir("/", mount.source) if mount.type in ("bind", "cache") else mount.source
    out = ExecMount(
        type=mount.type,
        target=target,
        source=source,
        readonly=mount.readonly,
        id=mount.secret_id if forwarded else mount.id or clean_path(mount.target),
        sharing=mount.sharing,
        mode=mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        size=mount.size,
        env=mount.env,
        required=mount.required,
        file=bool(target),
    )
    if mount.type not in ("bind", "cache") or (mount.type == "cache" and not mount.from_):
        return out
    context = planner.local_context(mount.from_, state)
    if context is None:
        inputs.append(planner.source(mount.from_, state, step.location))
        # A whole tree is known by its name; of a part only the part counts.
        by_content = mount.type == "bind" and source != "/"
    else:
        # The part of the context that is mounted becomes a tree of its own first: filtered, and content-keyed.
        keep = context in planner.options.keep_times
        part = CopyPart(origin="context", source=source, context=context, keep_times=keep)
        op = CopyOp(parts=(part,), dest=source, epoch=planner.options.epoch)
        inputs.append(
            planner.graph.vertex(
                op,
                [planner.scratch()],
                text=f"mount {source} of the context",
                hidden=True,
                location=step.location,
                lineage=planner.lineage(state),
            )
        )
        by_content = False  # the part is all that the input has
    return replace(out, input=len(inputs), by_content=by_content)
