"""What the image history says of an instruction, in BuildKit's words."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.heredoc import run_command
from boxwright.build.dockerfile.paths import normalize_workdir
from boxwright.build.dockerfile.ports import parse_ports
from boxwright.build.dockerfile.text import go_quote_list
from boxwright.spec.times import format_duration

COMMENT = "buildkit.dockerfile.v0"  # the `comment` of every entry
_SUFFIX = " # buildkit"
_SHELL = ("/bin/sh", "-c")


def created_by(
    instruction: ins.Instruction,
    *,
    shell: tuple[str, ...] = _SHELL,
    build_args: Iterable[tuple[str, str]] = (),
    workdir: str = "",
) -> str | None:
    """The `created_by` of an expanded instruction; None when it leaves no entry (FROM, ONBUILD).

    `shell` is the SHELL in force, `build_args` the ARGs declared so far with their values in force (a
    name may repeat: first position, last value), `workdir` the working directory before. An ARG must
    hold its final values. Raises DockerfileError for EXPOSE words that are no ports.
    """
    if isinstance(instruction, ins.Run):
        return " ".join(("RUN", *_declared(build_args), *run_command(instruction, shell)[0])) + _SUFFIX
    if isinstance(instruction, ins.Copy | ins.Add):
        return _copied(instruction)
    if isinstance(instruction, ins.Workdir):
        return f"WORKDIR {normalize_workdir(workdir, instruction.path)}"
    if isinstance(instruction, ins.Command):
        return f"{instruction.name} {go_quote_list(ins.argv(instruction, shell))}"
    if isinstance(instruction, ins.Env | ins.Label):
        return " ".join((instruction.name, *(f"{pair.key}={pair.value}" for pair in instruction.pairs)))
    if isinstance(instruction, ins.Arg):
        given = (arg.key if arg.default is None else f"{arg.key}={arg.default}" for arg in instruction.args)
        return " ".join(("ARG", *given))
    return _metadata(instruction)


def _metadata(instruction: ins.Instruction) -> str | None:
    match instruction:
        case ins.Expose():
            return f"EXPOSE [{' '.join(parse_ports(instruction.words))}]"
        case ins.VolumePaths():
            return f"VOLUME [{' '.join(instruction.paths)}]"
        case ins.Shell():
            return f"SHELL [{' '.join(instruction.args)}]"
        case ins.User():
            return f"USER {instruction.user}"
        case ins.StopSignal():
            return f"STOPSIGNAL {instruction.signal}"
        case ins.Maintainer():
            return f"MAINTAINER {instruction.author}"
        case ins.HealthCheck():
            times = {
                "Interval": instruction.interval,
                "Timeout": instruction.timeout,
                "StartPeriod": instruction.start_period,
                "StartInterval": instruction.start_interval,
            }
            shown = " ".join(f"{name}:{format_duration(value)}" for name, value in times.items())
            return (
                f"HEALTHCHECK {{Test:[{' '.join(instruction.test)}] {shown} Retries:{instruction.retries}}}"
            )
    return None


def _copied(instruction: ins.Copy | ins.Add) -> str:
    words = [instruction.name]
    if isinstance(instruction, ins.Copy) and instruction.parents:
        words.append("--parents")
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    words += instruction.sources
    words += (f"<<{file.path}" for file in instruction.contents)
    return " ".join((*words, instruction.dest)) + _SUFFIX


def _declared(build_args: Iterable[tuple[str, str]]) -> list[str]:
    values = dict(build_args)
    return [f"|{len(values)}", *(f"{name}={value}" for name, value in values.items())] if values else []
