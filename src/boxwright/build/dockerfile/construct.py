"""Words to typed instructions: what each instruction accepts, with BuildKit's error texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange
from boxwright.build.dockerfile.flags import Flags
from boxwright.build.dockerfile.heredoc import is_heredoc, parse_heredoc
from boxwright.build.dockerfile.mounts import mount_of, parse_device
from boxwright.build.dockerfile.parse import Dockerfile, Node, parse
from boxwright.build.dockerfile.text import SPACES, did_you_mean
from boxwright.spec.text import go_quote
from boxwright.spec.times import DurationInvalid, parse_duration
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_STAGE_NAME = _LETTERS | frozenset("0123456789-_.")
_ONBUILD = r"(?i)^\s*ONBUILD\s*"  # compiled at its first use
_MILLISECOND = 1_000_000


def stages_of(dockerfile: Dockerfile) -> tuple[tuple[ins.Arg, ...], tuple[ins.Stage, ...]]:
    """The global ARGs and the stages of a file. Raises DockerfileError, located."""
    global_args: list[ins.Arg] = []
    froms: list[ins.From] = []
    bodies: list[list[ins.Instruction]] = []
    for node in dockerfile.nodes:
        try:
            instruction = instruction_of(node)
        except DockerfileError as error:
            raise DockerfileError(
                error.reason, ranges=(node.location,), parse=True, hint=error.hint
            ) from None
        if isinstance(instruction, ins.From):
            froms.append(instruction)
            bodies.append([])
        elif bodies:
            bodies[-1].append(instruction)
        elif isinstance(instruction, ins.Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", ranges=(node.location,))
    if not froms:
        raise DockerfileError("dockerfile contains no stages to build")
    return tuple(global_args), tuple(
        ins.Stage(i, f, tuple(b)) for i, (f, b) in enumerate(zip(froms, bodies, strict=True))
    )


def instruction_of(node: Node, *, location: SourceRange | None = None) -> ins.Instruction:
    """The typed form of one node. Raises DockerfileError with the range, without the line's text."""
    where = location or node.location
    make = _MAKERS.get(node.name.lower())
    try:
        if make is None:
            message = f"unknown instruction: {node.name}"
            raise DockerfileError(
                did_you_mean(message, node.name, map(str.upper, _MAKERS), case_sensitive=False)
            )
        _check_text(node)
        common = {"original": node.original.strip(SPACES), "location": where, "comments": node.comments}
        return make(node, common)
    except DockerfileError as error:
        raise error.at(where) from None


def _check_text(node: Node) -> None:
    """Configs, records and keys are JSON, which has no place for other bytes; BuildKit's messages have none either."""
    for text in (node.original, *(heredoc.content for heredoc in node.heredocs)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            byte = text[error.start].encode("utf-8", "surrogateescape")[0]
            raise DockerfileError(
                f"{node.name.upper()} is not valid UTF-8: byte {byte:#x}", hint="store the file as UTF-8"
            ) from None


def parse_instruction(
    text: str, *, escape: str = "\\", location: SourceRange | None = None
) -> ins.Instruction:
    """One instruction from its text, heredocs included: how an ONBUILD trigger becomes a step.

    Raises DockerfileError.
    """
    node = parse(text.encode("utf-8", "surrogateescape"), escape=escape).nodes[0]
    return instruction_of(node, location=location)


def _no_flags(node: Node) -> None:
    Flags().read(node.flags)


def _some(node: Node) -> None:
    if not node.words():
        raise DockerfileError(f"{node.name.upper()} requires at least one argument")


def _one(node: Node) -> str:
    if len(node.args) != 1:
        raise DockerfileError(f"{node.name.upper()} requires exactly one argument")
    _no_flags(node)
    return node.args[0]


def _from(node: Node, common: dict[str, Any]) -> ins.Instruction:
    args, stage = node.args, ""
    if len(args) == 3 and args[1].lower() == "as":
        stage = args[2].lower()
        if not _LETTERS.issuperset(stage[:1]) or not stage or not _STAGE_NAME.issuperset(stage):
            raise DockerfileError(
                f"invalid name for build stage: {go_quote(args[2])}, name can't start with a number or contain symbols"
            )
    elif len(args) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    flags = Flags(text=("platform",)).read(node.flags)
    return ins.From(
        image=args[0],
        stage=stage,
        platform=flags.text("platform"),
        description=describes(node.comments, stage),
        **common,
    )


def describes(comments: tuple[str, ...], name: str) -> str:
    """What a comment line `# name text` says of a stage or ARG; '' when none does."""
    if not name:
        return ""
    return next((line[len(name) + 1 :] for line in comments if line.startswith(f"{name} ")), "")


def _run(node: Node, common: dict[str, Any]) -> ins.Instruction:
    flags = Flags(text=("network", "security"), several=("mount", "device")).read(node.flags)
    network = flags.text("network").lower() or "default"
    security = flags.text("security").lower() or "sandbox"
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {go_quote(network)}")
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(f"security {go_quote(security)} is not valid")
    return ins.Run(
        args=node.args,
        shell_form=not node.json,
        heredocs=node.heredocs,
        mounts=tuple(map(mount_of, flags.all("mount"))),
        devices=tuple(map(parse_device, flags.all("device"))),
        network=network,  # type: ignore[arg-type]
        security=security,  # type: ignore[arg-type]
        **common,
    )


def _command(kind: type[ins.Cmd] | type[ins.Entrypoint]) -> Callable[[Node, dict[str, Any]], ins.Instruction]:
    def make(node: Node, common: dict[str, Any]) -> ins.Instruction:
        _no_flags(node)
        return kind(args=node.args, shell_form=not node.json, **common)

    return make


def _sources(node: Node) -> dict[str, Any]:
    name = node.name.upper()
    *sources, dest = node.args
    if node.json:
        return {"sources": tuple(sources), "contents": (), "dest": dest}
    if is_heredoc(dest):
        raise DockerfileError(f"{name} cannot accept a heredoc as a destination")
    bodies = {heredoc.name: heredoc for heredoc in node.heredocs}
    paths: list[str] = []
    contents: list[ins.InlineFile] = []
    for source in sources:
        heredoc = parse_heredoc(source) if is_heredoc(source) else None
        if heredoc is None:
            paths.append(source)
        else:
            body = replace(bodies.get(heredoc.name, heredoc), chomp=heredoc.chomp)
            contents.append(ins.InlineFile(heredoc.name, body.text, heredoc.expand))
    return {"sources": tuple(paths), "contents": tuple(contents), "dest": dest}


def _two(node: Node) -> None:
    if len(node.args) < 2:
        raise DockerfileError(
            f"{node.name.upper()} requires at least two arguments, but only one was provided. Destination "
            f"could not be determined"
        )


def _copy(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _two(node)
    flags = Flags(text=("from", "chown", "chmod"), yes_no=("link", "parents"), several=("exclude",)).read(
        node.flags
    )
    return ins.Copy(
        **_sources(node),
        from_=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.truth("link")),
        parents=bool(flags.truth("parents")),
        excludes=flags.all("exclude"),
        **common,
    )


def _add(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _two(node)
    flags = Flags(
        text=("chown", "chmod", "checksum"), yes_no=("link", "keep-git-dir", "unpack"), several=("exclude",)
    ).read(node.flags)
    return ins.Add(
        **_sources(node),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        checksum=flags.text("checksum"),
        link=bool(flags.truth("link")),
        keep_git_dir=flags.truth("keep-git-dir"),
        unpack=flags.truth("unpack"),
        excludes=flags.all("exclude"),
        **common,
    )


def _pairs(kind: type[ins.Env] | type[ins.Label]) -> Callable[[Node, dict[str, Any]], ins.Instruction]:
    def make(node: Node, common: dict[str, Any]) -> ins.Instruction:
        _no_flags(node)
        _some(node)
        triples = zip(node.args[::3], node.args[1::3], node.args[2::3], strict=True)
        pairs = tuple(ins.KeyValue(key, value, equals == "") for key, value, equals in triples)
        if any(not pair.key for pair in pairs):
            raise DockerfileError(f"{node.name.upper()} names can not be blank")
        return kind(pairs=pairs, **common)

    return make


def _arg(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _some(node)
    values: list[ins.ArgValue] = []
    for word in node.args:
        key, equals, default = word.partition("=")
        if equals and not key:
            raise DockerfileError("ARG names can not be blank")
        values.append(ins.ArgValue(key, default if equals else None, describes(node.comments, key)))
    return ins.Arg(args=tuple(values), **common)


def _workdir(node: Node, common: dict[str, Any]) -> ins.Instruction:
    return ins.Workdir(path=_one(node), **common)


def _user(node: Node, common: dict[str, Any]) -> ins.Instruction:
    return ins.User(user=_one(node), **common)


def _stop_signal(node: Node, common: dict[str, Any]) -> ins.Instruction:
    if len(node.args) != 1:
        raise DockerfileError("STOPSIGNAL requires exactly one argument")
    return ins.StopSignal(signal=node.args[0], **common)


def _maintainer(node: Node, common: dict[str, Any]) -> ins.Instruction:
    return ins.Maintainer(author=_one(node), **common)


def _expose(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _some(node)
    _no_flags(node)
    return ins.Expose(words=tuple(sorted(node.args)), **common)


def _volume(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _some(node)
    _no_flags(node)
    paths = tuple(word.strip(SPACES) for word in node.args)
    if "" in paths:
        raise DockerfileError("VOLUME specified can not be an empty string")
    return ins.VolumePaths(paths=paths, **common)


def _shell(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _no_flags(node)
    _some(node)
    if not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return ins.Shell(args=node.args, **common)


def _health(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _some(node)
    kind, command = node.args[0].upper(), node.args[1:]
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return ins.HealthCheck(test=("NONE",), **common)
    times = ("interval", "timeout", "start-period", "start-interval")
    flags = Flags(text=(*times, "retries")).read(node.flags)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {go_quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    durations: dict[str, Any] = {name.replace("-", "_"): _interval(name, flags.text(name)) for name in times}
    test = ("CMD" if node.json else "CMD-SHELL", *command)
    return ins.HealthCheck(test=test, retries=_retries(flags.text("retries")), **durations, **common)


def _interval(name: str, text: str) -> int:
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except DurationInvalid as error:
        raise DockerfileError(str(error)) from None
    if value and value < _MILLISECOND:
        raise DockerfileError(f"Interval {go_quote(name)} cannot be less than 1ms")
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,400}", text):
        raise DockerfileError(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    value = int(text)
    if not -(2**31) <= value < 2**31:
        raise DockerfileError(f"strconv.ParseInt: parsing {go_quote(text)}: value out of range")
    if value < 0:
        raise DockerfileError(f"--retries cannot be negative ({value})")
    return value


def _onbuild(node: Node, common: dict[str, Any]) -> ins.Instruction:
    _some(node)
    _no_flags(node)
    trigger = node.words()[0].strip(SPACES).upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    text = re.sub(_ONBUILD, "", node.original)
    return ins.OnBuild(expression=text + "".join(f"\n{h.content}{h.name}" for h in node.heredocs), **common)


_MAKERS: dict[str, Callable[[Node, dict[str, Any]], ins.Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _command(ins.Cmd),
    "copy": _copy,
    "entrypoint": _command(ins.Entrypoint),
    "env": _pairs(ins.Env),
    "expose": _expose,
    "from": _from,
    "healthcheck": _health,
    "label": _pairs(ins.Label),
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
